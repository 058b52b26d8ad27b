//! Finds private keys that every user of the host may read.

use plumb_api::{Kind, Spec};
use plumb_document::Diagnostic;

use super::HostView;
use crate::manifest::{code, has_private_key};

/// Longer files are no keys.
const LONGEST: usize = 64 << 10;

/// Returns a warning for each file with a private key and a mode that lets everybody read it.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in host.of(Kind::File) {
        let Spec::File(spec) = one.spec() else {
            continue;
        };
        let Some(text) = one.text().filter(|text| text.len() <= LONGEST) else {
            continue;
        };
        // A file without a mode gets 0644.
        if spec.mode.is_some_and(|mode| mode.bits() & 0o004 == 0) || !has_private_key(text) {
            continue;
        }
        let message = format!("every user of the host may read the private key in {one}");
        found.push(
            Diagnostic::warning(code::READABLE_KEY, one.place_of("mode"), message)
                .hint("write `mode: \"0600\"`, and keep the key in a Secret"),
        );
    }
    found
}
