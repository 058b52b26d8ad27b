//! The controller's own configuration: the `Controller` document of `/etc/plumb/controller.yaml`.
//!
//! It holds what a repository must not decide: the root of trust, the hosts that are driven without SSH, and
//! paths on this machine. It is read strictly, and every error has its place.

mod form;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plumb_adapters::revoked::RevokedFolder;
use plumb_api::{HostName, LoginUrl};
use plumb_document::{Diagnostic, SourceMap, Spanned, codes, decode, parse};
use serde::Deserialize;

use crate::report::{Failure, OrFail as _};

pub use plumb_api::period::Period;

/// The default path of the configuration.
pub const DEFAULT_FILE: &str = "/etc/plumb/controller.yaml";

/// The default path of the controller's socket.
pub const DEFAULT_SOCKET: &str = "/run/plumb/plumb.sock";

/// The checked `spec` of the `Controller` document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The repository and the branch.
    pub source: SourceConfig,
    /// The root of trust.
    pub introduction: Introduction,
    /// The folder of state that must outlive the process. Each controller needs its own.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// The Unix socket on which the controller serves the CLI.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// The TCP address that serves health, metrics and the page. If left out, nothing is served on TCP.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The page's address as people reach it, for links in alerts; by default `http://LISTEN`. The page
    /// answers to this name, to `localhost` and to the address that it listens on.
    #[serde(default)]
    pub url: Option<Spanned<String>>,
    /// The SSH login to hosts.
    #[serde(default)]
    pub ssh: SshConfig,
    /// Alertmanagers that are known before the Fleet is read; the Fleet adds more.
    #[serde(default)]
    alertmanagers: Vec<Spanned<LoginUrl>>,
    /// The interval at which each host is observed without any other reason.
    #[serde(default = "default_resync")]
    pub resync: Period,
    /// The folder of keys that count for nothing, whatever the repository's policy says; by default
    /// `revoked.d` beside the configuration.
    #[serde(default)]
    revoked: Option<PathBuf>,
    /// Hosts that are this machine, driven without SSH.
    #[serde(default)]
    pub local: Vec<HostName>,
    /// Hosts that are folders of this machine. A relative path begins at `state`.
    #[serde(default)]
    sandbox: BTreeMap<HostName, Spanned<PathBuf>>,
    /// The builders that may use this machine. Building isn't implemented yet, so any entry is an error.
    #[serde(default)]
    builders: Vec<Spanned<String>>,
    /// The base URL of the alerts' runbooks: `RUNBOOKS/plumbhostdrifted`.
    #[serde(default)]
    pub runbooks: Option<Spanned<String>>,
    /// The number of hosts that are worked on at once.
    #[serde(default = "default_concurrency")]
    concurrency: Spanned<u32>,
}

/// The followed repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceConfig {
    /// The address: a folder, `file://`, `ssh://`, `user@host:path` or `https://`.
    pub url: Spanned<LoginUrl>,
    /// The branch's full name.
    #[serde(rename = "ref", default = "default_ref")]
    pub reference: Spanned<String>,
    /// The interval at which the branch is polled.
    #[serde(default = "default_poll")]
    pub poll: Period,
}

/// The commit that is trusted as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introduction {
    /// Its full id.
    pub commit: Spanned<String>,
}

/// The SSH login to hosts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshConfig {
    /// A private key without a passphrase.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Also try the keys of the agent at `SSH_AUTH_SOCK`.
    #[serde(default)]
    pub agent: bool,
}

/// The document around the spec.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigDocument {
    #[serde(default)]
    api_version: Option<Spanned<String>>,
    kind: Spanned<String>,
    #[serde(default)]
    #[allow(dead_code)] // accepted so that a name may be written; a machine has one controller
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
    default_value("refs/heads/main".to_owned())
}

fn default_concurrency() -> Spanned<u32> {
    default_value(64)
}

