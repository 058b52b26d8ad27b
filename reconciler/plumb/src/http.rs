//! The controller's HTTP server and client. A Unix socket serves the whole API to the CLI; a TCP port serves
//! health, metrics and a read-only page. The server accesses the controller only through [`ControllerApi`].

mod api;
mod client;
mod metrics;
mod names;
mod server;
mod view;

pub use client::Client;
pub use server::{Listeners, serve};
pub use view::{
    AlertState, CommandRefusal, CommandResult, ControllerApi, ControllerCommand, Event, EventKind,
    FailedGiveBack, Fleet, Held, HostList, HostObject, HostStatus, Items, ResourceFailure,
    ResourceWait, Revision, Rollout, Source,
};
