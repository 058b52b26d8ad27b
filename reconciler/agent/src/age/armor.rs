//! The armor: strict PEM with lines of 64 characters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AgeError;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;

pub(super) fn wrap(file: &[u8]) -> String {
    let text = STANDARD.encode(file);
    let mut out = format!("{BEGIN}\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(END);
    out.push('\n');
    out
}

pub(super) fn unwrap(armored: &str) -> Result<Vec<u8>, AgeError> {
    let malformed = AgeError::Malformed("the armor isn't that of an age file");
    let body = armored
        .trim()
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .ok_or(malformed)?
        .trim_start_matches('\r')
        .strip_prefix('\n')
        .ok_or(malformed)?;
    let lines: Vec<&str> = body.lines().collect();
    let (last, full) = lines.split_last().ok_or(malformed)?;
    let fits = full.iter().all(|line| line.len() == COLUMNS) && (1..=COLUMNS).contains(&last.len());
    if !fits {
        return Err(malformed);
    }
    STANDARD.decode(lines.concat()).map_err(|_| malformed)
}
