//! The binary: command line, HTTP, page, configuration, errors for people.
//!
//! Floor 4. It puts the others together: [`config`] says how, [`cli`] runs commands, [`http`] serves
//! what the controller knows, [`report`] turns errors into text and exit codes.

pub mod config;
pub mod git;
pub mod http;
pub mod output;
pub mod report;
pub mod ui;
