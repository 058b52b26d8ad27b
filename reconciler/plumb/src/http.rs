//! The controller's HTTP server and client: the whole API on its Unix socket, for the CLI; health, metrics
//! and a read-only page on TCP. It knows the controller by [`ControllerApi`] alone.

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
