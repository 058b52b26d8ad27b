//! Writes a new policy and the files of its keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;

use jiff::Timestamp;
use plumb_trust::policy::BindRef;

use crate::public_key::PublicKey;
use crate::report::{Failure, OrFail as _};
use crate::yaml_edit::scalar;

/// The people, groups and rules of a new policy.
#[derive(Debug)]
pub(in crate::cli) struct NewPolicy {
    pub(in crate::cli) identities: Vec<Person>,
    /// Groups by name, with the names of their members.
    pub(in crate::cli) groups: Vec<(String, Vec<String>)>,
    pub(in crate::cli) rules: Vec<Rule>,
    pub(in crate::cli) bind: BindRef,
}

/// A person with their keys, and the time at which each key ends.
#[derive(Debug)]
pub(in crate::cli) struct Person {
    pub(in crate::cli) name: String,
    pub(in crate::cli) keys: Vec<(PublicKey, Option<Timestamp>)>,
}

/// Paths, and the number of signatures from each group that a change of them needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Rule {
    pub(in crate::cli) paths: Vec<String>,
    pub(in crate::cli) needs: Vec<(String, u32)>,
}

impl NewPolicy {
    /// Renders the policy.
    pub(in crate::cli) fn text(&self, repository: &str, branch: &str) -> String {
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
            "# Who may change this fleet. The policy of its parent judges each commit, so a change here applies
# to the commits after it. A commit that changes trust/ changes nothing else and raises `serial`.
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
            "  rules:                  # every rule that matches a changed path must hold"
        );
        for rule in &self.rules {
            let _ = writeln!(text, "    - {}", rule.form());
        }
        text
    }

    /// Returns the paths and texts of the key files. A person's second key never takes the path that another
    /// person's key would have.
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
}

impl Rule {
    /// Renders the rule on one line.
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

/// Creates a random UUID, which distinguishes this fleet from its forks.
pub(in crate::cli) fn random_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .or_fail(|| "cannot read /dev/urandom".to_owned())?;
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
    fn creates_uuids() {
        let (a, b) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
    }
}
