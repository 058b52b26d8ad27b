//! trust init, add, remove, rotate.

use std::process::Stdio;

use crate::cli::environment::Environment;

/// The lines that a change of the policy takes out and puts in.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    gone.map(|line| format!("- {line}"))
        .chain(come.map(|line| format!("+ {line}")))
        .collect()
}

/// The names in `trust/keys/`.
fn key_files(env: &Environment) -> Vec<std::ffi::OsString> {
    let folder = std::fs::read_dir(env.path("fleet/trust/keys")).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_repository_that_has_no_policy_gets_one() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    std::fs::create_dir(env.path("fleet")).unwrap();
    env.trust(&["init"])
        .exits(1)
        .matches("keys/a_repository_that_has_no_policy_gets_one");
    env.git("fleet", &["init", "--quiet"]);
    env.write("fleet/fleet.yaml", "kind: Fleet\n");
    env.trust(&["init"])
        .exits(0)
        .matches("keys/a_repository_that_has_no_policy_gets_one-2");
    env.trust(&["check"]).exits(0);
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    assert_eq!(json["policy"]["bindRef"], "none");
    assert_eq!(json["policy"]["ref"], "refs/heads/main");
    env.trust(&["init"])
        .exits(1)
        .matches("keys/a_repository_that_has_no_policy_gets_one-3");
    // Also from a folder inside, where the repository's own top is meant.
    std::fs::remove_dir_all(env.path("fleet/trust")).unwrap();
    std::fs::create_dir(env.path("fleet/hosts")).unwrap();
    env.plumb("fleet/hosts", &["trust", "init"]).exits(0);
    assert!(env.path("fleet/trust/policy.yaml").exists());
}

#[test]
fn two_keys_begin_with_two_people() {
    let env = Environment::new();
    env.key("alice");
    env.key("bob");
    env.be("alice");
    std::fs::create_dir(env.path("fleet")).unwrap();
    env.git("fleet", &["init", "--quiet"]);
    env.trust(&[
        "init",
        "--ssh-key",
        "alice=../alice.pub",
        "--ssh-key",
        "bob=../bob.pub",
        "--branch",
        "live",
    ])
    .exits(0)
    .matches("keys/two_keys_begin_with_two_people");
    env.trust(&["show"])
        .exits(0)
        .matches("keys/two_keys_begin_with_two_people-2");
    assert!(env.path("fleet/.git/hooks/commit-msg").exists());
    // Two who are both needed have no spare.
    env.trust(&["check"])
        .exits(0)
        .matches("keys/two_keys_begin_with_two_people-3");
}

#[test]
fn a_persons_key_is_added_and_nothing_else_is_touched() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.edit(
        "fleet/trust/policy.yaml",
        "    alice:",
        "    # she founded it\n    alice:",
    );
    let before = env.read("fleet/trust/policy.yaml");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0)
        .matches("keys/a_persons_key_is_added_and_nothing_else_is_touched");
    let after = env.read("fleet/trust/policy.yaml");
    let changed = difference(&before, &after);
    assert_eq!(changed.len(), 5, "{changed:#?}");
    for line in [
        "-   serial: 1",
        "+   serial: 2",
        "+   groups: {ops: [alice, bob]}",
    ] {
        assert!(changed.iter().any(|own| own == line), "{changed:#?}");
    }
    assert!(after.contains("# she founded it"), "{after}");
    assert_eq!(env.read("fleet/trust/keys/bob.pub"), env.read("bob.pub"));
    // What isn't committed yet raises the serial once.
    env.key("carol");
    env.trust(&["add", "carol", "--key", "../carol.pub"])
        .exits(0)
        .matches("keys/a_persons_key_is_added_and_nothing_else_is_touched-2");
    // The same again with a group, as it says, joins it.
    let (policy, files) = (env.read("fleet/trust/policy.yaml"), key_files(&env));
    env.trust(&["add", "carol", "--key", "../carol.pub", "--group", "ops"])
        .exits(0)
        .matches("keys/a_persons_key_is_added_and_nothing_else_is_touched-3");
    let joined = difference(&policy, &env.read("fleet/trust/policy.yaml"));
    assert_eq!(
        joined,
        [
            "-   groups: {ops: [alice, bob]}",
            "+   groups: {ops: [alice, bob, carol]}"
        ]
    );
    assert_eq!(key_files(&env), files);
    env.trust(&["add", "dave", "--key", "../carol.pub", "--group", "ops"])
        .exits(1)
        .matches("keys/a_persons_key_is_added_and_nothing_else_is_touched-4");
    assert!(env.read("fleet/trust/policy.yaml").contains("serial: 2"));
    env.commit("Trust bob and carol", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // And what bob signs counts from the next commit on.
    env.be("bob");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.plumb("fleet", &["verify"])
        .exits(0)
        .matches("keys/a_persons_key_is_added_and_nothing_else_is_touched-5");
}

