//! The real binary in temporary directories: cleared environment, a home of its own, git without the
//! machine's or the user's configuration.

mod bad_manifests;
mod controller;
mod demo;
mod diagnostics;
mod documented_codes;
mod enroll;
mod environment;
mod errors;
mod first_fleet;
mod git_server;
mod hooks;
mod manifests;
mod redirects;
mod secret_commands;
mod secrets;
mod showing;
mod snapshot;
mod trust;
