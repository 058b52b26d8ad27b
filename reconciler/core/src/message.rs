//! Messages for people: a one-line headline, optional detail lines and an optional hint.
//!
//! Conditions, records and failures contain a [`Message`]. Its headline is always one line of at most
//! [`HEADLINE`] characters. Longer texts, such as the output of a program on a host, go into the detail.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum length of a headline, in characters.
pub const HEADLINE: usize = 160;

/// Minimum length of a headline when a long line is split at a separator, in characters.
const SHORTEST: usize = 24;

/// A message for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "MessageForm", rename_all = "camelCase")]
pub struct Message {
    #[serde(rename = "message")]
    headline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The stored form of a message. Earlier versions stored headlines of any length, so reading one splits it
/// again.
#[derive(Deserialize)]
struct MessageForm {
    message: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    hint: Option<String>,
}

impl From<MessageForm> for Message {
    fn from(form: MessageForm) -> Self {
        let mut message = Self::new(form.message).with_hint(form.hint);
        if let Some(detail) = form.detail {
            message = message.with_detail(detail);
        }
        message
    }
}

impl Message {
    /// Creates a message from a text. The first line becomes the headline and is split if it is too long. The
    /// rest becomes the detail.
    pub fn new(text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = text.trim_end();
        if !text.contains('\n') && text.chars().count() <= HEADLINE {
            return Self {
                headline: text.to_owned(),
                detail: None,
                hint: None,
            };
        }
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (headline, left) = divide(first.trim_end());
        let detail: Vec<&str> = [left, rest]
            .into_iter()
            .filter(|part| !part.trim().is_empty())
            .collect();
        Self {
            headline,
            detail: (!detail.is_empty()).then(|| detail.join("\n")),
            hint: None,
        }
    }

    /// Appends lines to the detail.
    #[must_use]
    pub fn with_detail(mut self, lines: impl Into<String>) -> Self {
        let lines: String = lines.into();
        if lines.is_empty() {
            return self;
        }
        self.detail = Some(match self.detail {
            Some(detail) => format!("{detail}\n{lines}"),
            None => lines,
        });
        self
    }

    /// Sets the hint; `None` removes it.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Returns this message with `names` and a colon in front of the headline.
    #[must_use]
    pub fn about(&self, names: &str) -> Self {
        let headline = Self::new(format!("{names}: {}", self.headline));
        let detail = self.detail.clone().unwrap_or_default();
        headline.with_detail(detail).with_hint(self.hint.clone())
    }

    /// Returns the headline: one line of at most [`HEADLINE`] characters.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// Returns the lines that belong to the headline: a journal, a list, a difference.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Returns the hint, which says what the reader can do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the headline, the detail and the hint, each on lines of its own.
    pub fn full_text(&self) -> String {
        let parts = [Some(self.headline()), self.detail(), self.hint()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.headline)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Splits a line into a headline and the rest. Splits at the last `; ` within the allowed length, else at the
/// last `: `, else at the last `, `. If there is none, cuts the headline with `…` and returns the whole line
/// as the rest.
fn divide(line: &str) -> (String, &str) {
    let Some((end, _)) = line.char_indices().nth(HEADLINE) else {
        return (line.to_owned(), "");
    };
    let shortest = line
        .char_indices()
        .nth(SHORTEST)
        .map_or(end, |(shortest, _)| shortest);
    for separator in ["; ", ": ", ", "] {
        if let Some(at) = line[..end].rfind(separator).filter(|at| *at >= shortest) {
            return (line[..at].to_owned(), &line[at + separator.len()..]);
        }
    }
    let (cut, _) = line.char_indices().nth(HEADLINE - 1).unwrap_or((end, ' '));
    (format!("{}…", &line[..cut]), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>) {
        let message = Message::new(text);
        assert!(message.headline().chars().count() <= HEADLINE, "{text}");
        assert!(!message.headline().contains('\n'), "{text}");
        (
            message.headline().to_owned(),
            message.detail().map(str::to_owned),
        )
    }

    #[test]
    fn keeps_a_journal_out_of_the_headline() {
        let (headline, detail) = parts(
            "can't start slow.service: it failed\nits last lines in the journal:\nbad option\n",
        );
        assert_eq!(headline, "can't start slow.service: it failed");
        assert_eq!(
            detail.unwrap(),
            "its last lines in the journal:\nbad option"
        );
        assert_eq!(parts("one idea"), ("one idea".to_owned(), None));
    }

    #[test]
    fn divides_a_long_line_where_a_clause_ends() {
        let list = "name, ".repeat(60);
        let (headline, detail) = parts(&format!("the policy rejects these keys: {list}end"));
        assert_eq!(headline, "the policy rejects these keys");
        assert!(detail.unwrap().ends_with("end"));
        let (headline, detail) = parts(&"ü".repeat(400));
        assert_eq!(headline.chars().count(), HEADLINE);
        assert_eq!(detail.unwrap().chars().count(), 400, "nothing is lost");
    }

    #[test]
    fn reads_what_earlier_versions_stored() {
        let stored = format!("{{\"message\": \"a failed: {}\\nb\"}}", "x ".repeat(200));
        let message: Message = serde_json::from_str(&stored).unwrap();
        assert!(message.headline().chars().count() <= HEADLINE);
        assert!(message.detail().unwrap().ends_with("\nb"));
        let again: Message =
            serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap();
        assert_eq!(again, message);
    }
}
