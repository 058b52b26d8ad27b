//! Loads and resolves a fleet's files from a folder or a commit, for inspection. The result can't drive a
//! host: the controller takes only verified revisions.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, files};
use plumb_core::desired::Resolved;
use plumb_core::manifest::code::FILE_TOO_LARGE;
use plumb_core::manifest::{Fleet, Sources, load};
use plumb_core::resolve::resolve;
use plumb_document::{Diagnostic, SourceMap, Span};
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::{Authority, KEYS_PATH, NeedOrigin, POLICY_PATH, Unsatisfiable, codes};
use plumb_trust::source::{Files, SourceFile};
use plumb_trust::{ObjectKind, Objects as _, Oid};

use crate::report::{Failure, OrFail as _};

/// The source of a fleet's files.
#[derive(Debug, Clone)]
pub(crate) enum FileSource {
    /// A folder, with its current content.
    Folder,
    /// A commit.
    Commit(Oid),
}

impl FileSource {
    /// Returns the commit, or `None` for a folder.
    pub(crate) fn commit(&self) -> Option<String> {
        match self {
            Self::Folder => None,
            Self::Commit(oid) => Some(oid.to_string()),
        }
    }
}

/// A fleet, loaded and resolved.
pub(crate) struct Workspace {
    /// The fleet.
    pub(crate) fleet: Fleet<FileSource>,
    /// The resolved intent of each host.
    pub(crate) resolved: Resolved,
    /// All diagnostics, including the policy's.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The texts of all files, for snippets.
    pub(crate) sources: SourceMap,
}

impl Workspace {
    /// Loads the current content of a folder.
    ///
    /// # Errors
    /// Fails if there is no fleet, or its files can't be read.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, Failure> {
        if !folder.join("fleet.yaml").exists() {
            return Err(Failure::new(format!(
                "{} isn't a fleet repository: it has no fleet.yaml",
                folder.display()
            ))
            .hint("name the repository's folder, or create a fleet with `plumb init`"));
        }
        let files =
            files::work_tree(folder).or_fail(|| format!("cannot read {}", folder.display()))?;
        Ok(Self::new(FileSource::Folder, files))
    }

    /// Loads the files of a commit.
    ///
    /// # Errors
    /// Fails if the commit or its files can't be read.
    pub(crate) fn of_commit(repository: &Repository, commit: &Oid) -> Result<Self, Failure> {
        let what = || format!("cannot read the files of {}", commit.short());
        let raw = repository
            .objects()
            .read(commit, ObjectKind::Commit, limits::COMMIT)
            .or_fail(what)?;
        let parsed = Commit::parse(&raw, commit.format()).or_fail(what)?;
        let files = files::tree(repository.objects(), &parsed.tree).or_fail(what)?;
        Ok(Self::new(FileSource::Commit(*commit), files))
    }

    fn new(origin: FileSource, files: Files) -> Self {
        let found = of_policy(&files);
        let mut sources = SourceMap::default();
        for (path, file) in &files {
            if let Some(bytes) = file.bytes() {
                sources.insert(path.as_str().into(), bytes.clone());
            }
        }
        let files = files
            .into_iter()
            .map(|(path, file)| (Arc::from(path), file))
            .collect();
        let loaded = load(Sources {
            revision: origin,
            files,
        });
        let resolved = resolve(&loaded.fleet);
        let mut diagnostics = resolved.diagnostics.clone();
        for diagnostic in found {
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        diagnostics.sort_by(|a, b| a.span.cmp(&b.span));
        Self {
            fleet: loaded.fleet,
            resolved,
            diagnostics,
            sources,
        }
    }

    /// Returns the paths of files that differ from those of another revision.
    pub(crate) fn changed_paths(&self, other: &Self) -> Vec<String> {
        let all: BTreeSet<&str> = self.sources.files().chain(other.sources.files()).collect();
        let differs = |path: &&str| self.sources.bytes(path) != other.sources.bytes(path);
        all.into_iter().filter(differs).map(str::to_owned).collect()
    }

    /// Returns the number of errors.
    pub(crate) fn errors(&self) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.is_error())
            .count()
    }
}

/// Returns the diagnostics of the policy in these files.
fn of_policy(files: &Files) -> Vec<Diagnostic> {
    let mut large = Vec::new();
    let mut bytes = |path: &str, file: &'_ SourceFile| match file {
        SourceFile::Bytes(bytes) => Some(bytes.clone()),
        SourceFile::TooLarge(bound) => {
            let message = format!("{path} {bound}, so a commit with it is rejected");
            let span = Span::of_file(path);
            large.push(Diagnostic::error(FILE_TOO_LARGE, &span, message));
            None
        }
    };
    let is_key = |path: &str| {
        path.strip_prefix(KEYS_PATH)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let keys: Vec<_> = files
        .iter()
        .filter(|(path, _)| is_key(path))
        .filter_map(|(path, file)| Some((path, bytes(path, file)?)))
        .collect();
    let policy = files.get(POLICY_PATH);
    let Some(policy) = policy.and_then(|file| bytes(POLICY_PATH, file)) else {
        return large;
    };
    match Authority::new(&policy, keys, Timestamp::now()) {
        Ok(authority) => {
            large.extend(authority.warnings.iter().cloned());
            large.extend(unmet(&authority, &policy));
        }
        Err(wrong) => large.extend(wrong),
    }
    large
}

/// Returns an error for each need of the policy that nobody could meet, because a commit with such a policy
/// is rejected. Also returns an error for each identity that has no key that can sign.
fn unmet(authority: &Authority, policy: &[u8]) -> Vec<Diagnostic> {
    let check = authority.check(Timestamp::now());
    let place = |section: &str, name: &str| {
        entry(policy, section, name).unwrap_or_else(|| Span::of_file(POLICY_PATH))
    };
    let lacking = check.unsatisfiable.iter().map(|lacking| {
        let span = place("groups", &lacking.from);
        Diagnostic::error(codes::POLICY_UNSATISFIABLE, &span, describe_unsatisfiable(lacking)).hint(
            "lower the count, or add people to the group; `plumb trust check` names the keys that can't sign",
        )
    });
    let locked_out = check.locked_out.iter().map(|locked_out| {
        let span = place("identities", &locked_out.identity);
        let error = Diagnostic::error(codes::IDENTITY_LOCKED_OUT, &span, locked_out.to_string());
        let replace = || format!("plumb trust rotate {} --key NEW", locked_out.identity);
        error.hint(locked_out.unusable.hint.clone().unwrap_or_else(replace))
    });
    lacking.chain(locked_out).collect()
}

/// Describes a need that can't be met.
pub(crate) fn describe_unsatisfiable(lacking: &Unsatisfiable) -> String {
    let usable = match lacking.usable {
        0 => "none".to_owned(),
        usable => usable.to_string(),
    };
    let what = match &lacking.rule {
        NeedOrigin::Emergency => "nobody could declare an emergency".to_owned(),
        NeedOrigin::Rule(paths) => format!("nobody could change {paths}"),
    };
    format!(
        "{what}: it needs {} of {}, and {usable} could sign",
        lacking.count, lacking.from
    )
}

/// Finds the position of a group or an identity in the policy.
fn entry(policy: &[u8], section: &str, name: &str) -> Option<Span> {
    let document = plumb_document::parse(&POLICY_PATH.into(), policy).ok()?;
    let entries = document.get("spec")?.get(section)?.as_map()?;
    Some(entries.entry(name)?.key.span.clone())
}
