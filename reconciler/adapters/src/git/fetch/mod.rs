//! Fetches a branch and the trust tags into a mirror, within bounds.

mod limits;
mod negotiate;
mod pack;
mod probe;
mod repack;
mod scan;
mod transport;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix::bstr::{BStr, ByteSlice};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::Service;
use plumb_core::ports::SourceError;
use plumb_trust::source::Fetched;
use plumb_trust::{ObjectFormat, TagRef};

pub use self::limits::{FetchLimits, LimitExceeded};
pub(super) use self::repack::repack;
#[cfg(test)]
pub(super) use self::scan::scan;
pub use self::transport::SshProgram;
pub use self::watch::FetchTimeouts;

use self::probe::{HttpAnswer, probe};
use self::transport::StderrTail;
use self::watch::{FetchEnd, Watch};
use super::address::Address;
use super::error::{innermost, one_line};
use super::mirror::{Mirror, MirrorError};
use super::objects;

/// The prefixes of tags that concern trust.
pub(super) const TAGS: [&str; 3] = [
    "refs/tags/approve/",
    "refs/tags/alive/",
    "refs/tags/revoke/",
];

/// The prefix of branches.
const HEADS: &str = "refs/heads/";

/// The maximum number of branches to list when the wanted one is missing.
const BRANCHES: usize = 5;

/// A fetch: its source, branch, bounds and time limits.
pub(super) struct FetchRequest<'a> {
    pub(super) address: &'a Address,
    pub(super) branch: &'a str,
    pub(super) ssh: &'a SshProgram,
    pub(super) limits: &'a FetchLimits,
    pub(super) timeouts: FetchTimeouts,
    pub(super) closed: Arc<AtomicBool>,
}

/// A failed fetch, before the watch's reason and the program's stderr are taken into account.
enum Failure {
    Gix(gix::Error),
    Exceeded(LimitExceeded),
    Garbled(String),
    Mirror(MirrorError),
    Empty,
    NoBranch(Vec<String>),
    Format {
        found: ObjectFormat,
        known: ObjectFormat,
    },
}

impl From<gix::Error> for Failure {
    fn from(error: gix::Error) -> Self {
        Self::Gix(error)
    }
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        Self::Mirror(error)
    }
}

impl From<LimitExceeded> for Failure {
    fn from(error: LimitExceeded) -> Self {
        Self::Exceeded(error)
    }
}

