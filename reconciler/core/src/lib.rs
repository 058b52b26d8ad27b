//! Pure: manifests, resolve, plan, rollout, alerting rules, and the ports.
//!
//! Floor 1. No I/O, clock or environment: time is an argument. It names no primitive resource type;
//! what differs between types lives with the types, in `plumb-api`.
//!
//! - [`desired`] — what a revision wants of each host.
//! - [`status`] — conditions and targets.
//! - [`alert`] — an alert as it travels.
//! - [`plan`] — from what differs to what is done.
//! - [`ports`] — what the loop needs of the world.

pub mod alert;
pub mod desired;
pub mod plan;
pub mod ports;
pub mod status;
