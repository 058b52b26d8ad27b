//! The task that owns the loop's state: it waits for events, performs their effects in order, and publishes
//! the view.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use plumb_api::HostName;
use plumb_core::fleet::{
    Effect, Event, FleetState, LoopSettings, PollRequest, RequestId, RunEnd, RunFailure, RunReport,
    StartRun, step,
};
use plumb_core::ports::{HostTarget, Route};
use plumb_core::view::{EventKind, EventRecord, FleetView};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use crate::clock::LoopClock;
use crate::handle::{Answer, Command, Handle, Stop};
use crate::poll_input::Poll;
use crate::posters::Posters;
use crate::run::{Job, run};
use crate::settings::{Parts, Settings};
use crate::source_poll::{crashed, load_old, poll};
use crate::store_writer::{LoadError, StoreWriter, load};

/// Minimum time between two published views. The cost of a view grows with the fleet.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// The purpose of a task that uses the source.
enum SourceTask {
    Poll,
    Load(String),
}

/// The task that owns the loop's state.
struct Shell {
    parts: Parts,
    settings: Settings,
    clock: LoopClock,
    state: FleetState,
    writer: StoreWriter,
    posters: Posters,
    runs: JoinSet<RunReport>,
    /// The host of each running task, and the report to use if the task panics.
    running: HashMap<Id, (RunReport, HostName)>,
    source: JoinSet<Event>,
    asking: HashMap<Id, SourceTask>,
    answers: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    wake_at: Option<Instant>,
    view: watch::Sender<Arc<FleetView>>,
    /// The time at which to publish the next view; `None` if the last view is current.
    publish_at: Option<Instant>,
    published: Instant,
}

/// Starts a controller: reads the stored state, begins a new epoch, and drives hosts until it is stopped.
///
/// # Errors
/// Returns an error if the stored state can't be read. Without it the controller drives no host.
pub(crate) async fn start(
    parts: Parts,
    settings: Settings,
) -> Result<(Handle, JoinHandle<()>), LoadError> {
    let (persisted, identity) = load(parts.store.as_ref()).await?;
    let mut clock = LoopClock::new(parts.clock.clone());
    let now = clock.now();
    let loop_settings = loop_settings(&settings, parts.source.describe());
    let state = FleetState::new(persisted, identity, loop_settings, now);
    let (view, published) = watch::channel(Arc::new(state.view(now)));
    let (commands, command_queue) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let (events, event_queue) = mpsc::unbounded_channel();
    let shell = Shell {
        clock,
        writer: StoreWriter::start(parts.store.clone(), events.clone()),
        posters: Posters::new(&parts.sinks, events),
        runs: JoinSet::new(),
        running: HashMap::new(),
        source: JoinSet::new(),
        asking: HashMap::new(),
        answers: BTreeMap::new(),
        next_request: 0,
        wake_at: None,
        view,
        publish_at: None,
        published: Instant::now(),
        state,
        settings,
        parts: parts.clone(),
    };
    let handle = Handle {
        view: published,
        clock: parts.clock,
        commands,
        stop,
    };
    let task = tokio::spawn(shell.drive(command_queue, stopped, event_queue));
    Ok((handle, task))
}

fn loop_settings(settings: &Settings, source_description: String) -> LoopSettings {
    LoopSettings {
        version: settings.version.clone(),
        source_url: settings.source_url.clone(),
        source_ref: settings.source_ref.clone(),
        source_description,
        introduction: settings.introduction.to_string(),
        poll: settings.poll,
        resync: settings.resync,
        concurrency: settings.concurrency,
        take_over: settings.take_over,
        waits: settings.waits,
        alerting: settings.alerting.clone(),
        generator_url: settings.generator_url.clone(),
    }
}

