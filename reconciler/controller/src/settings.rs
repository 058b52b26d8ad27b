//! The ports and the settings that a controller is started with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumb_api::frame::TakeOver;
use plumb_api::{AlertmanagerUrl, HostName};
use plumb_core::alerting;
use plumb_core::fleet::Waits;
use plumb_core::ports::{AlertSink, Clock, Hosts, Route, SourceError, Store};
use plumb_trust::source::Source;
use plumb_trust::{Oid, Revocations};

/// Creates the sink for an Alertmanager. The error says what is wrong with its address.
pub type SinkMaker = dyn Fn(&AlertmanagerUrl) -> Result<Arc<dyn AlertSink>, String> + Send + Sync;

/// A repository whose errors are [`SourceError`]s.
pub type SourcePort = dyn Source<Error = SourceError>;

/// Reads the keys that this machine's configuration revokes. The error says what can't be read. Each poll of
/// the source calls it, so that a revocation takes effect without a restart.
pub type RevokedReader = dyn Fn() -> Result<Revocations, String> + Send + Sync;

/// The ports of a controller.
#[derive(Clone)]
pub struct Parts {
    /// The fleet's repository.
    pub source: Arc<SourcePort>,
    /// Connects to hosts.
    pub hosts: Arc<dyn Hosts>,
    /// Stores everything that must outlive the process.
    pub store: Arc<dyn Store>,
    /// The Alertmanagers of this machine's configuration.
    pub sinks: Vec<Arc<dyn AlertSink>>,
    /// Creates the sinks of the Alertmanagers that fleet.yaml names.
    pub make_sink: Arc<SinkMaker>,
    /// Reads the keys that this machine's configuration revokes.
    pub revoked: Arc<RevokedReader>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// The settings of a controller.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The version of this program.
    pub version: String,
    /// The address of the repository, without credentials, to be shown to people.
    pub source_url: String,
    /// The followed branch.
    pub source_ref: String,
    /// The introduction: the commit that is the root of trust.
    pub introduction: Oid,
    /// The interval between polls of the source.
    pub poll: Duration,
    /// The interval between runs of a host that nothing else triggers.
    pub resync: Duration,
    /// Maximum number of hosts with a run at the same time.
    pub concurrency: usize,
    /// Maximum time to connect to a host, and maximum silence of a host in an exchange.
    pub silence: Duration,
    /// Permission to take over hosts that another controller manages.
    pub take_over: TakeOver,
    /// The hosts that this machine's configuration reaches by another route than SSH.
    pub routes: BTreeMap<HostName, Route>,
    /// The delays before retries after failures.
    pub waits: Waits,
    /// The times and counts after which alerts fire.
    pub alerting: alerting::Settings,
    /// The address of the status page, for links in alerts.
    pub generator_url: String,
}

impl Settings {
    /// Creates the default settings for an introduction.
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
