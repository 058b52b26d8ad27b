//! `archive`: a folder with the files of an archive.

use serde::{Deserialize, Serialize};

use super::field::{Content, Manage, Presence, Principal};
use super::tree::{TreeObserved, is_zero};
use super::{
    Dependency, Kind, LIFELINE_PATHS, Owners, Problem, Resource, Strength, check_path, differs,
    lies_in, parents, principals,
};
use crate::digest::Digest;
use crate::name::Address;
use crate::plan::FieldChange;

/// A folder with the files of an archive: a tar file, plain or compressed by gzip, bzip2, xz or zstd, or a
/// zip file. The name is the absolute path of the folder.
///
/// The host downloads a `url` by apt's own methods, so that apt's proxy and certificates apply, and accepts
/// only the bytes with the given `sha256`. It unpacks beside the folder, by its own `tar` or `unzip`, checks
/// all files, and then swaps the folders in one step. An archive with absolute names, with `..` in a name,
/// with links that lead out of the folder, or with devices is refused.
///
/// Files belong to root unless `owner` and `group` say otherwise, and nobody but their owner may write to
/// them. Plumb remembers the digest of each file: one that was changed or removed is drift. Other files in
/// the folder stay, also when a newer archive is unpacked; an existing file that differs from one of the
/// archive is refused, never overwritten. Files below the folder that other resources manage are left to
/// them. When the resource leaves git, the archive's files are removed and other files stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The address of the archive, which begins with `https://` or `http://`. Needs `sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The SHA-256 of the archive, as `sha256sum` prints it. Needs `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// The archive as a file of the repository, instead of `url`: `files/site.tar.zst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(title = "path under files/"))]
    pub file: Option<Content>,
    /// The number of leading folders to leave out of each name, as with `tar --strip-components`; 0 when left
    /// out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip: u8,
    /// The owning user of all files; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group of all files; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// Set-user-id and set-group-id bits in the archive: `refuse` (default) the archive, or `keep` them.
    #[serde(default, skip_serializing_if = "SetIds::is_refuse")]
    pub set_ids: SetIds,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The treatment of set-user-id and set-group-id bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SetIds {
    /// An archive with such bits is refused.
    #[default]
    Refuse,
    /// The files get the bits that the archive has.
    Keep,
}

impl SetIds {
    /// True if this is the default, which the canonical form omits.
    pub fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

impl ArchiveSpec {
    /// Returns the digest of the archive, or `None` if the spec is invalid.
    pub fn digest(&self) -> Option<Digest> {
        self.file.map(|file| file.sha256).or(self.sha256)
    }
}

/// True if the address can be given to a program, and has one of these beginnings.
pub(super) fn is_url(url: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['-', '/', '@']))
        && url.len() <= 2000
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Returns the problem of an address with a login in it, which manifests, plans and logs would show.
pub(super) fn login_in_url(url: &str) -> Option<Problem> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (login, _) = authority.rsplit_once('@')?;
    (login.contains(':') || url.starts_with("http")).then(|| Problem {
        field: "url",
        message: "the address has a login in it, which everybody could read".to_owned(),
        hint: "remove it; put the login where the host's own tool finds it, such as /etc/apt/auth.conf.d or ~/.netrc"
            .to_owned(),
    })
}

impl Resource for ArchiveSpec {
    type Observed = TreeObserved;

    const EXAMPLE: &'static str = r#"archive:
  /opt/fluidd:
    url: https://dl.fleet.example/fluidd-1.30.zip
    sha256: "105cc58c1b12ecfbf0688b60768f6a0f89f8da28c121c226cdc36dced9b02a1f"
    owner: www-data
package: {unzip}
"#;

    const MADE_WHOLE: bool = true;

