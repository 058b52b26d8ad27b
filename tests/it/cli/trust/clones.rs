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
        .says(&["1 more commit than HEAD", "plumb verify --head origin/main"]);
    env.plumb("clone", &["verify", "--head", "origin/main"])
        .exits(3)
        .says(&["[uncovered]"]);
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
    let run = env.plumb("clone", &add).exits(0).says(&[
        "origin/main has 1 more commit than main here, and a push would be refused: git pull first",
    ]);
    assert!(!run.stdout.contains("another trust/"), "{}", run.stdout);
    env.git("clone", &["stash", "--quiet", "--include-untracked"]);
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.commit("Another policy", &["-S"]);
    env.git("fleet", &["push", "--quiet", "origin", "main"]);
    env.git("clone", &["fetch", "--quiet"]);
    let run = env.plumb("clone", &add).exits(0).says(&[
        "origin/main has 2 more commits than main here",
        "it has another trust/ too, so undo this (git restore trust && git clean -f trust), git pull",
    ]);
    assert!(!run.stdout.contains("git pull first"), "{}", run.stdout);
    for undo in [
        &["restore", "trust"][..],
        &["clean", "-q", "-f", "trust"],
        &["pull", "-q"],
    ] {
        env.git("clone", undo);
    }
    let run = env.plumb("clone", &add).exits(0);
    assert!(!run.stdout.contains("than main here"), "{}", run.stdout);
    env.git("clone", &["reset", "--quiet", "--hard", "HEAD~1"]);
    env.plumb("clone", &["approve", "main", "--id", "behind"])
        .says(&["plumb approve origin/main"]);
    let page = include_str!("../../../../docs/runbooks/plumbcommitverificationfailed.md");
    assert!(page.contains("plumb verify --head origin/main"));
}

#[test]
fn a_clone_without_any_approval_is_told_how_to_fetch_them() {
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
    env.plumb("fleet", &["approve", "main"]).exits(0);
    env.git("fleet", &["push", "--quiet", "--tags", "origin"]);
    // A clone that is made without tags, as for checks, fetches none by itself.
    env.git("clone", &["fetch", "--quiet"]);
    let run = env.plumb("clone", &["verify"]).exits(3).says(&[
        "[approvals-missing]",
        "no approval is in this clone at all: fetch those that the server has",
    ]);
    let command = run
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git fetch"))
        .unwrap_or_else(|| panic!("{}", run.stdout));
    assert_eq!(
        command,
        "git fetch origin 'refs/tags/approve/main/*:refs/tags/approve/main/*'"
    );
    let mut shell = env.command("sh", "clone");
    shell.args(["-c", command]);
    Environment::run(shell).exits(0);
    env.plumb("clone", &["verify"]).exits(0);
    // With one here it isn't said again, nor where there is no server.
    env.edit("fleet/fleet.yaml", "# ours", "# all ours");
    env.commit("Another", &["-S"]);
    let run = env.plumb("fleet", &["verify"]).exits(3);
    assert!(!run.stdout.contains("git fetch"), "{}", run.stdout);
    env.git("fleet", &["remote", "remove", "origin"]);
    let tag = env.git("fleet", &["tag", "--list", "approve/*"]);
    env.git("fleet", &["tag", "--delete", &tag]);
    let run = env.plumb("fleet", &["verify"]).exits(3);
    assert!(!run.stdout.contains("git fetch"), "{}", run.stdout);
}

#[test]
fn nobody_is_told_to_sign_what_others_wrote() {
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
        let run = env.plumb("fleet", args).says(&[
            "commits by others",
            &format!("{} by mallory@fleet.example", &foreign[..12]),
            "git push --force-with-lease origin",
        ]);
        assert!(!run.stdout.contains("git rebase"), "{}", run.stdout);
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
        .says(&["accepted up to"]);
    // Whoever names a folder means that one.
    env.plumb("fleet/files", &["verify", "--git-dir", "."])
        .exits(1)
        .says(&["no git repository at ."]);
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
        .says(&["plumb verify --head 'origin/pr;id>&2'"]);
}
