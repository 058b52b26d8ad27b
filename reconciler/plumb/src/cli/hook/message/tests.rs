//! What is read in the end, whatever git does with the message.

use super::*;

const VALUE: &str = "r refs/heads/main";
const STRIPS: Cleanup<'static> = Cleanup::Strips(b"#");
const KEEPS: Cleanup<'static> = Cleanup::Keeps(b"#");

/// Git's `strip`, as far as it matters.
fn stripped(message: &str) -> String {
    let kept = message.lines().filter(|line| !line.starts_with('#'));
    let kept: Vec<_> = kept.collect();
    kept.join("\n").trim().to_owned()
}

#[track_caller]
fn bound(message: &str, cleanup: Cleanup<'_>) -> String {
    let once = bind(message.as_bytes(), VALUE, cleanup);
    let text = String::from_utf8(once.clone()).unwrap();
    for read in [text.clone(), stripped(&text)] {
        let trailers = Trailers::parse(read.as_bytes()).unwrap();
        assert_eq!(trailers.get(NAME), Some(VALUE), "{message:?} is\n{read}");
    }
    let twice = bind(&once, VALUE, cleanup);
    assert_eq!(String::from_utf8(twice).unwrap(), text, "done again");
    text
}

#[test]
fn it_is_a_paragraph_of_its_own_after_prose() {
    for (message, is) in [
        ("Subject", "Subject\n\nDeploy-Ref: r refs/heads/main\n"),
        (
            "fix: a title\n",
            "fix: a title\n\nDeploy-Ref: r refs/heads/main\n",
        ),
        (
            "Subject\n\nhttps://bugs.example.org/123\n",
            "Subject\n\nhttps://bugs.example.org/123\n\nDeploy-Ref: r refs/heads/main\n",
        ),
        (
            "Subject\n\n---\nSome: prose\n\nabout it\n",
            "Subject\n\n---\nSome: prose\n\nabout it\n\nDeploy-Ref: r refs/heads/main\n",
        ),
        (
            "Subject\n\n(cherry picked from commit c0ffee)\nDeploy-Ref: r refs/heads/main\n",
            "Subject\n\n(cherry picked from commit c0ffee)\nDeploy-Ref: r refs/heads/main\n",
        ),
        (
            "Merge branch 'side'\n\n# Conflicts:\n#\tfile\n",
            "Merge branch 'side'\n\n# Conflicts:\n#\tfile\n\nDeploy-Ref: r refs/heads/main\n",
        ),
        (
            "Subject\r\n\r\nBody\r\n",
            "Subject\r\n\r\nBody\r\n\nDeploy-Ref: r refs/heads/main\n",
        ),
    ] {
        assert_eq!(bound(message, KEEPS), is);
        assert_eq!(bound(message, STRIPS), is);
    }
}

#[test]
fn it_joins_trailers_that_are_there() {
    for cleanup in [KEEPS, STRIPS] {
        assert_eq!(
            bound(
                "Subject\n\nEmergency: why\n  so\nSigned-off-by: x\n",
                cleanup
            ),
            "Subject\n\nEmergency: why\n  so\nSigned-off-by: x\nDeploy-Ref: r refs/heads/main\n"
        );
    }
    // What an editor has shown goes out of the way, whether git takes it out then or not.
    assert_eq!(
        bound(
            "Subject\n\nEmergency: why\n# a note\n\n# Please enter the commit message\n#\n",
            STRIPS
        ),
        "Subject\n\n# a note\n# Please enter the commit message\n#\n\nEmergency: why\nDeploy-Ref: r refs/heads/main\n"
    );
    // Without an editor, a line that looks like a comment is the message's own.
    let text = bound("Subject\n\nEmergency: an example\n\n#12\n", KEEPS);
    assert!(
        text.ends_with("example\n\n#12\n\nDeploy-Ref: r refs/heads/main\n"),
        "{text}"
    );
}

#[test]
fn it_is_said_once_and_of_this_branch() {
    let one = "Subject\n\nDeploy-Ref: r refs/heads/main\nSigned-off-by: x\n";
    assert_eq!(bound(one, KEEPS), one);
    for other in [
        "Subject\n\ndeploy-ref: r refs/heads/\n  staging\nSigned-off-by: x\n",
        "Subject\n\nDeploy-Ref: r refs/heads/side\nSigned-off-by: x\nDeploy-Ref: q refs/heads/main\n",
    ] {
        assert_eq!(
            bound(other, KEEPS),
            "Subject\n\nSigned-off-by: x\nDeploy-Ref: r refs/heads/main\n"
        );
    }
    let twice = "Subject\n\nDeploy-Ref: r refs/heads/main\nDeploy-Ref: r refs/heads/main\n";
    assert_eq!(
        bound(twice, KEEPS),
        "Subject\n\nDeploy-Ref: r refs/heads/main\n"
    );
}

#[test]
fn it_is_read_whether_git_cuts_at_the_scissors_or_not() {
    for cleanup in [KEEPS, STRIPS] {
        let text = bound(
            "Subject\n\nEmergency: why\n# ------------------------ >8 ------------------------\n# Do not modify\ndiff --git a/x b/x\n+x\n",
            cleanup,
        );
        let head = text.split("# ---").next().unwrap();
        assert_eq!(
            head,
            "Subject\n\nEmergency: why\nDeploy-Ref: r refs/heads/main\n\n"
        );
    }
}

#[test]
fn more_trailers_than_are_read_dont_hide_it() {
    let many = format!("Subject\n\n{}", "Signed-off-by: x\n".repeat(64));
    assert!(bound(&many, KEEPS).ends_with("x\n\nDeploy-Ref: r refs/heads/main\n"));
}

#[test]
fn what_isnt_text_stays_as_it_is() {
    let bound = bind(b"Subject\n\nFor: \xff\n", VALUE, KEEPS);
    assert_eq!(
        bound,
        b"Subject\n\nFor: \xff\nDeploy-Ref: r refs/heads/main\n"
    );
}

#[test]
fn only_what_somebody_wrote_counts() {
    let template = b"\n# Please enter the commit message\n#\n";
    let shown = b"\n# ------------------------ >8 ------------------------\ndiff\n";
    for cleanup in [KEEPS, STRIPS] {
        assert!(is_empty(template, cleanup));
        assert!(is_empty(shown, cleanup));
        assert!(is_empty(b"", cleanup));
        assert!(!is_empty(b"Subject\n", cleanup));
    }
    assert!(is_empty(b"#12\n", STRIPS));
    assert!(!is_empty(b"#12\n", KEEPS));
}

#[test]
fn what_comments_begin_with_is_seen() {
    for (message, comment) in [
        ("#12\n\n; Please enter\n;\n", ";"),
        ("Subject\n", "#"),
        (
            "x\n% ------------------------ >8 ------------------------\n@ x\n",
            "%",
        ),
        ("", "#"),
    ] {
        assert_eq!(
            comment_of(message.as_bytes()),
            comment.as_bytes(),
            "{message}"
        );
    }
}
