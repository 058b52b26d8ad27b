//! The controller's own configuration: the `Controller` document of `/etc/plumb/controller.yaml`.
//!
//! It is the one thing that a repository can't change: the root of trust, who may be driven without
//! SSH, and where things lie on this machine. Read strictly, every error with its place.

mod form;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plumb_adapters::revoked::RevokedFolder;
use plumb_api::HostName;
use plumb_document::{Diagnostic, SourceMap, Spanned, codes, decode, parse};
use serde::Deserialize;

use crate::report::{Failure, OrFail as _};

pub use plumb_api::period::Period;

/// Where the configuration is looked for.
pub const DEFAULT_FILE: &str = "/etc/plumb/controller.yaml";

/// Where the controller's socket is, unless it is said.
pub const DEFAULT_SOCKET: &str = "/run/plumb/plumb.sock";

/// The `Controller` document's `spec`, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The repository and the branch.
    pub source: SourceConfig,
    /// The root of trust.
    pub introduction: Introduction,
    /// What must outlive the process; one controller's.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Where the CLI talks to the controller.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Where health, metrics and the page are served; nowhere when left out.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The page's address as people reach it, for links in alerts; `http://LISTEN` when left out. The
    /// page is answered by this name, by `localhost` and by the address that it listens on.
    #[serde(default)]
    pub url: Option<String>,
    /// How hosts are logged in to.
    #[serde(default)]
    pub ssh: SshConfig,
    /// Alertmanagers from the first moment on; the Fleet adds more.
    #[serde(default)]
    alertmanagers: Vec<Spanned<String>>,
    /// How often each host is looked at without any other reason.
    #[serde(default = "default_resync")]
    pub resync: Period,
    /// Keys without authority, whatever the repository's policy says; `revoked.d` beside the
    /// configuration when left out.
    #[serde(default)]
    revoked: Option<PathBuf>,
    /// Hosts that are this machine.
    #[serde(default)]
    pub local: Vec<HostName>,
    /// Hosts that are folders of this machine, relative to `state`.
    #[serde(default)]
    sandbox: BTreeMap<HostName, Spanned<PathBuf>>,
    /// Who may build on this machine.
    #[serde(default)]
    builders: Vec<Spanned<String>>,
    /// Where people find the runbooks of alerts: `RUNBOOKS/plumbhostdrifted`.
    #[serde(default)]
    pub runbooks: Option<String>,
    /// How many hosts are worked on at the same time.
    #[serde(default = "default_concurrency")]
    concurrency: Spanned<u32>,
}

/// The repository that is followed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceConfig {
    /// A folder, `file://`, `ssh://`, `user@host:path` or `https://`.
    pub url: Spanned<String>,
    /// The branch, in full.
    #[serde(rename = "ref", default = "default_ref")]
    pub reference: Spanned<String>,
    /// How often it is asked for news.
    #[serde(default = "default_poll")]
    pub poll: Period,
}

/// The commit that is trusted as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introduction {
    /// Its whole id.
    pub commit: Spanned<String>,
}

/// How hosts are logged in to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshConfig {
    /// A private key without a passphrase.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Whether the keys of the agent at `SSH_AUTH_SOCK` are tried too.
    #[serde(default)]
    pub agent: bool,
}

/// The document around the spec.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    api_version: Option<Spanned<String>>,
    kind: Spanned<String>,
    #[serde(default)]
    #[allow(dead_code)] // taken so that a name may be written; a machine has one controller
    metadata: Option<Metadata>,
    spec: Config,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Metadata {
    #[serde(default)]
    name: Option<String>,
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/plumb-controller")
}

fn default_socket() -> PathBuf {
    PathBuf::from(DEFAULT_SOCKET)
}

fn default_resync() -> Period {
    Period::minutes(30)
}

fn default_poll() -> Period {
    Period::minutes(1)
}

fn default_ref() -> Spanned<String> {
    made("refs/heads/main".to_owned())
}

fn default_concurrency() -> Spanned<u32> {
    made(64)
}

