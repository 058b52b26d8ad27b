//! `archive`: a folder with the files of an archive.
//!
//! The host's own `tar` and `unzip` unpack. They know every format and variant that archives come in, the
//! agent stays small, and Debian mends their defects. What they unpacked is checked by `tree::inspect`.

use std::io::Read;
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ArchiveSpec, Presence, TreeObserved};
use plumb_api::{Digest, Observed, Spec};

use super::ApplyContext;
use super::tree::{Source, SourceType, Stage, TreeSpec};
use crate::error::{At, Result, fail};
use crate::sys::{Program, Sys, copy_hashed, create_new, split};

/// Time limit for downloading or unpacking.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// apt's program for a single download.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Folder that apt's download methods may write to without root's rights.
const DOWNLOADS: &str = "/var/cache/apt/archives/partial";

/// Name of the archive in the stage.
const PACKED: &str = "archive";

impl TreeSpec for ArchiveSpec {
    const DESCRIPTION: &'static str = "the files of an archive";

    fn of(spec: &Spec) -> Option<&Self> {
        match spec {
            Spec::Archive(spec) => Some(spec),
            _ => None,
        }
    }

    fn restoring(state: Presence) -> Spec {
        Spec::Archive(Self {
            state,
            ..Self::default()
        })
    }

    fn observed(found: TreeObserved) -> Observed {
        Observed::Archive(found)
    }

    fn source(&self) -> Source<'_> {
        Source {
            id: self
                .digest()
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
            strip: self.strip,
            kind: SourceType::Archive(self.set_ids),
            owner: self.owner.as_ref(),
            group: self.group.as_ref(),
        }
    }

    fn fill(&self, cx: &mut ApplyContext<'_>, stage: &Stage, path: &str) -> Result<()> {
        match (&self.url, self.sha256, self.file) {
            (Some(url), Some(digest), _) => download(cx.sys, stage, url, digest, path)?,
            (_, _, Some(content)) => {
                let mut from = cx.content(&content, path)?;
                let mut to = create_new(stage.dir(), PACKED)?;
                copy_hashed(&mut from, &mut to).at("write", &stage.path_of(PACKED))?;
            }
            _ => return fail(ErrorCode::Protocol, format!("{path} came without a source")),
        }
        unpack(cx.sys, stage, path)
    }
}

/// Downloads an archive into the stage.
///
/// apt's methods run as a user of their own, who can't reach the stage. So they write to apt's folder, and the
/// agent copies the file and checks its digest once more.
fn download(sys: &Sys, stage: &Stage, url: &str, digest: Digest, path: &str) -> Result<()> {
    let partial = format!("{DOWNLOADS}/plumb-{digest}");
    let hash = format!("SHA256:{digest}");
    let remove = || -> Result<()> {
        if let Some((dir, leaf)) = sys.root().parent(&partial)? {
            dir.unlink(leaf)?;
            dir.unlink(&format!("{leaf}.FAILED"))?;
        }
        Ok(())
    };
    remove()?;
    let args = [
        "-qq",
        "-o",
        "Acquire::Retries=1",
        "download-file",
        url,
        &partial,
        &hash,
    ];
    let output = Program::new(APT_HELPER, args).limit(LIMIT).run(sys)?;
    if output.status != 0 {
        remove()?;
        return Err(download_error(&output.complaint(), url, path));
    }
    let copied = copy(sys, &partial, stage);
    remove()?;
    if copied? == digest {
        return Ok(());
    }
    Err(download_error("Hash Sum mismatch", url, path))
}

/// Copies the downloaded file into the stage. Returns its digest.
fn copy(sys: &Sys, partial: &str, stage: &Stage) -> Result<Digest> {
    let (folder, leaf) = split(partial);
    let from = match sys.root().directory(folder)? {
        Some(dir) => dir.open(leaf)?,
        None => None,
    };
    let Some(mut from) = from else {
        return fail(ErrorCode::Io, format!("apt left no file at {partial}"));
    };
    let mut to = create_new(stage.dir(), PACKED)?;
    let content = copy_hashed(&mut from, &mut to).at("write", &stage.path_of(PACKED))?;
    Ok(content.sha256)
}

/// Returns the error for a failed download, with apt's first reason.
fn download_error(complaint: &str, url: &str, path: &str) -> AgentError {
    if complaint.contains("Hash Sum mismatch") {
        return AgentError::new(
            ErrorCode::ValidateFailed,
            format!(
                "{url} isn't the archive for {path}: its SHA-256 isn't the one in the manifest"
            ),
        )
        .hint("compare the digest that the publisher names with `sha256` in the manifest");
    }
    let reason = complaint
        .lines()
        .find_map(|line| line.strip_prefix("E: Failed to fetch "))
        .map_or(complaint, |line| {
            line.strip_prefix(url).unwrap_or(line).trim()
        });
    AgentError::new(
        code_of(complaint),
        format!("cannot download the archive for {path} from {url}: {reason}"),
    )
    .hint(format!("run `curl -I {url}` on the host"))
}

/// Returns the error code for a program's complaint.
fn code_of(complaint: &str) -> ErrorCode {
    if complaint.contains("No space left on device") {
        ErrorCode::NoSpace
    } else {
        ErrorCode::CommandFailed
    }
}

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A tar file, and the program that decompresses it, with its package.
    Tar(Option<(&'static str, &'static str)>),
    /// A zip file.
    Zip,
}

