//! What servers differ in: which hooks they call, what they tell them, and how objects are named.

use std::os::unix::fs::symlink;

use super::{install, server};
use crate::cli::environment::{Environment, binary};

/// How git calls the server's side: nothing of our environment but what it makes itself, and of programs
/// only git, a shell and plumb.
fn scrubbed(env: &Environment) -> String {
    let bin = env.path("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(binary(), bin.join("plumb")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let find = |program: &str| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|place| place.exists())
            .unwrap_or_else(|| panic!("{program} isn't installed"))
    };
    for program in ["git", "git-receive-pack", "sh"] {
        symlink(find(program), bin.join(program)).unwrap();
    }
    format!(
        "{} -i PATH={} git-receive-pack",
        find("env").display(),
        bin.display()
    )
}

#[test]
fn a_bare_repository_needs_only_git_and_plumb() {
    for format in ["sha1", "sha256"] {
        let env = Environment::new();
        env.key("alice");
        env.be("alice");
        let object_format = format!("--object-format={format}");
        env.git(".", &["init", "--quiet", &object_format, "fleet"]);
        env.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
        let first = env.commit("A fleet", &["-S"]);
        assert_eq!(first.len(), if format == "sha1" { 40 } else { 64 });
        // The first commit's objects come from another repository: the server is a fork.
        env.git(
            ".",
            &["clone", "--quiet", "--bare", "fleet", "upstream.git"],
        );
        let clone = [
            "clone",
            "--quiet",
            "--bare",
            "--shared",
            "upstream.git",
            "server.git",
        ];
        env.git(".", &clone);
        install(&env, "server.git/hooks", &["pre-receive", "post-receive"]);
        env.git("server.git", &["config", "plumb.introduction", &first]);
        env.git("server.git", &["config", "transfer.fsckObjects", "true"]);
        let receive = scrubbed(&env);
        let address = env.path("server.git").display().to_string();
        env.git("fleet", &["remote", "add", "origin", &address]);
        env.git("fleet", &["config", "remote.origin.receivepack", &receive]);

        // Branch and approval in one push, both in quarantine while they are judged.
        env.edit("fleet/files/journald.conf", "2G", "1G");
        let commit = env.commit("By a forge", &["--no-gpg-sign"]);
        let push = env.try_git("fleet", &["push", "--quiet", "origin", "main"]);
        assert_ne!(push.code, 0, "{format}");
        push.stderr_has(&["[uncovered]"]);
        env.plumb("fleet", &["approve", "--yes", "HEAD", "--id", "a"])
            .exits(0);
        env.try_git(
            "fleet",
            &["push", "--atomic", "origin", "main", "approve/main/a"],
        )
        .exits(0)
        .stderr_has(&[&format!("accepted up to {}", &commit[..12])]);
        // An atomic push of which one part is refused moves nothing.
        env.edit("fleet/files/journald.conf", "1G", "3G");
        env.commit("Signed", &["-S"]);
        env.git("fleet", &["tag", "approve/main/light"]);
        let args = ["push", "--atomic", "origin", "main", "approve/main/light"];
        let push = env.try_git("fleet", &args);
        assert_ne!(push.code, 0);
        push.stderr_has(&["lightweight"]);
        assert_eq!(env.git("server.git", &["rev-parse", "main"]), commit);
        env.git("fleet", &["push", "--quiet", "origin", "main"]);
        // Packed on arrival, it is found as well.
        env.git("server.git", &["config", "receive.unpackLimit", "1"]);
        env.edit("fleet/files/journald.conf", "3G", "1G");
        env.commit("Packed", &["-S"]);
        env.git("fleet", &["push", "--quiet", "origin", "main"]);
        env.git("server.git", &["gc", "--quiet", "--prune=now"]);
        env.edit("fleet/files/journald.conf", "1G", "4G");
        env.commit("Onto packs", &["--no-gpg-sign"]);
        let push = env.try_git("fleet", &["push", "--quiet", "origin", "main"]);
        assert_ne!(push.code, 0);
        push.stderr_has(&["[uncovered]"]);
    }
}

