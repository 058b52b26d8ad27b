//! Alerts on their way: each Alertmanager gets all of them, on its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumb_core::alert::Alert;
use plumb_core::ports::{AlertError, AlertSink};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long after a post that wasn't taken the next one is tried.
const AGAIN: Duration = Duration::from_secs(5);

/// What came of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) sink: String,
    pub(crate) result: Result<(), AlertError>,
}

/// The Alertmanagers, each with a task of its own: one that hangs holds up no other.
pub(crate) struct Posters {
    tasks: JoinSet<()>,
    current: watch::Sender<Arc<[Alert]>>,
    results: mpsc::UnboundedSender<Posted>,
    /// By address, those that the fleet named.
    named: BTreeMap<String, tokio::task::AbortHandle>,
}

impl Posters {
    pub(crate) fn new(
        sinks: &[Arc<dyn AlertSink>],
        results: mpsc::UnboundedSender<Posted>,
    ) -> Self {
        let mut posters = Self {
            tasks: JoinSet::new(),
            current: watch::Sender::new(Arc::from([])),
            results,
            named: BTreeMap::new(),
        };
        for sink in sinks {
            posters.start(sink.clone());
        }
        posters
    }

    fn start(&mut self, sink: Arc<dyn AlertSink>) -> tokio::task::AbortHandle {
        let alerts = self.current.subscribe();
        self.tasks.spawn(post(sink, alerts, self.results.clone()))
    }

    /// The Alertmanagers that the fleet names now; `make` makes those that are new.
    pub(crate) fn follow(
        &mut self,
        addresses: &[String],
        own: &[Arc<dyn AlertSink>],
        mut make: impl FnMut(&str) -> Option<Arc<dyn AlertSink>>,
    ) {
        self.named.retain(|address, task| {
            let stays = addresses.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in addresses {
            // One that the configuration names too would get everything twice.
            let known = own
                .iter()
                .any(|sink| sink.name().trim_end_matches('/') == address.trim_end_matches('/'));
            if known || self.named.contains_key(address) {
                continue;
            }
            if let Some(sink) = make(address) {
                let task = self.start(sink);
                self.named.insert(address.clone(), task);
            }
        }
    }

    /// Tells all of them the alerts as they are now.
    pub(crate) fn tell(&self, alerts: Vec<Alert>) {
        self.current.send_replace(alerts.into());
    }
}

async fn post(
    sink: Arc<dyn AlertSink>,
    mut alerts: watch::Receiver<Arc<[Alert]>>,
    results: mpsc::UnboundedSender<Posted>,
) {
    // A sink that is new gets what there is.
    alerts.mark_changed();
    loop {
        if alerts.changed().await.is_err() {
            return;
        }
        let now = alerts.borrow_and_update().clone();
        if now.is_empty() {
            continue;
        }
        let result = sink.post(&now).await;
        let again = matches!(result, Err(AlertError::Unreachable(_)));
        let posted = Posted {
            sink: sink.name().to_owned(),
            result,
        };
        if results.send(posted).is_err() {
            return;
        }
        if again {
            tokio::time::sleep(AGAIN).await;
            alerts.mark_changed();
        }
    }
}
