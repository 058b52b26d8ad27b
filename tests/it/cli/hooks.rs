//! The hooks of `hooks/` with real pushes by the real git.

mod accepted_state;
mod messages;
mod pre_push;
mod servers;
mod tags;

use std::fs;
use std::path::Path;

use super::environment::Environment;

/// A bare repository with our server hooks, pushed to from `fleet`.
fn server(env: &Environment) -> String {
    let first = env.fleet();
    push_to_new_server(env, &first);
    first
}

fn push_to_new_server(env: &Environment, first: &str) {
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    install(env, "server.git/hooks", &["pre-receive", "post-receive"]);
    env.git("server.git", &["config", "plumb.introduction", first]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.git(
        "fleet",
        &["push", "--quiet", "--set-upstream", "origin", "main"],
    );
}

fn install(env: &Environment, to: &str, hooks: &[&str]) {
    for hook in hooks {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../hooks")
            .join(hook);
        fs::create_dir_all(env.path(to)).unwrap();
        fs::copy(from, env.path(to).join(hook)).unwrap();
    }
}

#[test]
fn what_nobody_signed_is_refused_and_what_is_signed_goes_through() {
    let env = Environment::new();
    let first = server(&env);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let unsigned = env.commit("Unsigned", &["--no-gpg-sign"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    let said = push
        .stderr_has(&["[uncovered]", &unsigned[..12], "isn't moved"])
        .stderr;
    // What to do first comes first.
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("`{what}`: {said}"))
    };
    assert!(at("git commit --amend --no-edit -S") < at("plumb approve"));
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), first);
}

#[test]
fn an_approval_pushed_together_with_the_commit_counts() {
    let env = Environment::new();
    server(&env);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Made by a forge", &["--no-gpg-sign"]);
    env.plumb("fleet", &["approve", "--yes", "main"]).exits(0);
    let tag = format!("refs/tags/approve/main/{}-alice", &commit[..12]);
    env.git(
        "fleet",
        &["push", "--quiet", "--atomic", "origin", "main", &tag],
    );
    // Approvals are only added.
    let delete = env.try_git("fleet", &["push", "origin", &format!(":{tag}")]);
    assert_ne!(delete.code, 0);
    delete.stderr_has(&["heartbeats and revocations are permanent"]);
}

