//! What verify, explain and approve say, and that their hints help.

use crate::cli::environment::Environment;

#[test]
fn an_introduction_that_isnt_on_the_branch_is_named_as_that() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["switch", "--quiet", "--orphan", "other"]);
    env.write("fleet/x", "x\n");
    let other = env.commit("Elsewhere", &["-S"]);
    env.git("fleet", &["switch", "--quiet", "main"]);
    // One without a policy, and one that is another branch's.
    env.git("fleet", &["config", "plumb.introduction", &other]);
    env.plumb("fleet", &["verify"]).exits(1).stdout_has(&[
        &format!("cannot judge from the introduction {}", &other[..12]),
        "trust/policy.yaml is missing",
        "git config plumb.introduction COMMIT",
        "nothing was judged",
    ]);
    env.git("fleet", &["switch", "--quiet", "-c", "side", &first]);
    env.edit("fleet/files/journald.conf", "2G", "3G");
    let side = env.commit("Larger journals", &["-S"]);
    env.git("fleet", &["switch", "--quiet", "main"]);
    env.git("fleet", &["config", "plumb.introduction", &side]);
    let run = env.plumb("fleet", &["verify"]).exits(1);
    let run = run.stdout_has(&[
        &format!(
            "cannot judge from the introduction {} (Larger journals)",
            &side[..12]
        ),
        "[not-descendant]",
        "git config plumb.introduction COMMIT",
        "nothing was judged, so nothing is accepted",
    ]);
    assert!(!run.stdout.contains("held at"), "{}", run.stdout);
    // Programs are told the same.
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(json["verdict"], "notJudged");
    assert_eq!(json["steps"], serde_json::json!([]));
    assert_eq!(json["reasons"][0]["code"], "not-descendant");
    env.git("fleet", &["config", "plumb.introduction", "4242"]);
    env.plumb("fleet", &["verify"])
        .exits(1)
        .matches("verdicts/an_introduction_that_isnt_on_the_branch_is_named_as_that");
    // A floor of one's own is a floor.
    env.plumb("fleet", &["verify", &format!("{side}..main")])
        .exits(1)
        .matches("verdicts/an_introduction_that_isnt_on_the_branch_is_named_as_that-2");
}

#[test]
fn a_range_that_is_the_wrong_way_round_is_no_reason_to_push() {
    let env = Environment::new();
    let first = env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let unsigned = env.commit("Unsigned", &["--no-gpg-sign"]);
    let range = format!("{unsigned}..{first}");
    let run = env
        .plumb("fleet", &["verify", &range])
        .exits(1)
        .stdout_has(&[
            &format!("cannot judge from the floor {}", &unsigned[..12]),
            "plumb verify FLOOR..HEAD",
            "[rewound]",
            "nothing was judged",
        ]);
    assert!(!run.stdout.contains("git push"), "{}", run.stdout);
    // To a program that says what was accepted last, it is a branch that was set back.
    let args = ["verify", "--floor", &unsigned, "--head", &first];
    env.plumb("fleet", &args)
        .exits(4)
        .matches("verdicts/a_range_that_is_the_wrong_way_round_is_no_reason_to_push");
    // What isn't a commit is refused by its name.
    let tree = env.git("fleet", &["rev-parse", "HEAD^{tree}"]);
    for range in [format!("{tree}..HEAD"), format!("{first}..HEAD:fleet.yaml")] {
        let run = env.plumb("fleet", &["verify", &range]).exits(1);
        let run = run.stderr_has(&["not a commit"]);
        assert_eq!(run.stdout, "");
    }
    env.plumb("fleet", &["verify", "HEAD"])
        .exits(2)
        .matches("verdicts/a_range_that_is_the_wrong_way_round_is_no_reason_to_push-2");
}

#[test]
fn verify_explains_each_commit_when_asked() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.edit("fleet/fleet.yaml", "spec:", "# ours\nspec:");
    env.commit("Ours", &["--no-gpg-sign"]);
    env.approved_by("bob");
    env.approved_by("carol");
    let run = env.plumb("fleet", &["verify", "--explain"]).exits(0);
    run.matches("verdicts/verify_explains_each_commit_when_asked");
    let short = env.plumb("fleet", &["verify"]).exits(0);
    assert!(!short.stdout.contains("needs"), "{}", short.stdout);
}

