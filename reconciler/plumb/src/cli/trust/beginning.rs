//! A policy that is written for the first time, with the files of its keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use plumb_document::SourceMap;
use plumb_trust::Authority;
use plumb_trust::policy::{BindRef, POLICY_PATH};

use super::edit::scalar;
use super::founders::unverifiable;
use super::key::PublicKey;
use crate::report::{Failure, OrFail as _};

/// Whom a new policy trusts, and with what.
#[derive(Debug)]
pub(in crate::cli) struct Beginning {
    pub(in crate::cli) identities: Vec<Person>,
    /// Groups by name, with the names of their members.
    pub(in crate::cli) groups: Vec<(String, Vec<String>)>,
    pub(in crate::cli) rules: Vec<Rule>,
    pub(in crate::cli) bind: BindRef,
}

/// Somebody, with keys and when each ends.
#[derive(Debug)]
pub(in crate::cli) struct Person {
    pub(in crate::cli) name: String,
    pub(in crate::cli) keys: Vec<(PublicKey, Option<Timestamp>)>,
}

/// Paths, and what a change of them needs: so many of each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Rule {
    pub(in crate::cli) paths: Vec<String>,
    pub(in crate::cli) needs: Vec<(String, u32)>,
}

impl Beginning {
    /// The policy's text.
    pub(in crate::cli) fn policy(&self, repository: &str, branch: &str) -> String {
        let bind = match self.bind {
            BindRef::None => "none   ",
            BindRef::Trailer => "trailer",
            BindRef::Approval => "approval",
        };
        let list = |words: &[String]| {
            let words: Vec<_> = words.iter().map(|word| scalar(word)).collect();
            words.join(", ")
        };
        let mut text = format!(
            "# Who may change this fleet. Each commit is judged by the policy of its parent, so a change here acts
# on the commits after it. Any change under trust/ stands alone in its commit and raises `serial`.
# `plumb trust show` says who can change what; docs/trust.md explains the rules.
kind: TrustPolicy
metadata: {{name: {}}}
spec:
  serial: 1
  repository: {repository}
  ref: refs/heads/{branch}
  bindRef: {bind}       # none: one person, own server. trailer: each commit says `Deploy-Ref: REPOSITORY REF`
  identities:
",
            scalar(branch)
        );
        for person in &self.identities {
            let keys: Vec<_> = person
                .keys
                .iter()
                .map(|(key, end)| match end {
                    None => key.policy_form(),
                    Some(end) => {
                        let form = key.policy_form();
                        format!("{}, validBefore: {end}}}", form.trim_end_matches('}'))
                    }
                })
                .collect();
            let name = scalar(&person.name);
            if let [key] = keys.as_slice() {
                let _ = writeln!(text, "    {name}: {{keys: [{key}]}}");
            } else {
                let _ = writeln!(text, "    {name}:\n      keys:");
                for key in keys {
                    let _ = writeln!(text, "        - {key}");
                }
            }
        }
        let groups: Vec<_> = self
            .groups
            .iter()
            .map(|(name, members)| format!("{}: [{}]", scalar(name), list(members)))
            .collect();
        if let [group] = groups.as_slice() {
            let _ = writeln!(text, "  groups: {{{group}}}");
        } else {
            let _ = writeln!(text, "  groups:");
            for group in groups {
                let _ = writeln!(text, "    {group}");
            }
        }
        let _ = writeln!(
            text,
            "  rules:                  # all that match a changed path must hold"
        );
        for rule in &self.rules {
            let _ = writeln!(text, "    - {}", rule.form());
        }
        text
    }

    /// The files of the keys: paths and texts. None is called as the first one of somebody else is.
    pub(in crate::cli) fn files(&self) -> Vec<(String, &str)> {
        let mut taken = BTreeSet::new();
        let of_another = |path: &str, own: &str| {
            let mut others = self.identities.iter().filter(|other| other.name != own);
            others.any(|other| {
                let mut keys = other.keys.iter();
                keys.any(|(key, _)| key.path(&other.name, |_| false) == path)
            })
        };
        let mut files = Vec::new();
        for person in &self.identities {
            for (key, _) in &person.keys {
                let path = key.path(&person.name, |path| {
                    taken.contains(path) || of_another(path, &person.name)
                });
                taken.insert(path.clone());
                files.push((path, key.text.as_str()));
            }
        }
        files
    }

    /// Refuses what can't be read, what nobody could meet, and keys that couldn't sign anything.
    pub(in crate::cli) fn prove(&self, policy: &str) -> Result<Authority, Failure> {
        let now = Timestamp::now();
        let authority = Authority::new(policy.as_bytes(), self.files(), now).map_err(|wrong| {
            let mut sources = SourceMap::default();
            sources.insert(POLICY_PATH.into(), policy.as_bytes().into());
            Failure::new("this makes no policy").diagnostics(wrong, sources)
        })?;
        for (key, _) in self.identities.iter().flat_map(|person| &person.keys) {
            if let Some(why) = authority.unusable(&key.name, now) {
                return Err(unverifiable(key, &why));
            }
        }
        if let Some(lacking) = authority.check(now).unsatisfiable.first() {
            return Err(Failure::new(format!(
                "{} would need {} of {}, and only {} could sign",
                lacking.rule, lacking.count, lacking.from, lacking.usable
            )));
        }
        Ok(authority)
    }

    /// Writes it into a folder that has no `trust/`; the paths that were written.
    pub(in crate::cli) fn write(&self, root: &Path, policy: &str) -> Result<Vec<String>, Failure> {
        let mut written = Vec::new();
        let files = self.files();
        let policy = (POLICY_PATH.to_owned(), policy);
        for (path, text) in files.into_iter().chain([policy]) {
            let whole = root.join(&path);
            if let Some(folder) = whole.parent() {
                fs::create_dir_all(folder)
                    .or_fail(|| format!("{} can't be made", folder.display()))?;
            }
            fs::write(&whole, text).or_fail(|| format!("{} can't be written", whole.display()))?;
            written.push(path);
        }
        Ok(written)
    }
}

impl Rule {
    /// How the policy has it, on one line.
    pub(in crate::cli) fn form(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| scalar(path)).collect();
        let needs: Vec<_> = self
            .needs
            .iter()
            .map(|(from, count)| format!("{{from: {}, count: {count}}}", scalar(from)))
            .collect();
        format!(
            "{{paths: [{}], need: [{}]}}",
            paths.join(", "),
            needs.join(", ")
        )
    }
}

/// A random UUID: what tells this fleet from a fork of it.
pub(in crate::cli) fn random_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .or_fail(|| "the system gives no random numbers".to_owned())?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        let (a, b) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
    }
}