/// Sleeps until a time, or for ever if it is `None`.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shell {
    async fn drive(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut stopped: watch::Receiver<Stop>,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) {
        self.handle_event(Event::Started);
        let mut held = true;
        while !self.state.is_drained() {
            tokio::select! {
                biased;
                changed = stopped.changed(), if held => {
                    // Without handles nobody could stop the controller later, so it drains.
                    held = changed.is_ok();
                    let stop = if held { *stopped.borrow_and_update() } else { Stop::Drain };
                    tracing::info!(?stop, running = self.runs.len(), "stopping");
                    match stop {
                        Stop::Abort => break,
                        Stop::Drain => self.handle_event(Event::DrainAsked),
                        Stop::No => {}
                    }
                }
                Some(done) = self.runs.join_next_with_id(), if !self.runs.is_empty() => {
                    self.run_ended(done);
                }
                Some(done) = self.source.join_next_with_id(), if !self.source.is_empty() => {
                    self.source_answered(done);
                }
                Some(event) = events.recv() => self.handle_event(event),
                Some(command) = commands.recv() => self.command(command),
                () = until(self.wake_at), if self.wake_at.is_some() => {
                    self.wake_at = None;
                    self.handle_event(Event::Woke);
                }
                () = until(self.publish_at), if self.publish_at.is_some() => self.publish(),
            }
        }
        self.publish();
        self.runs.shutdown().await;
        self.source.shutdown().await;
        // Alerts aren't resolved: those of a stopped controller last until they expire in Alertmanager.
        self.writer.finish().await;
        tracing::info!("stopped");
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.clock.now();
        let effects = step(&mut self.state, event, now);
        for effect in effects {
            self.perform(effect);
        }
        if self.publish_at.is_none() {
            self.publish_at = Some(self.published + PUBLISH_INTERVAL);
        }
    }

    fn publish(&mut self) {
        self.publish_at = None;
        self.published = Instant::now();
        let now = self.clock.now();
        self.view.send_replace(Arc::new(self.state.view(now)));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { id, writes } => self.writer.write(id, writes),
            Effect::StartRun(run) => self.start_run(*run),
            Effect::FetchSource(request) => self.poll_source(*request),
            Effect::LoadRevision { commit, accepted } => self.load_revision(commit, accepted),
            Effect::Record(record) => log(&record),
            Effect::PostAlerts { alerts, now } => self.posters.send(alerts, now),
            Effect::FollowAlertmanagers(addresses) => {
                let make = self.parts.make_sink.clone();
                let sinks = &self.parts.sinks;
                self.posters.follow(&addresses, sinks, make.as_ref());
            }
            Effect::WakeAt(at) => {
                let wait = at.duration_since(self.clock.now());
                let wait = wait.try_into().unwrap_or(Duration::ZERO);
                self.wake_at = Some(Instant::now() + wait);
            }
            Effect::Answer { request, answer } => {
                // The caller reads the view when it has the answer, so publish the view first.
                self.publish();
                if let Some(asker) = self.answers.remove(&request) {
                    // The caller may be gone.
                    let _ = asker.send(answer);
                }
            }
        }
    }

    fn start_run(&mut self, run_spec: StartRun) {
        let host = run_spec.fence.host.clone();
        let span = tracing::info_span!(
            "run",
            %host,
            trigger = %run_spec.trigger,
            revision = %run_spec.target.revision,
            mode = ?run_spec.mode,
        );
        let begun = RunReport::begun(&run_spec);
        let route = self.settings.routes.get(&host).cloned();
        let route = route.unwrap_or_else(|| Route::Ssh {
            endpoints: run_spec.intent.connect.clone(),
            host_keys: run_spec.intent.host_keys.clone(),
        });
        let job = Job {
            host: HostTarget {
                name: host.clone(),
                arch: run_spec.intent.arch.clone(),
                route,
            },
            silence: self.settings.silence,
            clock: self.parts.clock.clone(),
            spec: run_spec,
        };
        let work = run(job, self.parts.hosts.clone(), self.parts.source.clone());
        let task = self.runs.spawn(work.instrument(span));
        self.running.insert(task.id(), (begun, host));
    }

    fn run_ended(&mut self, done: Result<(Id, RunReport), JoinError>) {
        let report = match done {
            Ok((id, report)) => {
                self.running.remove(&id);
                report
            }
            Err(error) => {
                // A panic in a run fails only its host.
                tracing::error!(%error, "a run crashed");
                let Some((mut report, host)) = self.running.remove(&error.id()) else {
                    return;
                };
                report.end = RunEnd::Failed(RunFailure::panicked(&host));
                report
            }
        };
        self.handle_event(Event::RunEnded(Box::new(report)));
    }

    fn poll_source(&mut self, request: PollRequest) {
        let task = Poll {
            introduction: self.settings.introduction,
            revoked: self.parts.revoked.clone(),
            now: self.parts.clock.now(),
            request,
        };
        let source = self.parts.source.clone();
        let work = async move { Event::SourcePolled(Box::new(poll(source, task).await)) };
        let task = self.source.spawn(work);
        self.asking.insert(task.id(), SourceTask::Poll);
    }

    fn load_revision(&mut self, commit: String, accepted: String) {
        let introduction = self.settings.introduction;
        let (source, now) = (self.parts.source.clone(), self.parts.clock.now());
        let about = SourceTask::Load(commit.clone());
        let task = self.source.spawn(async move {
            let loaded = load_old(source, introduction, &accepted, &commit, now).await;
            let revision = loaded.unwrap_or_else(|error| {
                tracing::warn!(revision = %commit, %error, "cannot load an older revision");
                None
            });
            Event::RevisionLoaded { commit, revision }
        });
        self.asking.insert(task.id(), about);
    }

    fn source_answered(&mut self, done: Result<(Id, Event), JoinError>) {
        let event = match done {
            Ok((id, event)) => {
                self.asking.remove(&id);
                event
            }
            Err(error) => {
                tracing::error!(%error, "a task of the source crashed");
                match self.asking.remove(&error.id()) {
                    Some(SourceTask::Poll) => Event::SourcePolled(Box::new(crashed())),
                    Some(SourceTask::Load(commit)) => Event::RevisionLoaded {
                        commit,
                        revision: None,
                    },
                    None => return,
                }
            }
        };
        self.handle_event(event);
    }

    fn command(&mut self, command: Command) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let event = match command {
            Command::Notify => Event::Notified,
            Command::Reconcile(hosts, answer) => {
                self.answers.insert(request, answer);
                Event::ReconcileAsked { hosts, request }
            }
            Command::Forget(host, answer) => {
                self.answers.insert(request, answer);
                Event::ForgetAsked { host, request }
            }
            Command::LetGo(host, address, answer) => {
                self.answers.insert(request, answer);
                Event::LetGoAsked {
                    host,
                    address,
                    request,
                }
            }
        };
        self.handle_event(event);
    }
}

fn log(record: &EventRecord) {
    let host = record.host.as_ref().map_or("", HostName::as_str);
    let (reason, message) = (record.reason, &record.message);
    match record.kind {
        EventKind::Normal => tracing::info!(host, %reason, "{message}"),
        EventKind::Warning => tracing::warn!(host, %reason, "{message}"),
    }
}