#[test]
fn of_many_accepted_commits_the_newest_are_listed() {
    let env = Environment::new();
    env.fleet();
    for number in 0..23 {
        let message = format!("Nothing {number}");
        env.git(
            "fleet",
            &["commit", "--quiet", "--allow-empty", "-S", "-m", &message],
        );
    }
    let run = env.plumb("fleet", &["verify"]).exits(0);
    let run = run.matches("verdicts/of_many_accepted_commits_the_newest_are_listed");
    assert!(!run.stdout.contains("Nothing 2\n"), "{}", run.stdout);
    let all = env.plumb("fleet", &["verify", "--explain"]).exits(0);
    assert!(all.stdout.contains("Nothing 2\n"), "{}", all.stdout);
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["steps"].as_array().unwrap().len(), 23);
}

#[test]
fn an_approval_that_is_ignored_is_noted() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Smaller journals", &["-S"]);
    env.git(
        "fleet",
        &["tag", "-s", "-m", "fine", "approve/main/x", &commit],
    );
    env.plumb("fleet", &["verify", "--explain"])
        .exits(0)
        .matches("verdicts/an_approval_that_is_ignored_is_noted");
}

#[test]
fn an_unsigned_commit_has_a_hint_that_works() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["--no-gpg-sign"]);
    env.plumb("fleet", &["explain", "HEAD"])
        .exits(0)
        .matches("verdicts/an_unsigned_commit_has_a_hint_that_works");
    env.git(
        "fleet",
        &["commit", "--quiet", "--amend", "--no-edit", "-S"],
    );
    env.plumb("fleet", &["verify"]).exits(0);
    // A commit that is held by another says by which.
    env.edit("fleet/files/journald.conf", "1G", "5G");
    let held = env.commit("Unsigned again", &["--no-gpg-sign"]);
    env.edit("fleet/files/journald.conf", "5G", "6G");
    env.commit("On top", &["-S"]);
    let run = env
        .plumb("fleet", &["explain", "HEAD"])
        .exits(0)
        .stdout_has(&[
            "pending",
            "[ancestor]",
            "held at ",
            &format!("{} isn't accepted and holds later ones", &held[..12]),
            &format!("plumb explain {}", &held[..12]),
        ]);
    assert!(!run.stdout.contains("accepted up to"), "{}", run.stdout);
    let accepted = env.git("fleet", &["rev-parse", "HEAD~2"]);
    let explained = ["explain", "HEAD", "-o", "json"];
    let json = env.plumb("fleet", &explained).exits(0).json();
    assert_eq!(json["verdict"], "pending");
    assert_eq!(json["accepted"], accepted.as_str());
    assert_eq!(json["steps"][0]["reasons"][0]["code"], "ancestor");
    // An approval of it says the same.
    let json = env
        .plumb("fleet", &["approve", "--yes", "HEAD", "-o", "json"])
        .exits(0)
        .stderr_has(&[&format!(
            "{} isn't accepted and holds later ones",
            &held[..12]
        )])
        .json();
    assert_eq!(json["heldBy"], held.as_str());
    // A commit below another can't be amended.
    let run = env.plumb("fleet", &["explain", "HEAD^"]).exits(0);
    let run = run.matches("verdicts/an_unsigned_commit_has_a_hint_that_works-2");
    assert!(!run.stdout.contains("--amend"), "{}", run.stdout);
}

#[test]
fn a_first_commit_is_trusted_only_as_the_introduction() {
    let env = Environment::new();
    let first = env.fleet();
    env.plumb("fleet", &["explain", &first])
        .exits(1)
        .matches("verdicts/a_first_commit_is_trusted_only_as_the_introduction");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["switch", "--quiet", "--orphan", "other"]);
    env.write("fleet/x", "x\n");
    env.commit("Elsewhere", &["-S"]);
    let run = env.plumb("fleet", &["explain", "HEAD"]).exits(1);
    let run = run.stderr_has(&[&format!("it isn't the introduction, {first}, either")]);
    assert!(!run.stderr.contains("it is trusted"), "{}", run.stderr);
    // Of a shallow clone it is said to be one.
    let from = format!("file://{}", env.path("fleet").display());
    let clone = [
        "clone",
        "--quiet",
        "--depth=1",
        "--branch=main",
        &from,
        "clone",
    ];
    env.git(".", &clone);
    env.git("clone", &["config", "plumb.introduction", &first]);
    for command in [&["explain", "HEAD"][..], &["verify"]] {
        env.plumb("clone", command)
            .exits(1)
            .stderr_has(&["git fetch --unshallow"]);
    }
}

