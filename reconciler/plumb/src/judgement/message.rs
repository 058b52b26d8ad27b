//! What git does with a trailer that a commit's message is given by `commit --amend --trailer`: whether it
//! is read there by [`Trailers`].

use plumb_trust::object::Trailers;

/// How messages of commits say where they are meant, the worst of them last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Messages {
    /// They say it.
    Bound,
    /// They don't, and git puts trailers where they are read.
    Plain,
    /// They end with what git takes for comments or trailers, as after a merge with conflicts: what it is
    /// told to add isn't read there.
    Odd,
}

impl Messages {
    /// Of one message, which is meant to say this where it is `Some`.
    pub(crate) fn of(message: &[u8], deploy_ref: Option<&str>) -> Self {
        match Trailers::parse(message) {
            Ok(trailers) if trailers.is_empty() => {}
            Ok(trailers) if deploy_ref.is_some() && trailers.get("deploy-ref") == deploy_ref => {
                return Self::Bound;
            }
            // All of them are trailers to git too.
            Ok(_) | Err(_) => return Self::Plain,
        }
        let message = message.trim_ascii_end();
        let mut last = message
            .rsplit(|byte| *byte == b'\n')
            .take_while(|line| !line.trim_ascii().is_empty());
        if last.any(is_gits) {
            Self::Odd
        } else {
            Self::Plain
        }
    }
}

/// Whether git may take a line for a comment or a trailer.
fn is_gits(line: &[u8]) -> bool {
    let word = line
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    let named = word > 0 && line[word..].trim_ascii_start().starts_with(b":");
    named
        || line.starts_with(b"(cherry picked from commit ")
        || line
            .first()
            .is_some_and(|first| first.is_ascii_punctuation() && !b"-*(\"'`[".contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_would_add_to_in_the_wrong_place_is_known() {
        let of = |message: &str| Messages::of(message.as_bytes(), Some("r refs/heads/main"));
        for bound in [
            "x\n\nDeploy-Ref: r refs/heads/main",
            "x\n\nFor: y\ndeploy-ref: r refs/heads/main\n",
        ] {
            assert_eq!(of(bound), Messages::Bound, "{bound}");
            let unasked = Messages::of(bound.as_bytes(), None);
            assert_eq!(unasked, Messages::Plain);
        }
        for plain in [
            "x\n",
            "x\n\nprose\n- more\n",
            "x\n\nFor: y\n",
            "x\n\nDeploy-Ref: r refs/heads/side\n",
            "x\n\nDeploy-Ref: r refs/heads/main\n\nprose\n",
        ] {
            assert_eq!(of(plain), Messages::Plain, "{plain}");
        }
        for odd in [
            "x\n\nDeploy-Ref: r refs/heads/main\n\n# Conflicts:\n#\tfile\n",
            "x\n\n; a comment\n",
            "x\n\nhttps://bugs.example.org/1\n",
            "x\n\nConflicts:\n\tfile\n",
            "x\n\nprose\nSigned-off-by: x\n",
            "x\n\n(cherry picked from commit c0ffee)\n",
        ] {
            assert_eq!(of(odd), Messages::Odd, "{odd}");
        }
    }
}
