//! The dead-man timer: a change that could cut the controller off is put back by the host unless the controller
//! confirms it over a new connection.

use serde::{Deserialize, Serialize};

use super::message::Fence;
use crate::name::Epoch;

/// Requests a dead-man timer for the changes of an apply that could cut the controller off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadMan {
    /// The nonce that the confirmation must carry.
    pub nonce: Nonce,
    /// Time in seconds, after the last of these changes, within which the confirmation must arrive.
    pub confirm: u32,
    /// The users that the controller logs in as. Changes of them, their groups and their keys could cut it off.
    pub users: Vec<String>,
}

/// Names one apply of one start of one controller, so that nothing else can confirm its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub String);

impl Nonce {
    /// Returns the nonce of the controller's run with this number.
    pub fn of(fence: &Fence, run: u64) -> Self {
        let Epoch(epoch) = fence.epoch;
        Self(format!("{}/{epoch}/{run}", fence.controller))
    }
}

/// Confirms changes that could have cut the controller off. The controller sends it over a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// The sender.
    pub fence: Fence,
    /// The nonce of the apply.
    pub nonce: Nonce,
}

/// Says whether a person requested a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attendance {
    /// The controller started it by itself. Changes that the host has put back once aren't tried again.
    #[default]
    Unattended,
    /// A person requested it. Such changes are tried again.
    Attended,
}