#[test]
fn where_only_update_is_called_what_can_never_be_accepted_is_refused() {
    let env = Environment::new();
    let first = server(&env);
    std::fs::remove_file(env.path("server.git/hooks/pre-receive")).unwrap();
    install(&env, "server.git/hooks", &["update"]);
    env.git(
        "server.git",
        &["config", "receive.denyDeleteCurrent", "ignore"],
    );

    // A change of trust/ together with another is a reject; other refs of the push still move.
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Both", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main", "main:refs/heads/wip"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&["policy-not-isolated", "isn't moved"]);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), first);
    assert_ne!(env.git("server.git", &["rev-parse", "wip"]), first);
    env.git("fleet", &["reset", "--quiet", "--hard", &first]);

    // An approval in the same atomic push doesn't show to it, so an unsigned commit must be let through.
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("By a forge", &["--no-gpg-sign"]);
    env.plumb("fleet", &["approve", "--yes", "HEAD", "--id", "a"])
        .exits(0);
    env.try_git(
        "fleet",
        &["push", "--atomic", "origin", "main", "approve/main/a"],
    )
    .exits(0)
    .stderr_has(&["[uncovered]", &format!("accepted up to {}", &commit[..12])]);
    let memory = env.read("server.git/plumb/accepted");
    assert!(memory.contains(&format!("accepted {commit}\n")), "{memory}");

    let below = env.try_git(
        "fleet",
        &["push", "--force", "origin", &format!("{first}:main")],
    );
    assert_ne!(below.code, 0, "the branch went below what is accepted");
    let delete = env.try_git("fleet", &["push", "origin", ":main"]);
    assert_ne!(delete.code, 0);
    delete.stderr_has(&["can't be deleted"]);
    let delete = env.try_git("fleet", &["push", "origin", ":refs/tags/approve/main/a"]);
    assert_ne!(delete.code, 0);
    delete.stderr_has(&["can't be moved or deleted"]);
}

#[test]
fn the_branch_that_is_judged_is_the_policy_s() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    env.plumb(".", &["init", "--minimal", "fleet", "--branch", "prod"])
        .exits(0);
    env.git("fleet", &["symbolic-ref", "HEAD", "refs/heads/prod"]);
    let first = env.commit("A fleet", &["-S"]);
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    install(&env, "server.git/hooks", &["pre-receive", "post-receive"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    // Without a root of trust it isn't known which one that is, and that is said.
    env.try_git("fleet", &["push", "origin", "prod:other"])
        .exits(0)
        .stderr_has(&["nothing was judged", "git config plumb.introduction COMMIT"]);
    env.git("server.git", &["config", "plumb.introduction", &first]);
    env.try_git("fleet", &["push", "origin", "prod"])
        .exits(0)
        .stderr_has(&["refs/heads/prod is accepted up to"]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Unsigned", &["--no-gpg-sign"]);
    let push = env.try_git("fleet", &["push", "origin", "prod"]);
    assert_ne!(push.code, 0, "{}", push.stderr);
    push.stderr_has(&["[uncovered]", "refs/heads/prod isn't moved"]);
    // Another is nobody's business, unless `plumb.ref` says so.
    let other = env
        .try_git("fleet", &["push", "origin", "prod:other"])
        .exits(0);
    assert!(
        !other.stderr.contains("nothing was judged"),
        "{}",
        other.stderr
    );
    assert_eq!(env.git("server.git", &["rev-parse", "prod"]), first);
}

#[test]
fn large_file_that_nobody_uses_goes_through_with_a_warning() {
    let env = Environment::new();
    server(&env);
    install(&env, "fleet/.git/hooks", &["pre-push"]);
    let large = std::fs::File::create(env.path("fleet/files/backup.tar")).unwrap();
    large.set_len(17 << 20).unwrap();
    let told = "files/backup.tar has 17825792 bytes; the limit is 16777216";
    env.plumb("fleet", &["check"])
        .exits(0)
        .stdout_has(&[told, "no errors"]);
    env.commit("A backup", &["-S"]);
    env.try_git("fleet", &["push", "origin", "main"])
        .exits(0)
        .stderr_has(&[told]);
    // Once a host uses it, the host would be held.
    env.write(
        "fleet/hosts/user.yaml",
        "kind: Host\nmetadata: {name: user}\nspec:\n  arch: x86_64\n  resources: {file: {/x: {content: {file: files/backup.tar}}}}\n",
    );
    let check = env.plumb("fleet", &["check", "-o", "json"]).exits(1).json();
    let found = &check["diagnostics"][0];
    assert_eq!(found["code"], "file-too-large");
    assert_eq!(found["file"], "hosts/user.yaml");
    assert_eq!(found["hosts"], serde_json::json!(["user"]));
    env.commit("A user", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&[told, "user stays at its last good state"]);
}

#[test]
fn server_refuses_what_no_controller_could_load() {
    let env = Environment::new();
    let first = server(&env);
    let large = std::fs::File::create(env.path("fleet/fleet.yaml")).unwrap();
    large.set_len(17 << 20).unwrap();
    let commit = env.commit("A heap", &["-S"]);
    let push = env.try_git("fleet", &["push", "origin", "main"]);
    assert_ne!(push.code, 0);
    push.stderr_has(&[
        &format!("no controller could follow {}", &commit[..12]),
        "fleet.yaml has 17825792 bytes; the limit is 16777216",
    ]);
    assert_eq!(env.git("server.git", &["rev-parse", "main"]), first);
}