/// Wraps a default value, which has no place in the file.
fn default_value<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: plumb_document::Span::of_file("(default)"),
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Fails if it can't be read. Otherwise returns everything that is wrong in it, with places.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path)
            .or_fail(|| {
                format!(
                    "cannot read the controller's configuration {}",
                    path.display()
                )
            })
            .map_err(|failure| {
                failure.hint("name another file with --config; docs/controller.md has an example")
            })?;
        Self::parse(&path.display().to_string(), &text).map_err(|diagnostics| {
            let mut sources = SourceMap::default();
            sources.insert(path.display().to_string().into(), text.into());
            Failure::new("the controller's configuration is invalid")
                .diagnostics(diagnostics, sources)
        })
    }

    /// Parses a text.
    ///
    /// # Errors
    /// Returns everything that is wrong in it.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let file: Arc<str> = file.into();
        let node = parse(&file, text)?;
        let document: ConfigDocument = decode(&node).map_err(|mut diagnostics| {
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
                        "expected `kind: Controller`, found `{}`",
                        document.kind.value
                    ),
                )
                .hint("write `kind: Controller`"),
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
                    format!("unknown apiVersion `{}`", version.value),
                )
                .hint("write plumb.dev/v1alpha1, or remove the line"),
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
                format!("`{}` isn't a full commit id", commit.value),
                "write what `git rev-parse COMMIT` prints; a short id or a branch could name another commit later",
            );
        }
        let reference = &self.source.reference;
        if !reference.value.starts_with("refs/heads/") || reference.value.len() == 11 {
            error(
                &reference.span,
                format!("`{}` isn't a full branch name", reference.value),
                "write it as refs/heads/NAME, such as refs/heads/main",
            );
        }
        if self.source.url.value.reveal().trim().is_empty() {
            error(
                &self.source.url.span,
                "the source's `url` is empty".to_owned(),
                "write a folder, or a file://, ssh://, user@host:path or https:// address",
            );
        }
        for (name, url) in [("url", &self.url), ("runbooks", &self.runbooks)] {
            if let Some(url) = url
                && LoginUrl::new(url.value.as_str()).has_login()
            {
                error(
                    &url.span,
                    format!(
                        "`{name}` has a login or a query, and everybody who gets an alert sees it"
                    ),
                    "write the address alone",
                );
            }
        }
        for url in &self.alertmanagers {
            let text = url.value.reveal();
            if !text.starts_with("http://") && !text.starts_with("https://") {
                error(
                    &url.span,
                    format!("`{}` isn't the address of an Alertmanager", url.value),
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
                    format!("the sandbox folder of {host} isn't inside `state`"),
                    "write a relative folder without `..`, such as hosts/demo-1, or an absolute path",
                );
            }
            if self.local.contains(host) {
                error(
                    &folder.span,
                    format!("{host} is in both `local` and `sandbox`"),
                    "remove it from one of them",
                );
            }
        }
        for builder in &self.builders {
            wrong.push(
                Diagnostic::error(
                    plumb_document::Code::new(
                        "unsupported-field",
                        "The field is planned and not implemented yet. It is rejected rather than ignored.",
                    ),
                    &builder.span,
                    "`builders` isn't supported yet",
                )
                .hint("remove `builders`"),
            );
        }
        if self.concurrency.value == 0 {
            wrong.push(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    &self.concurrency.span,
                    "`concurrency` is 0, so no host would ever run",
                )
                .hint("write at least 1, or remove the line to use the default of 64"),
            );
        }
    }

    /// Returns the folder of keys that count for nothing, for a configuration in this file.
    pub fn revoked(&self, file: &Path) -> RevokedFolder {
        let beside = file.parent().unwrap_or(Path::new("."));
        match &self.revoked {
            Some(named) => RevokedFolder::Named(beside.join(named)),
            None => RevokedFolder::Usual(beside.join("revoked.d")),
        }
    }

    /// The addresses of the Alertmanagers.
    pub fn alertmanagers(&self) -> impl Iterator<Item = &LoginUrl> {
        self.alertmanagers.iter().map(|url| &url.value)
    }

    /// Each sandbox with its folder, absolute if `state` is.
    pub fn sandboxes(&self) -> impl Iterator<Item = (&HostName, PathBuf)> {
        self.sandbox
            .iter()
            .map(|(host, folder)| (host, self.state.join(&folder.value)))
    }

    /// The number of hosts that are worked on at once.
    pub fn concurrency(&self) -> u32 {
        self.concurrency.value
    }

    /// The page's address: `url`, or else one made of `listen`. Returns `None` without either.
    pub fn page(&self) -> Option<String> {
        self.url
            .as_ref()
            .map(|url| url.value.clone())
            .or_else(|| self.listen.map(|at| format!("http://{at}")))
    }
}

#[cfg(test)]
mod tests;
