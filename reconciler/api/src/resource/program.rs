//! Programs in specs: an argument list, never a shell.

use super::Problem;

/// Returns the problem of a program and its arguments, if any.
pub(super) fn check_program(field: &'static str, words: &[String]) -> Option<Problem> {
    let absolute = words.first().is_some_and(|word| word.starts_with('/'));
    // A path may have a blank; what follows one that is no path is an argument.
    let glued = match words {
        [only] => only
            .split_once(' ')
            .is_some_and(|(_, rest)| !rest.contains('/') || rest.starts_with(['-', '/'])),
        _ => false,
    };
    if absolute && glued {
        let all: Vec<_> = words
            .iter()
            .flat_map(|word| word.split_whitespace())
            .collect();
        return Some(Problem {
            field,
            message: format!("`{field}` is one word, and each argument must be a word of its own"),
            hint: format!("write `{field}: [{}]`", all.join(", ")),
        });
    }
    let clean = words.iter().all(|word| !word.contains(char::is_control));
    (!absolute || !clean).then(|| Problem {
        field,
        message: format!(
            "`{field}` must be an absolute path and its arguments, without control characters"
        ),
        hint: format!("write `{field}: [/usr/local/bin/report, --weekly]`"),
    })
}
