use jiff::Timestamp;
use plumb_api::HostName;
use plumb_core::message::Message;

use crate::cli::controller_address::ControllerAddress;
use crate::http::{EventKind, Items};
use crate::output::{Paint, Shell, Table, age, short};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Show recent events
///
/// Oldest first. `-o wide` shows times, revisions and what belongs to a message. Events are for people; programs should use conditions (`plumb get hosts -o json`) and
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

/// Returns the detail and the hint of a message, for one cell.
fn rest(message: &Message) -> String {
    let parts = [message.detail(), message.hint()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
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
                let headings = [
                    "AGE", "TYPE", "HOST", "REASON", "MESSAGE", "TIME", "REVISION", "DETAIL",
                ];
                let mut table = Table::new(headings, palette).columns_in(shell.format, 5);
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
                        (None, event.message.headline().to_owned()),
                        (None, event.time.to_string()),
                        (
                            None,
                            event.revision.as_deref().map_or("-", short).to_owned(),
                        ),
                        (None, rest(&event.message)),
                    ]);
                }
                table.to_string()
            },
        )?;
        Ok(Exit::OK)
    }
}
