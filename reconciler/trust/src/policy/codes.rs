//! Codes of the errors of a policy.

use plumb_document::Code;

macro_rules! codes {
    ($($name:ident $id:literal $explanation:literal;)*) => {
        $(#[doc = $explanation] pub const $name: Code = Code::new($id, $explanation);)*
        /// Every code of this module.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    POLICY_KIND "policy-kind" "trust/policy.yaml holds one `TrustPolicy` of plumb.dev/v1alpha1 and nothing else.";
    POLICY_REFERENCE "policy-reference" "A group names an identity, or a rule a group, that isn't there.";
    POLICY_KEY "policy-key" "A key isn't written as a fingerprint, belongs to two identities, or has no file in trust/keys/.";
    POLICY_PATTERN "policy-pattern" "A pattern of paths is written in a way that isn't understood.";
    POLICY_NEED "policy-need" "A rule needs something: at least one group, and a count of at least one.";
    POLICY_TRUST_RULE "policy-trust-rule" "The rules for trust/ must be at least as strong as every other rule, or whoever is let through there could change the others.";
    POLICY_VALUE "policy-value" "A value of the policy is outside of what makes sense.";
    POLICY_UNSATISFIABLE "policy-unsatisfiable" "A rule could never be met: its group has fewer identities with a usable key than it asks for.";
    IDENTITY_LOCKED_OUT "identity-locked-out" "An identity that a rule counts has no key that could sign, so that person is locked out.";
    KEY_FILE "key-file" "A file in trust/keys/ holds exactly one OpenPGP certificate or one SSH public key.";
}