impl FetchRequest<'_> {
    /// Fetches into the mirror.
    pub(super) fn run(&self, mirror: &Mirror) -> Result<Fetched, SourceError> {
        let source_url = self.address.to_string();
        let watch = Watch::start(self.timeouts, Arc::clone(&self.closed)).map_err(|error| {
            SourceError::Program {
                program: "a thread".to_owned(),
                reason: error.to_string(),
            }
        })?;
        let opened = transport::open(self.address, self.ssh, &watch).map_err(|failed| {
            SourceError::Program {
                program: failed.program,
                reason: failed.error.to_string(),
            }
        })?;
        let result = self.converse(opened.transport, mirror, &watch);
        let ended = watch.ended();
        // Kills the program, so that its stderr is complete.
        drop(watch);
        result
            .map_err(|failure| self.explain(failure, ended, opened.complaints, source_url, mirror))
    }

    fn converse(
        &self,
        mut transport: Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
        mirror: &Mirror,
        watch: &Watch,
    ) -> Result<Fetched, Failure> {
        let mut progress = gix::progress::Discard;
        if let Some(login) = self.login() {
            transport
                .set_identity(login)
                .map_err(gix::Error::from_error)?;
        }
        let mut handshake = gix::protocol::handshake(
            &mut transport,
            Service::UploadPack,
            // The login was sent already; there is no other one to offer.
            |_| Ok(None),
            Vec::new(),
            &mut progress,
        )?;
        let agent = (
            "agent",
            Some(concat!("plumb/", env!("CARGO_PKG_VERSION")).to_owned()),
        );
        let refs = self.refs(&mut handshake, &mut transport, &agent, &mut progress)?;
        let hash = negotiate::object_hash(&handshake.capabilities)?;
        let format = objects::format(hash);
        if let Some(known) = mirror.format().filter(|known| *known != format) {
            return Err(Failure::Format {
                found: format,
                known,
            });
        }
        let Some(fetched) = self.choose(&refs) else {
            return Err(self.without_head(refs, &mut handshake, &mut transport, &agent));
        };

        let store = mirror.open_for(format)?;
        negotiate::receive(
            &store,
            negotiate::ServerConnection {
                handshake: &mut handshake,
                transport: &mut transport,
                agent,
                hash,
            },
            &fetched,
            self.limits,
            watch.interrupt(),
        )?;
        store.record(self.branch, &fetched)?;
        Ok(fetched)
    }

    fn refs(
        &self,
        handshake: &mut gix::protocol::Handshake,
        transport: &mut Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
        agent: &gix::protocol::command::Feature,
        progress: &mut gix::progress::Discard,
    ) -> Result<Vec<Ref>, Failure> {
        let refs = if let Some(refs) = handshake.refs.take() {
            refs
        } else {
            let prefixes = std::iter::once(self.branch).chain(TAGS);
            list(prefixes, handshake, transport, agent, progress)?
        };
        if refs.len() > self.limits.refs {
            return Err(LimitExceeded::Refs(self.limits.refs).into());
        }
        Ok(refs)
    }

    /// Returns the error for a missing branch. A protocol v2 server lists only the requested refs, so this
    /// requests all branches: a misspelt branch must not look like an empty repository.
    fn without_head(
        &self,
        mut refs: Vec<Ref>,
        handshake: &mut gix::protocol::Handshake,
        transport: &mut Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
        agent: &gix::protocol::command::Feature,
    ) -> Failure {
        if !refs.iter().any(|told| branch_name(told).is_some())
            && handshake.server_protocol_version == gix::protocol::transport::Protocol::V2
        {
            let mut progress = gix::progress::Discard;
            match list(
                [HEADS].into_iter(),
                handshake,
                transport,
                agent,
                &mut progress,
            ) {
                Ok(told) if told.len() > self.limits.refs => {
                    return LimitExceeded::Refs(self.limits.refs).into();
                }
                Ok(told) => refs = told,
                Err(failure) => return failure,
            }
        }
        let branches: Vec<_> = refs.iter().filter_map(branch_name).take(BRANCHES).collect();
        if branches.is_empty() {
            Failure::Empty
        } else {
            Failure::NoBranch(branches)
        }
    }

    /// Picks the head and the trust tags from the advertised refs, which may be more than requested.
    fn choose(&self, refs: &[Ref]) -> Option<Fetched> {
        let mut head = None;
        let mut tags = Vec::new();
        for told in refs {
            let (name, id) = match told {
                Ref::Direct {
                    full_ref_name,
                    object,
                } => (full_ref_name, object),
                Ref::Peeled {
                    full_ref_name, tag, ..
                } => (full_ref_name, tag),
                Ref::Symbolic {
                    full_ref_name,
                    tag,
                    object,
                    ..
                } => (full_ref_name, tag.as_ref().unwrap_or(object)),
                Ref::Unborn { .. } => continue,
            };
            let Some(id) = objects::oid(id) else { continue };
            if name == self.branch {
                head = Some(id);
            } else if let Some(name) = tag_name(name.as_bstr()) {
                tags.push(TagRef { name, target: id });
            }
        }
        let head = head?;
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        tags.dedup_by(|a, b| a.name == b.name);
        Some(Fetched { head, tags })
    }

    fn login(&self) -> Option<gix::sec::identity::Account> {
        let Address::Http { url } = self.address else {
            return None;
        };
        Some(gix::sec::identity::Account {
            username: url.user()?.to_owned(),
            password: url.password().unwrap_or_default().to_owned(),
            oauth_refresh_token: None,
        })
    }

    fn explain(
        &self,
        failure: Failure,
        ended: Option<FetchEnd>,
        complaints: StderrTail,
        source_url: String,
        mirror: &Mirror,
    ) -> SourceError {
        match ended {
            Some(FetchEnd::Idle(after) | FetchEnd::Total(after)) => {
                return SourceError::Timeout { source_url, after };
            }
            Some(FetchEnd::Closed) => return SourceError::Closed,
            None => {}
        }
        let error = match failure {
            Failure::Exceeded(exceeded) => {
                return SourceError::Excessive {
                    source_url,
                    reason: exceeded.to_string(),
                };
            }
            Failure::Garbled(reason) => return SourceError::Garbled { source_url, reason },
            Failure::Mirror(error) => {
                return SourceError::Mirror {
                    folder: mirror.path().display().to_string(),
                    reason: error.to_string(),
                };
            }
            Failure::NoBranch(branches) => {
                return SourceError::NoBranch {
                    source_url,
                    branch: self.branch.to_owned(),
                    branches,
                };
            }
            Failure::Empty => return SourceError::Empty { source_url },
            Failure::Format { found, known } => {
                return SourceError::Format {
                    source_url,
                    found: name_of(found),
                    known: name_of(known),
                };
            }
            Failure::Gix(error) => error,
        };
        if let Address::Http { url } = self.address
            && let Some(error) = explain_http(&url.to_bstring().to_string(), &source_url)
        {
            return error;
        }
        classify(&error, &complaints.all(), source_url, self.login().as_ref())
    }
}

