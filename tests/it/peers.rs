//! `tests/peers.md` lists the cases of other tools, each with the test of ours that shows the same or the difference.

use std::fs;
use std::path::Path;

/// Minimum number of cases.
const LEAST: usize = 120;

/// Returns what is wrong with a row of the table, if anything is.
fn fault(root: &Path, row: &str) -> Option<String> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [source, case, verdict, shown] = cells[..] else {
        return Some(format!("not four columns: {row}"));
    };
    let path = source.split_once('`').map_or("", |(_, path)| path);
    if path.is_empty() || case.is_empty() {
        return Some(format!("no source or no case: {row}"));
    }
    let has_reason = verdict.strip_prefix("differs: ").is_some();
    match verdict {
        "same" => {}
        _ if has_reason => {}
        "not ours" if !shown.is_empty() => return None,
        _ => return Some(format!("unknown verdict or no reason: {row}")),
    }
    let Some((file, name)) = shown.trim_matches('`').split_once("::") else {
        return Some(format!("no test: {row}"));
    };
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let is_there = [format!("fn {name}("), format!("def {name}(")]
        .iter()
        .any(|head| text.contains(head.as_str()));
    (!is_there).then(|| format!("{file} has no test {name}"))
}

#[test]
fn each_case_of_a_peer_has_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = fs::read_to_string(root.join("tests/peers.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| source "))
        .collect();
    let faults: Vec<String> = rows.iter().filter_map(|row| fault(root, row)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(rows.len() >= LEAST, "{} cases", rows.len());
}

#[test]
fn a_row_without_test_or_reason_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for row in [
        "| a `b` | c | same | `tests/it/peers.rs::nothing` |",
        "| a `b` | c | differs | `tests/it/peers.rs::each_case_of_a_peer_has_a_test_or_a_reason` |",
        "| a `b` | c | maybe | d |",
        "| a `b` | c | not ours |  |",
        "| a | c | same | `tests/it/peers.rs::each_case_of_a_peer_has_a_test_or_a_reason` |",
    ] {
        assert!(fault(root, row).is_some(), "{row}");
    }
    let good =
        "| a `b` | c | same | `tests/it/peers.rs::each_case_of_a_peer_has_a_test_or_a_reason` |";
    assert_eq!(fault(root, good), None);
}
