use plumb_trust::policy::BindRef;

use super::*;

const ALICE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7rxd7g5rDhyfqFo4wbFqNOCKV1gPk0iYLZZ7UdtG1C alice";
const BOB: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL0mJZ3y4Bd2Vv2Q2xD1m0vJ0m8q5wJ0Xr3B9m7pK4aT bob";

fn policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"))
}

fn said(notes: &[Note]) -> String {
    let notes = notes.iter().map(|note| match note.line {
        Some(line) => format!("{line}: {}\n", note.message),
        None => format!("{}\n", note.message),
    });
    notes.collect()
}

#[track_caller]
fn notes_have(notes: &[Note], parts: &[&str]) {
    let all = said(notes);
    for part in parts {
        assert!(all.contains(part), "`{part}` is missing in:\n{all}");
    }
}

#[test]
fn allowed_signers_become_identities() {
    let text = format!(
        "# ours\nalice@example.com,alice@home {ALICE}\n\nbob@example.com namespaces=\"git\",valid-before=\"20991231Z\" {BOB}\n"
    );
    let (new, mut notes) = allowed_signers::read(&text);
    notes.extend(allowed_signers::rules(&new));
    let written = new.text("fleet", "main");
    let folder = tempfile::tempdir().unwrap();
    PolicyEdit::create(folder.path(), &new, &written)
        .prove("Import")
        .unwrap();
    let policy = policy(&written);
    let names: Vec<_> = policy.identities.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(
        policy.identities[1].keys[0]
            .valid_before
            .unwrap()
            .to_string(),
        "2099-12-31T00:00:00Z"
    );
    assert_eq!(policy.bind_ref, BindRef::Trailer);
    notes_have(
        &notes,
        &[
            "2: alice@example.com becomes alice;",
            "doesn't say who may change the policy",
        ],
    );
}

#[test]
fn what_allowed_signers_say_and_a_policy_cant_is_left_out_line_by_line() {
    let text = format!(
        "*@example.com {ALICE}\ncarol cert-authority {ALICE}\ndave namespaces=\"file\" {ALICE}\nerin valid-after=\"20991231Z\" {ALICE}\nfrank verify-required {ALICE}\ngina valid-before=\"20000101Z\" {ALICE}\nhal ssh-ed25519 garbled\nalice {ALICE}\nmallory {ALICE}\nbob {BOB}\n"
    );
    let (new, notes) = allowed_signers::read(&text);
    let names: Vec<_> = new.identities.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob"]);
    notes_have(
        &notes,
        &[
            "1: left out: `*@example.com` is a pattern",
            "2: left out: `cert-authority`",
            "3: left out: `namespaces=\"file\"`",
            "4: left out: `valid-after=20991231Z` is in the future",
            "5: left out: unknown option `verify-required`",
            "6: left out: `valid-before=20000101Z` has passed",
            "7: left out: the key is a key that can't be read",
            "9: left out: the key SHA256:",
            "already belongs to alice",
        ],
    );
}

#[test]
fn what_a_name_loses_is_said_and_no_file_is_called_after_somebody_else() {
    let text = format!("Ünal@example.com {BOB}\nanna {ALICE}\n");
    let (_, notes) = allowed_signers::read(&text);
    notes_have(&notes, &["1: Ünal@example.com becomes nal,"]);
    assert_eq!(notes.len(), 1, "{}", said(&notes));
    let text = format!("anna-2@x {BOB}\nanna {ALICE}\n");
    let (mut new, _) = allowed_signers::read(&text);
    let another = new.identities[1].keys[0].clone();
    new.identities[1].keys.push(another);
    let paths: Vec<_> = new.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "trust/keys/anna-2.pub",
            "trust/keys/anna.pub",
            "trust/keys/anna-3.pub"
        ]
    );
}

