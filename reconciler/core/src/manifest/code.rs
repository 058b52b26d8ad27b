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
    UNSUPPORTED_FIELD "unsupported-field" "The field is part of the language, but this version doesn't support it. It is an error because a setting that is silently ignored is worse than one that is missing.";
    MISSING_FLEET "missing-fleet" "A fleet repository has a `fleet.yaml` at its root.";
    WRONG_OBJECT "wrong-object" "The object's kind, version or name doesn't match its file: `hosts/NAME.yaml` holds the Host NAME, and so on.";
    DUPLICATE_OBJECT "duplicate-object" "Two files hold an object of the same kind and name. Names are unique across all folders below `hosts/`, `profiles/`, `networks/`, `secrets/` and `images/`.";
    MISPLACED_MANIFEST "misplaced-manifest" "The file looks like an object but is in a place that Plumb doesn't read: objects are `fleet.yaml` and `*.yaml` under `hosts/`, `profiles/`, `networks/`, `secrets/`, `images/` and `trust/`.";
    UNKNOWN_TYPE "unknown-type" "The resource type is unknown.";
    INVALID_NAME "invalid-name" "A name doesn't have the required form.";
    INVALID_SELECTOR "invalid-selector" "A selector is `key=value,other!=value`, `key in (a, b)`, `key`, `!key`, a list of names, or `\"*\"`.";
    UNKNOWN_REFERENCE "unknown-reference" "A reference names something that doesn't exist. It is never silently ignored, so that a typing error can't drop a dependency.";
    CONFLICT "conflict" "Two sources of the same priority set one field to different values. Make them equal, or set the value under `force:`.";
    CYCLE "cycle" "Resources or profiles depend on each other in a circle.";
    PARAMETER "parameter" "A profile's parameter is unknown, missing, or doesn't match its declaration.";
    EXPRESSION "expression" "An expression or a template can't be parsed or evaluated. Put literal braces between {% raw %} and {% endraw %}.";
    CONTENT "content" "`content` is one of: text (never rendered), `{template: \"…\"}`, `{file: files/x}`, `{templateFile: files/x.j2}`, `{secret: NAME/KEY}`.";
    LITERAL_TEMPLATE "literal-template" "A literal `content` has an expression such as `{{ params.x }}`. A literal text is never rendered: write `content: {template: \"…\"}`, or leave it if another program reads the braces.";
    STAND_IN "stand-in" "The file's bytes in git stand for others: it is a Git LFS pointer, or git-crypt encrypted it. Only a working folder has the real bytes, so hosts would get the wrong ones.";
    FILE_TOO_LARGE "file-too-large" "The file is larger than one file of the repository may be, so its bytes aren't read. A host that refers to it stays at its last desired state. Nothing else is affected.";
    CLEAR_TEXT_SECRET "clear-text-secret" "A file has a private key, a token or a password in a URL in clear text. Everyone who can read the repository can read it, and git keeps it when it is removed: replace the secret itself. It is a warning; `policies: {clearTextSecrets: deny}` of the Fleet makes it an error, and `allow` ends it.";
    SECRET "secret" "A Secret has a value that not everyone can read who should, or that was encrypted for another use. `plumb secret check` shows the state of each value; `plumb secret rekey NAME` encrypts the values again.";
    PATCH "patch" "A JSON Patch (RFC 6902) can't be applied to the composed resources, or its `test` failed.";
    ADDRESS "address" "An address in a network is missing, outside of its subnets, or used twice.";
    PEER "peer" "A member of a `wireguard` network has no public key, so nobody could talk to it. It is never left out in silence: give it its `publicKey`, or say `keyless: true`. Dormant hosts may lack one.";
    PORT "port" "Two services of a host have the same port in the same network, so one of them can't listen.";
    CONNECT "connect" "An entry of `connect` has no address: it needs one of `address`, `network` and `endpoint`, and the host must have it.";
    MISSING_UNIT "missing-unit" "A service is to run, or a timer starts one, and nothing on the host brings its unit: no `unit`, no file, and no package of a similar name. It is a warning, because a package of another name may bring it: say so with `after: [\"package:NAME\"]`.";
    START_LIMIT "start-limit" "A unit restarts its service after failures and sets no start limit, so a broken service is started for ever and fills the disk with its journal. Set `StartLimitIntervalSec=` and `StartLimitBurst=`.";
    UNKNOWN_OWNER "unknown-owner" "A file belongs to a user or a group that nothing on the host creates. It is a warning, because a package may create it: say so with `after: [\"package:NAME\"]`. It is an error if the host removes the account.";
    REMOVED_FOLDER "removed-folder" "A resource lies in a folder that the host is to remove, so the two would undo each other.";
    READABLE_KEY "readable-key" "A file has a private key, and its mode lets every user of the host read it.";
    FOREIGN_ADDRESS "foreign-address" "A program is to listen on an address of a network of the fleet that isn't the host's, such as one that was copied from another host or is out of date.";
    IDLE_SELECTOR "idle-selector" "A selector matches no host, so what it selects for reaches nobody.";
    HELD "held" "The host stays at its last desired state because a manifest that it reads has errors.";
}
