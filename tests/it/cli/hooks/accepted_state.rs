//! From where a push is judged.

use super::{install, server};
use crate::cli::environment::Environment;

const ACCEPTED: &str = "server.git/plumb/accepted";

/// A signed change, pushed.
fn push(env: &Environment, size: &str) -> String {
    let commit = change(env, size);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    commit
}

fn change(env: &Environment, size: &str) -> String {
    env.write("fleet/files/journald.conf", &format!("# {size}\n"));
    env.commit(size, &["-S"])
}

/// Takes a commit away, so that whoever needs it fails.
fn lose(env: &Environment, commit: &str) {
    let object = format!("server.git/objects/{}/{}", &commit[..2], &commit[2..]);
    std::fs::remove_file(env.path(&object)).unwrap();
}

#[test]
fn a_push_is_judged_from_the_newest_accepted_commit() {
    let env = Environment::new();
    let first = server(&env);
    let lost = push(&env, "1");
    push(&env, "2");
    let newest = push(&env, "3");
    assert_eq!(
        env.read(ACCEPTED),
        format!("introduction {first}\nref refs/heads/main\naccepted {newest}\n")
    );
    let refs = env.git("server.git", &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs, "refs/heads/main", "a hook wrote refs");
    // What lies behind it isn't even read.
    lose(&env, &lost);
    push(&env, "4");
    // Without it, it is, and missing.
    std::fs::remove_file(env.path(ACCEPTED)).unwrap();
    change(&env, "5");
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&["missing"]);
}

#[test]
fn what_is_remembered_counts_only_where_it_fits() {
    let env = Environment::new();
    let first = server(&env);
    let second = push(&env, "1");
    let third = push(&env, "2");
    let whole = env.read(ACCEPTED);
    // A commit that isn't on the branch, another root of trust, another branch, and no memory at all:
    // the branch is judged from its introduction, and comes to the same end.
    let stray = env.git(
        "server.git",
        &[
            "-c",
            "user.name=x",
            "-c",
            "user.email=x",
            "commit-tree",
            "-m",
            "stray",
            &format!("{first}^{{tree}}"),
        ],
    );
    for (from, to) in [
        (format!("accepted {third}"), format!("accepted {stray}")),
        (
            format!("introduction {first}"),
            format!("introduction {stray}"),
        ),
        ("heads/main".to_owned(), "heads/next".to_owned()),
        (whole.clone(), "nonsense".to_owned()),
    ] {
        let wrong = whole.replace(&from, &to);
        assert_ne!(wrong, whole);
        env.write(ACCEPTED, &wrong);
        let below = env.try_git(
            "fleet",
            &["push", "--force", "origin", &format!("{second}:main")],
        );
        assert_ne!(
            below.code, 0,
            "{to}: the branch went below what is accepted"
        );
        below.stderr_has(&["[rewound]"]);
        let again = push(&env, &to);
        assert!(env.read(ACCEPTED).contains(&format!("accepted {again}\n")));
        env.git("fleet", &["reset", "--quiet", "--hard", &third]);
        env.git("server.git", &["update-ref", "refs/heads/main", &third]);
        std::fs::remove_file(env.path(ACCEPTED)).unwrap();
    }
}

#[test]
fn what_was_accepted_and_taken_off_the_branch_is_known_again() {
    let env = Environment::new();
    server(&env);
    let second = push(&env, "1");
    let third = push(&env, "2");
    // Somebody with access to the server puts another commit in its place, past the hooks.
    env.git("fleet", &["checkout", "--quiet", "-b", "other", &second]);
    env.write("fleet/files/journald.conf", "# other\n");
    let other = env.commit("Other", &["--no-gpg-sign"]);
    env.git("fleet", &["push", "--quiet", "origin", "other"]);
    env.git("fleet", &["checkout", "--quiet", "main"]);
    env.git("server.git", &["update-ref", "refs/heads/main", &other]);
    let push = env.try_git("fleet", &["push", "--force", "origin", "main"]);
    push.exits(0)
        .stderr_has(&["pendingAlarm", "[tombstoned]", &third[..12]]);
    // It is remembered beyond that push.
    assert!(env.read(ACCEPTED).contains(&format!("tombstone {third}\n")));
    change(&env, "3");
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&["[tombstoned]"]);
}

