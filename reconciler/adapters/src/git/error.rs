//! Gix' errors in words for people.

/// The innermost cause, on one line: the layers around it only say which step of gix failed.
pub(super) fn innermost(error: &gix::Error) -> String {
    let mut text = error.probable_cause().to_string();
    if text.is_empty() {
        text = error.to_string();
    }
    one_line(&text)
}

/// Text of others, made fit for one line of a message.
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
