//! explain, render and diff: what they show of commits, files and secrets.

use std::fs;

use super::environment::Environment;

/// A value that must never be printed.
const VALUE: &str = "hunter2hunter2";

/// Adds a Secret that linda reads, and a file of linda's that has its value.
fn with_secret(env: &Environment) {
    let identity = ["--identity", "../key"];
    let operator = [&["secret", "operator", "laptop"][..], &identity].concat();
    env.plumb("fleet", &operator).exits(0);
    let key = env.read("fleet/trust/recipients/laptop.pub");
    env.edit(
        "fleet/fleet.yaml",
        "spec:\n",
        "spec:\n  secrets: {operators: [laptop]}\n",
    );
    env.edit(
        "fleet/hosts/linda.yaml",
        "  arch: x86_64\n",
        &format!("  arch: x86_64\n  ageKey: {}\n", key.trim()),
    );
    let set = ["secret", "set", "web/token", "--hosts", "role=terminal"];
    let path = ["--path", "/run/token"];
    env.plumb_reading("fleet", &[&set[..], &path].concat(), VALUE)
        .exits(0);
    let host = env.read("fleet/hosts/linda.yaml");
    let file = "  defaults:\n    file:\n      /etc/token: {content: {secret: web/token}}\n      /etc/psk: {content: {template: \"psk={{ secret('web/token') }}\\n\"}}\n";
    env.write("fleet/hosts/linda.yaml", &format!("{host}{file}"));
}

#[test]
fn explain_names_the_commit_of_each_line() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit("fleet/hosts/linda.yaml", "value: \"10\"", "value: \"20\"");
    let second = env.commit("Swap later", &["-S"]);
    let explain = ["explain", "linda", "sysctl:vm.swappiness#value"];
    env.plumb("fleet", &explain).exits(0).stdout_has(&[
        "value: 20",
        &format!("{} ", &second[..12]),
        "alice: Swap later",
        &format!("{} ", &first[..12]),
        "alice: A fleet",
    ]);
    let json = [&explain[..], &["-o", "json"]].concat();
    let json = env.plumb("fleet", &json).exits(0).json();
    let field = &json["fields"][0];
    let commit = &field["from"][0]["lastChange"]["commit"];
    assert_eq!(commit["id"], second.as_str());
    assert_eq!(commit["subject"], "Swap later");
    let commit = &field["overrode"][0]["lastChange"]["commit"];
    assert_eq!(commit["id"], first.as_str());
    // A line that moved still belongs to its commit; one that changed belongs to none yet.
    env.edit(
        "fleet/hosts/linda.yaml",
        "# A workstation.",
        "# New.\n# A workstation.",
    );
    env.plumb("fleet", &explain)
        .exits(0)
        .stdout_has(&["alice: Swap later"]);
    env.edit("fleet/hosts/linda.yaml", "value: \"20\"", "value: \"30\"");
    let run = env.plumb("fleet", &explain).exits(0);
    assert!(run.stdout.contains("not committed"), "{}", run.stdout);
    assert!(!run.stdout.contains("Swap later"), "{}", run.stdout);
}

#[test]
fn explain_names_the_file_and_the_parameters_of_a_value() {
    let env = Environment::new();
    let first = env.fleet();
    let journald = "file:/etc/systemd/journald.conf.d/plumb.conf#content";
    env.plumb("fleet", &["explain", "linda", journald])
        .exits(0)
        .stdout_has(&["files/journald.conf", &first[..12]]);
    env.edit(
        "fleet/fleet.yaml",
        "profiles: {base: {}, metrics: {}}",
        "profiles: {base: {swappiness: 30}, metrics: {}}",
    );
    env.plumb("fleet", &["explain", "local-nas", "sysctl:vm.swappiness"])
        .exits(0)
        .stdout_has(&[
            "value: 30",
            "with params.swappiness: 30",
            "from fleet.yaml:",
            "not committed",
            "over profiles/base.yaml:",
        ]);
    let json = env
        .plumb(
            "fleet",
            &["explain", "local-nas", "profile:base", "-o", "json"],
        )
        .exits(0)
        .json();
    let field = &json["fields"][0];
    assert_eq!(field["from"][0]["place"]["file"], "fleet.yaml");
    assert_eq!(field["from"][0]["lastChange"], "notCommitted");
    assert_eq!(field["overrode"][0]["written"], 60);
    assert_eq!(
        field["overrode"][0]["lastChange"]["commit"]["id"],
        first.as_str()
    );
}