    const FILES: &'static [&'static str] = &["file"];

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
        let sources = (
            self.url.is_some(),
            self.sha256.is_some(),
            self.file.is_some(),
        );
        if self.wants_absent() {
            if sources != (false, false, false) {
                problem(
                    "state",
                    "an absent archive has no source",
                    "remove `url`, `sha256` and `file`, or remove `state: absent`",
                );
            }
            return problems;
        }
        match sources {
            (true, true, false) | (false, false, true) => {}
            (true, false, false) => problem(
                "url",
                "`url` needs `sha256`",
                "add the digest that `sha256sum` prints for the file",
            ),
            _ => problem(
                "file",
                "an archive has one source: `url` with `sha256`, or `file`",
                "write {url: \"https://…\", sha256: \"…\"} or {file: files/NAME}",
            ),
        }
        if let Some(url) = &self.url {
            if !is_url(url, &["https://", "http://"]) {
                problem(
                    "url",
                    "the address isn't one of http or https",
                    "begin it with `https://`",
                );
            }
        }
        problems.extend(self.url.as_deref().and_then(login_in_url));
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
        // Without a source, as in the spec of an original, the files stay as they are.
        if let Some(digest) = self.digest() {
            let field = match self.file {
                Some(_) => "file",
                None => "sha256",
            };
            let digest = digest.to_string();
            differs(&mut changes, field, Some(&digest), observed.source.as_ref());
            differs(
                &mut changes,
                "strip",
                Some(&self.strip),
                Some(&observed.strip),
            );
        }
        observed.file_changes(self.owner.as_ref(), self.group.as_ref(), &mut changes);
        changes
    }

    /// Returns also the packages with the programs that unpack, if they are managed.
    fn requires(&self, name: &str) -> Vec<Dependency> {
        let programs = ["bzip2", "ca-certificates", "unzip", "xz-utils", "zstd"];
        let programs = programs
            .iter()
            .filter_map(|package| Address::new(Kind::Package, package).ok())
            .map(|address| Dependency {
                address,
                strength: Strength::Implicit,
            });
        let mut all = parents(name);
        all.extend(principals(self.owners()));
        all.extend(programs);
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

    fn contents(&self) -> Vec<Content> {
        self.file.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(spec: serde_json::Value) -> Vec<&'static str> {
        let spec: ArchiveSpec = serde_json::from_value(spec).unwrap();
        let problems = spec.check("/opt/x");
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn archive_has_one_source_with_a_digest() {
        let digest = Digest::of_bytes(b"x").to_string();
        let file = json!({"sha256": digest, "size": 1});
        let good = json!({"url": "https://x.example/a.tgz", "sha256": digest});
        assert!(problems(good).is_empty());
        assert!(problems(json!({"file": file})).is_empty());
        assert_eq!(problems(json!({"url": "https://x.example/a.tgz"})), ["url"]);
        assert_eq!(problems(json!({"sha256": digest})), ["file"]);
        assert_eq!(problems(json!({})), ["file"]);
        assert_eq!(
            problems(json!({"url": "https://x.example/a", "sha256": digest, "file": file})),
            ["file"]
        );
        assert_eq!(
            problems(json!({"state": "absent", "file": file})),
            ["state"]
        );
    }

    #[test]
    fn archive_url_is_http_without_a_login() {
        let digest = Digest::of_bytes(b"x").to_string();
        for url in [
            "ftp://x/a",
            "/srv/a.tgz",
            "https://",
            "https:// x",
            "file:///a",
        ] {
            let wrong = problems(json!({"url": url, "sha256": digest}));
            assert_eq!(wrong, ["url"], "{url}");
        }
        let login = json!({"url": "https://me:secret@x.example/a", "sha256": digest});
        assert_eq!(problems(login), ["url"]);
    }

    #[test]
    fn archive_differs_in_source_owner_and_files() {
        let content = Content::of(b"new");
        let spec = ArchiveSpec {
            file: Some(content),
            owner: "www-data".parse().ok(),
            ..ArchiveSpec::default()
        };
        let fields = |observed: &TreeObserved| -> Vec<String> {
            let changes = spec.compare(observed);
            changes.into_iter().map(|change| change.field).collect()
        };
        let mut observed = TreeObserved::default();
        assert_eq!(fields(&observed), ["state"]);
        observed.file_type = super::super::FileType::Directory;
        assert_eq!(fields(&observed), ["state"], "a folder of others");
        observed.source = Some(Digest::of_bytes(b"old").to_string());
        observed.changed = vec!["bin/x".to_owned()];
        assert_eq!(fields(&observed), ["file", "owner", "files"]);
        observed.source = Some(content.sha256.to_string());
        observed.owner.clone_from(&spec.owner);
        observed.changed.clear();
        assert!(fields(&observed).is_empty());
    }
}