/// A default, at no place of the file.
fn made<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: plumb_document::Span::of_file("(default)"),
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read, or everything that is wrong in it, with places.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path)
            .or_fail(|| {
                format!(
                    "the controller's configuration {} can't be read",
                    path.display()
                )
            })
            .map_err(|failure| {
                failure.hint("name another file with --config; docs/controller.md shows one")
            })?;
        Self::parse(&path.display().to_string(), &text).map_err(|diagnostics| {
            let mut sources = SourceMap::default();
            sources.insert(path.display().to_string().into(), text.into());
            Failure::new("the controller's configuration can't be used")
                .diagnostics(diagnostics, sources)
        })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let file: Arc<str> = file.into();
        let node = parse(&file, text)?;
        let document: Document = decode(&node).map_err(|mut diagnostics| {
            form::explain(&node, &mut diagnostics);
            diagnostics
        })?;
        let mut wrong = Vec::new();
        if document.kind.value != "Controller" {
            wrong.push(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    &document.kind.span,
                    format!(
                        "a {} isn't a controller's configuration",
                        document.kind.value
                    ),
                )
                .hint("write kind: Controller"),
            );
        }
        if let Some(version) = document
            .api_version
            .filter(|v| v.value != "plumb.dev/v1alpha1")
        {
            wrong.push(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    &version.span,
                    format!("this plumb doesn't know the version {}", version.value),
                )
                .hint("write plumb.dev/v1alpha1, or leave the line out"),
            );
        }
        document.spec.check(&mut wrong);
        if wrong.is_empty() {
            Ok(document.spec)
        } else {
            Err(wrong)
        }
    }

    fn check(&self, wrong: &mut Vec<Diagnostic>) {
        let mut error = |span, message: String, hint: &str| {
            wrong.push(Diagnostic::error(codes::INVALID_VALUE, span, message).hint(hint));
        };
        let commit = &self.introduction.commit;
        let hex = commit.value.len() == 40 || commit.value.len() == 64;
        if !hex
            || !commit
                .value
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            error(
                &commit.span,
                format!("`{}` isn't a whole commit id", commit.value),
                "`git rev-parse COMMIT` gives it; a short id or a branch could come to mean something else",
            );
        }
        let reference = &self.source.reference;
        if !reference.value.starts_with("refs/heads/") || reference.value.len() == 11 {
            error(
                &reference.span,
                format!("`{}` isn't a branch", reference.value),
                "write it in full, such as refs/heads/main",
            );
        }
        if self.source.url.value.trim().is_empty() {
            error(
                &self.source.url.span,
                "the source has no address".to_owned(),
                "a folder, file://, ssh://, user@host:path or https://",
            );
        }
        for url in &self.alertmanagers {
            if !url.value.starts_with("http://") && !url.value.starts_with("https://") {
                error(
                    &url.span,
                    format!("`{}` isn't an Alertmanager's address", url.value),
                    "write it as http://HOST:9093, without /api",
                );
            }
        }
        for (host, folder) in &self.sandbox {
            let inside = folder.value.is_absolute()
                || !folder.value.as_os_str().is_empty()
                    && folder
                        .value
                        .components()
                        .all(|part| matches!(part, std::path::Component::Normal(_)));
            if !inside {
                error(
                    &folder.span,
                    format!("the sandbox of {host} isn't inside `state`"),
                    "write a folder for it, such as hosts/demo-1, without `..`; or an absolute path",
                );
            }
            if self.local.contains(host) {
                error(
                    &folder.span,
                    format!("{host} is both local and a sandbox"),
                    "keep it in one of them",
                );
            }
        }
        for builder in &self.builders {
            wrong.push(
                Diagnostic::error(
                    plumb_document::Code::new(
                        "unsupported-field",
                        "The field is described but not built yet; it is refused rather than ignored.",
                    ),
                    &builder.span,
                    "building on the controller isn't built yet",
                )
                .hint("leave builders empty"),
            );
        }
        if self.concurrency.value == 0 {
            wrong.push(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    &self.concurrency.span,
                    "with a concurrency of 0 no host is ever driven",
                )
                .hint("leave it out for 64"),
            );
        }
    }

    /// The folder of keys without authority, for a configuration in this file.
    pub fn revoked(&self, file: &Path) -> RevokedFolder {
        let beside = file.parent().unwrap_or(Path::new("."));
        match &self.revoked {
            Some(named) => RevokedFolder::Named(beside.join(named)),
            None => RevokedFolder::Usual(beside.join("revoked.d")),
        }
    }

    /// Alertmanagers' addresses.
    pub fn alertmanagers(&self) -> impl Iterator<Item = &str> {
        self.alertmanagers.iter().map(|url| url.value.as_str())
    }

    /// Each sandbox with its folder, absolute if `state` is.
    pub fn sandboxes(&self) -> impl Iterator<Item = (&HostName, PathBuf)> {
        self.sandbox
            .iter()
            .map(|(host, folder)| (host, self.state.join(&folder.value)))
    }

    /// How many hosts are worked on at the same time.
    pub fn concurrency(&self) -> u32 {
        self.concurrency.value
    }

    /// The page's address, where there is one.
    pub fn page(&self) -> Option<String> {
        self.url
            .clone()
            .or_else(|| self.listen.map(|at| format!("http://{at}")))
    }
}

#[cfg(test)]
mod tests;