#[test]
fn the_hint_fetches_approvals_that_the_server_has() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    env.commit("Ours", &["-S"]);
    env.approved_by("bob");
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    let fetch = "git fetch origin 'refs/tags/approve/*:refs/tags/approve/*'";
    env.edit("fleet/fleet.yaml", "# ours", "# all of ours");
    env.commit("All of ours", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main", "--tags"]);
    env.git(".", &["clone", "--quiet", &server, "bobs"]);
    env.be("bob");
    env.plumb("bobs", &["approve", "--yes", "main"]).exits(0);
    env.git("bobs", &["push", "--quiet", "origin", "--tags"]);
    env.be("alice");
    env.plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&["any of bob, carol could give it", fetch]);
    let mut shell = env.command("sh", "fleet");
    shell.args(["-c", fetch]);
    Environment::run(shell).exits(0);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn what_a_commit_says_doesnt_turn_the_line_around() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller \u{202e}slanruoj\u{2066}", &["-S"]);
    env.plumb("fleet", &["verify"])
        .exits(0)
        .stdout_has(&["Smaller slanruoj\n"]);
}

#[test]
fn the_hook_replaces_a_wrong_trailer_as_hinted() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.git("fleet", &["add", "--all"]);
    env.git(
        "fleet",
        &[
            "-c",
            "core.hooksPath=/dev/null",
            "commit",
            "--quiet",
            "-S",
            "-m",
            "Smaller journals\n\nDeploy-Ref: elsewhere refs/heads/main",
        ],
    );
    let run = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&["[unbound]", "hook commit-msg"]);
    let command = run
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git commit --amend"))
        .unwrap_or_else(|| panic!("{}", run.stdout))
        .to_owned();
    let mut shell = env.command("sh", "fleet");
    shell.args(["-c", &command]);
    Environment::run(shell).exits(0);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn a_reject_is_set_back_as_hinted() {
    let env = Environment::new();
    let first = env.fleet();
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Both", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    let run = env
        .plumb("fleet", &["verify"])
        .exits(4)
        .matches("verdicts/a_reject_is_set_back_as_hinted");
    let command = run
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git push --force-with-lease"))
        .unwrap_or_else(|| panic!("{}", run.stdout))
        .to_owned();
    // Of what is pushed, git takes even a whole id for the tag of that name.
    for name in [first.as_str(), "HEAD"] {
        let tag = format!("refs/tags/{name}");
        env.git("fleet", &["update-ref", &tag, "main"]);
    }
    let mut shell = env.command("sh", "fleet");
    shell.args(["-c", &command]);
    Environment::run(shell).exits(0);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), first);
}

#[test]
fn an_approval_is_verified_again() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/fleet.yaml", "spec:", "# ours\nspec:");
    env.commit("Ours", &["--no-gpg-sign"]);
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .matches("verdicts/an_approval_is_verified_again");
    env.be("carol");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .matches("verdicts/an_approval_is_verified_again-2");
    env.key("mallory");
    env.be("mallory");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(1)
        .matches("verdicts/an_approval_is_verified_again-3");
    let tags = env.git("fleet", &["tag", "--list", "approve/*"]);
    assert_eq!(tags.lines().count(), 2, "{tags}");
}

#[test]
fn reasons_of_conditions_are_explained() {
    let env = Environment::new();
    for (reason, word) in [
        ("HostKeyMismatch", "plumb enroll"),
        ("DriftHeld", "plumb plan"),
        ("Rejected", "plumb get revisions"),
        ("WouldGoBack", "Rollback-To:"),
        ("CommitHeld", "hosts stay"),
        ("key-revoked", "set the branch back"),
        ("history-revoked", "undo what is wrong"),
        ("rewound", "git revert -S COMMIT"),
    ] {
        env.plumb(".", &["explain", reason])
            .exits(0)
            .stdout_has(&[reason, word]);
    }
    let run = env.plumb(".", &["explain", "HEAD"]).exits(1);
    let run = run.matches("verdicts/reasons_of_conditions_are_explained");
    assert!(!run.stderr.contains("did you mean"), "{}", run.stderr);
    env.plumb(".", &["explain", "DriftHeldd"])
        .exits(1)
        .matches("verdicts/reasons_of_conditions_are_explained-2");
}

