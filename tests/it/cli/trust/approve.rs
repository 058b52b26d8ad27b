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
    let run = env.plumb("fleet", &["approve", &commit]).exits(0).says(&[
        &format!("{} Mallory: fix typo[8m8mx\n", &commit[..12]),
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
    let run = env.plumb("fleet", &["approve", "HEAD"]).exits(1);
    let run = run.says(&["can't be read"]);
    assert!(!hides(&run.stderr), "{run:?}");
    assert_eq!(env.git("fleet", &["tag", "--list", "approve/*"]), tag);
}
