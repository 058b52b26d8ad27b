//! What a controller is made of, and how it behaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumb_api::HostName;
use plumb_api::frame::TakeOver;
use plumb_core::alerting;
use plumb_core::fleet::Waits;
use plumb_core::ports::{AlertSink, Clock, Hosts, Route, Store};
use plumb_trust::source::Source;
use plumb_trust::{Oid, Revocations};

/// Makes the sink for an Alertmanager's address; the error says what is wrong with the address.
pub type SinkMaker = dyn Fn(&str) -> Result<Arc<dyn AlertSink>, String> + Send + Sync;

/// Reads the keys that this machine's configuration takes authority away from; the error says what
/// can't be read. It is called at each poll of the source, so that a key is revoked without a restart.
pub type RevokedReader = dyn Fn() -> Result<Revocations, String> + Send + Sync;

/// What a controller is made of.
#[derive(Clone)]
pub struct Parts {
    /// The repository.
    pub source: Arc<dyn Source>,
    /// The way to hosts.
    pub hosts: Arc<dyn Hosts>,
    /// What outlives the process.
    pub store: Arc<dyn Store>,
    /// Alertmanagers from the first moment on.
    pub sinks: Vec<Arc<dyn AlertSink>>,
    /// Makes those that the fleet names.
    pub make_sink: Arc<SinkMaker>,
    /// What this machine's configuration takes authority away from.
    pub revoked: Arc<RevokedReader>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How a controller behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The version of this program.
    pub version: String,
    /// The address of the repository for people, without credentials.
    pub source_url: String,
    /// The branch.
    pub source_ref: String,
    /// The root of trust.
    pub introduction: Oid,
    /// How often the source is asked for news.
    pub poll: Duration,
    /// How often each host is looked at without any other reason.
    pub resync: Duration,
    /// How many hosts are worked on at the same time.
    pub concurrency: usize,
    /// How long a host may take to connect, or an exchange to show no sign of life.
    pub silence: Duration,
    /// Whether hosts of another controller are taken over.
    pub take_over: TakeOver,
    /// Hosts that are reached otherwise than over SSH, because this machine's configuration says so.
    pub routes: BTreeMap<HostName, Route>,
    /// How waits grow after failures.
    pub waits: Waits,
    /// When alerts fire.
    pub alerting: alerting::Settings,
    /// Where to look, for alerts: the page's address.
    pub generator_url: String,
}

impl Settings {
    /// The usual behaviour from a root of trust.
    pub fn new(introduction: Oid) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source_url: String::new(),
            source_ref: String::new(),
            introduction,
            poll: Duration::from_mins(1),
            resync: Duration::from_mins(30),
            concurrency: 64,
            silence: Duration::from_mins(2),
            take_over: TakeOver::No,
            routes: BTreeMap::new(),
            waits: Waits::default(),
            alerting: alerting::Settings::default(),
            generator_url: String::new(),
        }
    }
}