#[test]
fn an_approval_that_isnt_signed_isnt_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["--no-gpg-sign"]);
    // Git 2.39 says that the key can't be loaded, makes the tag and ends with 0; later ones fail.
    env.git("fleet", &["config", "user.signingkey", "/nope"]);
    env.plumb("fleet", &["approve", "--yes", "HEAD"]).exits(1);
    assert_eq!(env.git("fleet", &["tag", "--list"]), "");
    // A signer that says that it signed, and gives nothing.
    env.write(
        "signer",
        "#!/bin/sh\ncat >/dev/null\necho >&2\necho '[GNUPG:] SIG_CREATED D 1 8 00 0 X' >&2\n",
    );
    std::fs::set_permissions(env.path("signer"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let signer = env.path("signer").display().to_string();
    env.git("fleet", &["config", "gpg.format", "openpgp"]);
    env.git("fleet", &["config", "gpg.program", &signer]);
    env.plumb("fleet", &["approve", "--yes", "HEAD"])
        .exits(1)
        .matches("verdicts/an_approval_that_isnt_signed_isnt_kept");
    assert_eq!(env.git("fleet", &["tag", "--list"]), "");
}

#[test]
fn an_approval_that_changes_nothing_is_said_to() {
    let env = Environment::new();
    env.three();
    // Alice approves what she signed herself.
    env.edit("fleet/fleet.yaml", "spec:", "# ours\nspec:");
    env.commit("Ours", &["-S"]);
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .matches("verdicts/an_approval_that_changes_nothing_is_said_to");
    env.be("bob");
    let json = env
        .plumb("fleet", &["approve", "--yes", "main", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["effect"], "completes");
    // Nothing is missing any more.
    env.be("carol");
    let run = env
        .plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .matches("verdicts/an_approval_that_changes_nothing_is_said_to-2");
    assert!(
        !run.stdout.contains("now has every approval"),
        "{}",
        run.stdout
    );
}

#[test]
fn before_the_first_commit_it_is_said_to_commit_first() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
    for command in [&["diff"][..], &["verify"], &["approve", "--yes", "main"]] {
        let run = env.plumb("fleet", command);
        assert_ne!(run.code, 0, "{command:?}");
        let run = run.stderr_has(&["this repository has no commit yet", "commit first"]);
        assert!(!run.stderr.contains("git fetch"), "{}", run.stderr);
    }
}

#[test]
fn an_empty_commit_is_signed_as_hinted() {
    let env = Environment::new();
    env.fleet();
    env.commit("Nothing", &["--allow-empty", "--no-gpg-sign"]);
    let run = env.plumb("fleet", &["verify"]).exits(3);
    let command = run
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git commit --amend"))
        .unwrap_or_else(|| panic!("{}", run.stdout));
    let mut shell = env.command("sh", "fleet");
    shell.args(["-c", command]);
    Environment::run(shell).exits(0);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn an_emergency_that_was_accepted_in_its_time_is_explained_so() {
    let env = Environment::new();
    env.three();
    let policy = env.read("fleet/trust/policy.yaml");
    let emergency = "  emergency: {need: [{from: ops, count: 1}], ttl: 4h, bypasses: [counts]}";
    let policy = policy.replace("serial: 1", "serial: 2");
    env.write(
        "fleet/trust/policy.yaml",
        &format!("{}\n{emergency}\n", policy.trim_end()),
    );
    let hours_ago = |hours: i64, message: &str| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        let then = then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        env.git("fleet", &["add", "--all"]);
        let mut commit = env.command("git", "fleet");
        commit
            .args(["commit", "--quiet", "-S", "-m", message])
            .env("GIT_COMMITTER_DATE", &then);
        Environment::run(commit).exits(0);
        env.git("fleet", &["rev-parse", "HEAD"])
    };
    // Two have made the policy some days ago, and one was enough in the emergency after it.
    let first = {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(60);
        let mut amend = env.command("git", "fleet");
        amend
            .args(["commit", "--quiet", "--amend", "--no-edit", "-S"])
            .env(
                "GIT_COMMITTER_DATE",
                then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            );
        Environment::run(amend).exits(0);
        env.git("fleet", &["rev-parse", "HEAD"])
    };
    env.git("fleet", &["config", "plumb.introduction", &first]);
    hours_ago(50, "What is done in an emergency");
    env.approved_by("bob");
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # in haste");
    let old = hours_ago(48, "In haste\n\nEmergency: the disk is full");
    env.plumb("fleet", &["verify"]).exits(0);
    env.plumb("fleet", &["explain", &old])
        .exits(0)
        .matches("verdicts/an_emergency_that_was_accepted_in_its_time_is_explained_so");
    let json = env
        .plumb("fleet", &["explain", &old, "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["verdict"], "accept");
    // The same in a clone, with an introduction and without.
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.git(
        "fleet",
        &["push", "--quiet", "-u", "origin", "main", "--tags"],
    );
    env.git(".", &["clone", "--quiet", &server, "clone"]);
    let explained = ["explain", "HEAD", "-o", "json"];
    let json = env.plumb("clone", &explained).exits(0).json();
    assert_eq!(json["verdict"], "accept");
    env.git("clone", &["config", "plumb.introduction", &first]);
    let json = env.plumb("clone", &explained).exits(0).json();
    assert_eq!(json["verdict"], "accept");
    // One that the server never had is late.
    env.edit("fleet/fleet.yaml", "# in haste", "# in more haste");
    let late = hours_ago(47, "Kept for later\n\nEmergency: the disk is full");
    env.plumb("fleet", &["explain", &late])
        .exits(0)
        .stdout_has(&["reject", "[emergency-expired]"]);
    // From the introduction too, on every branch; and what was accepted in its time stays so in a range.
    for args in [&["verify"][..], &["verify", "--head", &late]] {
        let run = env.plumb("fleet", args).exits(4);
        let run = run.stdout_has(&["accept ", "In haste", "reject", "Kept for later"]);
        // What the server hasn't got isn't set back there.
        assert!(!run.stdout.contains(":main"), "{}", run.stdout);
    }
    env.plumb("fleet", &["verify", &format!("{old}^..{old}")])
        .exits(0);
    env.plumb("fleet", &["verify", &format!("{old}^..{late}")])
        .exits(4)
        .stdout_has(&[&format!("held at {}", &old[..12])]);
    // A program that says what was accepted last says that all that follows comes now.
    let parent = env.git("fleet", &["rev-parse", &format!("{old}^")]);
    env.plumb("fleet", &["verify", "--floor", &parent, "--head", &old])
        .exits(4)
        .stdout_has(&["[emergency-expired]"]);
}

#[test]
fn a_heartbeat_is_made_as_the_docs_say_and_counts_wherever_one_begins() {
    let env = Environment::new();
    let first = env.fleet();
    env.key("beacon");
    std::fs::copy(
        env.path("beacon.pub"),
        env.path("fleet/trust/keys/beacon.pub"),
    )
    .unwrap();
    let beacon = env.fingerprint("beacon");
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit(
        "fleet/trust/policy.yaml",
        "  groups:",
        &format!("    beacon: {{keys: [{{ssh: \"{beacon}\"}}]}}\n  groups:"),
    );
    let policy = env.read("fleet/trust/policy.yaml");
    let freshness = "  freshness: {tag: \"alive/main/*\", from: beacon, maxAge: 24h}";
    env.write(
        "fleet/trust/policy.yaml",
        &format!("{}\n{freshness}\n", policy.trim_end()),
    );
    let asks = env.commit("Heartbeats", &["-S"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let after = env.commit("Smaller journals", &["-S"]);
    for floor in [&first, &asks] {
        let json = env
            .plumb(
                "fleet",
                &["verify", "--floor", floor, "--head", &after, "-o", "json"],
            )
            .exits(3)
            .json();
        assert_eq!(json["accepted"], asks.as_str(), "from {floor}");
    }
    for range in [vec!["verify"], vec!["verify", &format!("{asks}..HEAD")]] {
        env.plumb("fleet", &range)
            .exits(3)
            .stdout_has(&["[heartbeat-stale]", &format!("held at {}", &asks[..12])]);
    }
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/trust.md"))
        .expect("docs/trust.md");
    let from = docs
        .find("    git tag --sign \"alive/")
        .expect("how one is made");
    let (command, _) = docs[from..].split_once("\n\nThe line").expect("its end");
    let repository = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("repository: "))
        .expect("the repository's name");
    let script = command
        .replace("\n    ", "\n")
        .replace("6f1c0c9e-5d0e-4c3a-9b1f-0d1e2f3a4b5c", repository);
    env.be("beacon");
    let mut bash = env.command("bash", "fleet");
    bash.args(["-ec", &format!("head={after}\n{}", script.trim_start())]);
    Environment::run(bash).exits(0);
    env.be("alice");
    for floor in [&first, &asks, &after] {
        env.plumb("fleet", &["verify", "--floor", floor, "--head", &after])
            .exits(0);
    }
}
