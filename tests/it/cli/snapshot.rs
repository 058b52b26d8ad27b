//! Snapshots of what a program printed. `PLUMB_BLESS=1 cargo test -p tests --test it` writes them anew; read the
//! difference before you commit it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::{Captures, Regex};

use super::environment::Run;

/// Compares a run with its snapshot, or writes the snapshot if `PLUMB_BLESS` is set.
#[track_caller]
pub(super) fn assert(name: &str, run: &Run) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("it/cli/snapshots")
        .join(name)
        .with_extension("txt");
    let found = format!(
        "exit code {}\n--- stdout ---\n{}--- stderr ---\n{}",
        run.code, run.stdout, run.stderr
    );
    let found = stable(&found);
    if std::env::var_os("PLUMB_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == found,
        "{} differs; if it should, write it with PLUMB_BLESS=1\nexpected:\n{expected}\nfound:\n{found}",
        path.display()
    );
}

/// Replaces what differs from run to run: folders, ids, keys and times. Equal values get equal names.
fn stable(text: &str) -> String {
    let temporary = regex::escape(&std::env::temp_dir().display().to_string());
    let mut text = Cow::Borrowed(text);
    for (pattern, name) in [
        (format!(r"{temporary}/\.tmp\w+"), "DIR"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".to_owned(),
            "UUID",
        ),
        (r"AAAA[A-Za-z0-9+/=]{20,}".to_owned(), "KEYDATA"),
        (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z".to_owned(),
            "TIME",
        ),
        (r"index [0-9a-f]+\.\.[0-9a-f]+".to_owned(), "index BLOBS"),
        (r"SHA256:[A-Za-z0-9+/]{43}".to_owned(), "SHA256:KEY"),
        // Both are replaced by their first digits, so that an abbreviation gets the name of its whole.
        (r"\b[0-9a-f]{12,64}\b".to_owned(), "ID"),
        (r"\b[0-9A-F]{40}\b".to_owned(), "CERT"),
    ] {
        let mut known = BTreeMap::new();
        let numbered = |found: &Captures<'_>| match name {
            "ID" | "SHA256:KEY" | "CERT" => {
                let next = known.len() + 1;
                let start = found[0].chars().take(12 + "SHA256:".len()).collect();
                let start: String = if name == "ID" {
                    found[0][..12].to_owned()
                } else {
                    start
                };
                format!("{name}{}", known.entry(start).or_insert(next))
            }
            _ => name.to_owned(),
        };
        let pattern = Regex::new(&pattern).unwrap();
        text = Cow::Owned(pattern.replace_all(&text, numbered).into_owned());
    }
    text.into_owned()
}

#[test]
fn equal_ids_get_equal_names() {
    let (one, other) = ("0123456789abcdef".repeat(3), "fedcba9876543210".repeat(3));
    let text = format!("{one} {other} {} 2026-01-02T03:04:05Z", &one[..12]);
    assert_eq!(stable(&text), "ID1 ID2 ID1 TIME");
}