#[test]
fn what_can_never_be_accepted_is_refused_and_what_waits_is_let_through() {
    let env = Environment::new();
    server(&env);
    // A change of trust/ together with another is a reject.
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Both", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&["policy-not-isolated"]);
    env.git("fleet", &["reset", "--quiet", "--hard", "origin/main"]);

    // Now the policy asks for two; one signature waits and may be pushed.
    env.key("bob");
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    let print = env.read("bob.pub");
    env.write("fleet/trust/keys/bob.pub", &print);
    let fingerprint = plumb_trust::policy::KeyFile::parse(print.as_bytes())
        .unwrap()
        .name()
        .to_string();
    env.edit(
        "fleet/trust/policy.yaml",
        "  groups: {ops: [alice]}",
        &format!(
            "    bob: {{keys: [{{ssh: \"{fingerprint}\"}}]}}\n  groups: {{ops: [alice, bob]}}"
        ),
    );
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"**\"], need: [{from: ops, count: 1}]",
        "[\"**\"], need: [{from: ops, count: 2}]",
    );
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"trust/**\"], need: [{from: ops, count: 1}]",
        "[\"trust/**\"], need: [{from: ops, count: 2}]",
    );
    let policy = env.commit("Two people", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let waits = env.commit("Waits for bob", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_eq!(push.code, 0, "{}", push.stderr);
    push.stderr_has(&["approvals-missing", "bob could give it"]);
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", &waits]).exits(0);
    env.plumb("fleet", &["verify"]).exits(0);
    // It may be set back to what is accepted, and not below.
    env.be("alice");
    env.git(
        "fleet",
        &[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("{policy}:main"),
        ],
    );
    let below = env.try_git(
        "fleet",
        &["push", "--force", "origin", &format!("{policy}^:main")],
    );
    assert_ne!(below.code, 0, "the branch went below what was accepted");
}

#[test]
fn the_watched_branch_stays_and_others_are_nobodys_business() {
    let env = Environment::new();
    server(&env);
    env.git(
        "server.git",
        &["config", "receive.denyDeleteCurrent", "ignore"],
    );
    let delete = env.try_git("fleet", &["push", "origin", ":main"]);
    assert_ne!(delete.code, 0);
    delete.stderr_has(&["can't be deleted"]);
    env.git("fleet", &["checkout", "--quiet", "-b", "wip"]);
    env.write("fleet/scratch", "x");
    env.commit("Work in progress", &["--no-gpg-sign"]);
    env.git("fleet", &["push", "--quiet", "origin", "wip"]);
}

#[test]
fn a_server_without_a_root_of_trust_says_how_to_give_it_one() {
    let env = Environment::new();
    server(&env);
    env.git("server.git", &["config", "--unset", "plumb.introduction"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Signed", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&["git config plumb.introduction COMMIT"]);
}

#[test]
fn a_server_with_a_wrong_root_of_trust_says_whose_matter_that_is() {
    let env = Environment::new();
    let first = server(&env);
    // A commit of another branch, one that is nowhere, and one without a policy.
    env.git("fleet", &["checkout", "--quiet", "-b", "wip"]);
    env.write("fleet/scratch", "x");
    let stray = env.commit("Work in progress", &["-S"]);
    env.git("fleet", &["rm", "--quiet", "-r", "trust"]);
    let bare = env.commit("No policy", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "wip"]);
    env.git("fleet", &["checkout", "--quiet", "main"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Signed", &["-S"]);
    for (wrong, why) in [
        (&stray, "it isn't on the branch"),
        (
            &"1".repeat(commit.len()),
            "this repository has no such commit",
        ),
        (&bare, "trust/policy.yaml is missing"),
    ] {
        env.git("server.git", &["config", "plumb.introduction", wrong]);
        let push = env.try_git("fleet", &["push", "origin", "main"]);
        assert_ne!(push.code, 0);
        let push = push.stderr_has(&[
            "nothing was judged",
            &wrong[..12],
            why,
            "the server's operator",
            "git config plumb.introduction COMMIT",
        ]);
        for blame in ["plumb verify", "reset the branch", "amend"] {
            assert!(!push.stderr.contains(blame), "{}", push.stderr);
        }
    }
    env.git("server.git", &["config", "plumb.introduction", &first]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
}

#[test]
fn what_comes_behind_a_commit_that_waits_is_judged_too() {
    let env = Environment::new();
    server(&env);
    // It waits for its date, whoever pushes what behind it.
    let hour = |hours: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let dated = |size: &str, date: &str, sign: &str| {
        env.write("fleet/files/journald.conf", &format!("# {size}\n"));
        let mut commit = env.command("git", "fleet");
        commit
            .args(["commit", "--quiet", "--all", sign, "-m", size])
            .env("GIT_COMMITTER_DATE", date);
        Environment::run(commit).exits(0);
        env.git("fleet", &["rev-parse", "HEAD"])
    };
    let waits = dated("waits", &hour(48), "-S");
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_eq!(push.code, 0, "{}", push.stderr);
    let push = push.stderr_has(&["[future]", "Wait until that time:"]);
    assert!(!push.stderr.contains("[uncovered]"), "{}", push.stderr);
    assert_eq!(
        push.stderr.matches("commit --amend").count(),
        1,
        "{}",
        push.stderr
    );

    let refused = |commit: &str, code: &str| {
        let push = env.try_git("fleet", &["push", "origin", "main"]);
        assert_ne!(push.code, 0, "{}", push.stderr);
        push.stderr_has(&[code, &commit[..12], "isn't moved"]);
        env.git("fleet", &["reset", "--quiet", "--hard", &waits]);
    };
    // Nobody's, with and without a date to wait for.
    refused(
        &dated("nobody's", &hour(49), "--no-gpg-sign"),
        "[uncovered]",
    );
    refused(&dated("nobody's", &hour(0), "--no-gpg-sign"), "[uncovered]");
    // Nobody's below one that waits too.
    let nobodys = dated("nobody's", &hour(49), "--no-gpg-sign");
    dated("waits too", &hour(50), "-S");
    refused(&nobodys, "[uncovered]");
    // One that can never be accepted.
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    refused(&dated("both", &hour(49), "-S"), "[policy-not-isolated]");
    // What waits too is taken.
    let too = dated("waits too", &hour(49), "-S");
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), too);
}

#[test]
fn what_comes_behind_many_that_wait_is_judged_too_or_not_taken() {
    let env = Environment::new();
    for name in ["alice", "bob"] {
        env.key(name);
    }
    env.be("alice");
    let keys = ["--ssh-key=alice=alice.pub", "--ssh-key=bob=bob.pub"];
    env.plumb(".", &[&["init", "--minimal", "fleet"][..], &keys].concat())
        .exits(0);
    let first = env.commit("A fleet", &["-S"]);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    push_to_new_server(&env, &first);
    // Nobody signs them, one approves them all, and two are needed.
    let many = |count: usize| {
        env.git("fleet", &["reset", "--quiet", "--hard", &first]);
        let commit = |number: usize| {
            let from = if number == 0 { first.as_str() } else { ":1" };
            let time = jiff::Timestamp::now().as_second();
            let content = format!("# {number}\n");
            format!(
                "commit refs/heads/main\nmark :1\ncommitter alice <alice@fleet.example> {time} +0000\ndata 1\nx\nfrom {from}\nM 100644 inline fleet.yaml\ndata {}\n{content}\n",
                content.len()
            )
        };
        let stream: String = (0..count).map(commit).collect();
        env.write("stream", &stream);
        let mut import = env.command("git", "fleet");
        import
            .args(["fast-import", "--quiet", "--force"])
            .stdin(fs::File::open(env.path("stream")).unwrap());
        Environment::run(import).exits(0);
        env.git("fleet", &["reset", "--quiet", "--hard", "main"]);
        let id = format!("all-{count}");
        env.plumb(
            "fleet",
            &["approve", "--yes", "main", "--base", &first, "--id", &id],
        )
        .exits(0);
        format!("refs/tags/approve/main/{id}")
    };
    let tag = many(300);
    env.write("fleet/files/journald.conf", "# nobody's\n");
    let nobodys = env.commit("Nobody's", &["--no-gpg-sign"]);
    let push = env.try_git("fleet", &["push", "--atomic", "origin", "main", &tag]);
    assert_ne!(push.code, 0, "{}", push.stderr);
    push.stderr_has(&["[uncovered]", &nobodys[..12], "isn't moved"]);
    let commit = format!("{nobodys}^:main");
    env.git(
        "fleet",
        &["push", "--quiet", "--atomic", "origin", &commit, &tag],
    );
    // More than can be looked at isn't taken.
    let tag = many(1002);
    let args = ["push", "--force", "--atomic", "origin", "main", &tag];
    let push = env.try_git("fleet", &args);
    assert_ne!(push.code, 0, "{}", push.stderr);
    push.stderr_has(&["more than 1000 commits would wait", "--base COMMIT"]);
}

#[test]
fn a_controller_that_is_named_and_silent_is_missed() {
    let env = Environment::new();
    server(&env);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&["cannot notify the controller", "is accepted up to"]);
}

#[test]
fn the_client_hook_tells_errors_before_they_leave() {
    let env = Environment::new();
    server(&env);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    env.edit("fleet/hosts/linda.yaml", "arch:", "arhc:");
    env.commit("A typing error", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&["unknown-field", "arhc", "--no-verify"]);
    env.git("fleet", &["reset", "--quiet", "--hard", "origin/main"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Unsigned", &["--no-gpg-sign"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    let push = push.stderr_has(&["isn't pushed", "[uncovered]"]);
    // What helps comes before the way around it.
    let hint = |what: &str| {
        push.stderr
            .find(what)
            .unwrap_or_else(|| panic!("{}", push.stderr))
    };
    assert!(
        hint("git commit --amend --no-edit -S")
            < hint("hint: to push anyway, run `git push --no-verify`")
    );
}

#[test]
fn the_client_hook_refuses_nothing_that_the_server_takes() {
    let env = Environment::new();
    let first = server(&env);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    let dated = |text: &str, hours: i64, args: &[&str]| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        env.write("fleet/files/journald.conf", &format!("# {text}\n"));
        let mut commit = env.command("git", "fleet");
        commit
            .args(["commit", "--quiet", "--all", "-m", text])
            .args(args)
            .env(
                "GIT_COMMITTER_DATE",
                then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            );
        Environment::run(commit).exits(0);
        env.git("fleet", &["rev-parse", "HEAD"])
    };
    // What waits for its date.
    let waits = dated("Waits for its date", 48, &["-S"]);
    let push = env
        .try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&[
            "[future]",
            "pushing anyway: the server judges again and takes commits that only wait",
        ]);
    assert!(!push.stderr.contains("[uncovered]"), "{}", push.stderr);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), waits);
    // What comes behind it is looked at, here as there.
    dated("Nobody's", 49, &["--no-gpg-sign"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.matches("hooks/the_client_hook_refuses_nothing_that_the_server_takes");
    env.git("fleet", &["reset", "--quiet", "--hard", &waits]);
    // The same with another date, and the branch set back to what is accepted: as hinted.
    dated("Dated anew", 0, &["-S", "--amend"]);
    env.git(
        "fleet",
        &["push", "--quiet", "--force-with-lease", "origin", "main"],
    );
    let accepted = env.git("fleet", &["rev-parse", "HEAD"]);
    dated("Waits again", 48, &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    let back = format!("{accepted}:main");
    env.git(
        "fleet",
        &["push", "--quiet", "--force-with-lease", "origin", &back],
    );
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), accepted);
    // Below what is accepted it isn't set back, as far as it can be told here.
    let back = format!("{first}:main");
    let push = env.try_git("fleet", &["push", "--force", "origin", &back]);
    assert_ne!(push.code, 0);
    push.matches("hooks/the_client_hook_refuses_nothing_that_the_server_takes-2");
}

#[test]
fn what_git_doesnt_say_is_refused() {
    let env = Environment::new();
    env.fleet();
    env.plumb_reading("fleet", &["hook", "pre-receive"], "nonsense\n")
        .exits(1)
        .matches("hooks/what_git_doesnt_say_is_refused");
}
