//! Labels of manifests made fit for Prometheus.

/// The name of a manifest's label as Prometheus takes it: `[a-zA-Z_][a-zA-Z0-9_]*`. Alertmanager
/// refuses a whole request for one `.` or `-`.
pub fn label_name(name: &str) -> String {
    let mut fit: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if fit.starts_with(|c: char| c.is_ascii_digit()) || fit.is_empty() {
        fit.insert(0, '_');
    }
    // Names with two underscores in front are Prometheus' own.
    while fit.starts_with("__") {
        fit.remove(0);
    }
    fit
}

/// The labels of an alert: ours win over those of a manifest, and empty ones are left out as
/// Alertmanager drops them.
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
