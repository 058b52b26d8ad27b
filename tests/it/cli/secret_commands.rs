//! `plumb secret`: what the commands write, and what they refuse to write.

use super::environment::{Environment, binary};

const EDITOR: &str =
    "#!/bin/sh\nstat -c %a \"$1\" \"$(dirname \"$1\")\" >modes\nprintf new >\"$1\"\n";

#[test]
fn mistakes_are_refused_before_anything_is_written() {
    let env = Environment::new();
    env.fleet();
    let operator = |name| ["secret", "operator", name, "--identity", "../key"];
    env.plumb("fleet", &operator("laptop")).exits(0);
    env.plumb("fleet", &operator("offline"))
        .exits(1)
        .stderr_has(&["is that of the operator laptop", "--identity FILE"]);
    assert!(!env.path("fleet/trust/recipients/offline.pub").exists());
    let set = ["secret", "set", "web/token", "--hosts", "*"];
    for (delivery, says) in [
        (&["--path", "/etc/token"][..], "below /run"),
        (&["--path", "/run/../etc/token"], "path"),
        (&["--path", "/run/t", "--mode", "0644"], "lets others read"),
        (&["--unit", "../x"], "isn't the name of a unit"),
    ] {
        env.plumb_reading("fleet", &[&set[..], delivery].concat(), "hunter2")
            .exits(1)
            .stderr_has(&[says]);
        assert!(!env.path("fleet/secrets").exists(), "{delivery:?}");
    }
}

#[test]
fn value_is_edited_where_only_its_owner_can_read_it() {
    let env = Environment::new();
    env.fleet();
    let identity = ["--identity", "../key"];
    env.plumb(
        "fleet",
        &[&["secret", "operator", "laptop"][..], &identity].concat(),
    )
    .exits(0);
    env.edit(
        "fleet/fleet.yaml",
        "spec:\n",
        "spec:\n  secrets: {operators: [laptop]}\n",
    );
    let set = [
        "secret",
        "set",
        "web/token",
        "--hosts",
        "*",
        "--path",
        "/run/t",
    ];
    env.plumb_reading("fleet", &set, "hunter2").exits(0);
    env.write("editor", EDITOR);
    let mut edit = env.command(binary(), "fleet");
    edit.args(["secret", "edit", "web/token"])
        .args(identity)
        .env("EDITOR", "sh ../editor");
    Environment::run(edit).exits(0);
    assert_eq!(env.read("fleet/modes"), "600\n700\n");
    let text = env.read("fleet/secrets/web.yaml");
    assert!(text.contains("version: 2") && !text.contains("hunter2"));
    let rekey = [&["secret", "rekey"][..], &identity].concat();
    env.plumb("fleet", &rekey)
        .exits(0)
        .stdout_has(&["every value is encrypted to those who should read it"]);
}