impl Format {
    /// Returns the format of a file by its first bytes.
    fn of(head: &[u8]) -> Option<Self> {
        let compressed: [(&[u8], _, _); 4] = [
            (b"\x1f\x8b", "gzip", "gzip"),
            (b"BZh", "bzip2", "bzip2"),
            (b"\xfd7zXZ\0", "xz", "xz-utils"),
            (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
        ];
        for (magic, program, package) in compressed {
            if head.starts_with(magic) {
                return Some(Self::Tar(Some((program, package))));
            }
        }
        if head.starts_with(b"PK\x03\x04") {
            return Some(Self::Zip);
        }
        let is_tar = head.get(257..262) == Some(&b"ustar"[..]);
        is_tar.then_some(Self::Tar(None))
    }

    /// Returns the program that the format needs besides tar, with its package.
    fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Tar(program) => program,
            Self::Zip => Some(("unzip", "unzip")),
        }
    }
}

/// Unpacks the archive in the stage, after a look at its names.
fn unpack(sys: &Sys, stage: &Stage, path: &str) -> Result<()> {
    let packed = stage.path_of(PACKED);
    let mut head = Vec::new();
    if let Some(file) = stage.dir().open(PACKED)? {
        file.take(512).read_to_end(&mut head).at("read", &packed)?;
    }
    let Some(format) = Format::of(&head) else {
        return Err(AgentError::new(
            ErrorCode::Refused,
            format!("the archive for {path} is neither a tar nor a zip file"),
        )
        .hint("use a tar file, plain or compressed by gzip, bzip2, xz or zstd, or a zip file"));
    };
    if let Some((program, package)) = format.program() {
        let found = ["/usr/bin", "/bin"]
            .iter()
            .any(|dir| sys.exists(&format!("{dir}/{program}")));
        if !found {
            return Err(AgentError::new(
                ErrorCode::Unsupported,
                format!("the archive for {path} needs `{program}`, which isn't on this host"),
            )
            .hint(format!("add `package: {{{package}}}` to the manifest")));
        }
    }
    let tree = stage.tree();
    let (list, extract): (Program<'_>, Program<'_>) = match format {
        Format::Tar(_) => (
            Program::new(
                "tar",
                [
                    "--list",
                    "--absolute-names",
                    "--quoting-style=escape",
                    "--force-local",
                    "--file",
                    &packed,
                ],
            ),
            Program::new(
                "tar",
                [
                    "--extract",
                    "--no-same-owner",
                    "--same-permissions",
                    "--force-local",
                    "--directory",
                    &tree,
                    "--file",
                    &packed,
                ],
            ),
        ),
        Format::Zip => (
            Program::new("unzip", ["-Z1", &packed]),
            Program::new("unzip", ["-q", "-K", "-d", &tree, &packed]),
        ),
    };
    let broken = |complaint: &str| {
        AgentError::new(
            code_of(complaint),
            format!(
                "cannot unpack the archive for {path}: {}",
                complaint.replace(&packed, "it")
            ),
        )
    };
    let output = list.limit(LIMIT).run(sys)?;
    if output.status != 0 {
        return Err(broken(&output.complaint()));
    }
    if let Some((name, what)) = output.stdout.lines().find_map(bad_name) {
        return Err(AgentError::new(
            ErrorCode::Refused,
            format!("the archive for {path} is refused: `{name}` {what}"),
        )
        .hint("use another archive"));
    }
    let output = extract.limit(LIMIT).run(sys)?;
    if output.status == 0 {
        return Ok(());
    }
    Err(broken(&output.complaint()))
}

/// Returns a name that leads out of the folder or can't be managed, with the reason.
fn bad_name(name: &str) -> Option<(&str, &'static str)> {
    if name.starts_with('/') {
        return Some((name, "is an absolute name"));
    }
    if name.split('/').any(|component| component == "..") {
        return Some((name, "has `..` in its name"));
    }
    // tar writes what isn't UTF-8 and control characters as octal numbers.
    let escaped = name
        .split('\\')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if escaped || name.contains(char::REPLACEMENT_CHARACTER) {
        return Some((name, "has a name that isn't UTF-8"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_format_shows_in_its_first_bytes() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Format::of(&tar), Some(Format::Tar(None)));
        assert_eq!(Format::of(b"PK\x03\x04rest"), Some(Format::Zip));
        let program = |head: &[u8]| Format::of(head)?.program().map(|(_, package)| package);
        assert_eq!(program(b"\x1f\x8b\x08"), Some("gzip"));
        assert_eq!(program(b"\xfd7zXZ\0"), Some("xz-utils"));
        assert_eq!(Format::of(b"<html>"), None);
    }

    #[test]
    fn archive_names_stay_inside_the_folder() {
        for good in ["a/b", "./a", "..a/b", "a/..b", "a b", "a\\ b", "ä"] {
            assert_eq!(bad_name(good), None, "{good}");
        }
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/..", "a/\\377"] {
            assert!(bad_name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn failed_download_names_its_reason() {
        let url = "http://x.example/a.tgz";
        let said = format!(
            "E: Failed to fetch {url}  404  File not found [IP: 192.0.2.1 80]\nE: Download Failed"
        );
        let error = download_error(&said, url, "/opt/x");
        assert_eq!(
            error.message,
            "cannot download the archive for /opt/x from http://x.example/a.tgz: 404  File not found [IP: 192.0.2.1 80]"
        );
        let said = format!("E: Failed to fetch {url}  Hash Sum mismatch");
        assert_eq!(
            download_error(&said, url, "/opt/x").code,
            ErrorCode::ValidateFailed
        );
    }
}
