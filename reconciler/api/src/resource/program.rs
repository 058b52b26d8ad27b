//! Programs in specs: an argument list, never a shell.

use super::Problem;

/// Returns the problem of a program and its arguments, if any.
pub(super) fn check_program(field: &'static str, words: &[String]) -> Option<Problem> {
    let absolute = words.first().is_some_and(|word| word.starts_with('/'));
    let clean = words.iter().all(|word| !word.contains(char::is_control));
    (!absolute || !clean).then(|| Problem {
        field,
        message: format!(
            "`{field}` must be an absolute path and its arguments, without control characters"
        ),
        hint: format!("write `{field}: [/usr/local/bin/report, --weekly]`"),
    })
}
