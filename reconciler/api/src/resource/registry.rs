//! The macro behind `resources!`.

/// Defines the closed set of primitive types: `Kind`, `Spec`, `Observed`, and for any of them every method of
/// [`Resource`](super::Resource).
macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident($text:literal): $spec:ident, $observed:ident;)*) => {
        /// A primitive resource type.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every type, in declaration order.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The name of every type, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text,)*];

            /// Returns the name in manifests and addresses.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text,)* }
            }

            /// Checks the name of a resource of this type.
            ///
            /// # Errors
            /// Returns a phrase with the mistake.
            pub fn check_name(self, name: &str) -> Result<(), String> {
                match self { $(Kind::$variant => $spec::check_name(name),)* }
            }

            /// Returns the path of the file, directory or link that a resource of this name owns on the host.
            pub fn path(self, name: &str) -> Option<String> {
                match self { $(Kind::$variant => $spec::path(name),)* }
            }

            /// Returns the key that identifies a resource of this name to resources that read it without
            /// naming it.
            pub fn input_key(self, name: &str) -> Option<String> {
                match self { $(Kind::$variant => $spec::input_key(name),)* }
            }

            /// Returns the keys of the resources that a resource of this name reads without naming them.
            pub fn input_keys(self, name: &str) -> Vec<String> {
                match self { $(Kind::$variant => $spec::input_keys(name),)* }
            }

            /// Returns an example for the reference: resources as in a manifest, on a host `web` of the
            /// network `wg`.
            pub fn example(self) -> &'static str {
                match self { $(Kind::$variant => <$spec as Resource>::EXAMPLE,)* }
            }

            /// Returns the field that a value in place of a resource's fields probably means.
            pub fn value_field(self) -> Option<&'static str> {
                match self { $(Kind::$variant => <$spec as Resource>::VALUE_FIELD,)* }
            }

            /// Returns the fields that are sets. If several objects set such a field, Plumb unites the
            /// values.
            pub fn sets(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::SETS,)* }
            }

            /// Returns the fields that the manifest language defines and this version doesn't support.
            pub fn unsupported(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::UNSUPPORTED,)* }
            }

            /// Returns the fields whose items are addresses of other resources.
            pub fn references(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::REFERENCES,)* }
            }

            /// Returns the fields that name a file of the repository, and whose value in the spec is the file's
            /// content.
            pub fn files(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::FILES,)* }
            }

            /// Returns the fields whose value is a secret text, and of which the spec has only the digest.
            pub fn confidential(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::CONFIDENTIAL,)* }
            }

            /// Returns the fields whose value is encrypted.
            pub fn encrypted(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::ENCRYPTED,)* }
            }

            /// Checks the text of a confidential field.
            ///
            /// # Errors
            /// Returns the mistake, without the text.
            pub fn check_confidential(self, field: &str, text: &str) -> Result<(), ConfidentialProblem> {
                match self { $(Kind::$variant => $spec::check_confidential(field, text),)* }
            }

            /// True if every change needs all contents of the spec.
            pub fn is_made_whole(self) -> bool {
                match self { $(Kind::$variant => <$spec as Resource>::MADE_WHOLE,)* }
            }

            /// True if the host puts secrets in place of the placeholders in the content.
            pub fn fills_secrets(self) -> bool {
                match self { $(Kind::$variant => <$spec as Resource>::FILLS_SECRETS,)* }
            }

            /// Returns the rank of the type. If nothing else orders two resources, the one with the lower
            /// rank is applied first.
            pub fn rank(self) -> u8 {
                match self { $(Kind::$variant => <$spec as Resource>::RANK,)* }
            }

            /// Returns the fields that are satisfied by running something and are never drift.
            pub fn reaction_fields(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::REACTIONS,)* }
            }

            /// Returns the fields that are satisfied by running something, including those that can differ
            /// without a change by Plumb.
            pub fn run_fields(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::RUNS,)* }
            }

            /// True if the differing fields show that the resource exists.
            pub fn made(self, differing: &[FieldChange]) -> bool {
                match self { $(Kind::$variant => $spec::made(differing),)* }
            }

            /// True if the connection to the host depends on the resource.
            pub fn is_lifeline(self, name: &str) -> bool {
                match self { $(Kind::$variant => $spec::lifeline(name),)* }
            }

            /// True if a wrong change of the resource could keep the controller from logging in and becoming
            /// root.
            pub fn cuts_off(self, name: &str, logins: &Logins) -> bool {
                match self { $(Kind::$variant => $spec::cuts_off(name, logins),)* }
            }

            /// Returns the JSON schema of this type's spec, with all types inlined.
            #[cfg(feature = "schema")]
            pub fn schema(self) -> schemars::Schema {
                let generator = crate::schema::generator();
                match self { $(Kind::$variant => generator.into_root_schema_for::<$spec>(),)* }
            }

            /// Decodes a spec of this type.
            ///
            /// # Errors
            /// Returns the error of the deserializer.
            pub fn decode<'de, D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Spec, D::Error> {
                match self { $(Kind::$variant => $spec::deserialize(deserializer).map(Spec::$variant),)* }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text { $($text => Ok(Kind::$variant),)* _ => Err(UnknownKind) }
            }
        }

        /// The desired state of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Spec { $($(#[$doc])* $variant($spec),)* }

        /// The observed state of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Observed { $($(#[$doc])* $variant($observed),)* }

        impl Spec {
            /// Returns the resource's type.
            pub fn kind(&self) -> Kind {
                match self { $(Spec::$variant(_) => Kind::$variant,)* }
            }

            /// Returns the problems of a spec that no host could satisfy.
            pub fn check(&self, name: &str) -> Vec<Problem> {
                match self { $(Spec::$variant(spec) => spec.check(name),)* }
            }

            /// Returns the fields in which the host differs; empty if it is in sync. An observation of
            /// another type differs in the field `type`.
            pub fn compare(&self, observed: &Observed) -> Vec<FieldChange> {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.compare(observed),)*
                    _ => vec![FieldChange::new("type", observed.kind().as_str(), self.kind().as_str())],
                }
            }

            /// True if the observed resource differs in this field by its own behaviour, so that it isn't drift.
            pub fn by_itself(&self, observed: &Observed, field: &str) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.by_itself(observed, field),)*
                    _ => false,
                }
            }

            /// Returns the resources that must be applied before this one.
            pub fn requires(&self, name: &str) -> Vec<Dependency> {
                let mut all = match self { $(Spec::$variant(spec) => spec.requires(name),)* };
                all.extend(self.after().iter().map(|address| Dependency {
                    address: address.clone(),
                    strength: Strength::Explicit,
                }));
                all
            }

            /// Returns the inputs that the spec names, each with the effect of its change.
            pub fn triggers(&self, name: &str) -> Vec<Trigger> {
                match self { $(Spec::$variant(spec) => spec.triggers(name),)* }
            }

            /// Returns the reaction to a change of an input that the spec doesn't name. `key` is the key of
            /// that input.
            pub fn on_input(&self, name: &str, key: &str) -> Option<Consequence> {
                match self { $(Spec::$variant(spec) => spec.on_input(name, key),)* }
            }

            /// Returns the paths that belong to other types and that this spec writes to.
            pub fn claims(&self, name: &str) -> Vec<Claim> {
                match self { $(Spec::$variant(spec) => spec.claims(name),)* }
            }

            /// Returns the reaction to any change of the same plan.
            pub fn on_any_change(&self, name: &str) -> Option<Consequence> {
                match self { $(Spec::$variant(spec) => spec.on_any_change(name),)* }
            }

            /// Returns how certain a change of the resource is before it is made. The observation is `None`
            /// if the resource couldn't be observed.
            pub fn certainty(&self, observed: Option<&Observed>) -> Certainty {
                match (self, observed) {
                    $((Spec::$variant(spec), Some(Observed::$variant(observed))) => spec.certainty(Some(observed)),)*
                    $((Spec::$variant(spec), _) => spec.certainty(None),)*
                }
            }

            /// Returns the systemd unit that the resource manages.
            pub fn unit(&self, name: &str) -> Option<String> {
                match self { $(Spec::$variant(spec) => spec.unit(name),)* }
            }

            /// Returns the owning user and group that the spec names.
            pub fn owners(&self) -> Owners<'_> {
                match self { $(Spec::$variant(spec) => spec.owners(),)* }
            }

            /// True if the observed resource reacts to changes of its inputs. The observation is `None` if
            /// the resource is in sync.
            pub fn reacts(&self, observed: Option<&Observed>) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), None) => spec.reacts(None),)*
                    $((Spec::$variant(spec), Some(Observed::$variant(observed))) => spec.reacts(Some(observed)),)*
                    _ => false,
                }
            }

            /// True if the observed resource must be removed before this one can be created.
            pub fn replaces(&self, observed: &Observed) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.replaces(observed),)*
                    _ => true,
                }
            }

            /// True if a change of this resource may change the observed state of others.
            pub fn invalidates(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.invalidates(),)* }
            }

            /// Returns the effects of a change of these fields beyond the fields themselves.
            pub fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
                match self { $(Spec::$variant(spec) => spec.consequences(name, fields),)* }
            }

            /// True if the resource is to be absent.
            pub fn wants_absent(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.wants_absent(),)* }
            }

            /// Returns the manifest's `after`.
            pub fn after(&self) -> &[Address] {
                match self { $(Spec::$variant(spec) => spec.after(),)* }
            }

            /// Returns the manifest's `manage`.
            pub fn manage(&self) -> Manage {
                match self { $(Spec::$variant(spec) => spec.manage(),)* }
            }

            /// Returns the file contents that the host needs for the resource.
            pub fn contents(&self) -> Vec<Content> {
                match self { $(Spec::$variant(spec) => spec.contents(),)* }
            }

            /// Returns the spec as JSON, without its type (as `plumb render` shows it).
            ///
            /// # Errors
            /// The error of `serde_json`; none is known for these types.
            pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Spec::$variant(spec) => serde_json::to_value(spec),)* }
            }

            /// Returns the spec without these fields, as if the manifest didn't give them, or `None` if one
            /// of them is required.
            pub fn without(&self, fields: &[&str]) -> Option<Self> {
                let mut json = self.to_json().ok()?;
                let map = json.as_object_mut()?;
                for field in fields {
                    map.remove(*field);
                }
                self.kind().decode(json).ok()
            }

            /// Returns the digest of the spec's canonical form.
            ///
            /// # Errors
            /// If the spec has no canonical form; none is known for these types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("spec", self)
            }
        }

        impl Observed {
            /// Returns the resource's type.
            pub fn kind(&self) -> Kind {
                match self { $(Observed::$variant(_) => Kind::$variant,)* }
            }

            /// Returns the resource's real address on the host if the manifest uses another name, such as an
            /// alias.
            pub fn own_address(&self) -> Option<Address> {
                let name = match self { $(Observed::$variant(observed) => <$spec as Resource>::own_name(observed),)* };
                Address::new(self.kind(), &name?).ok()
            }

            /// True if the resource exists on the host.
            pub fn exists(&self) -> bool {
                match self { $(Observed::$variant(observed) => <$spec as Resource>::exists(observed),)* }
            }

            /// Returns the resources that the observed resource uses.
            pub fn uses(&self) -> Vec<Address> {
                match self { $(Observed::$variant(observed) => <$spec as Resource>::uses(observed),)* }
            }

            /// Returns the digest of the observation's canonical form, which is a plan's precondition.
            ///
            /// # Errors
            /// If the observation has no canonical form; none is known for these types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("observed", self)
            }
        }
    };
}

pub(super) use resources;
