//! The posting of alerts: one task per Alertmanager posts all alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::LoginUrl;
use plumb_core::alert::Alert;
use plumb_core::fleet::Event;
use plumb_core::ports::{AlertError, AlertSink};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::settings::SinkMaker;

/// The wait after a failed post.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The alerts to post, with the time that the loop's clock showed when they were put together.
#[derive(Clone)]
struct Batch {
    alerts: Arc<[Alert]>,
    now: Timestamp,
    at: Instant,
}

/// The Alertmanagers, each with its own task, so that one that hangs doesn't delay the others.
pub(crate) struct Posters {
    tasks: JoinSet<()>,
    current: watch::Sender<Batch>,
    events: mpsc::UnboundedSender<Event>,
    /// The tasks of the fleet's Alertmanagers, by address.
    named: BTreeMap<LoginUrl, tokio::task::AbortHandle>,
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

    /// Posts to these Alertmanagers of the fleet from now on; `make` creates the sinks of new ones.
    pub(crate) fn follow(
        &mut self,
        addresses: &[LoginUrl],
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
            // An Alertmanager that is configured as well would get every alert twice.
            let shown = address.to_string();
            let known = own
                .iter()
                .any(|sink| sink.name().trim_end_matches('/') == shown.trim_end_matches('/'));
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
                    // The loop listens as long as `self` exists.
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
    // A new sink gets the present alerts at once.
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
            sink: sink.name().to_owned(),
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
