//! Implements the core's ports for git, hosts, the store, Alertmanager and the clock, and reads the folder
//! of revoked keys.

pub mod alertmanager;
pub mod clock;
pub mod git;
pub mod hosts;
pub mod revoked;
pub mod store;
pub mod tls;
