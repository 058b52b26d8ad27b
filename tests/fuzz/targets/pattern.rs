//! Matching never panics and isn't slow; what owns a folder owns what is in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::Pattern;

fuzz_target!(|data: (&str, &str)| {
    let (pattern, path) = data;
    if let Ok(pattern) = Pattern::parse(pattern) {
        if pattern.owns(path) {
            assert!(pattern.owns(&format!("{path}/inside")));
        }
        assert_eq!(pattern.owns(path), pattern.owns(&path.to_ascii_uppercase()));
    }
});
