//! Names that come through are ones that every file system takes for themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::ObjectFormat;
use plumb_trust::object::Tree;

fuzz_target!(|data: &[u8]| {
    if let Ok(tree) = Tree::parse(data, ObjectFormat::Sha1) {
        for entry in tree.entries() {
            assert!(!entry.name.is_empty() && !entry.name.contains(['/', '\0', '\n']));
            assert!(entry.name != ".." && !entry.name.eq_ignore_ascii_case(".git"));
        }
    }
});
