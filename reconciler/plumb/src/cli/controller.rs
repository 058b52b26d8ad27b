use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use plumb_adapters::alertmanager::Alertmanager;
use plumb_adapters::clock::SystemClock;
use plumb_adapters::git::{GitOptions, GitSource};
use plumb_adapters::revoked::RevokedFolder;
use plumb_adapters::store::RedbStore;
use plumb_api::AlertmanagerUrl;
use plumb_api::frame::TakeOver;
use plumb_controller::{Controller as Loop, Parts, Settings};
use plumb_core::ports::{AlertSink, Route};
use plumb_trust::Revocations;
use tokio::sync::watch;

use crate::config::{self, Config};
use crate::connect;
use crate::http::{self, Listeners};
use crate::logging::{self, LogFormat};
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};
use crate::running::RunningController;
use crate::runtime::block_on;
use crate::service::{self, StopSignals};

/// Follow the repository and drive its hosts
///
/// The controller fetches, verifies, plans, applies and alerts, and serves the page, the metrics and
/// the CLI's socket. docs/controller.md describes its configuration, and
/// packaging/plumb-controller.service runs it as a service. After the first SIGTERM or Ctrl-C it waits
/// for running hosts to finish; after the second it stops at once. Both are safe.
#[derive(Debug, clap::Args)]
pub(super) struct Controller {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,

    /// Take over hosts from another controller; needed once if the state folder is new
    #[arg(long)]
    take_over: bool,

    /// The format of the logs on stderr; PLUMB_LOG filters them (info, plumb_controller=debug)
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Controller {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let config = Config::read(&self.config)?;
        logging::start(self.log_format, shell.err)?;
        let take_over = if self.take_over {
            TakeOver::Yes
        } else {
            TakeOver::No
        };
        let revoked = config.revoked(&self.config);
        block_on(serve(config, revoked, take_over))
    }
}

async fn serve(
    config: Config,
    revoked: RevokedFolder,
    take_over: TakeOver,
) -> Result<Exit, Failure> {
    let mut stops = StopSignals::new()?;
    // Refuse to start without the revoked keys: otherwise a revoked key would keep its authority.
    read_revoked(&revoked).map_err(|message| {
        Failure::new(message).hint("write fingerprints, one per line, or one certificate or public key into each file there; docs/trust.md has an example")
    })?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state)
        .or_fail(|| format!("cannot create the state folder {}", config.state.display()))
        .map_err(|failure| {
            failure.hint("set `state` in the controller's configuration to another folder; packaging/plumb-controller.service makes systemd create the default one")
        })?;
    for (host, folder) in config.sandboxes() {
        fs::create_dir_all(&folder).or_fail(|| {
            format!(
                "cannot create the sandbox folder {} of {host}",
                folder.display()
            )
        })?;
    }
    // Open the store first: its lock shows if another controller uses this state folder.
    let parts = parts(&config, revoked)?;
    let listeners = Listeners::open(
        &config.socket,
        config.listen,
        config.url.as_ref().map(|url| &*url.value),
    )
    .await?;
    let address = listeners.address();
    let (handle, mut driving) = Loop::start(parts, settings(&config, take_over)?)
        .await
        .or_fail(|| format!("cannot use the state in {}", config.state.display()))?;
    let view = RunningController::new(handle.clone());
    let (stop, stopped) = watch::channel(false);
    let mut server = tokio::spawn(http::serve(listeners, Arc::new(view), stopped));
    tracing::info!(
        source = %config.source.url.value,
        reference = %config.source.reference.value,
        socket = %config.socket.display(),
        page = address.map(|at| format!("http://{at}/")).unwrap_or_default(),
        "plumb {} started", env!("CARGO_PKG_VERSION")
    );
    service::notify("READY=1");
    tokio::select! {
        () = stops.next() => {}
        answer = &mut server => {
            handle.drain();
            let _ = driving.await;
            return Err(match answer {
                Ok(Err(error)) => Failure::new("the HTTP server failed").because(&error),
                _ => Failure::new("the HTTP server stopped unexpectedly"),
            });
        }
        ended = &mut driving => {
            return Err(match ended {
                Err(error) => Failure::new("the reconcile loop failed; this is a defect of Plumb").because(&error),
                Ok(()) => Failure::new("the reconcile loop stopped unexpectedly; this is a defect of Plumb"),
            });
        }
    }
    service::notify("STOPPING=1");
    tracing::info!("stopping: waiting for running hosts to finish");
    handle.drain();
    tokio::select! {
        _ = &mut driving => {}
        () = stops.next() => {
            tracing::warn!("stopping at once: interrupted runs are completed at the next start");
            handle.abort();
            let _ = driving.await;
        }
    }
    // Sending fails if the server has already ended; then there is nothing to stop.
    let _ = stop.send(true);
    let _ = server.await;
    tracing::info!("ended");
    Ok(Exit::OK)
}

