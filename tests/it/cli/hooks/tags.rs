//! Tags that concern trust: which are taken, and that they stay.

use super::server;
use crate::cli::environment::{Environment, Run};

/// A tag made by hand, and what the server says of it.
fn tag(env: &Environment, args: &[&str], name: &str) -> Run {
    env.git("fleet", &[&["tag", "--force"][..], args, &[name]].concat());
    env.try_git("fleet", &["push", "origin", &format!("refs/tags/{name}")])
}

/// The policy's name for the repository.
pub(super) fn repository(env: &Environment) -> String {
    let policy = env.read("fleet/trust/policy.yaml");
    let (_, rest) = policy.split_once("repository: ").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn refused(run: Run, why: &str) {
    assert_ne!(run.code, 0, "{}", run.stderr);
    run.stderr_has(&["can never count", why]);
}

#[test]
fn what_can_never_count_isnt_taken() {
    let env = Environment::new();
    let first = server(&env);
    let repository = repository(&env);
    let approves = format!("Approve: {repository} refs/heads/main {first}");

    refused(tag(&env, &[], "approve/main/light"), "lightweight");
    refused(
        tag(&env, &["-a", "-m", &approves], "approve/main/bare"),
        "it isn't signed",
    );
    refused(
        tag(&env, &["-s", "-m", "Fine"], "approve/main/mute"),
        "lacks the line `Approve: ",
    );
    for wrong in [
        approves.replace(&repository, "another"),
        approves.replace("heads/main", "heads/prod"),
        approves.replace(&first, &"0".repeat(40)),
    ] {
        refused(
            tag(&env, &["-s", "-m", &wrong], "approve/main/wrong"),
            "but points to",
        );
    }
    let twice = format!("{approves}\n{approves}");
    refused(
        tag(&env, &["-s", "-m", &twice], "approve/main/twice"),
        "Approve",
    );
    refused(
        tag(&env, &["-s", "-m", "x"], "revoke/bob/1"),
        "`bob` isn't a fingerprint",
    );
    refused(
        tag(&env, &[], &format!("revoke/{}/1", "a".repeat(40))),
        "lightweight",
    );
    refused(
        tag(&env, &["-s", "-m", "x"], "alive/main/1"),
        "lacks the line `Alive: ",
    );

    // A good one, and the same under another name.
    let good = "approve/main/good";
    tag(&env, &["-s", "-m", &approves], good).exits(0);
    env.git(
        "fleet",
        &["update-ref", "refs/tags/approve/main/other", good],
    );
    let other = env.try_git("fleet", &["push", "origin", "refs/tags/approve/main/other"]);
    refused(other, "the signed text names it approve/main/good");

    // A tag of a tree is no approval; other tags are nobody's business.
    let tree = format!("{first}^{{tree}}");
    env.git(
        "fleet",
        &["tag", "-s", "-m", &approves, "approve/main/tree", &tree],
    );
    let run = env.try_git("fleet", &["push", "origin", "refs/tags/approve/main/tree"]);
    refused(run, "approve/main/tree");
    tag(&env, &[], "v1").exits(0);
}

#[test]
fn what_doesnt_count_yet_is_taken_and_told() {
    let env = Environment::new();
    server(&env);
    // Bob isn't in the policy; tomorrow he may be.
    env.key("bob");
    env.be("bob");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("By a stranger", &["--no-gpg-sign"]);
    env.git(
        "fleet",
        &["push", "--quiet", "origin", "HEAD:refs/heads/review"],
    );
    let head = env.git("fleet", &["rev-parse", "HEAD"]);
    let approves = format!("Approve: {} refs/heads/main {head}", repository(&env));
    tag(&env, &["-s", "-m", &approves], "approve/main/bob").exits(0);
    let tag = format!("revoke/{}/bob", "ab".repeat(20));
    env.git("fleet", &["tag", "-s", "-m", "x", &tag, "HEAD~1"]);
    env.try_git("fleet", &["push", "origin", &tag])
        .exits(0)
        .stderr_has(&["doesn't count yet"]);
}

#[test]
fn they_stay_as_they_are() {
    let env = Environment::new();
    let first = server(&env);
    env.plumb("fleet", &["approve", "--yes", "HEAD", "--id", "x"])
        .exits(0);
    let repository = repository(&env);
    let alive = format!("Alive: {repository} refs/heads/main {first}");
    env.git("fleet", &["tag", "-s", "-m", &alive, "alive/main/x"]);
    let revoke = format!("revoke/{}/x", "ab".repeat(32));
    env.git("fleet", &["tag", "-s", "-m", "x", &revoke]);
    for name in ["approve/main/x", "alive/main/x", &revoke] {
        let full = format!("refs/tags/{name}");
        env.git("fleet", &["push", "--quiet", "origin", &full]);
        let kept = env.git("server.git", &["rev-parse", &full]);
        let delete = env.try_git("fleet", &["push", "origin", &format!(":{full}")]);
        assert_ne!(delete.code, 0);
        delete.stderr_has(&["can't be moved or deleted", "another last part"]);
        let message = env.git(
            "fleet",
            &["tag", "-l", "--format=%(contents:subject)", name],
        );
        let message = format!("Again\n\n{message}");
        env.git("fleet", &["tag", "--force", "-s", "-m", &message, name]);
        let moved = env.try_git("fleet", &["push", "--force", "origin", &full]);
        assert_ne!(moved.code, 0);
        moved.stderr_has(&["can't be moved or deleted"]);
        assert_eq!(env.git("server.git", &["rev-parse", &full]), kept);
    }
}

#[test]
fn a_stranger_cant_stand_in_the_way_of_a_revocation_or_an_approval() {
    let env = Environment::new();
    server(&env);
    let key = plumb_trust::policy::KeyFile::parse(env.read("alice.pub").as_bytes())
        .unwrap()
        .name();
    let hex = key.to_hex();
    let introduction = env.git("fleet", &["rev-parse", "HEAD"]);
    env.git(".", &["clone", "--quiet", "server.git", "strangers"]);
    env.key("mallory");
    env.be("mallory");
    let short = format!("revoke/{hex}");
    for name in [
        &short,
        "approve/main",
        "approve",
        "alive",
        "alive/main",
        "revoke",
    ] {
        let approves = format!(
            "Approve: {} refs/heads/main {introduction}",
            repository(&env)
        );
        env.git("strangers", &["tag", "-s", "-m", &approves, name]);
        let push = env.try_git(
            "strangers",
            &["push", "origin", &format!("refs/tags/{name}")],
        );
        assert_ne!(push.code, 0, "{name}");
        push.stderr_has(&["has no last part", "name it "]);
        env.git("strangers", &["tag", "-d", name]);
    }
    // A name that can be foreseen is taken; whoever needs it takes the next.
    let foreseen = format!("revoke/{hex}/alice");
    env.git("strangers", &["tag", "-s", "-m", "x", &foreseen]);
    env.git("strangers", &["push", "--quiet", "origin", &foreseen]);
    env.be("alice");
    env.git("fleet", &["fetch", "--quiet", "--tags", "origin"]);
    env.plumb("fleet", &["trust", "revoke", &key.to_string(), "--yes"])
        .exits(0)
        .stdout_has(&[&format!("git push origin refs/tags/{foreseen}-2")]);
    env.try_git(
        "fleet",
        &["push", "origin", &format!("refs/tags/{foreseen}-2")],
    )
    .exits(0)
    .stderr_has(&[&format!("{key} is revoked")]);
    // One's own says so itself.
    env.git("fleet", &["tag", "-d", &foreseen]);
    env.git("fleet", &["tag", "-d", &format!("{foreseen}-2")]);
    env.plumb("fleet", &["trust", "revoke", &key.to_string(), "--yes"])
        .exits(0);
    env.plumb("fleet", &["trust", "revoke", &key.to_string(), "--yes"])
        .exits(1)
        .matches("tags/a_stranger_cant_stand_in_the_way_of_a_revocation_or_an_approval");
    // One from before the hooks keeps nobody from it: in other letters the fingerprint is the same.
    env.git("fleet", &["tag", "-d", &foreseen]);
    for name in [&foreseen, &format!("{foreseen}-2")] {
        env.git("server.git", &["tag", "-d", name]);
    }
    env.git("server.git", &["tag", &short, "main"]);
    env.git("fleet", &["tag", &short]);
    let json = env
        .plumb(
            "fleet",
            &["trust", "revoke", &key.to_string(), "--yes", "-o", "json"],
        )
        .exits(0)
        .json();
    let tag = json["tag"].as_str().unwrap();
    assert!(
        !tag.starts_with(&short) && tag.eq_ignore_ascii_case(&foreseen),
        "{tag}"
    );
    env.try_git("fleet", &["push", "origin", &format!("refs/tags/{tag}")])
        .exits(0)
        .stderr_has(&[&format!("{key} is revoked")]);
}

#[test]
fn a_name_that_a_stranger_foresaw_keeps_nobody_from_approving() {
    let env = Environment::new();
    server(&env);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("By a forge", &["--no-gpg-sign"]);
    env.git(
        "fleet",
        &["push", "--quiet", "origin", "main:refs/heads/review"],
    );
    // A stranger, who may push, takes the name, and the next as a folder.
    env.git(
        ".",
        &[
            "clone",
            "--quiet",
            "--branch",
            "review",
            "server.git",
            "strangers",
        ],
    );
    env.key("mallory");
    env.be("mallory");
    let approves = format!("Approve: {} refs/heads/main {commit}", repository(&env));
    let foreseen = format!("approve/main/{}-alice", &commit[..12]);
    for name in [&foreseen, &format!("{foreseen}-2/x")] {
        env.git("strangers", &["tag", "-s", "-m", &approves, name]);
        env.git(
            "strangers",
            &["push", "--quiet", "origin", &format!("refs/tags/{name}")],
        );
    }
    env.be("alice");
    env.git("fleet", &["fetch", "--quiet", "--tags", "origin"]);
    let push = format!("git push origin refs/tags/{foreseen}-3");
    env.plumb("fleet", &["approve", "--yes", "main"])
        .exits(0)
        .stdout_has(&[&push]);
    env.try_git(
        "fleet",
        &[
            "push",
            "--atomic",
            "origin",
            "main",
            &format!("refs/tags/{foreseen}-3"),
        ],
    )
    .exits(0)
    .stderr_has(&[&format!("accepted up to {}", &commit[..12])]);
    // Whoever names one gets that or none.
    env.plumb(
        "fleet",
        &[
            "approve",
            "main",
            "--id",
            foreseen.rsplit('/').next().unwrap(),
        ],
    )
    .exits(1)
    .stderr_has(&["--id"]);
}

#[test]
fn what_git_would_take_for_a_commit_or_the_branch_isnt_taken() {
    let env = Environment::new();
    let first = server(&env);
    for name in [&first[..12], "c0ffee0", "main", "origin/main"] {
        let run = tag(&env, &[], name);
        assert_ne!(run.code, 0, "{name}");
        run.stderr_has(&["is named like", "choose another name"]);
        env.git("fleet", &["tag", "-d", name]);
    }
    let branch = format!("main:refs/heads/{}", &first[..12]);
    let run = env.try_git("fleet", &["push", "origin", &branch]);
    assert_ne!(run.code, 0);
    run.stderr_has(&["is named like a commit's id"]);
    for name in [
        "refs/tags/HEAD",
        "refs/heads/HEAD",
        "refs/tags/FETCH_HEAD",
        "refs/tags/@",
    ] {
        let run = env.try_git("fleet", &["push", "origin", &format!("main:{name}")]);
        assert_ne!(run.code, 0, "{name}");
        run.stderr_has(&["is named like what git itself"]);
    }
    for name in ["v1.0.0", "decade", "approve-me/later"] {
        assert_eq!(tag(&env, &[], name).code, 0, "{name}");
    }
}

#[test]
fn what_a_tag_is_called_is_one_word_in_the_command_that_removes_it() {
    let env = Environment::new();
    server(&env);
    let tag = "approve/main/x;id>&2";
    env.git("fleet", &["tag", "-a", "-m", "x", tag, "main"]);
    let push = env.try_git("fleet", &["push", "origin", tag]);
    assert_ne!(push.code, 0, "{}", push.stderr);
    push.stderr_has(&["it isn't signed", "`git tag -d 'approve/main/x;id>&2'`"]);
}