#[test]
fn a_branch_that_was_set_back_past_the_hooks_keeps_its_floor() {
    let env = Environment::new();
    let first = server(&env);
    let second = push(&env, "1");
    let third = push(&env, "2");
    let remembered = env.read(ACCEPTED);
    let main = "refs/heads/main";
    for (past, below) in [
        (&["update-ref", main, &first][..], vec![&second]),
        (&["update-ref", "-d", main], vec![&first, &second]),
    ] {
        env.git("server.git", past);
        // Nothing below what is accepted, nothing beside it, and no tag in between changes that.
        let beside = format!("beside-{}", past.len() + past[1].len());
        env.git("fleet", &["checkout", "--quiet", "-b", &beside, &second]);
        change(&env, "beside");
        env.plumb("fleet", &["approve", "--yes", "HEAD", "--id", &beside])
            .exits(0);
        env.git(
            "fleet",
            &[
                "push",
                "--quiet",
                "origin",
                &format!("approve/main/{beside}"),
            ],
        );
        env.git("fleet", &["checkout", "--quiet", "main"]);
        for wrong in below.into_iter().chain([&beside]) {
            let push = env.try_git(
                "fleet",
                &["push", "--force", "origin", &format!("{wrong}:{main}")],
            );
            assert_ne!(push.code, 0, "{past:?}: {wrong}");
            push.stderr_has(&[
                "the branch was set back past the hooks",
                &format!("git push origin {third}~0:{main}"),
            ]);
        }
        assert_eq!(env.read(ACCEPTED), remembered);
        // What it says is what helps.
        env.try_git("fleet", &["push", "origin", &format!("{third}:{main}")])
            .exits(0)
            .stderr_has(&[&format!("accepted up to {}", &third[..12])]);
        assert_eq!(env.read(ACCEPTED), remembered);
        let below = env.try_git(
            "fleet",
            &["push", "--force", "origin", &format!("{first}:main")],
        );
        assert_ne!(below.code, 0, "the branch went below what is accepted");
    }
}

#[test]
fn revocations_are_seen_wherever_they_stand() {
    let env = Environment::new();
    server(&env);
    env.key("bob");
    let print = env.read("bob.pub");
    env.write("fleet/trust/keys/bob.pub", &print);
    let key = plumb_trust::policy::KeyFile::parse(print.as_bytes())
        .unwrap()
        .name();
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit(
        "fleet/trust/policy.yaml",
        "  groups: {ops: [alice]}",
        &format!("    bob: {{keys: [{{ssh: \"{key}\"}}]}}\n  groups: {{ops: [alice, bob]}}"),
    );
    let policy = env.commit("And bob", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.be("bob");
    push(&env, "1");
    push(&env, "2");
    env.be("alice");
    // It stands on a commit below the one that is remembered.
    let tag = format!("revoke/{}/alice", key.to_hex());
    env.git("fleet", &["tag", "--sign", &tag, "-m", "stolen", &policy]);
    env.try_git("fleet", &["push", "origin", &tag])
        .exits(0)
        .stderr_has(&[&format!("{key} is revoked")]);
    env.be("bob");
    change(&env, "3");
    let refused = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(refused.code, 0);
    refused.stderr_has(&["[key-revoked]", "isn't moved"]);
    // What was accepted before stays the floor.
    env.git("fleet", &["reset", "--quiet", "--hard", "origin/main"]);
    env.be("alice");
    push(&env, "4");
    let below = env.try_git(
        "fleet",
        &["push", "--force", "origin", &format!("{policy}:main")],
    );
    assert_ne!(below.code, 0, "the branch went below what is accepted");
}

#[test]
fn a_freeze_doesnt_hold_what_came_before_it() {
    let env = Environment::new();
    env.fleet();
    let day = |days: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let dated = |days: i64, args: &[&str]| {
        env.git("fleet", &["add", "--all"]);
        let mut command = env.command("git", "fleet");
        command
            .args(["commit", "--quiet", "-S"])
            .args(args)
            .env("GIT_COMMITTER_DATE", day(days));
        Environment::run(command).exits(0);
    };
    dated(-4, &["--amend", "--no-edit"]);
    let first = env.git("fleet", &["rev-parse", "HEAD"]);
    let policy = env
        .read("fleet/trust/policy.yaml")
        .replace("serial: 1", "serial: 2");
    let freeze = format!(
        "  freeze: [{{from: \"{}\", to: \"{}\", paths: [\"files/**\"]}}]\n",
        day(-1),
        day(1)
    );
    env.write("fleet/trust/policy.yaml", &format!("{policy}{freeze}"));
    dated(-3, &["-m", "A freeze"]);
    env.write("fleet/files/journald.conf", "# before the freeze\n");
    dated(-2, &["-m", "Before the freeze"]);
    // A server that gets its hooks only now.
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    install(&env, "server.git/hooks", &["pre-receive", "post-receive"]);
    env.git("server.git", &["config", "plumb.introduction", &first]);
    env.edit("fleet/profiles/sshd.yaml", "kind:", "# x\nkind:");
    let other = env.commit("Not frozen", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    assert!(env.read(ACCEPTED).contains(&format!("accepted {other}\n")));
    // What comes now is.
    change(&env, "too late");
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&["[frozen]"]);
}
