//! Posts alerts. Each Alertmanager has its own task, which posts all alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::AlertmanagerUrl;
use plumb_core::alert::Alert;
use plumb_core::fleet::Event;
use plumb_core::ports::{AlertError, AlertSink};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::settings::SinkMaker;

/// Delay before alerts are posted again to an Alertmanager that was unreachable.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A set of alerts to post, and the time of the loop's clock and of the runtime when the set was created.
#[derive(Clone)]
struct Batch {
    alerts: Arc<[Alert]>,
    now: Timestamp,
    at: Instant,
}

/// The tasks that post alerts. Each Alertmanager has its own task, so one that hangs doesn't delay the
/// others.
pub(crate) struct Posters {
    tasks: JoinSet<()>,
    current: watch::Sender<Batch>,
    events: mpsc::UnboundedSender<Event>,
    /// The tasks of the Alertmanagers that fleet.yaml names, by address.
    named: BTreeMap<AlertmanagerUrl, tokio::task::AbortHandle>,
}

impl Posters {
    pub(crate) fn new(sinks: &[Arc<dyn AlertSink>], events: mpsc::UnboundedSender<Event>) -> Self {
        let mut posters = Self {
            tasks: JoinSet::new(),
            current: watch::Sender::new(Batch {
                alerts: Arc::from([]),
                now: Timestamp::UNIX_EPOCH,
                at: Instant::now(),
            }),
            events,
            named: BTreeMap::new(),
        };
        for sink in sinks {
            posters.start(sink.clone());
        }
        posters
    }

    fn start(&mut self, sink: Arc<dyn AlertSink>) -> tokio::task::AbortHandle {
        let alerts = self.current.subscribe();
        self.tasks.spawn(post(sink, alerts, self.events.clone()))
    }

    /// Sets the Alertmanagers that fleet.yaml names. `own` are the sinks of this machine's configuration;
    /// `make` creates the sinks of new Alertmanagers.
    pub(crate) fn follow(
        &mut self,
        addresses: &[AlertmanagerUrl],
        own: &[Arc<dyn AlertSink>],
        make: &SinkMaker,
    ) {
        self.named.retain(|address, task| {
            let stays = addresses.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in addresses {
            // An Alertmanager that this machine's configuration names too would get every alert twice.
            let known = own.iter().any(|sink| sink.address().is_same(address));
            if known || self.named.contains_key(address) {
                continue;
            }
            match make(address) {
                Ok(sink) => {
                    let task = self.start(sink);
                    self.named.insert(address.clone(), task);
                }
                Err(error) => {
                    let event = Event::AlertmanagerInvalid(format!("{address}: {error}"));
                    // This can't fail: the loop receives events as long as `self` exists.
                    let _ = self.events.send(event);
                }
            }
        }
    }

    /// Replaces the set of alerts that every Alertmanager gets.
    pub(crate) fn send(&self, alerts: Vec<Alert>, now: Timestamp) {
        self.current.send_replace(Batch {
            alerts: alerts.into(),
            now,
            at: Instant::now(),
        });
    }
}

async fn post(
    sink: Arc<dyn AlertSink>,
    mut alerts: watch::Receiver<Batch>,
    events: mpsc::UnboundedSender<Event>,
) {
    // A new sink gets the current alerts at once.
    alerts.mark_changed();
    loop {
        if alerts.changed().await.is_err() {
            return;
        }
        let batch = alerts.borrow_and_update().clone();
        if batch.alerts.is_empty() {
            continue;
        }
        let now = batch.now.saturating_add(batch.at.elapsed());
        let result = sink.post(&batch.alerts, now.unwrap_or(batch.now)).await;
        let again = matches!(result, Err(AlertError::Unreachable(_)));
        let posted = Event::AlertsPosted {
            sink: sink.address().clone(),
            result,
        };
        if events.send(posted).is_err() {
            return;
        }
        if again {
            tokio::time::sleep(RETRY_INTERVAL).await;
            alerts.mark_changed();
        }
    }
}