/// Returns the name of a hash algorithm.
const fn name_of(format: ObjectFormat) -> &'static str {
    match format {
        ObjectFormat::Sha1 => "SHA-1",
        ObjectFormat::Sha256 => "SHA-256",
    }
}

/// Sends another request to an HTTP server to explain a failed fetch. Git can't tell a missing server from a
/// redirect that it doesn't follow or from a sign-in page.
fn explain_http(url: &str, source_url: &str) -> Option<SourceError> {
    let source_url = source_url.to_owned();
    Some(match probe(url)? {
        HttpAnswer::Elsewhere(to) => SourceError::Redirected { source_url, to },
        HttpAnswer::Circle => SourceError::Garbled {
            source_url,
            reason: "the server redirects in a circle".to_owned(),
        },
        HttpAnswer::Page(page) => SourceError::Denied {
            source_url,
            reason: format!("the server answers with a web page, such as a sign-in page: {page}"),
        },
    })
}

/// Lists the refs that begin with one of the prefixes.
fn list<'a>(
    prefixes: impl Iterator<Item = &'a str>,
    handshake: &gix::protocol::Handshake,
    transport: &mut Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
    agent: &gix::protocol::command::Feature,
    progress: &mut gix::progress::Discard,
) -> Result<Vec<Ref>, Failure> {
    let mut wanted = gix::protocol::ls_refs::RefPrefixes::new();
    wanted.extend(prefixes.map(gix::bstr::BString::from));
    let command =
        gix::protocol::LsRefsCommand::new(Some(wanted), &handshake.capabilities, agent.clone());
    Ok(command.invoke_blocking(transport, progress, false)?)
}

/// Returns the short name of a branch, if the ref is a branch and UTF-8.
fn branch_name(told: &Ref) -> Option<String> {
    let (Ref::Direct { full_ref_name, .. }
    | Ref::Peeled { full_ref_name, .. }
    | Ref::Symbolic { full_ref_name, .. }) = told
    else {
        return None;
    };
    gix::validate::reference::name(full_ref_name.as_bstr()).ok()?;
    let name = full_ref_name.to_str().ok()?.strip_prefix(HEADS)?;
    Some(name.to_owned())
}

