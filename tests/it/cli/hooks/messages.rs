//! What the client's hooks make of messages.

use std::os::unix::fs::PermissionsExt as _;

use super::{install, push_to_new_server};
use crate::cli::environment::Environment;

/// A fleet of two, which binds commits to the branch, as `plumb init` makes it, on a server with hooks.
pub(super) fn fleet_of_two(env: &Environment) -> String {
    env.key("alice");
    env.key("bob");
    env.be("alice");
    env.plumb(
        ".",
        &[
            "init",
            "--minimal",
            "fleet",
            "--ssh-key",
            "alice=alice.pub",
            "--ssh-key",
            "bob=bob.pub",
        ],
    )
    .exits(0);
    let first = env.commit("A fleet of two", &["-S"]);
    push_to_new_server(env, &first);
    first
}

/// The last paragraph of the newest message.
fn last_paragraph(env: &Environment) -> String {
    let message = env.git("fleet", &["log", "-1", "--format=%B"]);
    message.rsplit("\n\n").next().unwrap().to_owned()
}

#[test]
fn merges_and_reverts_without_an_editor_say_where_they_are_meant() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    // Work on another branch says nothing of ours.
    env.git("fleet", &["checkout", "--quiet", "-b", "side"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["checkout", "--quiet", "main"]);
    let said = format!("Deploy-Ref: {} refs/heads/main", repository(&env));
    env.git(
        "fleet",
        &["merge", "--quiet", "--no-ff", "-S", "--no-edit", "side"],
    );
    assert_eq!(last_paragraph(&env), said);
    let merge = env.git("fleet", &["rev-parse", "HEAD"]);
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&[&format!("accepted up to {}", &merge[..12])]);
    // Undo.
    env.git("fleet", &["revert", "-S", "--no-edit", "-m", "1", "HEAD"]);
    assert_eq!(last_paragraph(&env), said);
    let undone = env.git("fleet", &["rev-parse", "HEAD"]);
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&[&format!("accepted up to {}", &undone[..12])]);
    assert_eq!(
        env.git("fleet", &["diff", "--stat", &first, "HEAD"]),
        "",
        "the revert undid nothing"
    );
    // And what an editor has seen says it once.
    env.git("fleet", &["revert", "-S", "--no-edit", "HEAD"]);
    env.git(
        "fleet",
        &["commit", "--quiet", "--amend", "--no-edit", "-S"],
    );
    let message = env.git("fleet", &["log", "-1", "--format=%B"]);
    assert_eq!(message.matches("Deploy-Ref").count(), 1, "{message}");
}

