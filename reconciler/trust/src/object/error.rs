//! Defects of objects.

use crate::reason::ReasonCode;

/// A defect in an object's bytes. Parsing is strict: bytes that two parsers could understand differently are
/// defective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A header is missing, or out of order.
    #[error("the header `{0}` is missing or not in its place")]
    Header(&'static str),
    /// A header that must be unique is there twice.
    #[error("the header `{0}` is there twice")]
    Twice(&'static str),
    /// An unknown header, which could mean something to another reader.
    #[error("the header `{0}` isn't known")]
    Unknown(String),
    /// A signature header of the other object format, or an unknown header whose name begins with `gpgsig`.
    #[error("`{0}` isn't a signature header of this repository")]
    SignatureHeader(String),
    /// A header's value isn't an object name of this repository.
    #[error("`{0}` isn't followed by an object name of this repository")]
    Name(&'static str),
    /// An author, committer or tagger line that can be read in more than one way.
    #[error("the `{0}` line isn't `NAME <EMAIL> SECONDS ZONE`")]
    Ident(&'static str),
    /// A control character in a header.
    #[error("a header holds a NUL, a carriage return or another control character")]
    Control,
    /// A NUL in a message: readers in C stop there.
    #[error("the message holds a NUL character")]
    Nul,
    /// The headers never end.
    #[error("no empty line ends the headers")]
    Unended,
    /// There is more of something than a limit allows.
    #[error("more than {1} {0}")]
    TooMany(&'static str, usize),
    /// The same parent twice.
    #[error("the same parent is named twice")]
    SameParent,
    /// A tag has more than one signature block.
    #[error("a signature block must stand once, alone and at the end")]
    SignaturePlace,
    /// A tree's entry is refused.
    #[error("the tree entry {name} is refused: {why}")]
    Entry {
        /// The entry's name, escaped.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// A tree can't be parsed.
    #[error("the tree object is cut off or garbled")]
    Tree,
}

impl Malformed {
    /// Returns `TooLarge` if a limit is exceeded, and `otherwise` for every other defect.
    pub(crate) const fn code(&self, otherwise: ReasonCode) -> ReasonCode {
        match self {
            Self::TooMany(..) => ReasonCode::TooLarge,
            _ => otherwise,
        }
    }
}
