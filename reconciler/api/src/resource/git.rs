//! `git`: a folder with the files of one commit.

use serde::{Deserialize, Serialize};

use super::archive::{is_url, login_in_url};
use super::field::{Manage, Presence, Principal};
use super::tree::TreeObserved;
use super::{
    Dependency, Kind, LIFELINE_PATHS, Owners, Problem, Resource, Strength, check_path, differs,
    lies_in, parents, principals,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A folder with the files of one commit of a git repository. The name is the absolute path of the folder.
///
/// The host's own git fetches the commit by its full name, so a branch or tag that moved changes nothing. The
/// folder has no `.git`: Plumb keeps no clone, and nobody who may write to the folder can make git run
/// something as root. Hooks, filters, templates and the configuration of the machine and of root don't
/// apply. Submodules aren't fetched; their folders are empty. A commit with files of Git LFS is refused,
/// because only pointers would arrive.
///
/// For `ssh` addresses, git uses root's keys and known hosts, and never asks. Files belong to root unless
/// `owner` and `group` say otherwise. A file that was changed or removed is drift. Other files in the folder
/// stay, also when another commit comes; an existing file that differs from one of the commit is refused,
/// never overwritten. When the resource leaves git, the commit's files are removed and other files stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The address of the repository, which begins with `https://`, `http://`, `ssh://` or `file://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The full name of the commit: 40 or 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The owning user of all files; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group of all files; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Resource for GitSpec {
    type Observed = TreeObserved;

    const EXAMPLE: &'static str = r#"git:
  /srv/site:
    url: https://git.fleet.example/site.git
    commit: "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    owner: www-data
package: {git}
"#;

    const RANK: u8 = 42;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        let (url, commit) = (self.url.as_deref(), self.commit.as_deref());
        if self.wants_absent() {
            if url.is_some() || commit.is_some() {
                problem(
                    "state",
                    "an absent checkout has no source",
                    "remove `url` and `commit`, or remove `state: absent`",
                );
            }
            return problems;
        }
        let (Some(url), Some(commit)) = (url, commit) else {
            problem(
                "url",
                "a checkout needs `url` and `commit`",
                "write {url: \"https://…\", commit: \"…\"}",
            );
            return problems;
        };
        if !is_url(url, &["https://", "http://", "ssh://", "file:///"]) {
            problem(
                "url",
                "the address isn't one of https, http, ssh or file",
                "write `https://HOST/PATH` or `ssh://USER@HOST/PATH`",
            );
        }
        let is_hex = commit
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_hex || !matches!(commit.len(), 40 | 64) {
            problem(
                "commit",
                "`commit` isn't the full name of a commit",
                "write the 40 or 64 digits that `git rev-parse NAME` prints; a branch or tag may move",
            );
        }
        problems.extend(login_in_url(url));
        problems
    }

    fn compare(&self, observed: &TreeObserved) -> Vec<FieldChange> {
        if let Some(change) = observed.state_change(self.state) {
            return vec![change];
        }
        let mut changes = Vec::new();
        if self.wants_absent() {
            return changes;
        }
        differs(
            &mut changes,
            "commit",
            self.commit.as_ref(),
            observed.source.as_ref(),
        );
        observed.file_changes(self.owner.as_ref(), self.group.as_ref(), &mut changes);
        changes
    }

    /// Returns also the packages that git needs, and the file with the hosts that root's ssh knows, if they
    /// are managed.
    fn requires(&self, name: &str) -> Vec<Dependency> {
        let others = [
            (Kind::Package, "git"),
            (Kind::Package, "ca-certificates"),
            (Kind::Package, "openssh-client"),
            (Kind::File, "/etc/ssh/ssh_known_hosts"),
        ];
        let others = others
            .iter()
            .filter_map(|(kind, name)| Address::new(*kind, name).ok())
            .map(|address| Dependency {
                address,
                strength: Strength::Implicit,
            });
        let mut all = parents(name);
        all.extend(principals(self.owners()));
        all.extend(others);
        all
    }

    fn exists(observed: &TreeObserved) -> bool {
        observed.exists()
    }

    fn invalidates(&self) -> bool {
        true
    }

    fn lifeline(name: &str) -> bool {
        lies_in(name, LIFELINE_PATHS)
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn owners(&self) -> Owners<'_> {
        Owners {
            user: self.owner.as_ref(),
            group: self.group.as_ref(),
        }
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(url: &str, commit: &str) -> Vec<&'static str> {
        let spec = GitSpec {
            url: Some(url.to_owned()),
            commit: Some(commit.to_owned()),
            ..GitSpec::default()
        };
        let problems = spec.check("/srv/x");
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn git_takes_full_commits_only() {
        let url = "https://git.example/x.git";
        assert!(problems(url, &"0a".repeat(20)).is_empty());
        assert!(problems(url, &"0a".repeat(32)).is_empty());
        for commit in ["main", "v1.0", "4b825dc", &"0A".repeat(20)] {
            assert_eq!(problems(url, commit), ["commit"], "{commit}");
        }
    }

    #[test]
    fn git_refuses_addresses_that_run_programs_or_show_logins() {
        let commit = "0a".repeat(20);
        for url in [
            "ssh://git@git.example/x.git",
            "file:///srv/git/x.git",
            "http://git.example/x",
        ] {
            assert!(problems(url, &commit).is_empty(), "{url}");
        }
        for url in [
            "ext::sh -c id",
            "--upload-pack=id",
            "/srv/git/x.git",
            "ssh://-oProxyCommand=id/x",
            "https://me:secret@git.example/x.git",
            "https://token@git.example/x.git",
        ] {
            assert_eq!(problems(url, &commit), ["url"], "{url}");
        }
    }
}
