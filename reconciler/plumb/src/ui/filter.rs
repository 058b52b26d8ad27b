//! Filters the hosts on the page by state, by label, or by both. The filter is part of the page's URL, so the
//! page needs no script and no form.

use serde::Deserialize;

use super::HostRow;

/// The filter in the page's URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct HostFilter {
    /// The name of a state, such as `ready` or `drifted`.
    #[serde(default)]
    state: Option<String>,
    /// A label, such as `site=home`.
    #[serde(default)]
    label: Option<String>,
}

/// A link to the page with another filter.
pub(super) struct FilterLink {
    pub(super) text: String,
    pub(super) address: String,
    /// True if the page currently uses this filter.
    pub(super) chosen: bool,
}

impl HostFilter {
    /// Creates a filter for one label.
    pub(super) fn of_label(label: String) -> Self {
        Self {
            state: None,
            label: Some(label),
        }
    }

    /// True if the filter matches a host.
    pub(super) fn matches(&self, row: &HostRow<'_>) -> bool {
        let is_state = self.state.as_deref().is_none_or(|state| state == row.word);
        let has = |label: &str| row.labels.iter().any(|own| own.text == label);
        is_state && self.label.as_deref().is_none_or(has)
    }

    /// Returns the URL of the page with this filter.
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

    /// Returns the page's links: one for all hosts, and one for each state that a host is in. They keep the
    /// current label.
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

/// Percent-encodes a text for a URL's query.
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
