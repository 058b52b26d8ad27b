//! Pure logic: manifests, resolve, plan, rollout, alerting rules, and the ports.
//!
//! This crate does no I/O and reads neither the clock nor the environment: the time is an argument (floor 1 in
//! `ARCHITECTURE.md`). Only `expand` and `check` name resource types. The types themselves, in `plumb-api`, define how
//! they differ from each other.
//!
//! - [`manifest`] — reads a repository's files into objects and reports the position of each error.
//! - [`mod@resolve`] — computes each host's desired state, or reports that it can't be computed.
//! - `expand` — expands composite resources into primitive ones, a file per type.
//! - `check` — finds mistakes that no single resource shows, a file per check.
//! - [`desired`] — the desired state of each host in a revision.
//! - [`effects`] — finds the hosts that a change affects.
//! - [`mod@explain`] — finds the origin of every value.
//! - [`fleet`] — the controller's main loop as a state machine.
//! - [`status`] — conditions and targets of hosts.
//! - [`message`] — messages for people.
//! - [`reason`] — the reasons of conditions and records.
//! - [`view`] — the data model of the HTTP API.
//! - [`alert`] — an alert in Alertmanager's format.
//! - [`plan`] — turns differences into ordered changes.
//! - [`rollout`] — decides which hosts get a new target, and when.
//! - [`alerting`] — decides which alerts fire, and stores since when.
//! - [`secret`] — the readers and envelopes of secrets, for the commands that encrypt them.
//! - [`shown`] — specs as people and programs see them.
//! - [`ports`] — the interfaces of the main loop to the outside.

pub mod alert;
pub mod alerting;
mod check;
mod compose;
mod denial;
pub mod desired;
pub mod effects;
mod expand;
pub mod explain;
pub mod fleet;
pub mod manifest;
pub mod message;
mod parallel;
pub mod plan;
pub mod ports;
pub mod reason;
mod render;
pub mod resolve;
pub mod rollout;
pub mod secret;
pub mod shown;
pub mod status;
pub mod view;
