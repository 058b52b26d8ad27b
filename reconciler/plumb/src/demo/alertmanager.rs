//! Runs the real Alertmanager if it is installed. The demonstration checks each alert both there and in its
//! own receiver.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::report::{Failure, OrFail as _};

/// Names of Alertmanager's program in distributions.
const NAMES: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];

/// Maximum time to wait until Alertmanager has started.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running Alertmanager. Dropping this kills it.
pub(super) struct Alertmanager {
    pub(super) url: String,
    _process: Child,
}

#[derive(Deserialize)]
struct ActiveAlert {
    labels: std::collections::BTreeMap<String, String>,
}

impl Alertmanager {
    /// Starts Alertmanager, or returns `None` if it isn't installed. Fails if it is installed and doesn't
    /// start.
    pub(super) async fn start(folder: &Path, port: u16) -> Result<Option<Self>, Failure> {
        let Some(program) = find() else {
            return Ok(None);
        };
        let config = folder.join("alertmanager.yml");
        std::fs::write(
            &config,
            "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n",
        )
        .or_fail(|| "cannot write Alertmanager's configuration".to_owned())?;
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                folder.join("alertmanager").display()
            ))
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .or_fail(|| "cannot start Alertmanager".to_owned())?;
        let url = format!("http://127.0.0.1:{port}");
        let begun = Instant::now();
        loop {
            let ready = reqwest::get(format!("{url}/-/ready")).await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Some(Self {
                    url,
                    _process: process,
                }));
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("the installed Alertmanager doesn't start"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// True if Alertmanager has an active alert of this name, and of this host if one is given.
    pub(super) async fn has(&self, name: &str, host: Option<&str>) -> Result<bool, String> {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await;
        let active: Vec<ActiveAlert> = match answer {
            Ok(answer) => answer.json().await.map_err(|error| error.to_string())?,
            Err(error) => return Err(error.to_string()),
        };
        Ok(active.iter().any(|alert| {
            alert.labels.get("alertname").is_some_and(|n| n == name)
                && host.is_none_or(|host| alert.labels.get("host").is_some_and(|h| h == host))
        }))
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}
