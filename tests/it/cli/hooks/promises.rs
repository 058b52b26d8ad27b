//! The client's `pre-push` promises nothing that the server doesn't keep.

use super::messages::fleet_of_two;
use super::{install, server};
use crate::cli::environment::Environment;

const PROMISE: &str = "it is pushed all the same";

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
fn on_top_of_what_a_revoked_key_signed_nothing_is_promised() {
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
        .says(&[PROMISE]);
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
    let push = push.says(&[
        &format!(
            "the server has {}, which nobody stands behind",
            &stolen[..12]
        ),
        "[key-revoked]",
        "isn't moved",
    ]);
    assert!(!push.stderr.contains(PROMISE), "{}", push.stderr);
    for never in ["git rebase", "commit --amend --no-edit -S --allow-empty\" "] {
        assert!(!push.stderr.contains(never), "{}", push.stderr);
    }
    // As it is advised: the branch is set back, and what is good is made anew.
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
fn for_a_merge_that_has_its_parents_swapped_nothing_is_promised() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    let approved = env.commit("Ours", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.be("bob");
    env.plumb("fleet", &["approve", "main"]).exits(0);
    env.git("fleet", &["push", "--quiet", "origin", "--tags"]);
    env.be("alice");
    env.git("fleet", &["switch", "--quiet", "-c", "side", &first]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["merge", "--quiet", "-S", "--no-edit", "main"]);
    let push = env.try_git("fleet", &["push", "origin", "side:main"]);
    assert_ne!(push.code, 0);
    let push = push.says(&[
        &format!("don't lead to {}", &approved[..12]),
        "the server refuses this",
        "[not-descendant]",
        "isn't moved",
    ]);
    assert!(!push.stderr.contains(PROMISE), "{}", push.stderr);
}
