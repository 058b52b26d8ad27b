//! trust revoke.

use crate::cli::environment::Environment;

#[test]
fn a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    let accepted = env.commit("Trust bob", &["-S"]);
    env.be("bob");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("A thief's", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.be("alice");
    let bob = env.fingerprint("bob");
    // On what hosts run, not on what the thief pushed.
    let run = env
        .trust(&[
            "revoke",
            &bob,
            "--reason",
            "laptop stolen",
            "--on",
            &accepted,
        ])
        .exits(0);
    run.matches("revoke/a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there");
    let tag = env.git("fleet", &["tag", "--list", "revoke/*"]);
    assert!(tag.ends_with("/alice"), "{tag}");
    let text = env.git("fleet", &["cat-file", "tag", &tag]);
    assert!(text.contains("laptop stolen"), "{text}");
    env.plumb("fleet", &["verify", "--floor", &accepted, "--head", "HEAD"])
        .exits(3)
        .matches("revoke/a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there-2");
    env.trust(&["revoke", &bob, "--on", &accepted])
        .exits(1)
        .matches("revoke/a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there-3");
    let run = env
        .trust(&["revoke", &bob, "--on", &accepted, "--id", "a b"])
        .exits(1)
        .matches("revoke/a_revoked_key_counts_no_longer_as_soon_as_the_tag_is_there-4");
    assert!(!run.stderr.contains("signingkey"), "{}", run.stderr);
}

#[test]
fn it_says_how_many_more_must_do_the_same() {
    let env = Environment::new();
    env.three();
    let carol = env.fingerprint("carol");
    let run = env.trust(&["revoke", &carol]).exits(0).stdout_has(&[
        "it has no effect yet: 1 more of ops must do the same (bob or carol)",
        &format!("plumb trust revoke {carol}"),
    ]);
    // What takes nobody else comes first.
    let file = format!("echo '{carol}' | sudo tee -a /etc/plumb/revoked.d/stolen");
    let (at_once, push) = (run.stdout.find(&file), run.stdout.find("push it:"));
    assert!(
        at_once.is_some() && at_once < push,
        "{file} isn't an ancestor of the push in:\n{}",
        run.stdout
    );
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(0)
        .json();
    assert!(json.get("revoked").is_none(), "{json}");
    env.be("bob");
    let json = env.trust(&["revoke", &carol, "-o", "json"]).exits(0).json();
    assert_eq!(json["missing"], serde_json::json!([]));
    assert_eq!(json["revokers"], serde_json::json!(["alice", "bob"]));
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["revoked"], serde_json::json!([carol]));
}

#[test]
fn a_tag_that_would_count_for_nothing_isnt_kept() {
    let env = Environment::new();
    env.fleet();
    env.key("mallory");
    let alice = env.fingerprint("alice");
    env.be("mallory");
    env.trust(&["revoke", &alice, "--yes"])
        .exits(1)
        .matches("revoke/a_tag_that_would_count_for_nothing_isnt_kept");
    assert_eq!(env.git("fleet", &["tag", "--list"]), "");
    env.be("alice");
    env.trust(&["revoke", "alice"])
        .exits(1)
        .stderr_has(&["not a fingerprint", &format!("alice has {alice}")]);
    env.git("fleet", &["config", "--unset", "plumb.introduction"]);
    env.trust(&["revoke", &alice])
        .exits(1)
        .matches("revoke/a_tag_that_would_count_for_nothing_isnt_kept-2");
}

