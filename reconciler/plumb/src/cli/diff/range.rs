//! The two sides of a comparison: `REV1..REV2` on the command line.

use std::path::Path;

use crate::report::{Exit, Failure};

/// Two revisions as somebody wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RevisionRange {
    pub(super) from: String,
    pub(super) to: String,
}

impl RevisionRange {
    /// Takes the range out of the words of a command line, which may name a folder and hosts too. As in git,
    /// an omitted side is `HEAD`.
    ///
    /// # Errors
    /// Fails for `REV1...REV2`, and for a second range.
    pub(super) fn take(words: &mut Vec<String>) -> Result<Option<Self>, Failure> {
        let is_range = |word: &String| {
            word.contains("..") && !word.starts_with(['.', '/']) && !Path::new(word).exists()
        };
        let Some(at) = words.iter().position(is_range) else {
            return Ok(None);
        };
        let word = words.remove(at);
        let wrong = |hint: &str| {
            let failure = Failure::new(format!("`{word}` isn't a range of two revisions"));
            Err(failure.hint(hint).exit(Exit::TROUBLE))
        };
        if words.iter().any(is_range) {
            return wrong("name one range: REV1..REV2");
        }
        match word.split_once("..") {
            Some((from, to)) if !to.starts_with('.') => {
                let or_head = |side: &str| if side.is_empty() { "HEAD" } else { side }.to_owned();
                Ok(Some(Self {
                    from: or_head(from),
                    to: or_head(to),
                }))
            }
            _ => wrong("write two dots: REV1..REV2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RevisionRange;

    fn taken(words: &[&str]) -> (Option<RevisionRange>, Vec<String>) {
        let mut words = words.iter().map(|word| (*word).to_owned()).collect();
        (RevisionRange::take(&mut words).unwrap(), words)
    }

    #[test]
    fn takes_a_range_and_leaves_folders_and_hosts() {
        let (range, rest) = taken(&["../fleet", "main~1..main", "linda"]);
        let range = range.unwrap();
        assert_eq!((&*range.from, &*range.to), ("main~1", "main"));
        assert_eq!(rest, ["../fleet", "linda"]);
        let (range, _) = taken(&["origin/main.."]);
        assert_eq!(range.unwrap().to, "HEAD");
        assert_eq!(taken(&["linda"]).0, None);
    }

    #[test]
    fn refuses_three_dots() {
        let mut words = vec!["main...HEAD".to_owned()];
        assert!(RevisionRange::take(&mut words).is_err());
    }
}
