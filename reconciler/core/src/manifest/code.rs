//! The codes of all errors in a fleet's manifests, for `plumb explain CODE`.

use plumb_document::Code;

macro_rules! codes {
    ($($name:ident $id:literal $explanation:literal;)*) => {
        $(#[doc = $explanation] pub const $name: Code = Code::new($id, $explanation);)*

        /// Every code of this crate's manifests.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    UNSUPPORTED_FIELD "unsupported-field" "The field is part of the language, but this version doesn't do it. It is refused because a setting that is ignored in silence is worse than one that is missing.";
    MISSING_FLEET "missing-fleet" "A fleet repository has a `fleet.yaml` at its root.";
    WRONG_OBJECT "wrong-object" "The object's kind, version or name doesn't fit the file that it is in: `hosts/NAME.yaml` holds the Host NAME, and so on.";
    DUPLICATE_OBJECT "duplicate-object" "Two files hold an object of the same kind and name; folders below `hosts/`, `profiles/` and `networks/` don't separate names.";
    MISPLACED_MANIFEST "misplaced-manifest" "The file looks like an object, but lies where none is read: objects are `fleet.yaml` and `*.yaml` under `hosts/`, `profiles/`, `networks/`, `secrets/`, `images/` and `trust/`.";
    UNKNOWN_TYPE "unknown-type" "There is no such resource type.";
    INVALID_NAME "invalid-name" "A name isn't of the form that is needed here.";
    INVALID_SELECTOR "invalid-selector" "A selector is `key=value,other!=value`, `key in (a, b)`, `key`, `!key`, a list of names, or `\"*\"`.";
    UNKNOWN_REFERENCE "unknown-reference" "Something is named that isn't there. Nothing is ignored in silence, so that a typing error can't cut a dependency.";
    CONFLICT "conflict" "Two places of the same priority set one field to different values. Neither wins by chance: let them agree, or say the value under `force:`.";
    CYCLE "cycle" "Things come after one another in a circle, so that none can come first.";
    PARAMETER "parameter" "A profile's parameter is unknown, missing, or not as the profile declares it.";
    EXPRESSION "expression" "An expression or a template can't be read or evaluated. Text of others that has braces is put between {% raw %} and {% endraw %}.";
    CONTENT "content" "`content` is one of: text (never rendered), `{template: \"…\"}`, `{file: files/x}`, `{templateFile: files/x.j2}`.";
    STAND_IN "stand-in" "The file's bytes in git stand for others: it is a Git LFS pointer, or git-crypt encrypted it. Only a working folder has the real bytes, so hosts would get the wrong ones.";
    PATCH "patch" "A JSON Patch (RFC 6902) doesn't fit the composed resources, or its `test` failed.";
    ADDRESS "address" "An address in a network is missing, doesn't fit its subnets, or is given twice.";
    CONNECT "connect" "A way to reach the host leads nowhere: it needs one of `address`, `network` and `endpoint`, and the host must have it.";
    HELD "held" "The host is held at its last desired state because what it reads has errors.";
}