#[test]
fn a_key_that_the_policy_doesnt_have_isnt_revoked_unasked() {
    let env = Environment::new();
    env.three();
    env.key("typo");
    let typo = env.fingerprint("typo");
    env.trust(&["revoke", &typo]).exits(1).stderr_has(&[
        &format!("the policy doesn't have the key {typo}; nothing was revoked"),
        "plumb trust show",
        &format!("plumb trust revoke {typo} --yes"),
    ]);
    assert_eq!(env.git("fleet", &["tag", "--list"]), "");
    env.trust(&["revoke", &typo, "--yes"])
        .exits(0)
        .matches("revoke/a_key_that_the_policy_doesnt_have_isnt_revoked_unasked");
    // A file with the public key is as good as its fingerprint.
    let carol = env.fingerprint("carol");
    env.trust(&["revoke", "trust/keys/carol.pub"])
        .exits(0)
        .stdout_has(&[&format!("revoked: {carol}")]);
}

/// A fleet of alice, bob and carol, of whom alice and bob have revoked carol's key.
pub(super) fn without_carol() -> (Environment, String) {
    let env = Environment::new();
    env.three();
    let carol = env.fingerprint("carol");
    env.trust(&["revoke", &carol]).exits(0);
    env.be("bob");
    env.trust(&["revoke", &carol]).exits(0);
    env.be("alice");
    (env, carol)
}

#[test]
fn a_key_that_nobody_could_do_without_isnt_revoked_unasked() {
    let (env, _) = without_carol();
    let bob = env.fingerprint("bob");
    let before = env.git("fleet", &["tag", "--list"]);
    let run = env.trust(&["revoke", &bob]).exits(1).stderr_has(&[
        &format!("without {bob} of bob too few are left"),
        "trust/** needs 2 of ops, and only alice could sign",
        "nothing was revoked",
        &format!("echo '{bob}' | sudo tee -a /etc/plumb/revoked.d/stolen && plumb notify"),
        &format!(
            "or revoke it for everyone who follows the repository: plumb trust revoke {bob} --yes"
        ),
        "if the key is lost, no commit can fix this",
        "git config plumb.introduction COMMIT; docs/walk-lost-key.md",
    ]);
    // Neither can be had without the key that is lost.
    assert!(
        !run.stderr.contains("trust add") && !run.stderr.contains("or first"),
        "{}",
        run.stderr
    );
    assert_eq!(env.git("fleet", &["tag", "--list"]), before);
    // After a theft it is done at once, and what it costs is said.
    let run = env
        .trust(&["revoke", &bob, "--yes"])
        .exits(0)
        .matches("revoke/a_key_that_nobody_could_do_without_isnt_revoked_unasked");
    assert!(!run.stdout.contains("plumb trust remove"), "{}", run.stdout);
    // An emergency that nobody can declare any more leaves trust/ to be changed.
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    let policy = env.read("fleet/trust/policy.yaml");
    let emergency = "  emergency: {need: [{from: ops, count: 2}], ttl: 4h, bypasses: [freeze]}";
    env.write(
        "fleet/trust/policy.yaml",
        &format!("{}\n{emergency}\n", policy.trim_end()),
    );
    env.commit("Bob, and emergencies", &["-S"]);
    env.trust(&["revoke", &env.fingerprint("bob")])
        .exits(1)
        .matches("revoke/a_key_that_nobody_could_do_without_isnt_revoked_unasked-2");
}

#[test]
fn what_is_printed_for_afterwards_works() {
    let (env, carol) = without_carol();
    let run = env
        .trust(&["revoke", &carol, "--id", "again"])
        .exits(0)
        .matches("revoke/what_is_printed_for_afterwards_works");
    let commands: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("  plumb trust "))
        .collect();
    assert_eq!(commands.len(), 1, "{}", run.stdout);
    env.key("new");
    for command in commands {
        let command = command.replace("FILE", "../new.pub");
        let words: Vec<&str> = command.split(' ').collect();
        env.trust(&words)
            .exits(0)
            .matches("revoke/what_is_printed_for_afterwards_works-2");
        env.git("fleet", &["reset", "--quiet", "--hard"]);
        env.git("fleet", &["clean", "--quiet", "-d", "--force"]);
    }
    // One key of several is taken out alone.
    env.key("laptop");
    env.trust(&["add", "bob", "--key", "../laptop.pub"])
        .exits(0);
    env.commit("Bob's laptop", &["-S"]);
    env.approved_by("bob");
    let laptop = env.fingerprint("laptop");
    env.trust(&["revoke", &laptop])
        .exits(0)
        .stdout_has(&[&format!("  plumb trust remove bob --key {laptop}")]);
    env.trust(&["remove", "bob", "--key", &laptop]).exits(0);
}

