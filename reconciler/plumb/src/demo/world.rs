//! The demonstration's processes and folders.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::connect::own_program;
use crate::http::{Client, Fleet};
use crate::report::{Failure, OrFail as _};

use super::alertmanager::Alertmanager;
use super::fleet;
use super::keys::DemoSigner;
use super::receiver::{self, ReceivedAlerts};
use super::repository::DemoRepository;

/// The hosts' names.
pub(super) const HOSTS: [&str; 3] = ["vault", "web-1", "web-2"];

/// The demonstration's processes and folders. Dropping this removes the folders.
pub(super) struct World {
    pub(super) alice: DemoSigner,
    pub(super) bob: DemoSigner,
    pub(super) carol: DemoSigner,
    pub(super) repository: DemoRepository,
    pub(super) received: ReceivedAlerts,
    pub(super) client: Client,
    pub(super) page: String,
    pub(super) socket: PathBuf,
    /// The newest accepted commit, as last observed.
    pub(super) accepted: String,
    program: PathBuf,
    alertmanagers: Vec<String>,
    /// The real Alertmanager, if it is installed.
    pub(super) alertmanager: Option<Alertmanager>,
    controller: Option<Child>,
    folder: TempDir,
}

impl World {
    /// Prepares the folders, keys and repositories, and starts only the receiver and Alertmanager.
    pub(super) async fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("plumb-demo-")
            .tempdir()
            .or_fail(|| "cannot create the demo's folder".to_owned())?;
        let program = own_program()?;
        let socket = folder.path().join("plumb.sock");
        let repository = DemoRepository::new(folder.path(), &program, &socket)?;
        let received = ReceivedAlerts::default();
        let address = receiver::start(received.clone()).await?;
        let alertmanager = Alertmanager::start(folder.path(), free_port()?).await?;
        let mut alertmanagers = vec![format!("http://{address}")];
        alertmanagers.extend(alertmanager.iter().map(|real| real.url.clone()));
        Ok(Self {
            alice: DemoSigner::with_ssh("alice")?,
            bob: DemoSigner::with_openpgp("bob")?,
            carol: DemoSigner::with_openpgp("carol")?,
            client: Client::new(&socket)?,
            page: format!("http://127.0.0.1:{}", free_port()?),
            repository,
            received,
            socket,
            accepted: String::new(),
            program,
            alertmanagers,
            alertmanager,
            controller: None,
            folder,
        })
    }

    /// Returns the folder that acts as a host.
    pub(super) fn host_folder(&self, host: &str) -> PathBuf {
        self.folder.path().join("state/hosts").join(host)
    }

    /// Reads a file of a host, or returns `None` if it can't be read.
    pub(super) fn host_file(&self, host: &str, path: &str) -> Option<String> {
        fs::read_to_string(self.host_folder(host).join(path.trim_start_matches('/'))).ok()
    }

    /// Changes a file of a host as somebody who is logged in there would.
    pub(super) fn edit_by_hand(&self, host: &str, path: &str, text: &str) -> Result<(), Failure> {
        fs::write(
            self.host_folder(host).join(path.trim_start_matches('/')),
            text,
        )
        .or_fail(|| format!("cannot write {path} of {host}"))
    }

    /// Returns the path of the controller's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("controller.yaml")
    }

    /// Writes the controller's configuration, with this introduction.
    pub(super) fn write_config(&self, introduction: &str) -> Result<(), Failure> {
        let listen = self.page.trim_start_matches("http://");
        let text = fleet::controller(
            self.folder.path(),
            self.repository.bare(),
            introduction,
            listen,
            &self.alertmanagers,
        );
        fs::write(self.config(), text)
            .or_fail(|| "cannot write the controller's configuration".to_owned())
    }

    /// Starts the controller as a separate process.
    pub(super) fn start_controller(&mut self) -> Result<(), Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .or_fail(|| "cannot write the controller's log".to_owned())?;
        let errors = log
            .try_clone()
            .or_fail(|| "cannot write the controller's log".to_owned())?;
        let config = self.config();
        let child = self
            .plumb()
            .arg("controller")
            .arg("--config")
            .arg(config)
            .stdout(log)
            .stderr(errors)
            .spawn()
            .or_fail(|| "cannot start the controller".to_owned())?;
        self.controller = Some(child);
        Ok(())
    }

    /// Kills the controller with SIGKILL, as if its machine had crashed.
    pub(super) async fn kill_controller(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.controller.take() {
            child
                .kill()
                .await
                .or_fail(|| "cannot kill the controller".to_owned())?;
        }
        Ok(())
    }

    /// Runs a `plumb` command as a separate process and returns its output. Fails if the command fails.
    pub(super) async fn ask(&self, args: &[&str]) -> Result<String, Failure> {
        let output = self
            .plumb()
            .args(args)
            .output()
            .await
            .or_fail(|| "cannot run plumb".to_owned())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            Err(Failure::new(format!(
                "`plumb {}` failed:\n{said}",
                args.join(" ")
            )))
        }
    }

    /// Returns the controller's view of the fleet. Fails if it doesn't answer.
    pub(super) async fn fleet(&self) -> Result<Fleet, String> {
        self.client
            .fleet()
            .await
            .map_err(|failure| failure.render(crate::output::Palette::plain()))
    }

    /// Returns the last lines of the controller's log.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(25);
        lines[from..].join("\n")
    }

    /// Stops the controller with SIGTERM, as a service manager does, so that its agents stop too.
    pub(super) async fn close(mut self) {
        let Some(mut child) = self.controller.take() else {
            return;
        };
        if let Some(id) = child.id() {
            let mut kill = Command::new("kill");
            // If the signal can't be sent, the kill below stops the controller.
            let _ = kill.arg("-TERM").arg(id.to_string()).status().await;
        }
        let patience = std::time::Duration::from_secs(5);
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("controller.log")
    }

    fn plumb(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", self.folder.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("NO_COLOR", "1")
            .env("PLUMB_SOCKET", &self.socket);
        if let Ok(filter) = std::env::var("PLUMB_LOG") {
            command.env("PLUMB_LOG", filter);
        }
        command
    }

    /// Returns the folder of the working repository, as text for a command line.
    pub(super) fn work(&self) -> String {
        Path::new(self.repository.work()).display().to_string()
    }
}

/// Returns a free port on the loopback interface. Another program could take it before it is used.
fn free_port() -> Result<u16, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .or_fail(|| "cannot find a free port on the loopback address".to_owned())
}
