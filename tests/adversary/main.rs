//! The cases of an adversary: numbered, as real objects, each with its verdict and its reason.
//!
//! `case_01` to `case_85` are those of the study; where the verdict differs from its table, the case
//! says why. `own_…` are ours.

mod ahead;
mod attack;
mod certificates;
mod edges;
#[cfg(feature = "whole")]
mod effects;
mod flood_budget;
mod flood_inputs;
mod floods;
mod honest;
mod invariants;
mod late;
mod material;
mod merges;
mod objects;
mod own;
mod policy;
mod properties;
mod readers;
mod revocations;
mod signatures;
mod stale;
mod tags;
mod time;
mod uncovered;
