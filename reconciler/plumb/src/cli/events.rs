use jiff::Timestamp;
use plumb_api::HostName;

use crate::cli::controller_address::ControllerAddress;
use crate::http::{EventKind, Items};
use crate::output::{Paint, Shell, Table, age};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Show recent events
///
/// Oldest first. Events are for people; programs should use conditions (`plumb get hosts -o json`) and
/// metrics.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Only events of this host
    host: Option<HostName>,

    /// Only warnings
    #[arg(long)]
    warnings: bool,

    #[command(flatten)]
    controller: ControllerAddress,
}

impl Events {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let mut items = block_on(async { client.events(self.host.as_ref()).await })?;
        if let Some(host) = self.host.as_ref().filter(|_| items.is_empty()) {
            let fleet = block_on(async { client.fleet().await })?;
            if !fleet.hosts.iter().any(|known| known.metadata.name == *host) {
                return Err(Failure::new(format!("the fleet has no host {host}"))
                    .hint("run `plumb get hosts` to list them"));
            }
        }
        items.retain(|event| !self.warnings || event.kind == EventKind::Warning);
        shell.emit(
            &Items {
                items: items.clone(),
            },
            |palette| {
                let now = Timestamp::now();
                let mut table = Table::new(["AGE", "TYPE", "HOST", "REASON", "MESSAGE"], palette);
                for event in &items {
                    let (paint, kind) = match event.kind {
                        EventKind::Normal => (None, "Normal"),
                        EventKind::Warning => (Some(Paint::Warn), "Warning"),
                    };
                    table.painted([
                        (None, age(event.time, now)),
                        (paint, kind.to_owned()),
                        (
                            None,
                            event
                                .host
                                .as_ref()
                                .map_or_else(|| "-".to_owned(), ToString::to_string),
                        ),
                        (None, event.reason.to_string()),
                        (None, event.message.clone()),
                    ]);
                }
                table.to_string()
            },
        )?;
        Ok(Exit::OK)
    }
}