const BASE: &str = "\
kind: TrustPolicy
metadata: {name: main}
spec:
  serial: 1
  repository: r
  ref: refs/heads/main
  bindRef: none
  identities:
    alice: {keys: [{ssh: \"SHA256:1n1HyTNVQ1ZCrOfUpbMtLoX4dOBl/VKy+QcMPa1ZMUE\"}]}
    bob: {keys: [{ssh: \"SHA256:2n1HyTNVQ1ZCrOfUpbMtLoX4dOBl/VKy+QcMPa1ZMUE\"}]}
    carol: {keys: [{ssh: \"SHA256:3n1HyTNVQ1ZCrOfUpbMtLoX4dOBl/VKy+QcMPa1ZMUE\"}]}
  groups: {ops: [alice, bob, carol], sre: [bob, carol]}
  rules:
    - {paths: [\"**\"], need: [{from: ops, count: 1}]}
    - {paths: [\"trust/**\"], need: [{from: ops, count: 2}]}
";

#[test]
fn codeowners_become_rules_that_the_policy_takes() {
    let text = "# who owns what\n* @alice @bob @carol\n/hosts/ @Alice   # the hosts\nprofiles/sshd.yaml @org/sre\n*.j2 @bob @alice\n/docs/my\\ notes @bob\n";
    let (changed, notes) = codeowners::read(text, &policy(BASE), BASE);
    let changed = changed.unwrap();
    let made = policy(&changed);
    let rules: Vec<_> = made
        .rules
        .iter()
        .map(|rule| (rule.title(), rule.need[0].from.clone(), rule.need[0].count))
        .collect();
    let rule = |title: &str, from: &str, count| (title.to_owned(), from.to_owned(), count);
    assert_eq!(
        rules,
        [
            rule("**", "ops", 1),
            rule("trust/**", "ops", 2),
            rule("hosts", "alice", 1),
            rule("profiles/sshd.yaml", "sre", 1),
            rule("**/*.j2", "owners-5", 1),
            rule("docs/my notes", "bob", 1),
            rule("trust/**", "alice", 1),
        ]
    );
    // Whoever changes trust/ needs what the new rules need.
    let needs: Vec<_> = made.rules[6].need.iter().map(|n| n.from.as_str()).collect();
    assert_eq!(needs, ["alice", "sre", "owners-5", "bob"]);
    assert!(made.rules[2].owns("hosts/linda.yaml"));
    assert!(made.rules[4].owns("files/deep/motd.j2"));
    notes_have(
        &notes,
        &[
            "4: @org/sre is assumed to be the group sre",
            "3: stricter here: where `/hosts/` and `*` (line 2)",
        ],
    );
}

#[test]
fn what_codeowners_say_and_a_policy_cant_is_left_out_line_by_line() {
    let text = "docs/* @alice @bob\n/a?b @alice\n!x @alice\n[Section] @alice\nhosts/free\nhosts/ me@example.com\nfiles/ @nobody @bob\nfiles/x @org/none\n";
    let (changed, notes) = codeowners::read(text, &policy(BASE), BASE);
    let changed = changed.unwrap();
    let made = policy(&changed);
    let titles: Vec<_> = made.rules[2..]
        .iter()
        .map(plumb_trust::policy::Rule::title)
        .collect();
    assert_eq!(titles, ["docs/*", "**/files", "trust/**"]);
    assert!(made.rules[2].owns("docs/deep/x"));
    notes_have(
        &notes,
        &[
            "1: stricter here: `docs/*` also matches deeper folders",
            "2: left out: `/a?b` has a `?`",
            "3: left out: `!x` has a `!`",
            "4: left out: sections",
            "5: left out: `hosts/free` has no owner",
            "6: me@example.com is left out",
            "6: left out: no owner of `hosts/`",
            "7: @nobody is left out: the policy has no identity nobody",
            "8: @org/none is left out: the policy has no group none",
        ],
    );
}

#[test]
fn a_line_that_cant_be_translated_breaks_no_other() {
    let text = "\"quoted x\" @bob\n'x y' @bob\n/{x} @bob\n/docs @bob,@alice\n/a\"b @bob\n/c#d @bob\n/e:f @bob\n\\#g @bob\n*h\\ i @bob\n/good @bob\n";
    let (changed, notes) = codeowners::read(text, &policy(BASE), BASE);
    let made = policy(&changed.unwrap());
    assert_eq!(
        made.rules[2].title(),
        "a\"b, c#d, e:f, **/*h i, good",
        "{}",
        said(&notes)
    );
    notes_have(
        &notes,
        &[
            "1: left out: CODEOWNERS has no quotes",
            "2: left out: CODEOWNERS has no quotes",
            "3: left out: `/{x}` has a `{`",
            "4: @bob,@alice is left out: owners are separated by spaces",
            "4: left out: no owner of `/docs`",
            "8: left out: `\\#g` has a `\\`",
        ],
    );
    // Nor does a policy that can't be written into take what was said of the lines with it.
    let (changed, notes) = codeowners::read(text, &policy(BASE), "spec: {groups: {}}\n");
    let told = changed.unwrap_err().render(crate::output::Palette::plain());
    assert!(
        told.contains("bob: [bob]") && told.contains("need: [{from: bob, count: 1}]"),
        "{told}"
    );
    notes_have(&notes, &["3: left out"]);
}

#[test]
fn every_path_that_a_translated_pattern_matched_is_still_matched() {
    // Pattern there, pattern here, paths that both match.
    for (there, here, paths) in [
        ("*", "**", &["a", "a/b"][..]),
        ("*.js", "**/*.js", &["a.js", "x/y/a.js"]),
        ("docs/", "**/docs", &["docs/a", "x/docs/a/b"]),
        ("/docs/", "docs", &["docs/a", "docs/a/b"]),
        ("/build/logs/", "build/logs", &["build/logs/x"]),
        (
            "apps/github",
            "apps/github",
            &["apps/github", "apps/github/x"],
        ),
        ("**/logs", "**/logs", &["logs", "build/logs/x"]),
        ("/README.md", "README.md", &["README.md"]),
        ("/*", "*", &["README.md"]),
        ("docs/*", "docs/*", &["docs/x"]),
    ] {
        let text = format!("{there} @alice\n");
        let (changed, _) = codeowners::read(&text, &policy(BASE), BASE);
        let made = policy(&changed.unwrap());
        assert_eq!(made.rules[2].title(), here, "{there}");
        for path in paths {
            assert!(made.rules[2].owns(path), "{there}: {path}");
        }
    }
}

#[test]
fn what_is_nothing_of_these_says_so() {
    assert!(sq_git::read("not toml").is_err());
    assert!(sq_git::read("version = 0\n").is_err());
    assert!(allowed_signers::looks_like(&format!(
        "# x\nalice {ALICE}\n"
    )));
    assert!(!allowed_signers::looks_like("* @alice\n"));
}
