//! Git's input to hooks: the changed refs, and the policy of a commit.

use std::io::BufRead as _;

use plumb_trust::Oid;
use plumb_trust::policy::Policy;

use crate::git::Git;
use crate::report::{Failure, OrFail as _};

/// The change of one ref in a push.
pub(super) struct RefUpdate {
    pub(super) old: Option<Oid>,
    pub(super) new: Option<Oid>,
    pub(super) name: String,
}

pub(super) fn lines() -> Result<Vec<String>, Failure> {
    std::io::stdin()
        .lock()
        .lines()
        .collect::<Result<_, _>>()
        .or_fail(|| "cannot read git's list of refs".to_owned())
}

pub(super) fn fields<const N: usize>(line: &str) -> Result<[&str; N], Failure> {
    let fields: Vec<_> = line.split(' ').collect();
    <[&str; N]>::try_from(fields).map_err(|_| {
        Failure::new(format!("unexpected input line from git: `{line}`"))
            .hint("let git run this hook: copy it from hooks/")
    })
}

/// Parses an object id. Returns `None` for an id of zeros, with which git marks a missing object.
pub(super) fn oid(text: &str) -> Result<Option<Oid>, Failure> {
    let oid: Oid = text
        .parse()
        .or_fail(|| format!("unexpected object id from git: `{text}`"))?;
    Ok((!oid.is_null()).then_some(oid))
}

pub(super) fn updates(lines: &[String]) -> Result<Vec<RefUpdate>, Failure> {
    lines
        .iter()
        .map(|line| {
            let [old, new, name] = fields(line)?;
            Ok(RefUpdate {
                old: oid(old)?,
                new: oid(new)?,
                name: name.to_owned(),
            })
        })
        .collect()
}

/// Reads a policy by its blob's name. Returns `None` if there is no policy or it is invalid; `check` reports
/// the errors.
pub(super) fn policy(git: &Git, name: &str) -> Option<Policy> {
    Policy::parse(&git.blob(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_lines_that_git_does_not_write() {
        for line in ["", "a b", "x y refs/heads/main"] {
            assert!(updates(&[line.to_owned()]).is_err(), "{line}");
        }
    }
}