fn parts(config: &Config, revoked: RevokedFolder) -> Result<Parts, Failure> {
    let store = RedbStore::open(&config.state)?;
    let hosts = connect::controllers(&config.ssh)?;
    let mirror = config.state.join("mirror");
    let mut options = GitOptions::new(
        config.source.url.value.clone(),
        &*config.source.reference,
        mirror,
    );
    // Git honours `GIT_SSH_COMMAND` too: whoever runs the controller chooses how ssh is called.
    options.ssh.command = std::env::var("GIT_SSH_COMMAND").ok();
    let source = GitSource::open(options)
        .or_fail(|| format!("cannot open the source {}", config.source.url.value))?;
    let sinks = config
        .alertmanagers()
        .map(|url| sink(url).map_err(Failure::new))
        .collect::<Result<_, _>>()?;
    Ok(Parts {
        source: Arc::new(source),
        hosts: Arc::new(hosts),
        store: Arc::new(store),
        sinks,
        make_sink: Arc::new(sink),
        revoked: Arc::new(move || read_revoked(&revoked)),
        clock: Arc::new(SystemClock),
    })
}

fn read_revoked(folder: &RevokedFolder) -> Result<Revocations, String> {
    folder.read().map_err(|error| error.to_string())
}

fn sink(url: &AlertmanagerUrl) -> Result<Arc<dyn AlertSink>, String> {
    match Alertmanager::new(url.clone()) {
        Ok(alertmanager) => Ok(Arc::new(alertmanager)),
        Err(error) => Err(error.to_string()),
    }
}

fn settings(config: &Config, take_over: TakeOver) -> Result<Settings, Failure> {
    let introduction = config
        .introduction
        .commit
        .parse()
        .or_fail(|| "the introduction isn't a commit id".to_owned())?;
    let mut settings = Settings::new(introduction);
    env!("CARGO_PKG_VERSION").clone_into(&mut settings.version);
    settings.source_url = config.source.url.value.to_string();
    settings
        .source_ref
        .clone_from(&config.source.reference.value);
    settings.poll = config.source.poll.duration();
    settings.resync = config.resync.duration();
    settings.concurrency = usize::try_from(config.concurrency()).unwrap_or(usize::MAX);
    settings.take_over = take_over;
    settings.routes = routes(config);
    settings.alerting.runbooks = config
        .runbooks
        .as_ref()
        .map(|runbooks| runbooks.value.clone());
    settings.generator_url = config.page().unwrap_or_default();
    Ok(settings)
}

/// Returns the routes that don't use SSH. Only the controller's configuration can set them.
fn routes(config: &Config) -> BTreeMap<plumb_api::HostName, Route> {
    let local = config.local.iter().map(|host| (host.clone(), Route::Local));
    let sandboxes = config
        .sandboxes()
        .map(|(host, root)| (host.clone(), Route::Sandbox { root }));
    local.chain(sandboxes).collect()
}