#[test]
fn secrets_are_shown_by_name_alone() {
    let env = Environment::new();
    let first = env.fleet();
    with_secret(&env);
    let mut shown = Vec::new();
    for args in [
        &["render", "linda"][..],
        &["render", "linda", "-o", "json"],
        &["render", "linda", "-o", "yaml"],
        &["explain", "linda", "file:/etc/token"],
        &["explain", "linda", "file:/etc/psk", "-o", "json"],
        &["explain", "linda", "secret:web/token"],
    ] {
        shown.push(env.plumb("fleet", args).exits(0).stdout);
    }
    for args in [
        &["diff", "linda"][..],
        &["diff", "linda", "-o", "json"],
        &["diff", "linda", "--from", &first],
    ] {
        shown.push(env.plumb("fleet", args).exits(1).stdout);
    }
    let to = ["-o", "dir", "--to", "../out"];
    env.plumb("fleet", &[&["render", "linda"][..], &to].concat())
        .exits(0);
    shown.push(env.read("out/linda/resources.yaml"));
    shown.push(env.read("out/linda/files/etc/psk"));
    assert_eq!(
        env.read("out/linda/files/etc/psk"),
        "psk=<secret web/token>\n"
    );
    assert_eq!(env.read("out/linda/files/etc/token"), "<secret web/token>");
    for text in &shown {
        for never in [VALUE, "AGE ENCRYPTED", "\u{fdd0}", "\\ufdd0", "\\UFDD0"] {
            assert!(!text.contains(never), "{never} is in:\n{text}");
        }
    }
    assert!(shown[0].contains("psk=<secret web/token>"), "{}", shown[0]);
    assert!(
        shown[1].contains("\"secret\": \"web/token\""),
        "{}",
        shown[1]
    );
}

#[test]
fn render_writes_a_folder_per_host_as_of_a_commit() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit(
        "fleet/profiles/base.yaml",
        "This machine is kept",
        "This box is kept",
    );
    env.commit("Call it a box", &["-S"]);
    let render = |at: &[&str], to: &str| {
        let args = [&["render", "--all", "-o", "dir", "--to", to][..], at].concat();
        env.plumb("fleet", &args)
    };
    render(&[], "../now").exits(0);
    render(&["--at", &first], "../then").exits(0);
    assert!(env.read("now/linda/files/etc/motd").contains("This box"));
    assert!(
        env.read("then/linda/files/etc/motd")
            .contains("This machine")
    );
    let resources = env.read("now/linda/resources.yaml");
    assert!(resources.contains("file: files/etc/motd"), "{resources}");
    assert_eq!(fs::read_dir(env.path("now")).unwrap().count(), 4);
    render(&[], "../now").exits(1).stderr_has(&["isn't empty"]);
    env.plumb("fleet", &["render", "--all", "-o", "dir"])
        .exits(2)
        .stderr_has(&["--to DIR"]);
    env.plumb("fleet", &["check", "-o", "dir"])
        .exits(2)
        .stderr_has(&["`plumb render`"]);
    let json = env
        .plumb(
            "fleet",
            &["render", "linda", "--at", "HEAD~1", "-o", "json"],
        )
        .exits(0);
    assert!(json.stdout.contains("This machine"), "{}", json.stdout);
}

#[test]
fn diff_compares_two_revisions_and_groups_hosts() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit(
        "fleet/fleet.yaml",
        "profiles: {base: {}, metrics: {}}",
        "profiles: {base: {swappiness: 30}, metrics: {}}",
    );
    env.edit("fleet/hosts/linda.yaml", "role: terminal", "role: desk");
    let second = env.commit("Swap", &["-S"]);
    env.plumb("fleet", &["diff"]).exits(0);
    let json = env
        .plumb("fleet", &["diff", "HEAD~1..HEAD", "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(json["from"], first.as_str());
    assert_eq!(json["to"], second.as_str());
    assert_eq!(
        json["alike"][0],
        serde_json::json!(["cortex-alpha", "display-1", "local-nas"])
    );
    let facts = &json["hosts"]["linda"]["facts"];
    assert_eq!(
        facts[0],
        serde_json::json!({"op": "replace", "path": "/labels", "value": {"role": "desk", "site": "home"}})
    );
    let run = env.plumb("fleet", &["diff", "HEAD~1..", "linda"]).exits(1);
    run.matches("showing/diff_compares_two_revisions_and_groups_hosts");
    let back = format!("{second}..{first}");
    env.plumb("fleet", &["diff", &back, "--trailers"])
        .exits(1)
        .stdout_has(&[&format!("Rollback-To: {second} {first}")]);
    env.plumb("fleet", &["diff", "HEAD~1..HEAD", "--trailers"])
        .exits(1)
        .stdout_has(&["needs no trailer"]);
    env.plumb("fleet", &["diff", "HEAD~1...HEAD"])
        .exits(2)
        .stderr_has(&["REV1..REV2"]);
    env.plumb("fleet", &["diff", "HEAD~1..HEAD", "--to", "HEAD"])
        .exits(2)
        .stderr_has(&["named twice"]);
}
