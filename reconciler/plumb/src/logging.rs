//! Logs of the controller: text for people, JSON for collectors. `PLUMB_LOG` filters them in the syntax of
//! `tracing-subscriber` (`info`, `plumb_controller=debug,info`). Crates that aren't Plumb's log at most at
//! level `info`.

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;

use crate::output::Palette;
use crate::report::Failure;

/// The form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for each.
    #[default]
    Text,
    /// A JSON object in a line for each.
    Json,
}

/// The environment variable with the filter.
const FILTER: &str = "PLUMB_LOG";

/// Starts logging to stderr.
///
/// # Errors
/// Fails if the filter can't be parsed.
pub(crate) fn start(format: LogFormat, palette: Palette) -> Result<(), Failure> {
    let filter = match std::env::var(FILTER) {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| {
            Failure::new(format!("{FILTER} has the invalid filter `{text}`"))
                .because(&error)
                .hint("write a level, or MODULE=LEVEL pairs such as plumb_controller=debug,info")
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    // The systemd journal adds its own timestamps.
    let timeless = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!palette.is_plain());
    // At more detailed levels, other crates log what they send: URLs with logins, headers, packets.
    let safe =
        filter_fn(|event| event.target().starts_with("plumb") || *event.level() <= Level::INFO);
    // If logging has already been started, as in tests, keep the first configuration.
    let _ = match (format, timeless) {
        (LogFormat::Json, _) => builder
            .json()
            .flatten_event(true)
            .finish()
            .with(safe)
            .try_init(),
        (LogFormat::Text, true) => builder
            .without_time()
            .with_target(false)
            .finish()
            .with(safe)
            .try_init(),
        (LogFormat::Text, false) => builder.with_target(false).finish().with(safe).try_init(),
    };
    Ok(())
}
