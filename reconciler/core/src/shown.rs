//! Specs as people and programs see them: contents as text, and secrets by name, without their ciphertext.

use std::borrow::Cow;

use plumb_api::secret::{TextPiece, has_placeholder, pieces};
use plumb_api::{Digest, Spec};
use serde_json::{Value, json};

use crate::desired::Contents;

/// The number of hexadecimal digits of a digest that are shown.
const DIGITS: usize = 12;

/// Returns a spec without ciphertexts. The digest of a ciphertext stands for it, so that a change shows.
pub fn spec(spec: &Spec) -> Value {
    let mut value = spec.to_json().unwrap_or_default();
    for name in spec.kind().encrypted() {
        if let Some(field) = value.get_mut(*name)
            && let Some(text) = field.as_str()
        {
            let digest = Digest::of_bytes(text.as_bytes()).to_string();
            let digest = digest.get(..DIGITS).unwrap_or(&digest);
            *field = Value::from(format!("<encrypted, sha256 {digest}…>"));
        }
    }
    value
}

/// Returns a spec without ciphertexts, and with the text of its content instead of the hash. If the content
/// isn't text, the hash stays.
pub fn spec_with_text(spec: &Spec, contents: &Contents) -> Value {
    let mut value = self::spec(spec);
    for content in spec.contents() {
        let Some(bytes) = contents.get(&content.sha256) else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        if let Some(field) = value.get_mut("content") {
            *field = self::content(text);
        }
    }
    value
}

/// Returns the text of a content. One that is a single secret becomes `{"secret": "NAME/KEY"}`.
pub fn content(text: &str) -> Value {
    match pieces(text).as_deref() {
        Ok(
            [
                TextPiece::Text(""),
                TextPiece::Secret(name),
                TextPiece::Text(""),
            ],
        ) => {
            json!({ "secret": name })
        }
        _ => Value::from(self::text(text)),
    }
}

/// Returns a text with `<secret NAME/KEY>` in the place of each secret, and `<private key PATH>` in that of each
/// private key.
pub fn text(text: &str) -> Cow<'_, str> {
    if !has_placeholder(text) {
        return Cow::Borrowed(text);
    }
    let Ok(pieces) = pieces(text) else {
        return Cow::Borrowed(text);
    };
    let shown = pieces.into_iter().map(|piece| match piece {
        TextPiece::Text(text) => text.to_owned(),
        TextPiece::Secret(name) => format!("<secret {name}>"),
        TextPiece::PrivateKey(path) => format!("<private key {path}>"),
    });
    Cow::Owned(shown.collect())
}

#[cfg(test)]
mod tests {
    use plumb_api::secret::placeholder;

    use super::*;

    #[test]
    fn secret_in_a_text_is_shown_by_name() {
        let whole = placeholder("db/admin");
        assert_eq!(content(&whole), json!({"secret": "db/admin"}));
        let within = format!("password = {whole}\n");
        assert_eq!(content(&within), "password = <secret db/admin>\n");
        assert_eq!(text("no secret"), "no secret");
    }
}
