//! Checks that the targets of symbolic links stay within the repository.

use std::collections::HashMap;

use crate::object::{Checked, ObjectKind, limits, quoted};
use crate::oid::Oid;
use crate::policy::TRUST_PATH;
use crate::reason::{Reason, ReasonCode};
use crate::work::count;

/// Checks the targets of the symbolic links that one commit adds or changes. Reads each target once.
pub(crate) struct Links<'a> {
    objects: Checked<'a>,
    known: HashMap<Oid, Climb>,
    bytes: u64,
}

/// The highest folder that the target of a link leads to, relative to the link's own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Climb {
    /// The target begins with this number of `..` and has none after that.
    Up(usize),
    /// The target leaves the repository whatever folder the link is in, or it isn't clear where it leads.
    Out,
}

impl<'a> Links<'a> {
    pub(crate) fn new(objects: Checked<'a>) -> Self {
        Self {
            objects,
            known: HashMap::new(),
            bytes: 0,
        }
    }

    /// Checks that a link isn't in `trust/` and doesn't leave the repository.
    pub(crate) fn check(&mut self, path: &str, id: &Oid) -> Result<(), Reason> {
        let first = path.split('/').next();
        if first.is_some_and(|first| first.eq_ignore_ascii_case(TRUST_PATH)) {
            let message = "symbolic links aren't taken in trust/";
            return Err(Reason::new(ReasonCode::Link, message).paths([path]));
        }
        let climb = match self.known.get(id) {
            Some(climb) => *climb,
            None => self.read(path, id)?,
        };
        let depth = path.split('/').count() - 1;
        if matches!(climb, Climb::Up(up) if up <= depth) {
            return Ok(());
        }
        let target = self.target(id)?;
        let message = format!(
            "the symbolic link to \"{}\" leaves the repository",
            quoted(&target)
        );
        Err(Reason::new(ReasonCode::Link, message).paths([path]))
    }

    fn read(&mut self, path: &str, id: &Oid) -> Result<Climb, Reason> {
        let target = self.target(id)?;
        self.bytes += count(target.len());
        if self.bytes > limits::LINKS {
            let message = format!(
                "the targets of symbolic links have more than {} MiB",
                limits::LINKS >> 20
            );
            return Err(Reason::new(ReasonCode::TooLarge, message).paths([path]));
        }
        let climb = climb(&String::from_utf8_lossy(&target));
        self.known.insert(*id, climb);
        Ok(climb)
    }

    fn target(&self, id: &Oid) -> Result<Vec<u8>, Reason> {
        let raw = self.objects.read(id, ObjectKind::Blob, limits::LINK)?;
        Ok(raw.into_owned())
    }
}

/// Counts the `..` at the beginning of a target. Refuses any later `..`: after a name, its meaning depends on
/// whether the name is itself a link.
fn climb(target: &str) -> Climb {
    if target.is_empty()
        || target.starts_with('/')
        || target.contains('\0')
        || target.contains('\u{fffd}')
    {
        return Climb::Out;
    }
    let (mut up, mut named) = (0, false);
    for part in target
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if part == ".." {
            if named {
                return Climb::Out;
            }
            up += 1;
        } else {
            if part.eq_ignore_ascii_case(".git") {
                return Climb::Out;
            }
            named = true;
        }
    }
    Climb::Up(up)
}

#[cfg(test)]
mod tests {
    use super::{Climb, climb};

    #[test]
    fn links_stay_inside() {
        let stays = |path: &str, target: &str| {
            let depth = path.split('/').count() - 1;
            matches!(climb(target), Climb::Up(up) if up <= depth)
        };
        for (path, target) in [
            ("a", "b"),
            ("a/b", "../c"),
            ("a/b/c", "../../d"),
            ("a", "./b/"),
            ("a/b", ".."),
        ] {
            assert!(stays(path, target), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", ".."),
            ("a/b", "../../c"),
            ("a", "/etc/passwd"),
            ("a", ""),
            ("a/b", "x/../../c"),
            ("a", ".git/config"),
            ("a", ".GIT"),
        ] {
            assert!(!stays(path, target), "{path} -> {target}");
        }
    }
}
