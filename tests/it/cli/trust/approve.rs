//! What approve shows before it signs, and what it keeps.

use crate::cli::environment::Environment;

/// Characters that move a terminal, hide text or turn it around.
fn hides(text: &str) -> bool {
    text.chars()
        .any(|c| plumb_trust::object::invisible(c) && c != '\n')
}

#[test]
fn what_is_approved_is_shown_without_its_author_s_terminal_controls() {
    let env = Environment::new();
    env.fleet();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    env.write("fleet/files/aéb.conf", "x\n");
    let commit = env.commit(
        "fix typo\u{1b}[8m\u{9b}8m\u{202e}x",
        &["--no-gpg-sign", "--author", "Mal\u{202e}\u{200b}lory <m@x>"],
    );
    // Whatever git is set to, what it says is quoted and has no colour.
    for (name, value) in [("color.ui", "always"), ("core.quotePath", "false")] {
        env.git("fleet", &["config", name, value]);
    }
    let run = env
        .plumb("fleet", &["approve", "--yes", &commit])
        .exits(0)
        .stderr_has(&[
            &format!("{} Mallory: fix typo[8m8mx (not signed)\n", &commit[..12]),
            "files/a\\303\\251b.conf",
            "files/journald.conf",
            "2 files changed",
        ]);
    assert!(!hides(&run.stderr) && !hides(&run.stdout), "{run:?}");
    let tag = env.git("fleet", &["tag", "--list", "approve/*"]);
    let text = env.git("fleet", &["cat-file", "tag", &tag]);
    assert!(text.contains("Approve fix typo[8m8mx\n"), "{text}");
    assert!(!hides(&text), "{text:?}");
    // A header with a control in it is no commit's: nothing is signed, nor shown raw.
    let author = "Mal\u{1b}]0;title\u{7}lory <m@x>";
    let args = ["--allow-empty", "--no-gpg-sign", "--author", author];
    env.commit("Fix", &args);
    let run = env.plumb("fleet", &["approve", "--yes", "HEAD"]).exits(1);
    let run =
        run.matches("approve/what_is_approved_is_shown_without_its_author_s_terminal_controls");
    assert!(!hides(&run.stderr), "{run:?}");
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), tag);
}

#[test]
fn nothing_is_signed_unasked() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Smaller journals", &["-S"]);
    // Without a terminal nobody can be asked; the change is shown all the same.
    env.plumb("fleet", &["approve", &commit])
        .exits(1)
        .stderr_has(&[
            "-SystemMaxUse=2G",
            "+SystemMaxUse=1G",
            "not approved: there is no terminal to confirm it on",
            "add --yes",
        ]);
    let on_terminal = |answer: &str| {
        let plumb = super::super::environment::binary().display().to_string();
        let mut command = env.command("script", "fleet");
        command.args(["-qec", &format!("{plumb} approve {commit}"), "/dev/null"]);
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = on_terminal("n\n");
    assert!(said.contains("+SystemMaxUse=1G"), "{said}");
    assert!(said.contains("not confirmed; nothing was signed"), "{said}");
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), "");
    let said = on_terminal("y\n");
    assert!(said.contains("approved"), "{said}");
    assert_ne!(env.git("fleet", &["tag", "--list", "approve/*"]), "");
}

#[test]
fn a_stranger_s_tags_neither_take_an_approval_away_nor_keep_one() {
    let env = Environment::new();
    env.three();
    env.key("mallory");
    env.edit("fleet/fleet.yaml", "spec:", "# ours\nspec:");
    let commit = env.commit("Ours", &["-S"]);
    // Called so that what is said of it holds the name of bob's, and followed by what it should say.
    let tag = format!("approve/main/{}-bob", &commit[..12]);
    let stranger = format!("approve/main/refs/tags/{tag}");
    let policy = env.read("fleet/trust/policy.yaml");
    let repository = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("repository: "))
        .unwrap();
    let message = format!("Fine\n\nApprove: {repository} refs/heads/main {commit}\n");
    env.be("mallory");
    let args = ["tag", "-s", "-m", &message, &stranger, &commit];
    env.git("fleet", &args);
    env.approved_by("bob");
    assert_eq!(
        env.git("fleet", &["tag", "--list", "approve/main/*-bob"])
            .lines()
            .filter(|line| *line == tag)
            .count(),
        1
    );

    // Nor do many hide that one counts for nothing: here it is dated before what it approves.
    env.edit("fleet/fleet.yaml", "# ours", "# yours");
    env.git("fleet", &["add", "--all"]);
    let mut later = env.command("git", "fleet");
    later.args(["commit", "--quiet", "--no-gpg-sign", "-m", "Later"]);
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30);
    later.env("GIT_COMMITTER_DATE", format!("{} +0000", date.as_second()));
    Environment::run(later).exits(0);
    for number in 0..110 {
        let name = format!("approve/main/{number}");
        env.git("fleet", &["tag", "-a", "-m", "x", &name, "main"]);
    }
    env.be("bob");
    env.plumb("fleet", &["approve", "--yes", "main", "--id", "z-bob"])
        .exits(1)
        .matches("approve/a_stranger_s_tags_neither_take_an_approval_away_nor_keep_one");
    assert_eq!(
        env.git("fleet", &["tag", "--list", "approve/main/z-bob"]),
        ""
    );
}

#[test]
fn what_can_never_be_accepted_isn_t_approved() {
    let env = Environment::new();
    env.three();
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let commit = env.commit("Both", &["-S"]);
    env.be("bob");
    let run = env
        .plumb("fleet", &["approve", "--yes", "main"])
        .exits(1)
        .stderr_has(&[
            &format!(
                "{} can never be accepted, so nothing was signed",
                &commit[..12]
            ),
            "[policy-not-isolated]",
            "split the commit in two",
        ]);
    assert!(!run.stderr.contains("none of the groups"), "{run:?}");
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), "");
}
