use super::*;

fn told(files: &[(&str, &str)]) -> String {
    let files = files
        .iter()
        .map(|(path, text)| (Arc::from(*path), text.as_bytes().into()))
        .collect();
    let diagnostics = load(Sources {
        revision: (),
        files,
    })
    .diagnostics;
    diagnostics
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

const FLEET: (&str, &str) = ("fleet.yaml", "kind: Fleet\nmetadata: {name: home}\n");

#[test]
fn objects_lie_where_rules_by_path_expect_them() {
    for (path, text, says) in [
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: b}\n",
            "hosts/a.yaml:2:18: error[wrong-object]: the object is named `b`, but its file is `a.yaml`\n  hint: rename the file or the object",
        ),
        (
            "hosts/a.yaml",
            "kind: Profile\nmetadata: {name: a}\n",
            "hosts/a.yaml:1:7: error[wrong-object]: `kind` must be `Host` here, not the text \"Profile\"",
        ),
        (
            "hosts/a.yaml",
            "metadata: {name: a}\n",
            "`kind` is missing\n  hint: write `kind: Host`",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\n",
            "`metadata` is missing\n  hint: write `metadata: {name: a}`",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nresources: {}\n",
            "unknown field `resources`\n  hint: use `apiVersion`, `kind`, `metadata` and `spec`; settings are fields of `spec`",
        ),
        (
            "hosts/a.yaml",
            "apiVersion: v1\nkind: Host\nmetadata: {name: a}\n",
            "`apiVersion` must be plumb.dev/v1alpha1",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a, labels: {canary: true}}\n",
            "hosts/a.yaml:2:38: error[wrong-type]: expected text, not the boolean true\n  hint: put it in quotes: \"true\"",
        ),
        (
            "hosts/a.yaml",
            "- x\n",
            "the file must hold a Host, not a list",
        ),
        ("hosts/a.yaml", "", "the file must hold a Host, not nothing"),
        (
            "hosts/A.yaml",
            "kind: Host\nmetadata: {name: A}\n",
            "hosts/A.yaml:1:1: error[invalid-name]: `A` isn't a valid name of a Host",
        ),
        (
            "hosts/a.yml",
            "kind: Host\n",
            "hosts/a.yml:1:1: error[misplaced-manifest]: Plumb doesn't read this file\n  hint: rename it to end with .yaml",
        ),
        (
            "host/a.yaml",
            "kind: Host\n",
            "host/a.yaml:1:1: warning[misplaced-manifest]: this looks like a Host, but Plumb doesn't read one here\n  hint: move it to hosts/",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec: {hostKeys: [x]}\n",
            "this isn't an SSH host key",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec: {suspend: {reason: x, until: tomorrow}}\n",
            "this isn't a valid time",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec: {profiles: [x]}\n",
            "`profiles` must be a mapping, not a list",
        ),
        (
            "hosts/a.yaml",
            "kind: Host\nmetadata: {name: a}\nspec: {state: actve}\n",
            "unknown value `actve`\n  hint: did you mean `active`?",
        ),
    ] {
        let told = told(&[FLEET, (path, text)]);
        assert!(told.contains(says), "{path}: {text}\n{told}");
    }
}

#[test]
fn what_is_no_manifest_is_left_alone() {
    let files = [
        FLEET,
        ("README.md", "kind: Host"),
        ("files/x.yaml", "kind: Host\n"),
        (".github/x.yaml", "kind: Host\n"),
        ("hosts/README.md", "x"),
        ("trust/policy.yaml", "kind: TrustPolicy\n"),
        ("hosts/.a.yaml", "{"),
        ("docs/x.yaml", "a: 1\n"),
    ];
    assert_eq!(told(&files), "");
}

#[test]
fn objects_may_lie_in_subfolders() {
    let files = [
        FLEET,
        ("hosts/home/a.yaml", "kind: Host\nmetadata: {name: a}\n"),
        ("profiles/x/p.yaml", "kind: Profile\nmetadata: {name: p}\n"),
    ];
    assert_eq!(told(&files), "");
}