/// Returns the full name of a tag, if it concerns trust and is UTF-8.
fn tag_name(name: &BStr) -> Option<String> {
    gix::validate::reference::name(name).ok()?;
    let name = name.to_str().ok()?;
    TAGS.iter()
        .any(|folder| name.len() > folder.len() && name.starts_with(folder))
        .then(|| name.to_owned())
}

/// True if the line looks like an error message of git or ssh.
fn is_error(line: &str) -> bool {
    [
        "fatal: ",
        "error: ",
        "ERROR: ",
        "remote: ",
        "ssh: ",
        "Host key verification failed",
    ]
    .iter()
    .any(|start| line.starts_with(start))
        || line.contains(": Permission denied (")
        || line.ends_with("Connection refused")
}

/// True if the line says nothing about an error.
fn is_noise(line: &str) -> bool {
    line.starts_with("Warning:") || line.starts_with("debug")
}

/// Classifies a failure by the program's stderr or by gix's error.
fn classify(
    error: &gix::Error,
    complaints: &[String],
    source_url: String,
    login: Option<&gix::sec::identity::Account>,
) -> SourceError {
    // If some lines are clearly errors, only they are used: the others may be a greeting that mentions denied
    // access.
    let errors: Vec<_> = complaints.iter().filter(|line| is_error(line)).collect();
    let said = if errors.is_empty() {
        complaints.join("\n")
    } else {
        errors
            .iter()
            .map(|line| line.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // ssh and git print their error last, after the server's greeting.
    let reason = complaints
        .iter()
        .rev()
        .find(|line| is_error(line))
        .or_else(|| complaints.iter().rev().find(|line| !is_noise(line)))
        .map_or_else(
            || innermost(error),
            |line| one_line(line.trim_start_matches("fatal: ")),
        );
    if has(&[
        "Host key verification failed",
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "No matching host key",
    ]) {
        return SourceError::HostKey {
            source_url,
            reason: "host key verification failed".to_owned(),
        };
    }
    if has(&["dubious ownership"]) {
        return SourceError::ForeignOwner { source_url, reason };
    }
    if has(&[
        "Permission denied",
        "Too many authentication failures",
        "access denied",
    ]) {
        return SourceError::Denied { source_url, reason };
    }
    if has(&[
        "does not appear to be a git repository",
        "not a git repository",
        "Repository not found",
        "repository not found",
        "does not exist",
        "No such file or directory",
    ]) {
        return SourceError::NoRepository { source_url, reason };
    }
    if has(&["not found", "command not found"]) && said.contains("ssh") {
        return SourceError::Program {
            program: "ssh".to_owned(),
            reason,
        };
    }
    if !said.is_empty() {
        return unreachable(source_url, reason);
    }
    let text = format!("{error:#}");
    let all: Vec<_> = error.classify().map(|found| found.class()).collect();
    if all.contains(&gix::error::Class::Unauthenticated) {
        // gix's message names a credential helper, which isn't used here.
        let reason = match login {
            Some(_) => "it rejects the login in the address".to_owned(),
            None => "it requires a login".to_owned(),
        };
        return SourceError::Denied { source_url, reason };
    }
    if all.contains(&gix::error::Class::PermissionDenied) {
        return SourceError::Denied { source_url, reason };
    }
    if text.contains("404") {
        return SourceError::NoRepository { source_url, reason };
    }
    if all.contains(&gix::error::Class::Corruption) {
        return SourceError::Garbled { source_url, reason };
    }
    unreachable(source_url, reason)
}

/// Creates the error for a server that can't be reached. Git's programs and the TLS library name an untrusted
/// certificate only in their messages.
fn unreachable(source_url: String, reason: String) -> SourceError {
    if reason.contains("certificate") {
        SourceError::Certificate { source_url, reason }
    } else {
        SourceError::Unreachable { source_url, reason }
    }
}
