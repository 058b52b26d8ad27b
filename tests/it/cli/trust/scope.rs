//! Of what an approval is: of what was shown, and of no more, wherever it ends up.

use crate::cli::environment::Environment;

/// The trailers of the only approval.
fn said(env: &Environment) -> String {
    let tags = env.git("fleet", &["tag", "--list", "approve/main/*"]);
    assert_eq!(tags.lines().count(), 1, "{tags}");
    let name = format!("refs/tags/{tags}");
    env.git("fleet", &["for-each-ref", "--format=%(contents)", &name])
}

#[test]
fn a_branch_is_shown_and_approved_from_where_it_left() {
    let env = Environment::new();
    let first = env.three();
    env.key("zed");
    env.git("fleet", &["switch", "--quiet", "-c", "topic"]);
    // A stranger's commit below, with bob's name on it.
    env.be("zed");
    env.edit("fleet/fleet.yaml", "spec:", "# theirs\nspec:");
    let author = "bob <bob@fleet.example>";
    let below = env.commit("Tidy", &["-S", "--author", author]);
    env.be("carol");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let top = env.commit("Smaller journals", &["-S"]);
    env.be("bob");
    let json = env
        .plumb("fleet", &["approve", "--yes", "topic", "-o", "json"])
        .exits(0)
        .stderr_has(&[
            &format!("{} carol: Smaller journals (signed by carol)", &top[..12]),
            &format!(
                "{} bob: Tidy (signed by a key that isn't in the policy)",
                &below[..12]
            ),
            "fleet.yaml",
            "2 files changed",
            "These 2 commits are approved together",
        ])
        .json();
    assert_eq!(json["base"], first.as_str());
    assert!(said(&env).contains(&format!("Approve-Base: {first}")));
    // Two of ops, for all that the branch has.
    env.git("fleet", &["switch", "--quiet", "main"]);
    env.be("alice");
    env.git(
        "fleet",
        &["merge", "--quiet", "--no-ff", "-S", "-m", "Merge", "topic"],
    );
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn an_approval_of_a_commit_of_the_branch_isnt_one_of_those_below_it() {
    let env = Environment::new();
    let first = env.three();
    env.be("carol");
    env.edit("fleet/fleet.yaml", "spec:", "# theirs\nspec:");
    let below = env.commit("Theirs", &["-S"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let top = env.commit("Smaller journals", &["-S"]);
    env.be("bob");
    let run = env
        .plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .stderr_has(&[
            "1 file changed",
            "isn't accepted and holds later ones",
            &top[..12],
        ]);
    assert!(!run.stderr.contains("Theirs"), "{run:?}");
    assert!(said(&env).contains(&format!("Approve-Base: {below}")));
    // Whoever sets the branch back and merges the same commits makes no more of it.
    env.be("carol");
    env.git("fleet", &["reset", "--quiet", "--hard", &first]);
    env.git(
        "fleet",
        &["merge", "--quiet", "--no-ff", "-S", "-m", "Merge", &top],
    );
    env.plumb("fleet", &["verify"])
        .exits(3)
        .matches("scope/an_approval_of_a_commit_of_the_branch_isnt_one_of_those_below_it");
}

#[test]
fn what_an_approval_since_a_commit_does_is_told_of_each() {
    let env = Environment::new();
    let first = env.three();
    env.be("zed-none");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let below = env.commit("Nobody's", &["--no-gpg-sign"]);
    env.be("alice");
    env.edit("fleet/files/journald.conf", "1G", "3G");
    env.commit("Alice's", &["-S"]);
    env.be("bob");
    for (commit, base) in [
        ("main", "main"),
        ("main^", "main"),
        (first.as_str(), "main^"),
    ] {
        env.plumb("fleet", &["approve", "--yes", commit, "--base", base])
            .exits(1)
            .stderr_has(&["isn't an ancestor of", "nothing between them"]);
    }
    let run = env
        .plumb(
            "fleet",
            &["approve", "--yes", "main", "--base", &first, "-o", "json"],
        )
        .exits(0);
    let run = run.matches("scope/what_an_approval_since_a_commit_does_is_told_of_each");
    assert!(!run.stderr.contains("changes nothing"), "{run:?}");
    let json = run.json();
    assert_eq!(json["effect"], "completes");
    env.plumb("fleet", &["verify"]).exits(0);
    let tag = json["tag"].as_str().unwrap();
    env.git("fleet", &["tag", "-d", tag]);
    env.plumb("fleet", &["approve", "--yes", "main", "--base", &first])
        .exits(0)
        .stdout_has(&[&format!(
            "{} now has every approval that it needs; yours counts as bob",
            &below[..12]
        )]);
}

#[test]
fn what_a_revoked_key_signed_is_approved_by_nobody_unseen() {
    let env = Environment::new();
    let first = env.three();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let accepted = env.commit("Smaller", &["-S"]);
    let carol = env.fingerprint("carol");
    for name in ["alice", "bob"] {
        env.be(name);
        env.trust(&["revoke", &carol, "--on", &accepted, "--yes"])
            .exits(0);
    }
    env.be("carol");
    env.edit("fleet/files/journald.conf", "1G", "9G");
    let stolen = env.commit("A thief's", &["-S"]);
    env.git("fleet", &["branch", "topic"]);
    env.be("bob");
    for name in ["main", "topic"] {
        env.plumb("fleet", &["approve", "--yes", name])
            .exits(1)
            .stderr_has(&[
                &format!("a revoked key signed {}", &stolen[..12]),
                "not approved",
                &format!("git show {stolen}"),
                "--signed-by-revoked",
            ]);
    }
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), "");
    // The hint is to look at it, and not to sign or approve it.
    let run = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&[&format!("git show {stolen}")]);
    assert!(!run.stdout.contains("plumb approve"), "{}", run.stdout);
    env.plumb(
        "fleet",
        &["approve", "--yes", "main", "--signed-by-revoked"],
    )
    .exits(0)
    .matches("scope/what_a_revoked_key_signed_is_approved_by_nobody_unseen");
    env.plumb("fleet", &["verify"]).exits(0);
    // Nor once the key has left the policy.
    env.git("fleet", &["reset", "--quiet", "--hard", &accepted]);
    env.be("alice");
    env.trust(&["remove", "carol"]).exits(0);
    env.commit("Carol has left", &["-S"]);
    env.approved_by("bob");
    env.plumb("fleet", &["verify"]).exits(0);
    env.be("carol");
    env.edit("fleet/files/journald.conf", "1G", "8G");
    env.commit("Again", &["-S"]);
    let said = env
        .plumb("fleet", &["verify"])
        .exits(3)
        .stdout_has(&["[key-revoked]"]);
    assert!(!said.stdout.contains("plumb trust add"), "{said:?}");
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(1)
        .matches("scope/what_a_revoked_key_signed_is_approved_by_nobody_unseen-2");
    let _ = first;
}
