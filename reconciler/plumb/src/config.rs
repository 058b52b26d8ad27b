//! The controller's own configuration: the `Controller` document of `/etc/plumb/controller.yaml`.
//!
//! The configuration holds what a repository must not decide: the root of trust, the hosts that are driven
//! without SSH, and paths on this machine. Unknown fields are errors, and every error names its line.

mod form;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plumb_adapters::revoked::RevokedFolder;
use plumb_api::{AlertmanagerUrl, HostName, LoginUrl};
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
    /// The repository and the branch that the controller follows.
    pub source: SourceConfig,
    /// The root of trust.
    pub introduction: Introduction,
    /// The folder for state that must survive a restart. Controllers can't share one.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// The Unix socket on which the controller serves the CLI.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// The TCP address that serves health, metrics and the page. If left out, nothing is served on TCP.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The page's public address, for links in alerts; by default `http://LISTEN`. The server answers only
    /// requests for the host name in this address, for `localhost` and for addresses of this machine.
    #[serde(default)]
    pub url: Option<Spanned<String>>,
    /// Settings for the SSH login to hosts.
    #[serde(default)]
    pub ssh: SshConfig,
    /// Alertmanagers that get alerts even before the repository is read; the object `Fleet` in it can add
    /// more.
    #[serde(default)]
    alertmanagers: Vec<Spanned<AlertmanagerUrl>>,
    /// The interval at which the controller observes each host, even if nothing has changed.
    #[serde(default = "default_resync")]
    pub resync: Period,
    /// The folder that lists revoked keys: the controller ignores their signatures, whatever the repository's
    /// policy says. By default `revoked.d` beside the configuration file.
    #[serde(default)]
    revoked: Option<PathBuf>,
    /// Hosts that are the controller's own machine, which it drives without SSH.
    #[serde(default)]
    pub local: Vec<HostName>,
    /// Hosts that are folders on the controller's machine. Relative paths are resolved against `state`.
    #[serde(default)]
    sandbox: BTreeMap<HostName, Spanned<PathBuf>>,
    /// The builders that may use this machine. Building isn't implemented yet, so any entry is an error.
    #[serde(default)]
    builders: Vec<Spanned<String>>,
    /// The base URL of the runbooks that alerts link to, as in `RUNBOOKS/plumbhostdrifted`.
    #[serde(default)]
    pub runbooks: Option<Spanned<String>>,
    /// Maximum number of hosts that the controller works on at the same time.
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

/// The commit that the controller trusts without verifying it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introduction {
    /// The commit's full id.
    pub commit: Spanned<String>,
}

/// Settings for the SSH login to hosts.
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

/// The whole `Controller` document, which contains the spec.
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

/// Wraps a default value, which has no position in the file.
fn default_value<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: plumb_document::Span::of_file("(default)"),
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Fails if the file can't be read. If its content is wrong, returns all errors, with their lines.
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
    /// Returns all errors in the text.
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

    /// Returns the folder that lists revoked keys. `file` is the path of the configuration file.
    pub fn revoked(&self, file: &Path) -> RevokedFolder {
        let beside = file.parent().unwrap_or(Path::new("."));
        match &self.revoked {
            Some(named) => RevokedFolder::Named(beside.join(named)),
            None => RevokedFolder::Usual(beside.join("revoked.d")),
        }
    }

    /// The addresses of the Alertmanagers.
    pub fn alertmanagers(&self) -> impl Iterator<Item = &AlertmanagerUrl> {
        self.alertmanagers.iter().map(|url| &url.value)
    }

    /// Returns each sandbox host with its folder. The folder's path is absolute if `state` is absolute.
    pub fn sandboxes(&self) -> impl Iterator<Item = (&HostName, PathBuf)> {
        self.sandbox
            .iter()
            .map(|(host, folder)| (host, self.state.join(&folder.value)))
    }

    /// Maximum number of hosts that the controller works on at the same time.
    pub fn concurrency(&self) -> u32 {
        self.concurrency.value
    }

    /// Returns the page's address: `url` if it is set, or else `http://LISTEN`. Returns `None` if neither is
    /// set.
    pub fn page(&self) -> Option<String> {
        self.url
            .as_ref()
            .map(|url| url.value.clone())
            .or_else(|| self.listen.map(|at| format!("http://{at}")))
    }
}

#[cfg(test)]
mod tests;
