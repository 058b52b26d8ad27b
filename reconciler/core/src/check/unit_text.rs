//! Reads the directives of a unit file (systemd.syntax(7)).

/// Returns the directives of a unit file in order, each with its value. Sections aren't told apart: no check
/// needs them.
pub(super) fn directives(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        if line.starts_with(['#', ';', '[']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((key.trim_end(), value.trim_start()))
    })
}

/// Returns the value of the last directive of this name; an earlier one has no effect.
pub(super) fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    directives(text)
        .filter(|(key, _)| *key == name)
        .last()
        .map(|(_, value)| value)
}
