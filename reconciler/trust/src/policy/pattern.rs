//! Patterns of the paths that a rule owns.
//!
//! A pattern is anchored at the root and ignores ASCII case. `*` matches any characters within one component,
//! including dots at its beginning; `**` matches zero or more whole components. A pattern that matches a
//! folder owns everything in it. There is no `?`, `!`, `[]` or `{}`.

use std::fmt;

/// A pattern of paths.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Component>,
}

#[derive(Clone, PartialEq, Eq)]
enum Component {
    /// `**`
    Any,
    /// A component, folded to lower case; `*` matches any characters.
    One(String),
}

/// An error of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("a pattern can't be empty; `**` is everything")]
    Empty,
    /// The text begins or ends with a slash, or has two in a row.
    #[error(
        "a pattern has no slash at its beginning, at its end, or twice in a row; it is anchored at the root anyway, and owns what is in a folder that it names"
    )]
    Slash,
    /// A component is `.` or `..`.
    #[error("`.` and `..` are no names")]
    Dots,
    /// `**` is joined to something.
    #[error("`**` stands alone between slashes; within a name write `*`")]
    Joined,
    /// A character that other matchers treat as special.
    #[error("`{0}` has no meaning in a pattern; write two patterns, or `*`")]
    Character(char),
    /// The text is too long.
    #[error("a pattern is at most 4096 bytes long")]
    Long,
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > crate::object::limits::PATH {
            return Err(PatternError::Long);
        }
        if let Some(c) = text
            .chars()
            .find(|c| matches!(c, '?' | '!' | '[' | ']' | '{' | '}' | '\\') || c.is_control())
        {
            return Err(PatternError::Character(c));
        }
        let part = |part: &str| match part {
            "" => Err(PatternError::Slash),
            "." | ".." => Err(PatternError::Dots),
            "**" => Ok(Component::Any),
            part if part.contains("**") => Err(PatternError::Joined),
            part => Ok(Component::One(part.to_ascii_lowercase())),
        };
        let mut parts = text.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        // Several `**` in a row mean the same as one, and would make the matching slow.
        parts.dedup_by(|a, b| *a == Component::Any && *b == Component::Any);
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the pattern matches the path, or a folder that the path is in.
    pub fn owns(&self, path: &str) -> bool {
        // `reached[i]`: the first `i` parts match the components read so far. One pass over the path, so that
        // the work is at most parts × components.
        if let [Component::Any] = self.parts[..] {
            return true;
        }
        let mut reached = vec![false; self.parts.len() + 1];
        reached[0] = true;
        self.skip_any(&mut reached);
        let mut next = reached.clone();
        for component in path.split('/') {
            next.fill(false);
            for (i, part) in self.parts.iter().enumerate().filter(|(i, _)| reached[*i]) {
                match part {
                    Component::Any => next[i] = true,
                    Component::One(glob) => {
                        next[i + 1] |= matches(glob.as_bytes(), component.as_bytes());
                    }
                }
            }
            self.skip_any(&mut next);
            std::mem::swap(&mut reached, &mut next);
            if reached.last() == Some(&true) {
                return true;
            }
        }
        false
    }

    /// Skips every `**`, which may match nothing.
    fn skip_any(&self, reached: &mut [bool]) {
        for (i, part) in self.parts.iter().enumerate() {
            reached[i + 1] |= reached[i] && *part == Component::Any;
        }
    }
}

/// True if a component matches; the glob is in lower case. Linear, except for backtracking to the last star.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == name[n].to_ascii_lowercase() => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    g = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl serde::Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
