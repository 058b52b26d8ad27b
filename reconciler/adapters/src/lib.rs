//! The ports on real things: git, hosts, store, Alertmanager, clock.