#[test]
fn a_key_is_given_as_a_file_itself_or_by_the_agent() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.key("laptop");
    let literal = env.read("bob.pub");
    env.trust(&["add", "bob", "--key", literal.trim(), "--group", "ops"])
        .exits(0);
    env.trust(&["add", "alice", "--key", "../laptop.pub"])
        .exits(0)
        .matches("keys/a_key_is_given_as_a_file_itself_or_by_the_agent");
    assert!(env.path("fleet/trust/keys/alice-2.pub").exists());
    // The agent holds the key; its file is nowhere else.
    env.key("card");
    let fingerprint = env.fingerprint("card");
    env.trust(&["add", "alice", "--key", &fingerprint])
        .exits(1)
        .stderr_has(&["SSH agent"]);
    let socket = env.path("agent.sock");
    let mut agent = env
        .command("ssh-agent", ".")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..200 {
        // The socket is there a moment before the agent listens.
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut add = env.command("ssh-add", ".");
    add.arg("card").env("SSH_AUTH_SOCK", &socket);
    Environment::run(add).exits(0);
    for file in ["card", "card.pub"] {
        std::fs::remove_file(env.path(file)).unwrap();
    }
    let mut plumb = env.command(crate::cli::environment::binary(), "fleet");
    plumb
        .args(["trust", "add", "alice", "--key", &fingerprint])
        .env("SSH_AUTH_SOCK", &socket);
    let run = Environment::run(plumb);
    agent.kill().unwrap();
    agent.wait().unwrap();
    run.exits(0).stdout_has(&[&fingerprint]);
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    assert_eq!(
        json["policy"]["identities"][0]["keys"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn keys_that_are_anothers_secret_or_too_weak_are_refused() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    let before = env.read("fleet/trust/policy.yaml");
    let refused = |args: &[&str], parts: &[&str]| {
        env.trust(&[&["add", "bob"][..], args].concat())
            .exits(1)
            .stderr_has(parts);
        assert_eq!(env.read("fleet/trust/policy.yaml"), before);
        assert!(!env.path("fleet/trust/keys/bob.pub").exists());
    };
    refused(
        &["--key", "../alice.pub"],
        &["already belongs to alice", "a key of their own"],
    );
    refused(&["--key", "../bob"], &["secret key", "FILE.pub"]);
    refused(
        &["--key", "../nothing.pub"],
        &[
            "isn't a file, a fingerprint or an SSH public key",
            "--armor --export",
        ],
    );
    refused(
        &["--key", "../bob.pub", "--group", "opps"],
        &["no group opps", "did you mean ops?"],
    );
    refused(
        &["--key", &"AB".repeat(20)],
        &["gpg doesn't have the public key ABAB"],
    );
    let mut keygen = env.command("ssh-keygen", ".");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "weak"]);
    Environment::run(keygen).exits(0);
    refused(
        &["--key", "../weak.pub"],
        &[
            "wouldn't count",
            "RSA with 2048 bits, and the policy asks for 3072",
            "ed25519",
        ],
    );
    env.trust(&["add", "alice", "--key", "../alice.pub"])
        .exits(1)
        .matches("keys/keys_that_are_anothers_secret_or_too_weak_are_refused");
    // Nor is a membership that is there already a change.
    env.trust(&["add", "alice", "--key", "../alice.pub", "--group", "ops"])
        .exits(1)
        .matches("keys/keys_that_are_anothers_secret_or_too_weak_are_refused-2");
    env.trust(&["add", "b ob", "--key", "../bob.pub"])
        .exits(1)
        .matches("keys/keys_that_are_anothers_secret_or_too_weak_are_refused-3");
    assert_eq!(env.read("fleet/trust/policy.yaml"), before);
}

