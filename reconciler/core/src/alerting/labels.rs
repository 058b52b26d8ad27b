//! Converts manifest labels to Prometheus labels.

/// Returns a manifest label's name in Prometheus' form: `[a-zA-Z_][a-zA-Z0-9_]*`. Alertmanager rejects a whole
/// request if the name of a single label contains a `.` or `-`.
pub fn label_name(name: &str) -> String {
    let mut fit: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if fit.starts_with(|c: char| c.is_ascii_digit()) || fit.is_empty() {
        fit.insert(0, '_');
    }
    // Prometheus reserves names that begin with two underscores.
    while fit.starts_with("__") {
        fit.remove(0);
    }
    fit
}

/// Returns the labels of an alert. Plumb's own labels override those of the manifest. Empty labels are left
/// out, because Alertmanager drops them.
pub(super) fn all<'a>(
    ours: impl IntoIterator<Item = (&'a str, String)>,
    manifest: &std::collections::BTreeMap<String, String>,
) -> super::Labels {
    let mut labels: super::Labels = manifest
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (label_name(name), value.clone()))
        .collect();
    labels.extend(
        ours.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value)),
    );
    labels
}
