use super::PathStep::{Item, Key};
use super::*;

const BLOCK: &str = "\
spec:
  serial: 3   # raise me
  identities:
    # the boss
    alice:
      keys:
        - ssh: \"SHA256:a\"   # laptop
        - openpgp: AA
    bob: {keys: [{ssh: \"SHA256:b\"}]}   # second
  groups:
    ops:
      - alice
      - bob   # new
    sec: [alice]
  rules: []
";

fn edited(text: &str, edit: impl FnOnce(&mut Yaml) -> Result<(), EditError>) -> String {
    let mut yaml = Yaml::new(text.to_owned());
    edit(&mut yaml).unwrap_or_else(|error| panic!("{error}\n{text}"));
    yaml.text().to_owned()
}

/// The lines that differ, as a diff has them.
fn difference(before: &str, after: &str) -> Vec<String> {
    similar::TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .map(|change| format!("{}{}", change.tag(), change.value().trim_end()))
        .collect()
}

#[track_caller]
fn changes(edit: impl FnOnce(&mut Yaml) -> Result<(), EditError>, lines: &[&str]) {
    assert_eq!(difference(BLOCK, &edited(BLOCK, edit)), lines);
}

#[test]
fn a_scalar_is_replaced_and_its_comment_stays() {
    changes(
        |yaml| yaml.set(&[Key("spec"), Key("serial")], "4"),
        &["-  serial: 3   # raise me", "+  serial: 4   # raise me"],
    );
}

#[test]
fn entries_and_items_are_added_in_either_style() {
    let identities = [Key("spec"), Key("identities")];
    changes(
        |yaml| yaml.insert(&identities, "carol", "{keys: [{openpgp: CC}]}"),
        &["+    carol: {keys: [{openpgp: CC}]}"],
    );
    let keys = [Key("spec"), Key("identities"), Key("alice"), Key("keys")];
    changes(
        |yaml| yaml.push(&keys, "{ssh: \"SHA256:c\"}"),
        &["+        - {ssh: \"SHA256:c\"}"],
    );
    changes(
        |yaml| yaml.push(&[Key("spec"), Key("groups"), Key("ops")], "carol"),
        &["+      - carol"],
    );
    changes(
        |yaml| yaml.push(&[Key("spec"), Key("groups"), Key("sec")], "carol"),
        &["-    sec: [alice]", "+    sec: [alice, carol]"],
    );
    changes(
        |yaml| yaml.push(&[Key("spec"), Key("rules")], "x"),
        &["-  rules: []", "+  rules: [x]"],
    );
    let first = [
        Key("spec"),
        Key("identities"),
        Key("alice"),
        Key("keys"),
        Item(0),
    ];
    changes(
        |yaml| yaml.insert(&first, "validBefore", "2027-01-01T00:00:00Z"),
        &["+          validBefore: 2027-01-01T00:00:00Z"],
    );
}

#[test]
fn entries_and_items_are_taken_out_with_their_lines() {
    let removed = |path: &[PathStep<'_>], lines: &[&str]| {
        changes(|yaml| yaml.remove(path), lines);
    };
    removed(
        &[Key("spec"), Key("identities"), Key("bob")],
        &["-    bob: {keys: [{ssh: \"SHA256:b\"}]}   # second"],
    );
    removed(
        &[
            Key("spec"),
            Key("identities"),
            Key("alice"),
            Key("keys"),
            Item(0),
        ],
        &["-        - ssh: \"SHA256:a\"   # laptop"],
    );
    removed(
        &[Key("spec"), Key("groups"), Key("ops"), Item(1)],
        &["-      - bob   # new"],
    );
    removed(
        &[Key("spec"), Key("groups"), Key("sec"), Item(0)],
        &["-    sec: [alice]", "+    sec: []"],
    );
    removed(
        &[Key("spec"), Key("identities"), Key("alice")],
        &[
            "-    alice:",
            "-      keys:",
            "-        - ssh: \"SHA256:a\"   # laptop",
            "-        - openpgp: AA",
        ],
    );
}

#[test]
fn the_last_item_of_a_list_leaves_an_empty_list() {
    let text = "spec:\n  ops:\n  - alice\n  sec: [bob]\n";
    let after = edited(text, |yaml| {
        yaml.remove(&[Key("spec"), Key("ops"), Item(0)])
    });
    assert_eq!(after, "spec:\n  ops: []\n  sec: [bob]\n");
}

#[test]
fn brackets_over_several_lines_keep_their_comments() {
    let text = "ops: [\n  alice, # boss\n  bob,   # second\n  carol  # third\n]\n";
    assert_eq!(
        edited(text, |yaml| yaml.remove(&[Key("ops"), Item(2)])),
        "ops: [\n  alice, # boss\n  bob,   # second\n]\n"
    );
    assert_eq!(
        edited(text, |yaml| yaml.push(&[Key("ops")], "dave")),
        "ops: [\n  alice, # boss\n  bob,   # second\n  carol, dave  # third\n]\n"
    );
    assert_eq!(
        edited("a: [x, y]", |yaml| yaml.remove(&[Key("a"), Item(1)])),
        "a: [x]"
    );
    assert_eq!(
        edited("a: [x, y]", |yaml| yaml.remove(&[Key("a"), Item(0)])),
        "a: [y]"
    );
}

#[test]
fn line_ends_are_those_of_the_file() {
    assert_eq!(
        edited("a:\r\n  b: 1\r\n", |yaml| yaml.insert(
            &[Key("a")],
            "c",
            "2"
        )),
        "a:\r\n  b: 1\r\n  c: 2\r\n"
    );
    assert_eq!(
        edited("a:\n  b: 1", |yaml| yaml.insert(&[Key("a")], "c", "2")),
        "a:\n  b: 1\n  c: 2\n"
    );
}

#[test]
fn what_would_touch_something_else_is_refused() {
    let text = "ops: &all [alice]\nsec: *all\n";
    let mut yaml = Yaml::new(text.to_owned());
    assert_eq!(
        yaml.push(&[Key("ops")], "bob"),
        Err(EditError::Layout("ops".to_owned()))
    );
    assert_eq!(
        yaml.push(&[Key("sec")], "bob"),
        Err(EditError::Layout("sec".to_owned()))
    );
    assert_eq!(
        yaml.push(&[Key("nobody")], "bob"),
        Err(EditError::Nothing("nobody".to_owned()))
    );
    assert_eq!(yaml.text(), text);
}

#[test]
fn words_are_quoted_where_they_would_be_read_as_something_else() {
    assert_eq!(scalar("alice"), "alice");
    assert_eq!(scalar("true"), "\"true\"");
    assert_eq!(scalar("12"), "\"12\"");
    assert_eq!(scalar("null"), "\"null\"");
    assert_eq!(scalar("a,b"), "\"a,b\"");
}