#[test]
fn only_those_whose_keys_count_could_give_what_is_missing() {
    let (env, _) = without_carol();
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    env.commit("A remark", &["-S"]);
    let run = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .matches("revoke/only_those_whose_keys_count_could_give_what_is_missing");
    assert!(!run.stdout.contains("carol"), "{}", run.stdout);
    // Whoever tries all the same is told why not, and since when.
    env.be("carol");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(1)
        .stderr_has(&[
            "so it was deleted",
            &format!("the key {} is revoked", env.fingerprint("carol")),
            "by a revoke/ tag since 20",
        ]);
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), "");
    // Where nobody is left, nobody is named.
    let bob = env.fingerprint("bob");
    for name in ["alice", "bob"] {
        env.be(name);
        env.trust(&["revoke", &bob, "--yes"]).exits(0);
    }
    env.plumb("fleet", &["verify"])
        .exits(3)
        .matches("revoke/only_those_whose_keys_count_could_give_what_is_missing-2");
}

#[test]
fn whose_key_is_past_its_end_isnt_among_those_who_could() {
    let env = Environment::new();
    env.three();
    let carol = env.fingerprint("carol");
    env.edit(
        "fleet/trust/policy.yaml",
        &format!("\"{carol}\""),
        &format!("\"{carol}\", validBefore: 2020-01-01T00:00:00Z"),
    );
    let run = env
        .trust(&["show"])
        .exits(0)
        .stdout_has(&[&format!("{carol} of carol: its `validBefore` has passed")]);
    let row = run
        .stdout
        .lines()
        .find(|line| line.starts_with("trust/**"))
        .unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(
        row.contains("alice, bob") && !row.contains("carol"),
        "{row}"
    );
}

#[test]
fn nobody_is_told_to_sign_what_a_thief_may_have_made() {
    let env = Environment::new();
    env.fleet();
    env.key("bob");
    env.key("drawer");
    env.trust(&["add", "bob", "--key", "../bob.pub", "--group", "ops"])
        .exits(0);
    env.commit("Trust bob", &["-S"]);
    env.trust(&["add", "bob", "--key", "../drawer.pub"])
        .exits(0);
    let accepted = env.commit("Trust bob's key in the drawer", &["-S"]);
    let bob = env.fingerprint("bob");
    env.trust(&["revoke", &bob, "--on", &accepted]).exits(0);
    let set_back = format!("git push --force-with-lease origin {accepted}~0:refs/heads/main");
    // The thief has bob's key and bob's address.
    env.be("bob");
    env.edit("fleet/files/journald.conf", "2G", "9G");
    let stolen = env.commit("A thief's", &["-S"]);
    let said = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&["[key-revoked]"])
        .stdout;
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("`{what}`: {said}"))
    };
    let look = format!("git show {stolen}");
    assert!(at(&look) < at(&set_back));
    for never in ["--amend", "plumb approve"] {
        assert!(!said.contains(never), "{said}");
    }
    // Bob builds on top of it.
    let key = format!("user.signingkey={}", env.path("drawer.pub").display());
    let own = [
        "-c",
        &key,
        "commit",
        "--quiet",
        "--allow-empty",
        "-S",
        "-m",
        "Bob's own",
    ];
    env.git("fleet", &own);
    let run = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&[&look, &set_back]);
    for never in ["git rebase", "--amend", "plumb approve"] {
        assert!(!run.stdout.contains(never), "{}", run.stdout);
    }
}

