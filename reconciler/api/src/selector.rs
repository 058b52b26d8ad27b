//! Selectors: labels as in kubectl, a list of names, or `*` for all.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// A set of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All hosts.
    All,
    /// The hosts with these names.
    Names(Vec<String>),
    /// The hosts whose labels meet all of these requirements.
    Labels(Vec<Requirement>),
}

/// One condition on labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// `key=value`, `key in (a, b)`: the label exists and has one of these values.
    In(String, Vec<String>),
    /// `key!=value`, `key notin (a, b)`: the label doesn't exist or has another value.
    NotIn(String, Vec<String>),
    /// `key`: the label exists.
    Exists(String),
    /// `!key`: the label doesn't exist.
    Missing(String),
}

/// The text isn't a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSelector {
    text: String,
    problem: &'static str,
}

impl fmt::Display for InvalidSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` isn't a selector: {}", self.text, self.problem)
    }
}

impl std::error::Error for InvalidSelector {}

impl Selector {
    /// Parses a selector: `role=cloud,site!=home`, `env in (a, b)`, `key`, `!key` or `*`.
    ///
    /// # Errors
    /// Returns an error if the text has another form. An empty text is an error too, because it would
    /// silently select all hosts.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let wrong = |problem| InvalidSelector {
            text: text.to_owned(),
            problem,
        };
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let mut requirements = Vec::new();
        for part in split(text).ok_or_else(|| wrong("a bracket isn't closed"))? {
            requirements.push(requirement(part.trim()).map_err(wrong)?);
        }
        Ok(Self::Labels(requirements))
    }

    /// Creates a selector from a list of names.
    pub fn names(names: impl IntoIterator<Item = String>) -> Self {
        Self::Names(names.into_iter().collect())
    }

    /// True if a host of this name with these labels matches.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.iter().any(|one| one == name),
            Self::Labels(requirements) => requirements.iter().all(|one| one.holds(labels)),
        }
    }

    /// Returns whether a host of this name matches, or `None` if that depends on its labels.
    pub fn matches_name(&self, name: &str) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Names(names) => Some(names.iter().any(|one| one == name)),
            Self::Labels(_) => None,
        }
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Missing(key) => !labels.contains_key(key),
        }
    }
}

/// Splits the text at commas outside of brackets; returns `None` if the brackets don't match.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (depth == 0).then_some(parts)
}

fn requirement(part: &str) -> Result<Requirement, &'static str> {
    if let Some(key) = part.strip_prefix('!') {
        return label(key.trim()).map(Requirement::Missing);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(
            label(key.trim())?,
            vec![self::value(value)?],
        ));
    }
    if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Ok(Requirement::In(
            label(key.trim())?,
            vec![self::value(value)?],
        ));
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values
            .split(',')
            .map(value)
            .collect::<Result<Vec<_>, _>>()?;
        return match head.trim().split_once(char::is_whitespace) {
            Some((key, word)) if word.trim() == "in" => Ok(Requirement::In(label(key)?, values)),
            Some((key, word)) if word.trim() == "notin" => {
                Ok(Requirement::NotIn(label(key)?, values))
            }
            _ => Err("`key in` and `key notin` need a list in brackets"),
        };
    }
    label(part).map(Requirement::Exists)
}

/// Parses a label's value. Operators and brackets in a value are probably a mistake, so they are rejected.
fn value(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.contains(['=', '!', '(', ')', ',']) {
        Err("a label's value can't have any of `=`, `!`, `(`, `)` and `,`")
    } else {
        Ok(text.to_owned())
    }
}

fn label(text: &str) -> Result<String, &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !text.is_empty() && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("a label's key can only have letters, digits, `-`, `_`, `.` and `/`")
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Labels(requirements) => {
                for (at, one) in requirements.iter().enumerate() {
                    if at > 0 {
                        f.write_str(",")?;
                    }
                    match one {
                        Requirement::In(key, values) if values.len() == 1 => {
                            write!(f, "{key}={}", values[0])?;
                        }
                        Requirement::NotIn(key, values) if values.len() == 1 => {
                            write!(f, "{key}!={}", values[0])?;
                        }
                        Requirement::In(key, values) => {
                            write!(f, "{key} in ({})", values.join(", "))?;
                        }
                        Requirement::NotIn(key, values) => {
                            write!(f, "{key} notin ({})", values.join(", "))?;
                        }
                        Requirement::Exists(key) => f.write_str(key)?,
                        Requirement::Missing(key) => write!(f, "!{key}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> bool {
        let labels = [("role", "cloud"), ("site", "home")];
        let labels = labels
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Selector::parse(selector).unwrap().matches("linda", &labels)
    }

    #[test]
    fn kubectl_forms() {
        for yes in [
            "*",
            "role=cloud",
            "role==cloud,site=home",
            "site!=work",
            "env!=prod",
            "role in (a, cloud)",
            "env notin (a,b)",
            "role",
            "!env",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "role=a",
            "role=cloud,site!=home",
            "role notin (cloud)",
            "!role",
            "env",
            "env in (a)",
        ] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for wrong in [
            "",
            "role=a,",
            "a b",
            "in (a",
            "x of (a)",
            "role=cloud,,site",
        ] {
            assert!(Selector::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_list_names_hosts() {
        let selector = Selector::names(["linda".to_owned()]);
        assert!(
            selector.matches("linda", &BTreeMap::new()) && !selector.matches("x", &BTreeMap::new())
        );
    }
}
