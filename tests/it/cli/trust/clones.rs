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
        let run = env.plumb("clone", args).exits(1).stderr_has(&[
            "nothing was judged",
            "head of the upstream branch",
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
        .matches("clones/a_head_that_is_its_own_floor_is_judged_by_nobody");
    env.git("clone", &["config", "plumb.introduction", &first]);
    env.plumb("clone", &["verify"])
        .exits(3)
        .stdout_has(&["[uncovered]"]);
}

#[test]
fn a_clone_that_is_behind_says_so() {
    let (env, first) = cloned();
    env.git("clone", &["config", "plumb.introduction", &first]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Nobody's", &["--no-gpg-sign"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.git("clone", &["fetch", "--quiet"]);
    env.plumb("clone", &["verify"])
        .exits(0)
        .matches("clones/a_clone_that_is_behind_says_so");
    env.plumb("clone", &["verify", "--head", "origin/main"])
        .exits(3)
        .stdout_has(&["[uncovered]"]);
    // So does what prepares a commit that could only be pushed on top.
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
    env.plumb("clone", &add)
        .exits(0)
        .matches("clones/a_clone_that_is_behind_says_so-2");
    for undo in [
        &["restore", "trust"][..],
        &["clean", "-q", "-f", "trust"],
        &["pull", "-q"],
    ] {
        env.git("clone", undo);
    }
    let run = env.plumb("clone", &add).exits(0);
    assert!(!run.stdout.contains("than this branch"), "{}", run.stdout);
    env.git("clone", &["reset", "--quiet", "--hard", "HEAD~1"]);
    let page = include_str!("../../../../docs/runbooks/plumbcommitverificationfailed.md");
    assert!(page.contains("plumb verify --head origin/main"));
}

#[test]
fn a_clone_without_tags_fetches_approvals_as_hinted() {
    let env = Environment::new();
    let first = env.three();
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    let server = env.path("server.git").display().to_string();
    env.git("fleet", &["remote", "add", "origin", &server]);
    env.edit("fleet/fleet.yaml", "kind: Fleet", "kind: Fleet # ours");
    env.commit("A remark", &["-S"]);
    env.git("fleet", &["push", "--quiet", "-u", "origin", "main"]);
    env.git(".", &["clone", "--quiet", "--no-tags", &server, "clone"]);
    env.git("clone", &["config", "plumb.introduction", &first]);
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main"]).exits(0);
    env.git("fleet", &["push", "--quiet", "--tags", "origin"]);
    // A clone that is made without tags, as for checks, fetches none by itself.
    env.git("clone", &["fetch", "--quiet"]);
    let run = env
        .plumb("clone", &["verify"])
        .exits(3)
        .matches("clones/a_clone_without_tags_fetches_approvals_as_hinted");
    let command = run
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git fetch"))
        .unwrap_or_else(|| panic!("{}", run.stdout));
    assert_eq!(
        command,
        "git fetch origin 'refs/tags/approve/*:refs/tags/approve/*'"
    );
    let mut shell = env.command("sh", "clone");
    shell.args(["-c", command]);
    Environment::run(shell).exits(0);
    env.plumb("clone", &["verify"]).exits(0);
}

#[test]
fn no_hint_signs_or_pushes_what_others_made() {
    let env = Environment::new();
    env.fleet();
    env.key("mallory");
    env.be("mallory");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let foreign = env.commit("Mallory's", &["--no-gpg-sign"]);
    env.be("alice");
    env.edit("fleet/files/journald.conf", "1G", "3G");
    env.commit("Alice's", &["-S"]);
    for args in [&["verify"][..], &["explain", "HEAD^"]] {
        let run = env
            .plumb("fleet", args)
            .stdout_has(&["look at it first", &format!("plumb approve {foreign}")]);
        for never in ["git rebase", "--amend", "git push"] {
            assert!(!run.stdout.contains(never), "{}", run.stdout);
        }
    }
}

#[test]
fn a_subfolder_is_in_the_repository() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.plumb("fleet/files", &["verify"]).exits(0);
    env.plumb("fleet/files", &["explain", "HEAD"])
        .exits(0)
        .matches("clones/a_subfolder_is_in_the_repository");
    // Whoever names a folder means that one.
    env.plumb("fleet/files", &["verify", "--git-dir", "."])
        .exits(1)
        .matches("clones/a_subfolder_is_in_the_repository-2");
}

#[test]
fn a_branch_s_name_is_one_word_in_the_commands_that_are_printed() {
    let env = Environment::new();
    env.fleet();
    let name = "pr;id>&2";
    env.git("fleet", &["switch", "--quiet", "-c", name]);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.commit("Smaller journals", &["-S"]);
    env.git(".", &["clone", "--quiet", "fleet", "clone"]);
    env.git("clone", &["reset", "--quiet", "--hard", "HEAD^"]);
    let first = env.git("clone", &["rev-parse", "HEAD"]);
    env.git("clone", &["config", "plumb.introduction", &first]);
    env.plumb("clone", &["verify"])
        .exits(0)
        .matches("clones/a_branch_s_name_is_one_word_in_the_commands_that_are_printed");
}
