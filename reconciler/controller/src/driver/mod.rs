//! The loop itself: one task that owns all state, starts runs and takes in what came of them.

mod adopt;
mod dispatch;
mod finished;
mod look;
mod spread;
mod tell;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::frame::TakeOver;
use plumb_api::{Digest, HostName};
use plumb_core::desired::DesiredState;
use plumb_core::rollout::Limits;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::alerts::{Posted, Posters};
use crate::backoff::{Backoff, Jitter};
use crate::conditions::Turn;
use crate::desired::Accepted;
use crate::handle::{Command, CommandError, Handle, Stop};
use crate::persist::{Keeper, Kept, LoadError};
use crate::queue::{Queue, Trigger};
use crate::run::{Job, Ran};
use crate::settings::{Parts, Settings};
use crate::source::Looked;
use crate::world::{Shared, World};

/// How soon after something moved alerts are worked out again.
const SOON: Duration = Duration::from_millis(200);

/// How often they are worked out when nothing moves but time.
const NOW_AND_THEN: Duration = Duration::from_secs(15);

/// How often the queue is measured at most: that takes as long as it is long.
const MEASURED: Duration = Duration::from_millis(100);

/// How often they are sent again.
const AGAIN: Duration = Duration::from_mins(1);

/// Something that was asked of the source.
enum Asked {
    /// What it has now.
    Now(Box<Looked>),
    /// A revision that hosts are still driven to; none if it can't be loaded any more.
    Old(String, Option<Arc<Accepted>>),
}

/// A revision before the newest one that hosts are still driven to.
enum Old {
    Loading,
    Here(Arc<Accepted>),
    /// It couldn't be loaded at this time.
    Missing(Instant),
}

/// The loop.
pub(crate) struct Driver {
    parts: Parts,
    settings: Settings,
    shared: Shared,
    keeper: Keeper,
    writer: JoinHandle<()>,
    jitter: Jitter,
    queue: Queue<HostName>,
    backoffs: BTreeMap<HostName, Backoff>,
    runs: JoinSet<Ran>,
    jobs: HashMap<tokio::task::Id, Job>,
    asked: JoinSet<Asked>,
    looking: Looking,
    next_look: Instant,
    look_failures: u32,
    /// Looks in a row whose floor couldn't be kept.
    floor_failures: u32,
    head: Option<Arc<Accepted>>,
    older: BTreeMap<String, Old>,
    states: BTreeMap<Digest, Arc<DesiredState>>,
    /// Hosts of which something else is wanted than they are driven to.
    pending: BTreeSet<HostName>,
    /// Hosts without a target that were looked at since the start.
    looked_at: BTreeSet<HostName>,
    /// Hosts whose last desired state can't be made again.
    blank: BTreeSet<HostName>,
    /// Hosts that another controller drives.
    superseded: BTreeSet<HostName>,
    /// What hosts that wait were last told.
    turn: Turn,
    posters: Posters,
    sinks_failing: BTreeSet<String>,
    alerts_at: Instant,
    resend_at: Instant,
    measured: Instant,
}

/// Whether the source is looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    No,
    Now,
    /// And it was asked for again meanwhile.
    Again,
}

/// Starts a controller: reads what was kept, begins a new epoch, and drives until it is stopped.
///
/// # Errors
/// When what was kept can't be read: nothing is driven without it.
pub(crate) async fn start(
    parts: Parts,
    settings: Settings,
) -> Result<(Handle, JoinHandle<()>), LoadError> {
    let kept = Kept::load(parts.store.as_ref()).await?;
    let limits = Limits {
        at_once: settings.concurrency,
        failures: 1,
    };
    let (keeper, writer) = Keeper::start(parts.store.clone());
    let states = kept.states.clone();
    let seed = kept.identity.epoch.0
        ^ kept
            .identity
            .id
            .as_str()
            .bytes()
            .fold(0, |seed: u64, byte| seed.rotate_left(5) ^ u64::from(byte));
    let world = World::of(
        kept,
        settings.version.clone(),
        parts.source.describe(),
        limits,
    );
    let shared = Shared::new(world);
    let (commands, command_queue) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let (posted, post_results) = mpsc::unbounded_channel();
    let now = Instant::now();
    let driver = Driver {
        posters: Posters::new(&parts.sinks, posted),
        queue: Queue::new(settings.concurrency),
        jitter: Jitter::new(seed),
        shared: shared.clone(),
        keeper,
        writer,
        backoffs: BTreeMap::new(),
        runs: JoinSet::new(),
        jobs: HashMap::new(),
        asked: JoinSet::new(),
        looking: Looking::No,
        next_look: now,
        look_failures: 0,
        floor_failures: 0,
        head: None,
        older: BTreeMap::new(),
        states,
        pending: BTreeSet::new(),
        looked_at: BTreeSet::new(),
        blank: BTreeSet::new(),
        superseded: BTreeSet::new(),
        turn: Turn::Comes,
        sinks_failing: BTreeSet::new(),
        alerts_at: now,
        resend_at: now,
        measured: now,
        settings,
        parts: parts.clone(),
    };
    let handle = Handle {
        shared,
        clock: parts.clock,
        commands,
        stop,
    };
    let task = tokio::spawn(driver.drive(command_queue, stopped, post_results));
    Ok((handle, task))
}

