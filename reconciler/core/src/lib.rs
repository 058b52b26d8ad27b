//! Pure logic: manifests, resolve, plan, rollout, alerting rules, and the ports.
//!
//! Floor 1. No I/O, clock or environment: time is an argument. Outside of `expand` no code names a resource
//! type; the types themselves, in `plumb-api`, define how they differ.
//!
//! - [`manifest`] — reads a repository's files into objects and reports each error at its place.
//! - [`mod@resolve`] — computes each host's desired state; holds a host that can't be resolved.
//! - `expand` — expands composite resources into primitive ones, a file per type.
//! - [`desired`] — the desired state of each host in a revision.
//! - [`mod@explain`] — the origin of every value.
//! - [`fleet`] — the loop as a state machine.
//! - [`status`] — conditions and targets.
//! - [`reason`] — the reasons of conditions and records.
//! - [`view`] — the API's model.
//! - [`alert`] — an alert in Alertmanager's format.
//! - [`plan`] — turns differences into ordered changes.
//! - [`rollout`] — decides which hosts get a new target, and when.
//! - [`alerting`] — the alerts that fire, and since when.
//! - [`ports`] — the loop's interfaces to the outside.

pub mod alert;
pub mod alerting;
mod compose;
mod denial;
pub mod desired;
mod expand;
pub mod explain;
pub mod fleet;
pub mod manifest;
mod parallel;
pub mod plan;
pub mod ports;
pub mod reason;
mod render;
pub mod resolve;
pub mod rollout;
pub mod status;
pub mod view;
