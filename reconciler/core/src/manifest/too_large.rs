//! Diagnostics about files that are too large to be read.

use plumb_document::{Diagnostic, Span, TooLarge};

use super::{Manifests, code};

/// Creates the error about a file that is too large: a manifest, or a file that a manifest refers to.
pub(crate) fn too_large(path: &str, large: TooLarge, span: &Span) -> Diagnostic {
    Diagnostic::error(code::FILE_TOO_LARGE, span, format!("{path} {large}"))
        .hint("make the file smaller, or keep it outside of the repository")
}

impl Manifests {
    /// Returns a warning about each file that is too large and that no diagnostic in `found` mentions,
    /// because no host uses it. Files in `trust/` are left out: they have limits of their own.
    pub(crate) fn large_and_unused<'a>(
        &self,
        found: impl Iterator<Item = &'a Diagnostic>,
    ) -> Vec<Diagnostic> {
        let told: Vec<_> = found
            .filter(|one| one.code == code::FILE_TOO_LARGE)
            .map(|one| one.message.as_str())
            .collect();
        let large = self
            .files
            .iter()
            .filter(|(path, _)| !path.starts_with("trust/"))
            .filter_map(|(path, file)| Some((path, file.too_large()?)));
        large
            .filter(|(path, large)| {
                let message = format!("{path} {large}");
                !told.contains(&message.as_str())
            })
            .map(|(path, large)| {
                let span = Span::of_file(path.clone());
                let message = format!("{path} {large}, so no host can use it");
                Diagnostic::warning(code::FILE_TOO_LARGE, &span, message).hint(
                    "remove it from the repository, or move it to a folder that Plumb doesn't read",
                )
            })
            .collect()
    }
}
