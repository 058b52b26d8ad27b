//! What verify, explain and approve say in a clone.

use crate::cli::environment::Environment;

/// Alice's fleet on a server, and a fresh clone of it in `clone`; the server's first commit.
fn cloned() -> (Environment, String) {
    let env = Environment::new();
    let first = env.fleet();
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.git("fleet", &["push", "--quiet", "-u", "origin", "main"]);
    env.git(".", &["clone", "--quiet", &server, "clone"]);
    (env, first)
}

#[test]
fn a_head_that_is_its_own_floor_is_judged_by_nobody() {
    let (env, first) = cloned();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Nobody's", &["--no-gpg-sign"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.git("clone", &["pull", "--quiet"]);
    for args in [&["verify"][..], &["verify", "-o", "json"]] {
        let run = env.plumb("clone", args).exits(1).says(&[
            "nothing was judged",
            "taken as given",
            "git config plumb.introduction COMMIT",
        ]);
        assert!(!run.stdout.contains("accept\""), "{}", run.stdout);
    }
    // What is given by whoever asks stays a floor.
    env.plumb("clone", &["verify", "--floor", "HEAD", "--head", "HEAD"])
        .exits(0);
    // A commit alone is judged, and what lies before it is said to be unknown.
    env.plumb("clone", &["explain", "HEAD"])
        .exits(0)
        .says(&["[uncovered]", "the commits before it are taken as given"]);
    env.git("clone", &["config", "plumb.introduction", &first]);
    env.plumb("clone", &["verify"])
        .exits(3)
        .says(&["[uncovered]"]);
}
