//! The diagnostic codes of this crate: a closed list, each with its explanation for `plumb explain CODE`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A diagnostic's code: stable, in kebab-case, for programs to compare.
#[derive(Clone, Copy)]
pub struct Code {
    id: &'static str,
    explanation: &'static str,
}

impl Code {
    /// Creates a code. Its explanation says what it means and what to do. Other crates declare their own
    /// codes with this function.
    pub const fn new(id: &'static str, explanation: &'static str) -> Self {
        Self { id, explanation }
    }

    /// Returns the code as text.
    pub const fn as_str(&self) -> &'static str {
        self.id
    }

    /// Returns the meaning of the code and what to do, in a sentence or two.
    pub const fn explanation(&self) -> &'static str {
        self.explanation
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

macro_rules! codes {
    ($($name:ident $id:literal $explanation:literal;)*) => {
        /// The codes of errors in reading and decoding YAML.
        pub mod codes {
            use super::Code;
            $(#[doc = $explanation] pub const $name: Code = Code::new($id, $explanation);)*
        }

        /// Every code of this crate.
        pub const ALL: &[Code] = &[$(codes::$name),*];
    };
}

codes! {
    YAML_SYNTAX "yaml-syntax" "The file is not well-formed YAML. A value that begins with `{`, `[`, `*`, `&`, `!`, `%`, `@` or a backquote, or that contains `: ` or ` #`, needs quotes.";
    YAML_ENCODING "yaml-encoding" "The file is not UTF-8 text, or has a character that Unicode keeps for programs (U+FDD0 to U+FDEF).";
    YAML_TAB "yaml-tab" "YAML is indented and separated with spaces; tabs are allowed only inside quoted or block text.";
    YAML_DUPLICATE_KEY "yaml-duplicate-key" "A mapping has the same key twice. Remove one of the two.";
    YAML_KEY "yaml-key" "A mapping's key must be a plain or quoted word, not a list, a mapping or nothing. A value that is an expression needs quotes: \"{{ … }}\".";
    YAML_TAG "yaml-tag" "YAML tags (`!something`) aren't allowed in manifests; quote the text if it begins with `!`.";
    YAML_MERGE "yaml-merge" "Merge keys (`<<`) aren't allowed in manifests; share settings through a profile.";
    YAML_LIMIT "yaml-limit" "The file is too large, nested too deeply, or its aliases expand to too many values.";
    YAML_DOCUMENTS "yaml-documents" "A file must hold exactly one YAML document, with one object.";
    UNKNOWN_FIELD "unknown-field" "The field doesn't exist here. Unknown fields are never silently ignored, so a typing error can't look like a setting.";
    MISSING_FIELD "missing-field" "A required field is missing.";
    WRONG_TYPE "wrong-type" "The value doesn't have the field's type. Text that looks like a number or a boolean needs quotes.";
    INVALID_VALUE "invalid-value" "The value has the right type, but the field doesn't accept it.";
}
