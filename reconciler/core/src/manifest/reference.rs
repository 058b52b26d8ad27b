//! References by address: `file:/etc/motd`, `file:/etc/motd#content`, `profile:metrics`.

use std::str::FromStr;

use plumb_api::AnyAddress;
use plumb_api::name::InvalidName;
use plumb_document::{Diagnostic, Span, closest};

use super::code;

/// The resource, field or profile that a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldRef {
    /// A resource, or one field of it.
    Resource(AnyAddress, Option<String>),
    /// A profile instance, by its key on the host.
    Profile(String),
}

impl FromStr for FieldRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Some(key) = text.strip_prefix("profile:") {
            return Ok(Self::Profile(key.to_owned()));
        }
        // A resource's name may contain a `#`. A field's name has only letters, so anything else belongs to
        // the resource.
        if let Some((address, field)) = text.rsplit_once('#')
            && !field.is_empty()
            && field.chars().all(|c| c.is_ascii_alphabetic())
        {
            return Ok(Self::Resource(address.parse()?, Some(field.to_owned())));
        }
        Ok(Self::Resource(text.parse()?, None))
    }
}

/// Creates the error about a text that is no name or address.
pub(crate) fn invalid_name(span: &Span, error: &InvalidName) -> Diagnostic {
    let diagnostic = Diagnostic::error(code::INVALID_NAME, span, error.to_string());
    let Some(unknown) = &error.unknown else {
        return diagnostic;
    };
    match closest(&unknown.word, unknown.known.iter().copied()) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("docs/reference/resources.md lists the types"),
    }
}

/// Returns the address in `all` that `wanted` was probably meant to be.
pub(crate) fn closest_address<A: ToString>(
    wanted: &str,
    all: impl IntoIterator<Item = A>,
) -> Option<String> {
    let texts: Vec<String> = all.into_iter().map(|address| address.to_string()).collect();
    closest(wanted, texts.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_fields_and_profiles() {
        assert_eq!(
            "profile:metrics".parse(),
            Ok(FieldRef::Profile("metrics".into()))
        );
        let motd: AnyAddress = "file:/etc/motd".parse().unwrap();
        assert_eq!(
            "file:/etc/motd#content".parse(),
            Ok(FieldRef::Resource(motd.clone(), Some("content".into())))
        );
        assert_eq!("file:/etc/motd".parse(), Ok(FieldRef::Resource(motd, None)));
        let odd: AnyAddress = "file:/etc/x#1".parse().unwrap();
        assert_eq!("file:/etc/x#1".parse(), Ok(FieldRef::Resource(odd, None)));
    }
}
