//! Names that whoever may push chooses, and repositories that a clone can bring.

use crate::cli::environment::Environment;

/// What `plumb approve` is given, word for word as it was printed, is what it signs or nothing.
#[test]
fn an_approval_is_of_the_commit_that_was_printed() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    env.commit("A remark", &["-S"]);
    let honest = env.git("fleet", &["rev-parse", "HEAD"]);
    env.git("fleet", &["switch", "--quiet", "-c", "feature", "HEAD~1"]);
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # theirs");
    env.commit("A remark", &["--no-gpg-sign"]);
    let evil = env.git("fleet", &["rev-parse", "HEAD"]);
    env.git("fleet", &["switch", "--quiet", "main"]);
    env.be("bob");
    for name in [&honest[..12], "main"] {
        env.git("fleet", &["tag", name, &evil]);
        env.plumb("fleet", &["approve", "--yes", name])
            .exits(1)
            .stderr_has(&["is ambiguous", "git tag -d"]);
        env.plumb("fleet", &["explain", name]).exits(1);
        env.git("fleet", &["tag", "-d", name]);
        env.plumb("fleet", &["approve", "--yes", name, "--id", "once"])
            .exits(0)
            .stdout_has(&[&honest[..12]]);
        env.git("fleet", &["tag", "-d", "approve/main/once"]);
    }
}

/// A folder of a clone may be a bare repository, with settings of its own.
#[test]
fn a_repository_within_a_clone_is_not_the_clone() {
    let env = Environment::new();
    let first = env.fleet();
    env.git("fleet", &["config", "plumb.introduction", &first]);
    env.git("fleet/hosts", &["init", "--quiet", "--bare", "."]);
    env.git(
        "fleet/hosts",
        &["--git-dir", ".", "config", "plumb.introduction", "0000"],
    );
    env.git(
        "fleet/hosts",
        &["--git-dir", ".", "config", "log.showSignature", "true"],
    );
    env.plumb("fleet/hosts", &["verify"])
        .exits(0)
        .stdout_has(&["accept"]);
    env.plumb("fleet/hosts", &["explain", "HEAD"])
        .exits(1)
        .stderr_has(&[&first[..12]]);
    env.plumb("fleet", &["verify", "--git-dir", "hosts"])
        .exits(1);
}

/// A commit that isn't accepted can be checked out all the same, with what it has for links.
#[test]
fn nothing_is_written_through_a_link_in_trust() {
    for (place, target) in [
        ("trust/keys", "../victim"),
        ("trust/keys/carol.pub", "../../victim/rc"),
        ("trust/policy.yaml", "../victim/rc"),
    ] {
        let env = Environment::new();
        env.fleet();
        let (place, victim) = (env.path("fleet").join(place), env.path("fleet/victim"));
        std::fs::create_dir(&victim).unwrap();
        let before = std::fs::read(&place).unwrap_or_default();
        std::fs::write(victim.join("rc"), &before).unwrap();
        if place.is_dir() {
            std::fs::remove_dir_all(&place).unwrap();
        } else {
            let _ = std::fs::remove_file(&place);
        }
        std::os::unix::fs::symlink(target, &place).unwrap();
        let key = env.path("carol.pub").display().to_string();
        let carol =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMuqvAQa0cgFMT1d4gcAZTkFdv0pEyf7ztceyhK94lbB\n";
        std::fs::write(&key, carol).unwrap();
        let args = ["trust", "add", "carol", "--key", &key, "--group", "ops"];
        env.plumb("fleet", &args)
            .exits(1)
            .stderr_has(&["is a symbolic link"]);
        assert_eq!(std::fs::read(victim.join("rc")).unwrap(), before);
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
    }
}
