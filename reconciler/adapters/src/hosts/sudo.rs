//! Recognizes refusals by sudo. sudo has no exit status of its own for them, so this matches its messages in
//! the C locale.

use plumb_core::ports::SudoRefusal;

use super::line::{Exit, ExitInfo};

/// Returns the refusal, if sudo refused to run a program.
pub(super) fn refusal(end: &ExitInfo) -> Option<SudoRefusal> {
    let words = end.stderr.text();
    let says = |text: &str| words.contains(text);
    match end.exit {
        // The messages of `sh`, `bash` and `env`.
        Some(Exit::Status(127)) if says("sudo") && (says("not found") || says("No such file")) => {
            Some(SudoRefusal::NotInstalled)
        }
        Some(Exit::Status(1)) if says("you must have a tty") => Some(SudoRefusal::TtyRequired),
        Some(Exit::Status(1)) if says("a password is required") => {
            Some(SudoRefusal::PasswordRequired)
        }
        Some(Exit::Status(1))
            if says("is not allowed to ")
                || says("is not in the sudoers file")
                || says("may not run sudo") =>
        {
            Some(SudoRefusal::NotAllowed)
        }
        Some(Exit::Status(1)) if says("sudo: ") => Some(SudoRefusal::Other),
        _ => None,
    }
}

/// Describes a refusal. sudo's own words would quote the whole script that starts the agent.
pub(super) fn reason(refusal: SudoRefusal, end: &ExitInfo) -> String {
    match refusal {
        SudoRefusal::NotAllowed => "its sudoers doesn't allow it to run /bin/sh".to_owned(),
        // sudo also says this if no rule allows the user anything.
        SudoRefusal::PasswordRequired => {
            "a password is required, because no rule of its sudoers allows /bin/sh without one"
                .to_owned()
        }
        SudoRefusal::TtyRequired => "its sudoers requires a terminal (requiretty)".to_owned(),
        SudoRefusal::NotInstalled => "sudo isn't installed".to_owned(),
        SudoRefusal::Other => end.stderr.text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let told = |status: u32, words: &str| {
            let mut end = ExitInfo {
                exit: Some(Exit::Status(status)),
                ..ExitInfo::default()
            };
            end.stderr.push(words.as_bytes());
            refusal(&end)
        };
        for (status, words, expected) in [
            (
                1,
                "sudo: a password is required",
                Some(SudoRefusal::PasswordRequired),
            ),
            (
                1,
                "sudo: sorry, you must have a tty to run sudo",
                Some(SudoRefusal::TtyRequired),
            ),
            (
                1,
                "Sorry, user deploy is not allowed to execute '/bin/sh -c p=1' as root on h1.",
                Some(SudoRefusal::NotAllowed),
            ),
            (
                1,
                "deploy is not in the sudoers file.",
                Some(SudoRefusal::NotAllowed),
            ),
            (
                127,
                "env: 'sudo': No such file or directory",
                Some(SudoRefusal::NotInstalled),
            ),
            (
                1,
                "sudo: unable to initialize policy plugin",
                Some(SudoRefusal::Other),
            ),
            (1, "the agent's own error", None),
            (127, "plumb-missing x86_64", None),
        ] {
            assert_eq!(told(status, words), expected, "{words}");
        }
    }
}