fn hex(fingerprint: &str) -> String {
    let key: plumb_trust::KeyName = fingerprint.parse().unwrap();
    key.to_hex()
}

#[test]
fn a_half_made_revocation_is_seen_and_whoever_completes_it_is_told_whose_it_is() {
    let env = Environment::new();
    env.three();
    let (bob, carol) = (env.fingerprint("bob"), env.fingerprint("carol"));
    env.trust(&["check"]).exits(0).matches(
        "revoke/a_half_made_revocation_is_seen_and_whoever_completes_it_is_told_whose_it_is",
    );
    let run = env.trust(&["revoke", &carol]).exits(0);
    assert!(!run.stdout.contains("together with"), "{}", run.stdout);
    let half = format!(
        "the revocation of the key {carol} of carol has begun and doesn't count yet: signed by alice (revoke/{}/alice of ",
        hex(&carol)
    );
    let said = [
        half.as_str(),
        "it still needs 1 more of ops",
        "plumb trust revoke",
    ];
    env.trust(&["show"]).exits(0).stdout_has(&said);
    env.trust(&["check"]).exits(0).stdout_has(&said);
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    let begun = &json["revocationsBegun"][0];
    assert_eq!(
        (&begun["key"], &begun["signers"][0]["identity"]),
        (&carol.as_str().into(), &"alice".into())
    );
    // What a thief has pushed is as visible, before and after the key is revoked.
    env.be("carol");
    let tag = format!("revoke/{}/carol", hex(&bob));
    env.git("fleet", &["tag", "--sign", "--message", "x", &tag, "HEAD"]);
    env.be("bob");
    env.trust(&["check"])
        .exits(0)
        .stdout_has(&["of bob has begun", "signed by carol ("]);
    env.trust(&["revoke", &carol]).exits(0).stdout_has(&[
        &format!(
            "counts together with the earlier revocation by alice (revoke/{}/alice of ",
            hex(&carol)
        ),
        &format!("git tag -d revoke/{}/bob", hex(&carol)),
    ]);
    let run = env.trust(&["show"]).exits(0).matches(
        "revoke/a_half_made_revocation_is_seen_and_whoever_completes_it_is_told_whose_it_is-3",
    );
    assert!(!run.stdout.contains("of carol has begun"), "{}", run.stdout);
    env.be("alice");
    env.trust(&["revoke", &bob, "--yes"]).exits(0).matches(
        "revoke/a_half_made_revocation_is_seen_and_whoever_completes_it_is_told_whose_it_is-4",
    );
}

#[test]
fn a_tag_in_the_way_keeps_nobody_from_revoking() {
    let env = Environment::new();
    env.three();
    let carol = env.fingerprint("carol");
    env.be("carol");
    let squat = format!("revoke/{}", hex(&carol));
    env.git("fleet", &["tag", "--annotate", "--message", "x", &squat]);
    for name in ["alice", "bob"] {
        env.be(name);
        env.trust(&["revoke", &carol]).exits(0).stdout_has(&[
            "/etc/plumb/revoked.d/stolen",
            "git push origin refs/tags/revoke/",
        ]);
    }
    let json = ["verify", "-o", "json"];
    let json = env.plumb("fleet", &json).exits(0).json();
    assert_eq!(json["revoked"], serde_json::json!([carol]));
    // Where no tag can be made, what needs none is still said.
    let at_once = format!("echo '{carol}' | sudo tee -a /etc/plumb/revoked.d/stolen");
    env.trust(&["revoke", &carol, "--id", "a b", "--yes"])
        .exits(1)
        .stderr_has(&[&at_once]);
    env.git("fleet", &["config", "user.signingkey", "/nonexistent.pub"]);
    env.trust(&["revoke", &carol, "--id", "c", "--yes"])
        .exits(1)
        .stderr_has(&[&at_once]);
}
