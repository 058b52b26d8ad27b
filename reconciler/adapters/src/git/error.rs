//! Turns gix errors into short messages.

/// Returns the innermost cause on one line; the outer layers only name the step of gix that failed.
pub(super) fn innermost(error: &gix::Error) -> String {
    let mut text = error.probable_cause().to_string();
    if text.is_empty() {
        text = error.to_string();
    }
    one_line(&text)
}

/// Makes untrusted text fit on one line of a message: at most 400 characters, no control characters.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let mut line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.trim().chars().count() > LONGEST {
        line.push('…');
    }
    line
}