impl Driver {
    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    async fn drive(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut stopped: watch::Receiver<Stop>,
        mut posted: mpsc::UnboundedReceiver<Posted>,
    ) {
        let mut stop = Stop::No;
        let mut held = true;
        loop {
            self.measure_queue();
            if stop == Stop::Drain && self.runs.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                changed = stopped.changed(), if held => {
                    // With every handle gone nobody could stop it any more: it drains.
                    held = changed.is_ok();
                    stop = if held { *stopped.borrow_and_update() } else { Stop::Drain };
                    tracing::info!(?stop, running = self.runs.len(), "stopping");
                    if stop == Stop::Abort {
                        break;
                    }
                }
                Some(done) = self.runs.join_next_with_id(), if !self.runs.is_empty() => {
                    self.run_ended(done).await;
                }
                Some(done) = self.asked.join_next(), if !self.asked.is_empty() => {
                    self.asked_ended(done).await;
                }
                Some(command) = commands.recv() => self.command(command).await,
                Some(posted) = posted.recv() => self.posted(&posted),
                () = sleep_until(self.alerts_at) => self.alerts(),
                () = sleep_until(self.next_look), if self.looking == Looking::No && stop == Stop::No => {
                    self.look();
                }
                (host, trigger) = self.queue.next(), if stop == Stop::No => {
                    self.dispatch(&host, trigger);
                }
            }
        }
        self.runs.shutdown().await;
        self.asked.shutdown().await;
        if let Err(error) = self.keeper.durable([]).await {
            tracing::error!(%error, "not everything could be kept at the end");
        }
        // Nothing is resolved: alerts of a controller that stops go on until they run out.
        drop(self.keeper);
        let _ = self.writer.await;
        tracing::info!("stopped");
    }

    fn measure_queue(&mut self) {
        if self.measured.elapsed() < MEASURED {
            return;
        }
        self.measured = Instant::now();
        let oldest = self.queue.oldest().filter(|at| *at <= Instant::now());
        let view = crate::view::QueueView {
            due: self.queue.due(),
            waiting: self.queue.len(),
            running: self.queue.running(),
            oldest_ms: oldest.map_or(0, |at| {
                u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
            }),
        };
        self.shared.write().queue = view;
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Notify => {
                self.next_look = Instant::now();
                if self.looking != Looking::No {
                    self.looking = Looking::Again;
                }
            }
            Command::Reconcile(hosts, answer) => {
                let result = self.asked_for(hosts);
                let _ = answer.send(result);
            }
            Command::Forget(host, answer) => {
                let result = self.forget(&host).await;
                let _ = answer.send(result);
            }
        }
    }

    /// A person wants these hosts looked at now.
    fn asked_for(&mut self, hosts: Vec<HostName>) -> Result<Vec<HostName>, CommandError> {
        let hosts = {
            let world = self.shared.read();
            if let Some(unknown) = hosts.iter().find(|host| !world.hosts.contains_key(host)) {
                return Err(CommandError::NoSuchHost(unknown.clone()));
            }
            if hosts.is_empty() {
                world.hosts.keys().cloned().collect()
            } else {
                hosts
            }
        };
        let now = Instant::now();
        for host in &hosts {
            // What was given up is tried again: that is what being asked means.
            self.superseded.remove(host);
            self.queue.add(host.clone(), now, Trigger::Manual);
        }
        Ok(hosts)
    }

    async fn forget(&mut self, host: &HostName) -> Result<(), CommandError> {
        if self.queue.is_running(host) {
            return Err(CommandError::Busy(host.clone()));
        }
        if !self.shared.read().hosts.contains_key(host) {
            return Err(CommandError::NoSuchHost(host.clone()));
        }
        self.queue.remove(host);
        self.backoffs.remove(host);
        self.looked_at.remove(host);
        self.blank.remove(host);
        self.superseded.remove(host);
        let in_git = self
            .head
            .as_ref()
            .is_some_and(|head| head.hosts().contains_key(host));
        let writes = {
            let mut world = self.shared.write();
            world.hosts.remove(host);
            world.rollout.leave_out(host);
            let mut writes = vec![
                plumb_core::ports::Write::Delete(plumb_core::ports::Table::Hosts, host.to_string()),
                plumb_core::ports::Write::Delete(
                    plumb_core::ports::Table::Targets,
                    host.to_string(),
                ),
            ];
            writes.extend(crate::persist::put_rollout(&world.rollout));
            writes
        };
        let _ = self.keeper.durable(writes).await;
        let what = if in_git {
            "what was known of it is forgotten; it is met anew"
        } else {
            "it is no longer spoken of"
        };
        self.event(
            Some(host),
            crate::EventKind::Normal,
            "Forgotten",
            what.to_owned(),
            None,
        );
        if in_git {
            self.meet(host);
        }
        self.soon();
        Ok(())
    }

    /// Alerts are worked out again soon.
    fn soon(&mut self) {
        self.alerts_at = self.alerts_at.min(Instant::now() + SOON);
    }

    fn take_over(&self) -> TakeOver {
        self.settings.take_over
    }
}
