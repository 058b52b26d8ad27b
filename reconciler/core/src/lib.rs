//! Pure: manifests, resolve, plan, rollout, alerting rules, and the ports.
//!
//! Floor 1. No I/O, clock or environment: time is an argument. Outside of `expand` it names no
//! resource type; what differs between types lives with the types, in `plumb-api`.
//!
//! - [`manifest`] — a repository's files to objects, each error at its place.
//! - [`mod@resolve`] — objects to what each host should be; what can't be resolved is held.
//! - `expand` — composite resources to primitive ones, a file per type.
//! - [`desired`] — what a revision wants of each host.
//! - [`mod@explain`] — where every value comes from.
//! - [`fleet`] — the loop as a state machine.
//! - [`status`] — conditions and targets.
//! - [`reason`] — the reasons of conditions and records.
//! - [`view`] — the API's model.
//! - [`alert`] — an alert as it travels.
//! - [`plan`] — from what differs to what is done.
//! - [`rollout`] — how a change spreads.
//! - [`alerting`] — which alerts fire, and since when.
//! - [`ports`] — what the loop needs of the world.

pub mod alert;
pub mod alerting;
mod compose;
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
