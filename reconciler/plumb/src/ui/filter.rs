//! The filter of the page's hosts: a state, a label, or both. It is part of the page's address, so that it
//! needs no script and no form.

use serde::Deserialize;

use super::HostRow;

/// The chosen hosts, from the page's address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct HostFilter {
    /// A state's word: `ready`, `drifted`.
    #[serde(default)]
    state: Option<String>,
    /// A label: `site=home`.
    #[serde(default)]
    label: Option<String>,
}

/// A link that chooses hosts.
pub(super) struct FilterLink {
    pub(super) text: String,
    pub(super) address: String,
    /// True if the page shows exactly this choice.
    pub(super) chosen: bool,
}

impl HostFilter {
    /// Creates the filter of one label.
    pub(super) fn of_label(label: String) -> Self {
        Self {
            state: None,
            label: Some(label),
        }
    }

    /// True if a host is chosen.
    pub(super) fn matches(&self, row: &HostRow<'_>) -> bool {
        let is_state = self.state.as_deref().is_none_or(|state| state == row.word);
        let has = |label: &str| row.labels.iter().any(|own| own.text == label);
        is_state && self.label.as_deref().is_none_or(has)
    }

    /// Returns the address of the page with this filter.
    pub(super) fn address(&self) -> String {
        let parts = [("state", &self.state), ("label", &self.label)];
        let parts: Vec<_> = parts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))))
            .collect();
        match parts.as_slice() {
            [] => "/".to_owned(),
            parts => format!("/?{}", parts.join("&")),
        }
    }

    /// Returns the links of the page: all hosts, and each state that a host is in, under the present label.
    pub(super) fn links(&self, rows: &[HostRow<'_>]) -> Vec<FilterLink> {
        let mut states: Vec<(&str, usize)> = Vec::new();
        for row in rows {
            match states.iter_mut().find(|(word, _)| *word == row.word) {
                Some((_, count)) => *count += 1,
                None => states.push((row.word, 1)),
            }
        }
        let link = |filter: Self, text: String| FilterLink {
            chosen: filter == *self,
            address: filter.address(),
            text,
        };
        let mut links = vec![link(Self::default(), format!("all {}", rows.len()))];
        if let Some(label) = &self.label {
            links.push(link(Self::of_label(label.clone()), label.clone()));
        }
        links.extend(states.into_iter().map(|(word, count)| {
            let filter = Self {
                state: Some(word.to_owned()),
                label: self.label.clone(),
            };
            link(filter, format!("{word} {count}"))
        }));
        links
    }
}

/// Encodes a text for a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_what_a_label_has() {
        let filter = HostFilter::of_label("a.example/x=1&2".to_owned());
        assert_eq!(filter.address(), "/?label=a.example%2Fx%3D1%262");
        assert_eq!(HostFilter::default().address(), "/");
    }
}