#[test]
fn what_cant_be_verified_is_refused_and_says_which_curve() {
    let env = Environment::new();
    env.fleet();
    let brainpool = env.gpg_key("bob", "brainpoolP256r1", "1y");
    let rsa = env.gpg_key("carol", "rsa2048", "1y");
    let runs =
        [&brainpool, &rsa].map(|key| env.trust(&["add", "bob", "--key", key, "--group", "ops"]));
    env.end_gpg();
    let [brainpool, rsa] = runs;
    brainpool
        .exits(1)
        .matches("keys/what_cant_be_verified_is_refused_and_says_which_curve");
    rsa.exits(1)
        .matches("keys/what_cant_be_verified_is_refused_and_says_which_curve-2");
}

#[test]
fn a_certificate_is_added_rotated_and_never_loses_its_revocation() {
    let env = Environment::new();
    env.fleet();
    let bob = env.gpg_key("bob", "ed25519", "1y");
    env.trust(&["add", "bob", "--key", &bob, "--group", "ops"])
        .exits(0)
        .stdout_has(&["OpenPGP EdDSA", &bob]);
    env.commit("Trust bob", &["-S"]);
    env.be_with_gpg("bob", &bob);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // The same again has nothing new.
    env.trust(&["rotate", "bob", "--key", &bob])
        .exits(1)
        .matches("keys/a_certificate_is_added_rotated_and_never_loses_its_revocation");
    env.gpg(&[
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-set-expire",
        &bob,
        "3y",
    ]);
    let policy = env.read("fleet/trust/policy.yaml");
    env.trust(&["rotate", "bob", "--key", &bob])
        .exits(0)
        .matches("keys/a_certificate_is_added_rotated_and_never_loses_its_revocation-2");
    assert_ne!(
        env.read("fleet/trust/policy.yaml"),
        policy,
        "the serial is raised"
    );
    env.commit("Newer certificate of bob", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.trust(&["rotate", "bob", "--key", &bob, "--old", &bob])
        .exits(1)
        .matches("keys/a_certificate_is_added_rotated_and_never_loses_its_revocation-3");
    // A revoked copy is taken, as others must learn of it; one that has forgotten it isn't.
    let good = env.read("fleet/trust/keys/bob.asc");
    let revocation = env.read(&format!("home/.gnupg/openpgp-revocs.d/{bob}.rev"));
    env.write(
        "revocation",
        &revocation.replace(":-----BEGIN", "-----BEGIN"),
    );
    env.gpg(&["--import", "revocation"]);
    env.be("alice");
    env.trust(&["rotate", "bob", "--key", &bob])
        .exits(0)
        .matches("keys/a_certificate_is_added_rotated_and_never_loses_its_revocation-4");
    env.write("old.asc", &good);
    env.trust(&["rotate", "bob", "--key", "../old.asc"])
        .exits(1)
        .matches("keys/a_certificate_is_added_rotated_and_never_loses_its_revocation-5");
    env.end_gpg();
}

#[test]
fn nobody_is_removed_who_is_needed() {
    let env = Environment::new();
    env.fleet();
    env.trust(&["remove", "alice"])
        .exits(1)
        .matches("keys/nobody_is_removed_who_is_needed");
    env.trust(&["remove", "alcie"])
        .exits(1)
        .matches("keys/nobody_is_removed_who_is_needed-2");
    let env = Environment::new();
    env.three();
    env.trust(&["remove", "carol"])
        .exits(0)
        .matches("keys/nobody_is_removed_who_is_needed-3");
    assert!(!env.path("fleet/trust/keys/carol.pub").exists());
    assert!(!env.read("fleet/trust/policy.yaml").contains("carol"));
    let before = env.read("fleet/trust/policy.yaml");
    env.trust(&["remove", "bob"])
        .exits(1)
        .matches("keys/nobody_is_removed_who_is_needed-4");
    assert_eq!(env.read("fleet/trust/policy.yaml"), before);
    assert!(env.path("fleet/trust/keys/bob.pub").exists());
    env.commit("Trust carol no longer", &["-S"]);
    env.plumb("fleet", &["verify"])
        .exits(3)
        .matches("keys/nobody_is_removed_who_is_needed-5");
    env.approved_by("bob");
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn one_key_of_several_is_removed() {
    let env = Environment::new();
    env.fleet();
    env.key("laptop");
    let (first, laptop) = (env.fingerprint("alice"), env.fingerprint("laptop"));
    env.trust(&["remove", "alice", "--key", &first])
        .exits(1)
        .matches("keys/one_key_of_several_is_removed");
    env.trust(&["add", "alice", "--key", "../laptop.pub"])
        .exits(0);
    env.trust(&["remove", "alice", "--key", "SHA256:nonsense"])
        .exits(1)
        .stderr_has(&["not a fingerprint", &laptop]);
    env.trust(&["remove", "alice", "--key", &laptop])
        .exits(0)
        .matches("keys/one_key_of_several_is_removed-2");
    assert!(!env.path("fleet/trust/keys/alice-2.pub").exists());
}

#[test]
fn a_key_is_rotated_at_once_or_with_an_end() {
    let env = Environment::new();
    env.fleet();
    let old = env.fingerprint("alice");
    env.key("new");
    let new = env.fingerprint("new");
    env.trust(&[
        "rotate",
        "alice",
        "--key",
        "../new.pub",
        "--valid-before",
        "2099-01-01T00:00:00Z",
    ])
    .exits(0)
    .stdout_has(&[
        "rotated: alice now has the key",
        &old,
        "counts until 2099-01-01T00:00:00Z",
        "sign this one with a key that is trusted now",
    ]);
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    let keys = &json["policy"]["identities"][0]["keys"];
    assert_eq!(keys[0]["validBefore"], "2099-01-01T00:00:00Z");
    assert_eq!(keys[1]["name"], new.as_str());
    env.commit("Another key of alice", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    // Two keys: it must be said which one is old.
    env.key("third");
    env.trust(&["rotate", "alice", "--key", "../third.pub"])
        .exits(1)
        .stderr_has(&[
            "alice has 2 keys",
            &format!("--old {old}"),
            &format!("--old {new}"),
        ]);
    env.trust(&["rotate", "alice", "--key", "../third.pub", "--old", &old])
        .exits(0)
        .stdout_has(&["in place of", &old]);
    assert!(!env.read("fleet/trust/policy.yaml").contains(&old));
    // The key that git signs with is on its way out, and still the one to sign with.
    env.commit("A third key", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.trust(&["rotate", "alice", "--key", "../alice.pub", "--old", &new])
        .exits(0);
}

#[test]
fn show_names_key_files_and_rotate_refuses_an_end_that_has_passed() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    env.trust(&["show"])
        .exits(0)
        .stdout_has(&[&format!("{} (bob.pub)", env.fingerprint("bob"))]);
    env.key("new");
    let policy = env.read("fleet/trust/policy.yaml");
    env.trust(&[
        "rotate",
        "bob",
        "--key",
        "../new.pub",
        "--valid-before",
        "2020-01-01T00:00:00Z",
    ])
    .exits(1)
    .matches("keys/show_names_key_files_and_rotate_refuses_an_end_that_has_passed");
    assert_eq!(env.read("fleet/trust/policy.yaml"), policy);
}
