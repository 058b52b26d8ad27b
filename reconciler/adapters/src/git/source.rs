//! Watches a branch and fetches it into a mirror.
//!
//! Two threads do the work, because gix blocks. One talks to the server and may wait for long. The other one
//! reads the mirror, so that a slow server never delays runs of hosts towards an accepted revision.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use plumb_api::LoginUrl;
use plumb_core::ports::SourceError;
use plumb_trust::object::{Commit, ObjectKind, Objects, limits};
use plumb_trust::source::{Fetched, Files, Source, VerifyRequest};
use plumb_trust::{Inputs, Oid, Outcome, Progress, Revision, Verified};
use tokio::sync::oneshot;

use super::address::{Address, AddressError};
use super::effects::{Summaries, TreeEffects};
use super::fetch::{self, FetchLimits, FetchTimeouts, SshProgram, repack};
use super::files;
use super::mirror::{Mirror, MirrorError};
use super::objects::{ObjectStore, Open, spare_threads};

/// The reason that is reported for a panic.
const UNFORESEEN: &str = "reading it crashed, a defect of Plumb; please report it";

/// The minimum time between two full refetches after a missing object, and between two repacks.
const ANEW: Duration = Duration::from_hours(1);

/// The interval of log lines about a long verification.
const TOLD: Duration = Duration::from_secs(5);

/// The number of packs above which the mirror is repacked.
const PACKS: usize = 50;

/// The settings of a watched branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitOptions {
    /// The repository's address.
    pub url: LoginUrl,
    /// The branch's full name.
    pub reference: String,
    /// The folder of the mirror.
    pub mirror: PathBuf,
    /// The `ssh` program and its options.
    pub ssh: SshProgram,
    /// The bounds on what the server may send.
    pub limits: FetchLimits,
    /// The time limits of a fetch.
    pub timeouts: FetchTimeouts,
}

impl GitOptions {
    /// Creates options with the default bounds.
    pub fn new(url: LoginUrl, reference: impl Into<String>, mirror: impl Into<PathBuf>) -> Self {
        Self {
            url,
            reference: reference.into(),
            mirror: mirror.into(),
            ssh: SshProgram::default(),
            limits: FetchLimits::default(),
            timeouts: FetchTimeouts::default(),
        }
    }
}

/// A source that can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum GitSourceError {
    /// The address is invalid.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// The branch's name isn't a full ref name under `refs/heads/`.
    #[error("{0:?} isn't the full name of a branch; write refs/heads/main")]
    Branch(String),
    /// The mirror can't be used.
    #[error("can't use the copy of the repository in {folder}: {reason}")]
    Mirror {
        /// The mirror's folder.
        folder: PathBuf,
        /// The error.
        reason: String,
    },
    /// A worker thread can't be started.
    #[error("can't start the git worker thread: {0}")]
    Thread(std::io::Error),
}

/// A watched branch of a git repository.
pub struct GitSource {
    name: String,
    fetches: Option<mpsc::Sender<SourceReply<Fetched>>>,
    reads: Option<mpsc::Sender<ReadRequest>>,
    threads: Vec<thread::JoinHandle<()>>,
    closed: Arc<AtomicBool>,
}

type SourceReply<T> = oneshot::Sender<Result<T, SourceError>>;

enum ReadRequest {
    Verify(Box<VerifyRequest>, SourceReply<Outcome>),
    Files(Box<Verified<Revision>>, SourceReply<Files>),
    Descends(Oid, Oid, SourceReply<bool>),
}

impl GitSource {
    /// Starts to watch a branch, without fetching it yet.
    pub fn open(options: GitOptions) -> Result<Self, GitSourceError> {
        let address = Address::parse(options.url.reveal())?;
        let branch = options
            .reference
            .strip_prefix("refs/heads/")
            .filter(|name| !name.is_empty());
        if branch.is_none()
            || gix::validate::reference::name(options.reference.as_str().into()).is_err()
        {
            return Err(GitSourceError::Branch(options.reference));
        }
        let mirror =
            Mirror::at(options.mirror.clone()).map_err(|error| GitSourceError::Mirror {
                folder: options.mirror.clone(),
                reason: error.to_string(),
            })?;
        let name = format!("{address} {}", options.reference);
        let shared = Arc::new(MirrorAccess {
            mirror,
            incomplete: AtomicBool::new(false),
            reference: options.reference.clone(),
        });
        let closed = Arc::new(AtomicBool::new(false));

        let (fetches, fetch_queue) = mpsc::channel::<SourceReply<Fetched>>();
        let server_side = Fetcher {
            shared: Arc::clone(&shared),
            address,
            options,
            closed: Arc::clone(&closed),
            anew: None,
            tidied: None,
        };
        let mut threads = vec![start("git-fetch", move || server_side.run(&fetch_queue))?];
        let (reads, read_queue) = mpsc::channel();
        threads.push(start("git-read", move || {
            Reader {
                shared,
                store: None,
                summaries: Rc::default(),
            }
            .run(&read_queue);
        })?);
        Ok(Self {
            name,
            fetches: Some(fetches),
            reads: Some(reads),
            threads,
            closed,
        })
    }

    fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(SourceReply<T>) -> ReadRequest,
    ) -> BoxFuture<'_, Result<T, SourceError>> {
        let (answer, result) = oneshot::channel();
        let sent = self
            .reads
            .as_ref()
            .is_some_and(|reads| reads.send(job(answer)).is_ok());
        wait(sent, result)
    }
}

fn wait<'a, T: Send + 'a>(
    sent: bool,
    result: oneshot::Receiver<Result<T, SourceError>>,
) -> BoxFuture<'a, Result<T, SourceError>> {
    Box::pin(async move {
        if !sent {
            return Err(SourceError::Closed);
        }
        result.await.unwrap_or(Err(SourceError::Closed))
    })
}

fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, GitSourceError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(GitSourceError::Thread)
}

impl Source for GitSource {
    type Error = SourceError;

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        let (answer, result) = oneshot::channel();
        let sent = self
            .fetches
            .as_ref()
            .is_some_and(|fetches| fetches.send(answer).is_ok());
        wait(sent, result)
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Outcome, SourceError>> {
        self.read(|answer| ReadRequest::Verify(Box::new(request), answer))
    }

    fn files(&self, revision: Verified<Revision>) -> BoxFuture<'_, Result<Files, SourceError>> {
        self.read(|answer| ReadRequest::Files(Box::new(revision), answer))
    }

    fn descends(&self, ancestor: Oid, descendant: Oid) -> BoxFuture<'_, Result<bool, SourceError>> {
        self.read(|answer| ReadRequest::Descends(ancestor, descendant, answer))
    }
}

impl Drop for GitSource {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.fetches = None;
        self.reads = None;
        // Doesn't wait: the watch ends a fetch within moments, and the reader ends after its current job.
        // They leave no incomplete writes.
        self.threads.clear();
    }
}

struct MirrorAccess {
    mirror: Mirror,
    // True if an object is missing, so that the record of the last complete fetch must be wrong.
    incomplete: AtomicBool,
    reference: String,
}

struct Fetcher {
    shared: Arc<MirrorAccess>,
    address: Address,
    options: GitOptions,
    closed: Arc<AtomicBool>,
    anew: Option<Instant>,
    tidied: Option<Instant>,
}

impl Fetcher {
    fn run(mut self, queue: &mpsc::Receiver<SourceReply<Fetched>>) {
        while let Ok(answer) = queue.recv() {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            // Untrusted data passes through much third-party code: a panic there fails one fetch only.
            let fetched = catch_unwind(AssertUnwindSafe(|| self.fetch())).unwrap_or_else(|_| {
                Err(SourceError::Garbled {
                    source_url: self.address.to_string(),
                    reason: UNFORESEEN.to_owned(),
                })
            });
            let _ = answer.send(fetched);
            self.tidy();
        }
    }

    /// Repacks the mirror if it has many packs: each fetch may add one, and every read searches all of them.
    fn tidy(&mut self) {
        let mirror = &self.shared.mirror;
        if mirror.packs() > PACKS && self.tidied.is_none_or(|last| last.elapsed() > ANEW) {
            self.tidied = Some(Instant::now());
            if let Err(error) = repack(mirror.path(), &self.closed) {
                tracing::debug!(%error, mirror = %mirror.path().display(), "the packs stay as many as they are");
            }
        }
    }

    fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let mirror = &self.shared.mirror;
        if self.shared.incomplete.load(Ordering::Relaxed)
            && self.anew.is_none_or(|last| last.elapsed() > ANEW)
        {
            self.anew = Some(Instant::now());
            self.shared.incomplete.store(false, Ordering::Relaxed);
            mirror
                .forget()
                .map_err(|error| mirror_error(mirror, &error))?;
        }
        fetch::FetchRequest {
            address: &self.address,
            branch: &self.options.reference,
            ssh: &self.options.ssh,
            limits: &self.options.limits,
            timeouts: self.options.timeouts,
            closed: Arc::clone(&self.closed),
        }
        .run(mirror)
    }
}

