use jiff::Timestamp;
use plumb_api::HostName;
use serde::Serialize;

use super::{ControllerAddress, block_on};
use crate::http::{Event, EventKind};
use crate::output::{Paint, Shell, Table, age};
use crate::report::{Exit, Failure};

/// Show what happened lately
///
/// Oldest first. Events are for people; conditions (`plumb get hosts`) and metrics are what lasts.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Only those of this host
    host: Option<HostName>,

    /// Only those that somebody should look at
    #[arg(long)]
    warnings: bool,

    #[command(flatten)]
    controller: ControllerAddress,
}

#[derive(Serialize)]
struct Items {
    items: Vec<Event>,
}

impl Events {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let mut items = block_on(async { client.events(self.host.as_ref()).await })?;
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
