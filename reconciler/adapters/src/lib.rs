//! The ports on real things: git, hosts, store, Alertmanager, clock.

pub mod alertmanager;
pub mod clock;
pub mod git;
pub mod hosts;
pub mod store;
pub mod tls;
