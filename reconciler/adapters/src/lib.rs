//! The ports on real things: git, hosts, store, Alertmanager, clock; and the folder of revoked keys.

pub mod alertmanager;
pub mod clock;
pub mod git;
pub mod hosts;
pub mod revoked;
pub mod store;
pub mod tls;
