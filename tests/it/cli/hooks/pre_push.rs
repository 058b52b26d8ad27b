//! The client's `pre-push` judges as the server does, as far as a clone can know.

use super::messages::fleet_of_two;
use super::{install, server};
use crate::cli::environment::Environment;

const PUSHED: &str = "pushing anyway: the server judges again";

/// A commit of everything in `fleet`, which waits for so many hours.
fn dated(env: &Environment, size: &str, hours: i64) -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    env.write("fleet/files/journald.conf", &format!("# {size}\n"));
    let mut commit = env.command("git", "fleet");
    commit
        .args(["commit", "--quiet", "--all", "-S", "-m", size])
        .env(
            "GIT_COMMITTER_DATE",
            then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        );
    Environment::run(commit).exits(0);
    env.git("fleet", &["rev-parse", "HEAD"])
}

#[test]
fn the_server_rejects_what_builds_on_a_revoked_signature() {
    let env = Environment::new();
    server(&env);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    env.key("bob");
    let add = [
        "trust",
        "add",
        "bob",
        "--key",
        "../bob.pub",
        "--group",
        "ops",
    ];
    env.plumb("fleet", &add).exits(0);
    let accepted = env.commit("Trust bob", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.be("bob");
    let stolen = dated(&env, "a thief's", 48);
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&[PUSHED]);
    env.be("alice");
    let bob = plumb_trust::policy::KeyFile::parse(env.read("bob.pub").as_bytes())
        .unwrap()
        .name()
        .to_string();
    let revoke = ["trust", "revoke", &bob, "--on", &accepted];
    env.plumb("fleet", &revoke).exits(0);
    env.git("fleet", &["push", "--quiet", "origin", "--tags"]);
    dated(&env, "on top", 49);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    let push = push.stderr_has(&[&stolen[..12], "[key-revoked]", "isn't moved"]);
    for never in ["git rebase", "commit --amend --no-edit -S --allow-empty\" "] {
        assert!(!push.stderr.contains(never), "{}", push.stderr);
    }
    // As hinted: the branch is set back, and what is good is made anew.
    let back = format!("{accepted}:main");
    env.git("fleet", &["push", "--force-with-lease", "origin", &back]);
    env.git("fleet", &["switch", "--quiet", "--detach", &accepted]);
    env.git(
        "fleet",
        &["cherry-pick", "--allow-empty", "-S", "-X", "theirs", "main"],
    );
    env.git("fleet", &["push", "--quiet", "origin", "HEAD:main"]);
}

#[test]
fn only_the_server_knows_the_approvals_that_a_merge_leaves_behind() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    let approved = env.commit("Ours", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main"]).exits(0);
    env.be("alice");
    env.git("fleet", &["switch", "--quiet", "-c", "side", &first]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["merge", "--quiet", "-S", "--no-edit", "main"]);
    // An approval in this clone may not be on the server, so the client doesn't refuse the merge.
    env.git(
        "fleet",
        &["push", "--quiet", "--no-verify", "origin", "--tags"],
    );
    let push = env.try_git("fleet", &["push", "origin", "side:main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&[PUSHED, "[not-descendant]", "isn't moved"]);
    // `verify` judges by the approvals that are here.
    env.plumb("fleet", &["verify"])
        .exits(4)
        .stdout_has(&["[not-descendant]", &approved[..12]]);
}

#[test]
fn a_pull_that_merged_is_refused_alike_everywhere() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    let server = env.path("server.git").display().to_string();
    env.git(".", &["clone", "--quiet", &server, "clone"]);
    install(&env, "clone/.git/hooks", &["commit-msg"]);
    let push_by_bob = |file: &str| {
        env.be("bob");
        env.git("clone", &["pull", "--quiet", "--rebase"]);
        env.write(&format!("clone/files/{file}"), "bob's\n");
        env.git("clone", &["add", "--all"]);
        env.git("clone", &["commit", "--quiet", "-S", "-m", file]);
        env.git("clone", &["push", "--quiet", "origin", "main"]);
        env.be("alice");
    };
    push_by_bob("one");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    // Not merged yet, it is the same.
    env.git("fleet", &["fetch", "--quiet"]);
    env.plumb("fleet", &["verify"])
        .exits(4)
        .stdout_has(&["[not-descendant]"]);
    let merged = ["pull", "--quiet", "--no-rebase", "--no-edit", "-S"];
    env.git("fleet", &merged);
    let run = env
        .plumb("fleet", &["verify"])
        .exits(4)
        .matches("pre_push/a_pull_that_merged_is_refused_alike_everywhere");
    assert!(!run.stdout.contains("accepted up to"), "{}", run.stdout);
    let json = ["verify", "-o", "json"];
    let json = env.plumb("fleet", &json).exits(4).json();
    assert_eq!(json["verdict"], "reject");
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    let push = push.stderr_has(&["[not-descendant]", "isn't pushed"]);
    assert!(!push.stderr.contains("isn't moved"), "{}", push.stderr);
    env.try_git("fleet", &["push", "--no-verify", "origin", "main"])
        .stderr_has(&["[not-descendant]", "isn't moved"]);
    env.git("fleet", &["rebase", "--quiet", "--gpg-sign", "origin/main"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.plumb("fleet", &["verify"]).exits(0);
    let tip = env.git("fleet", &["rev-parse", "main"]);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), tip);

    // A branch of one's own may be merged yet: that is said, and it is judged by itself.
    env.git("fleet", &["switch", "--quiet", "-c", "side", &first]);
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    env.commit("Ours", &["-S"]);
    let run = env.plumb("fleet", &["verify"]);
    run.stderr_has(&[&format!("isn't built on {}", &tip[..12])]);
}

#[test]
fn a_clone_rejects_what_the_server_has_put_another_branch_in_place_of() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let lost = env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.git("fleet", &["switch", "--quiet", "-c", "other", &first]);
    env.edit("fleet/files/journald.conf", "2G", "3G");
    env.git(
        "fleet",
        &[
            "commit",
            "--quiet",
            "--all",
            "-S",
            "-m",
            "Larger journals",
            "-m",
            &format!(
                "Deploy-Ref: {} refs/heads/main",
                super::messages::repository(&env)
            ),
        ],
    );
    std::fs::remove_dir_all(env.path("server.git/hooks")).unwrap();
    env.git(
        "fleet",
        &["push", "--quiet", "--force", "origin", "other:main"],
    );
    // What the server shows is accepted, so what it has replaced can't be.
    env.git("fleet", &["switch", "--quiet", "main"]);
    env.plumb("fleet", &["verify"])
        .exits(4)
        .stdout_has(&["[not-descendant]", &lost[..12]]);
    env.git("server.git", &["update-ref", "refs/heads/main", &lost]);
    env.git("fleet", &["fetch", "--quiet"]);
    env.plumb("fleet", &["verify"]).exits(0);
}
