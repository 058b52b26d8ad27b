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
        env.plumb("fleet", &["approve", name])
            .exits(1)
            .says(&["means more than one thing here", "git tag -d"]);
        env.plumb("fleet", &["explain", name]).exits(1);
        env.git("fleet", &["tag", "-d", name]);
        env.plumb("fleet", &["approve", name, "--id", "once"])
            .exits(0)
            .says(&[&honest[..12]]);
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
        .says(&["accept"]);
    env.plumb("fleet/hosts", &["explain", "HEAD"])
        .exits(1)
        .says(&[&first[..12]]);
    env.plumb("fleet", &["verify", "--git-dir", "hosts"])
        .exits(1);
}
