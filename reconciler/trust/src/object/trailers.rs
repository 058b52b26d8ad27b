//! Trailers of a signed message: its last paragraph.

use super::limits;

/// One trailer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trailer {
    /// The name, as written.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A trailer that must be unique is there twice: one program would use the first and another the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trailer `{0}` is there twice")]
pub struct DuplicateTrailer(pub String);

/// The trailers of a message, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Trailers(Vec<Trailer>);

/// Names, in lower case, that Plumb acts on and that must be unique. Other names (`Signed-off-by`) may
/// repeat.
const OURS: [&str; 7] = [
    "deploy-ref",
    "approve",
    "approve-base",
    "rollback-to",
    "emergency",
    "rollout-resume",
    "alive",
];

/// The beginning of the line that `git cherry-pick -x` adds to a block of trailers (`git interpret-trailers`
/// counts it as a part of the block).
const PICKED: &str = "(cherry picked from commit ";

fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OURS.contains(&name.as_str()) || name.starts_with("budget-")
}

impl Trailers {
    /// Parses the trailers of a message: its last paragraph, if every line is a trailer, a continuation of
    /// one, git's own line about a cherry-pick, or a remark in brackets. A paragraph that also has prose
    /// isn't a block of trailers, so that a word at the beginning of a wrapped line never becomes a command.
    /// A value that isn't UTF-8 (the commit's `encoding` may say so) is read with replacement characters.
    pub fn parse(message: &[u8]) -> Result<Self, DuplicateTrailer> {
        let message = message.trim_ascii_end();
        let mut lines: Vec<&[u8]> = Vec::new();
        for line in message.rsplit(|b| *b == b'\n') {
            let line = line.trim_ascii_end();
            if line.is_empty() || lines.len() > limits::TRAILERS {
                break;
            }
            lines.push(line);
        }
        if lines.len() > limits::TRAILERS {
            return Ok(Self::default());
        }
        let mut trailers: Vec<Trailer> = Vec::new();
        let mut picked = false;
        for line in lines.iter().rev() {
            let line = String::from_utf8_lossy(line);
            if line.starts_with(PICKED) && line.ends_with(')')
                || line.starts_with('[') && line.ends_with(']')
            {
                picked = true;
                continue;
            }
            if let Some(more) = line.strip_prefix([' ', '\t']) {
                let Some(last) = trailers.last_mut().filter(|_| !picked) else {
                    return Ok(Self::default());
                };
                last.value.push(' ');
                last.value.push_str(more.trim());
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Self::default());
            };
            let word =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            // Plumb's own trailers need the space that git writes after the colon. Other trailers don't,
            // because Plumb skips them. A URL (`https://…`) is prose, and so is a heading such as git's own
            // `Conflicts:`.
            let loose = !is_ours(name) && !value.is_empty() && !value.starts_with("//");
            if !word || !value.starts_with(' ') && !loose {
                return Ok(Self::default());
            }
            picked = false;
            trailers.push(Trailer {
                name: name.to_owned(),
                value: value.trim().to_owned(),
            });
        }
        for (index, trailer) in trailers.iter().enumerate() {
            let same = |other: &Trailer| other.name.eq_ignore_ascii_case(&trailer.name);
            if is_ours(&trailer.name) && trailers[..index].iter().any(same) {
                return Err(DuplicateTrailer(trailer.name.clone()));
            }
        }
        Ok(Self(trailers))
    }

    /// Returns the value of the trailer with this name, ignoring case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|t| t.name.eq_ignore_ascii_case(name))
            .map(|t| t.value.as_str())
    }

    /// Returns all trailers in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Trailer> {
        self.0.iter()
    }

    /// True if there are no trailers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Trailers {
    type Item = &'a Trailer;
    type IntoIter = std::slice::Iter<'a, Trailer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Trailers;

    #[test]
    fn only_a_whole_last_paragraph_counts() {
        let trailers = Trailers::parse(b"subject\n\nEmergency: no, prose\n\nDeploy-Ref: a b\nSigned-off-by: x\nSigned-off-by: y\n  z\n\n").unwrap();
        assert_eq!(trailers.get("deploy-ref"), Some("a b"));
        assert_eq!(trailers.get("emergency"), None);
        assert_eq!(trailers.iter().last().unwrap().value, "y z");
        for none in [
            "subject\nEmergency: now",
            "a\n\nsome prose\nEmergency: now",
            "a\n\n Emergency: now",
            "a\n\nEmergency:now",
            "",
        ] {
            assert!(
                Trailers::parse(none.as_bytes()).unwrap().is_empty(),
                "{none}"
            );
        }
        assert!(Trailers::parse(b"a\n\nDeploy-Ref: a b\ndeploy-ref: a c").is_err());
    }

    #[test]
    fn a_picked_commit_and_another_encoding_keep_their_trailers() {
        let picked = "(cherry picked from commit 6f1c0c9e)";
        let text = format!("a\n\nSigned-off-by: x\n{picked}\nDeploy-Ref: a b\n");
        let trailers = Trailers::parse(text.as_bytes()).unwrap();
        assert_eq!(trailers.get("deploy-ref"), Some("a b"));
        assert_eq!(trailers.iter().count(), 2);
        let trailers = Trailers::parse(b"a\n\nSigned-off-by: Ren\xe9\nDeploy-Ref: a b\n").unwrap();
        assert_eq!(trailers.get("deploy-ref"), Some("a b"));
        for none in [
            format!("a\n\nA: b\n{picked}\n more"),
            "a\n\nA: b\n(cherry)".to_owned(),
        ] {
            assert!(
                Trailers::parse(none.as_bytes()).unwrap().is_empty(),
                "{none}"
            );
        }
    }
}
