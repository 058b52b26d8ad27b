use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{Spanned, parse};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    state: State,
    mode: Option<String>,
    restart_on: Option<Vec<String>>,
    port: Option<u16>,
    enabled: Option<bool>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    from: Option<Source>,
    #[serde(default)]
    inner: Inner,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Source {
    Template(String),
    TemplateFile(String),
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(default)]
    ports: BTreeMap<u16, u8>,
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let node = parse(&"f.yaml".into(), text.as_bytes()).unwrap();
    decode(&node).map_err(|diagnostics| {
        diagnostics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

#[test]
fn a_null_spec_is_just_this() {
    let specs: BTreeMap<String, Spec> = read("{btop, git}").unwrap();
    assert_eq!(specs["btop"].state, State::Present);
    assert_eq!(specs.len(), 2);
}

#[test]
fn every_form_is_read() {
    let spec: Spec = read(
        "state: absent\nmode: \"0644\"\nrestartOn: [a, b]\nport: 80\nenabled: true\nlabels: {n: \"1\"}\nfrom: {template: x}\ninner: {ports: {80: 1}}\n",
    )
    .unwrap();
    assert_eq!(spec.state, State::Absent);
    assert_eq!(spec.from, Some(Source::Template("x".into())));
    assert_eq!(spec.inner.ports[&80], 1);
}

#[test]
fn each_error_has_its_place_and_says_what_to_do() {
    for (text, says) in [
        (
            "mode: 0644",
            "f.yaml:1:7: error[wrong-type]: expected text, not the number 0644\n  hint: put it in quotes: \"0644\"",
        ),
        (
            "mode: 1.10",
            "f.yaml:1:7: error[wrong-type]: expected text, not the number 1.10\n  hint: put it in quotes: \"1.10\"",
        ),
        (
            "labels: {canary: true}",
            "f.yaml:1:18: error[wrong-type]: expected text, not the boolean true\n  hint: put it in quotes: \"true\"",
        ),
        (
            "restart_on: []",
            "f.yaml:1:1: error[unknown-field]: unknown field `restart_on`\n  hint: did you mean `restartOn`?",
        ),
        (
            "banana: []",
            "f.yaml:1:1: error[unknown-field]: unknown field `banana`\n  hint: use one of: `state`, `mode`",
        ),
        (
            "state: abscent",
            "f.yaml:1:8: error[invalid-value]: unknown value `abscent`\n  hint: did you mean `absent`?",
        ),
        (
            "port: 70000",
            "f.yaml:1:7: error[invalid-value]: expected a whole number from 0 to 65535, not the number 70000",
        ),
        (
            "port: -1",
            "f.yaml:1:7: error[invalid-value]: expected a whole number from 0 to 65535, not the number -1",
        ),
        (
            "port: \"80\"",
            "expected a whole number, not the text \"80\"\n  hint: write it without quotes",
        ),
        ("port: 080", "080 has a leading zero"),
        (
            "enabled: yes",
            "f.yaml:1:10: error[wrong-type]: expected true or false, not the text \"yes\"\n  hint: write true, without quotes",
        ),
        (
            "restartOn: x",
            "expected a list, not the text \"x\"\n  hint: write it as a list: [x]",
        ),
        (
            "restartOn:\n  - 1\n",
            "f.yaml:2:5: error[wrong-type]: expected text",
        ),
        (
            "labels: [a]",
            "expected a mapping, not a list\n  hint: write it in braces instead of brackets",
        ),
        (
            "from: {template: a, templateFile: b}",
            "f.yaml:1:7: error[invalid-value]: exactly one of `template`, `templateFile` must be set",
        ),
        (
            "from: {templte: a}",
            "f.yaml:1:8: error[invalid-value]: unknown value `templte`\n  hint: did you mean `template`?",
        ),
        (
            "inner: {ports: {a: 1}}",
            "f.yaml:1:17: error[wrong-type]: expected a whole number, not the key `a`",
        ),
        ("[1]", "expected a mapping, not a list"),
    ] {
        let error = read::<Spec>(text).unwrap_err();
        assert!(error.contains(says), "{text:?}\n{error}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let error =
        read::<Spec>("modee: \"1\"\nmode: 1\nport: x\ninner: {prts: {}}\nlabels: {a: 1, b: 2}\n")
            .unwrap_err();
    assert_eq!(error.matches("error[").count(), 6, "{error}");
}

#[test]
fn a_missing_field_is_at_its_mapping_and_a_wrong_one_is_not_also_missing() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Needs {
        #[allow(dead_code)]
        name: String,
    }
    let error = read::<BTreeMap<String, Needs>>("a:\n  {}\n").unwrap_err();
    assert_eq!(error, "f.yaml:2:3: error[missing-field]: `name` is missing");
    let error = read::<BTreeMap<String, Needs>>("a: {name: 1}\n").unwrap_err();
    assert_eq!(error.matches("error[").count(), 1, "{error}");
}

#[test]
fn spanned_values_know_their_place() {
    let list: Vec<Spanned<String>> = read("- a\n- \"b\"\n").unwrap();
    assert_eq!(list[1].span.to_string(), "f.yaml:2:3");
    assert_eq!(*list[1], "b");
    let error = read::<Vec<Spanned<String>>>("- a\n- 1\n").unwrap_err();
    assert!(
        error.starts_with("f.yaml:2:3: error[wrong-type]"),
        "{error}"
    );
}
