//! Acts as Alertmanager: receives alerts (`POST /api/v2/alerts`) and stores the newest version of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use jiff::Timestamp;
use plumb_core::alert::Alert;
use tokio::net::TcpListener;

use crate::report::{Failure, OrFail as _};

type AlertLabels = BTreeMap<String, String>;

/// The newest version of each received alert.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedAlerts(Arc<Mutex<BTreeMap<AlertLabels, Alert>>>);

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlertPhase {
    /// The alert fires.
    Firing,
    /// The alert fired and was resolved.
    Resolved,
}

impl ReceivedAlerts {
    /// Finds the newest alert with this name and, if one is given, this host.
    pub(super) fn find(&self, name: &str, host: Option<&str>) -> Option<(Alert, AlertPhase)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |labels: &AlertLabels| {
            labels.get("alertname").is_some_and(|n| n == name)
                && host.is_none_or(|host| labels.get("host").is_some_and(|h| h == host))
        };
        let alert = all
            .iter()
            .filter(|(labels, _)| is(labels))
            .map(|(_, alert)| alert);
        let alert = alert.max_by_key(|alert| alert.starts_at)?.clone();
        let state = if alert.ends_at <= Timestamp::now() {
            AlertPhase::Resolved
        } else {
            AlertPhase::Firing
        };
        Some((alert, state))
    }

    fn take(&self, alerts: Vec<Alert>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in alerts {
            all.insert(alert.labels.clone(), alert);
        }
    }
}

/// Starts to listen on the loopback interface, until the program ends. Returns the address.
pub(super) async fn start(received: ReceivedAlerts) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .or_fail(|| "cannot listen on the loopback address".to_owned())?;
    let address = listener
        .local_addr()
        .or_fail(|| "cannot listen on the loopback address".to_owned())?;
    let router = Router::new()
        .route("/-/ready", get(|| async { "ready\n" }))
        .route("/api/v2/alerts", post(take).get(show))
        .with_state(received);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn take(
    State(received): State<ReceivedAlerts>,
    axum::Json(alerts): axum::Json<Vec<Alert>>,
) -> StatusCode {
    received.take(alerts);
    StatusCode::OK
}

async fn show(State(received): State<ReceivedAlerts>) -> axum::Json<Vec<Alert>> {
    let all = received.0.lock().unwrap_or_else(PoisonError::into_inner);
    axum::Json(all.values().cloned().collect())
}