fn mirror_error(mirror: &Mirror, error: &MirrorError) -> SourceError {
    SourceError::Mirror {
        folder: mirror.path().display().to_string(),
        reason: error.to_string(),
    }
}

struct Reader {
    shared: Arc<MirrorAccess>,
    store: Option<ObjectStore>,
    summaries: Rc<Summaries>,
}

impl Reader {
    fn run(mut self, queue: &mpsc::Receiver<ReadRequest>) {
        while let Ok(job) = queue.recv() {
            match job {
                ReadRequest::Verify(request, answer) => {
                    let outcome = self.unless_it_panics(|reader| reader.verify(&request));
                    self.note_missed();
                    let _ = answer.send(outcome);
                }
                ReadRequest::Files(revision, answer) => {
                    let files = self.unless_it_panics(|reader| reader.files(&revision));
                    self.note_missed();
                    let _ = answer.send(files);
                }
                ReadRequest::Descends(ancestor, descendant, answer) => {
                    let descends =
                        self.unless_it_panics(|reader| reader.descends(ancestor, descendant));
                    self.note_missed();
                    let _ = answer.send(descends);
                }
            }
        }
    }

    /// Runs a read and turns a panic into an error: pushed data passes through much third-party code.
    fn unless_it_panics<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        catch_unwind(AssertUnwindSafe(|| read(self))).unwrap_or_else(|_| {
            // The panic may have left the store inconsistent.
            self.store = None;
            Err(SourceError::Garbled {
                source_url: self.shared.mirror.path().display().to_string(),
                reason: UNFORESEEN.to_owned(),
            })
        })
    }

    /// Records missed objects. Called before the answer is sent, because the caller may fetch at once.
    fn note_missed(&self) {
        if self.store.as_ref().is_some_and(ObjectStore::take_missed) {
            self.shared.incomplete.store(true, Ordering::Relaxed);
        }
    }

    fn store(&mut self, wanted: &Oid) -> Result<&ObjectStore, SourceError> {
        let mirror = &self.shared.mirror;
        if self.store.is_none() {
            let Some(format) = mirror.format() else {
                return Err(SourceError::Missing(wanted.to_string()));
            };
            let store = ObjectStore::open(&[mirror.objects()], format, Open::ForLong)
                .map_err(|error| mirror_error(mirror, &MirrorError::Io(error)))?;
            self.store = Some(store);
        }
        self.store.as_ref().ok_or(SourceError::Closed)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<Outcome, SourceError> {
        let reference = self.shared.reference.clone();
        let summaries = self.summaries.clone();
        let store = self.store(&request.head)?;
        let effects = TreeEffects::new(store, &summaries);
        let mut inputs = Inputs::new(request.introduction, request.head, request.now)
            .tags(&request.tags)
            .reference(&reference)
            .first_seen(&request.first_seen)
            .revoked(&request.revoked)
            .revoked_before(&request.revoked_before)
            .tombstones(&request.tombstones)
            .lower_bounds(&request.lower_bounds)
            .effects(&effects)
            .threads(spare_threads());
        inputs.floor = request.floor;
        inputs.detail = request.detail;
        let told = Cell::new(Instant::now());
        let tell = |Progress { done, total }| {
            if told.get().elapsed() > TOLD {
                told.set(Instant::now());
                tracing::info!(done, total, "verifying commits");
            }
        };
        Ok(plumb_trust::verify(store, &inputs.progress(&tell)))
    }

    fn files(&mut self, revision: &Verified<Revision>) -> Result<Files, SourceError> {
        let commit = revision.commit();
        let store = self.store(&commit)?;
        files::tree(store, &revision.tree()).map_err(|error| SourceError::Files {
            revision: commit.to_string(),
            reason: error.to_string(),
        })
    }

    fn descends(&mut self, ancestor: Oid, descendant: Oid) -> Result<bool, SourceError> {
        let missing = |commit: &Oid| SourceError::Missing(commit.to_string());
        let store = self.store(&descendant)?;
        let mut at = descendant;
        for _ in 0..limits::CHAIN {
            if at == ancestor {
                return Ok(true);
            }
            let raw = store
                .read(&at, ObjectKind::Commit, limits::COMMIT)
                .map_err(|_| missing(&at))?;
            let commit = Commit::parse(&raw, at.format()).map_err(|_| missing(&at))?;
            match commit.parents.first() {
                Some(parent) => at = *parent,
                None => return Ok(false),
            }
        }
        Ok(false)
    }
}