#[test]
fn what_is_not_built_is_refused() {
    let host = |spec: &str| format!("kind: Host\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
    for spec in [
        "maintenance: {}",
        "drift: {watch: auto}",
        "os: {family: nixos}",
    ] {
        let text = host(spec);
        let told = told(&[FLEET, ("hosts/a.yaml", &text)]);
        assert!(told.contains("error[unsupported-field]"), "{spec}\n{told}");
        assert_eq!(told.matches("error[").count(), 1, "{told}");
    }
    let fleet = |spec: &str| format!("kind: Fleet\nmetadata: {{name: home}}\nspec: {{{spec}}}\n");
    for spec in [
        "budgets: {}",
        "policies: {unfree: []}",
        "policies: {insecure: {}}",
        "sshCa: x",
        "rollout: {waves: []}",
        "rollout: {halt: {alerts: []}}",
        "hostDefaults: {maintenance: {}}",
    ] {
        let text = fleet(spec);
        let told = told(&[("fleet.yaml", &text)]);
        assert!(told.contains("error[unsupported-field]"), "{spec}\n{told}");
    }
}

#[test]
fn defaults_of_all_hosts_name_no_single_one() {
    for field in [
        "uid: x",
        "hostname: x",
        "formerly: [x]",
        "hostKeys: [\"ssh-ed25519 AAAAAAAAAAAAAAAAAAAA\"]",
        "state: dormant",
    ] {
        let text =
            format!("kind: Fleet\nmetadata: {{name: home}}\nspec: {{hostDefaults: {{{field}}}}}\n");
        let told = told(&[("fleet.yaml", &text)]);
        assert!(told.contains("can't be a default"), "{field}\n{told}");
    }
}

#[test]
fn clear_text_secrets_are_found_and_never_quoted() {
    let file = (
        "files/app.conf",
        "a\nurl=https://bob:hunter2@db.example/x\n",
    );
    let fleet = |policies: &str| {
        format!(
            "kind: Fleet\nmetadata: {{name: home}}\nspec: {{policies: {{clearTextSecrets: {policies}}}}}\n"
        )
    };
    let found = "files/app.conf:2:13: LEVEL[clear-text-secret]: this line has a password in a URL in clear text\n";
    for (policy, level) in [("deny", "error"), ("warn", "warning")] {
        let told = told(&[("fleet.yaml", &fleet(policy)), file]);
        assert!(told.starts_with(&found.replace("LEVEL", level)), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(told(&[("fleet.yaml", &fleet("allow")), file]), "");
    assert!(told(&[FLEET, file]).starts_with(&found.replace("LEVEL", "warning")));
    let typo = told(&[("fleet.yaml", &fleet("denied"))]);
    assert!(typo.contains("fleet.yaml:3:"), "{typo}");
    let key = "-----BEGIN PRIVATE KEY-----\nMHcCAQEEIBkgAAAAAAAA\n";
    assert_eq!(told(&[FLEET, ("trust/keys/a.asc", key)]), "");
}

#[test]
fn an_image_has_a_host_a_format_and_a_size_that_holds_a_system() {
    for (path, text, says) in [
        (
            "images/a.yaml",
            "kind: Image\nmetadata: {name: a}\nspec: {host: b, format: sd, size: 4GiB}\n",
            "images/a.yaml:3:14: error[unknown-reference]: unknown host `b`",
        ),
        (
            "images/a.yaml",
            "kind: Image\nmetadata: {name: a}\nspec: {host: b, format: floppy, size: 4GiB}\n",
            "images/a.yaml:3:25: error",
        ),
        (
            "images/a.yaml",
            "kind: Image\nmetadata: {name: a}\nspec: {host: b, format: sd, size: 1MiB}\n",
            "images/a.yaml:3:35: error[invalid-value]: an image must have between 256MiB and 16TiB\n  hint: write size: 4GiB",
        ),
        (
            "images/a.yaml",
            "kind: Image\nmetadata: {name: a}\nspec: {host: b, format: sd}\n",
            "error[missing-field]",
        ),
    ] {
        let told = told(&[FLEET, (path, text)]);
        assert!(told.contains(says), "{text}\n{told}");
    }
    let host = (
        "hosts/b.yaml",
        "kind: Host\nmetadata: {name: b}\nspec: {state: image}\n",
    );
    let image = (
        "images/a.yaml",
        "kind: Image\nmetadata: {name: a}\nspec: {host: b, format: sd, size: 4GiB}\n",
    );
    assert_eq!(told(&[FLEET, host, image]), "");
}
