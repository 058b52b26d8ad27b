//! Checks the names in a policy. They occur in trailers, where a space would end them, and in commands that
//! people copy from a terminal, where a shell would interpret special characters.

/// Maximum length of a repository's or branch's name in bytes.
const LONGEST: usize = 255;

fn plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-')
}

fn word(text: &str, longest: usize) -> bool {
    let fits = |b: u8| plain(b) || matches!(b, b':' | b'@' | b'+');
    !text.is_empty() && text.len() <= longest && !text.starts_with('-') && text.bytes().all(fits)
}

/// True if `text` may name a repository: a UUID, an address, a path.
pub(super) fn is_repository(text: &str) -> bool {
    word(text, LONGEST)
}

/// True if `text` may name a group.
pub(super) fn is_group(text: &str) -> bool {
    word(text, 64)
}

/// True if `text` is the full name of a branch: it follows the rules of git's `check-ref-format`, and
/// consists only of letters, digits, `.`, `_`, `/` and `-`.
pub(super) fn is_branch(text: &str) -> bool {
    let Some(branch) = text.strip_prefix("refs/heads/") else {
        return false;
    };
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
            && !std::path::Path::new(part)
                .extension()
                .is_some_and(|end| end.eq_ignore_ascii_case("lock"))
    };
    text.len() <= LONGEST
        && !branch.starts_with('-')
        && branch.bytes().all(plain)
        && branch.split('/').all(part)
}

/// True if `text` may name an identity.
pub(super) fn is_identity(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 64 && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_called_as_git_takes_it_and_no_shell_reads_more() {
        for name in ["main", "prod", "site/a", "v1.2_x-y", "a/-b"] {
            assert!(is_branch(&format!("refs/heads/{name}")), "{name}");
        }
        for name in [
            "", "/", "a//b", "a/", "/a", ".a", "a/.b", "a..b", "a.", "a.lock", "a.lock/b", "-a",
            "a b", "x;id>&2", "$(id)", "a`id`", "a'b", "a\"b", "a~1", "a^", "a:b", "a?", "a*",
            "a[b", "a\\b", "a@{b", "a|b", "a&b", "a#b", "a!b", "é", "a\u{7f}",
        ] {
            assert!(!is_branch(&format!("refs/heads/{name}")), "{name}");
        }
        assert!(!is_branch("main") && !is_branch("refs/tags/main"));
    }

    #[test]
    fn repositories_and_groups_are_one_word_to_a_shell() {
        for name in [
            "6f1c0c9e-5d1b-4c0e-9a52-3a7f1f0e8d11",
            "https://git.example:8443/org/fleet.git",
            "git@git.example:org/fleet",
            "@org/team-a",
        ] {
            assert!(is_repository(name), "{name}");
        }
        for name in [
            "", "a b", "-x", "a;id", "$(id)", "a'", "a>b", "a&b", "é", "a~b", "a\n",
        ] {
            assert!(!is_repository(name) && !is_group(name), "{name}");
        }
        assert!(is_group("ops") && !is_group(&"x".repeat(65)));
    }
}