#[test]
fn a_commit_of_which_nothing_was_written_is_given_up() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.git("fleet", &["add", "--all"]);
    for args in [&["commit"][..], &["commit", "--verbose"]] {
        let mut commit = env.command("git", "fleet");
        commit.args(args).env("GIT_EDITOR", "true");
        let run = Environment::run(commit);
        assert_ne!(run.code, 0, "{args:?}");
        run.stderr_has(&["empty commit message"]);
    }
    assert_eq!(env.git("fleet", &["rev-parse", "HEAD"]), first);
    // One that was written is bound.
    env.write(
        "editor",
        "#!/bin/sh\necho Smaller >\"$1.new\"; cat \"$1\" >>\"$1.new\"; mv \"$1.new\" \"$1\"\n",
    );
    std::fs::set_permissions(env.path("editor"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut commit = env.command("git", "fleet");
    commit
        .args(["commit", "--verbose", "-S"])
        .env("GIT_EDITOR", env.path("editor"));
    Environment::run(commit).exits(0);
    assert!(last_paragraph(&env).starts_with("Deploy-Ref: "));
}

/// Changes a file on another branch and on this one, and merges: a conflict, which is then resolved.
fn conflict(env: &Environment) {
    env.git("fleet", &["checkout", "--quiet", "-b", "side"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git("fleet", &["checkout", "--quiet", "main"]);
    env.edit("fleet/files/journald.conf", "2G", "3G");
    env.commit("Larger journals", &["-S"]);
    let merge = env.try_git("fleet", &["merge", "-S", "side"]);
    assert_ne!(merge.code, 0, "{merge:?}");
    env.git(
        "fleet",
        &["checkout", "--quiet", "--theirs", "files/journald.conf"],
    );
    env.git("fleet", &["add", "--all"]);
}

#[test]
fn a_merge_with_conflicts_is_bound_however_git_cleans_its_message() {
    for args in [
        &["--no-edit"][..],
        &["--no-edit", "--cleanup=strip"],
        &["--no-edit", "--cleanup=verbatim"],
        &["--no-edit", "--verbose"],
        &["--cleanup=scissors"],
        &["--cleanup=whitespace"],
        &["--verbose"],
        &[],
    ] {
        for cleanup in ["default", "scissors"] {
            let env = Environment::new();
            fleet_of_two(&env);
            env.git("fleet", &["config", "commit.cleanup", cleanup]);
            conflict(&env);
            let mut commit = env.command("git", "fleet");
            commit
                .args([&["commit", "--quiet", "-S"][..], args].concat())
                .env("GIT_EDITOR", "true");
            Environment::run(commit).exits(0);
            let run = env.plumb("fleet", &["verify"]);
            let message = env.git("fleet", &["log", "-1", "--format=%B"]);
            assert_eq!(run.code, 0, "{args:?} {cleanup}: {message}\n{run:?}");
        }
    }
}

#[test]
fn what_looks_like_something_of_gits_is_bound_and_stays_as_it_was_written() {
    let env = Environment::new();
    fleet_of_two(&env);
    for (at, (message, args)) in [
        ("Subject\n\nhttps://bugs.example.org/123", &[][..]),
        ("Subject\n\n---\nNot: a patch\n\nmore", &[]),
        ("Subject\n\n# a heading\ntext", &["--cleanup=verbatim"]),
        ("Subject\n\ntext\n# an end", &["--cleanup=verbatim"]),
        ("#12", &[]),
        ("Subject\n\n(cherry picked from commit c0ffee)", &[]),
        ("Subject\n\nConflicts:\n\tfile", &[]),
        ("Subject\n\nprose\nSigned-off-by: x\nprose\nprose", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        env.write("fleet/README", &format!("{at}\n"));
        env.commit(message, &[&["-S"][..], args].concat());
        let kept = env.git("fleet", &["log", "-1", "--format=%B"]);
        let said = format!("Deploy-Ref: {} refs/heads/main", repository(&env));
        assert_eq!(kept, format!("{message}\n\n{said}"));
        env.plumb("fleet", &["verify"]).exits(0);
    }
    // What was meant for elsewhere is meant for here once it is made here.
    env.write("fleet/README", "x\n");
    env.commit(
        "Subject\n\nDeploy-Ref: elsewhere refs/heads/main\nFor: x",
        &["-S"],
    );
    let said = format!("For: x\nDeploy-Ref: {} refs/heads/main", repository(&env));
    assert_eq!(last_paragraph(&env), said);
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn what_is_rebased_on_the_branch_is_bound_too() {
    let env = Environment::new();
    let first = fleet_of_two(&env);
    env.git("fleet", &["checkout", "--quiet", "-b", "side"]);
    for number in ["one", "two"] {
        env.write(&format!("fleet/{number}"), "x\n");
        env.commit(number, &["--no-gpg-sign"]);
    }
    env.git("fleet", &["checkout", "--quiet", "main"]);
    env.git("fleet", &["merge", "--quiet", "--ff-only", "side"]);
    env.plumb("fleet", &["verify"]).exits(3);
    env.git(
        "fleet",
        &[
            "rebase",
            "--quiet",
            "--exec",
            "git commit --quiet --amend --no-edit -S",
            &first,
        ],
    );
    env.plumb("fleet", &["verify"]).exits(0);
}

#[test]
fn clones_get_both_hooks() {
    let env = Environment::new();
    fleet_of_two(&env);
    env.git(".", &["clone", "--quiet", "server.git", "again"]);
    install(
        &env,
        "again/.git/hooks",
        &["commit-msg", "prepare-commit-msg"],
    );
    for hook in ["commit-msg", "prepare-commit-msg"] {
        assert_eq!(
            env.read(&format!("again/.git/hooks/{hook}")),
            env.read(&format!("fleet/.git/hooks/{hook}"))
        );
    }
}

pub(super) fn repository(env: &Environment) -> String {
    super::tags::repository(env)
}
