//! Stories: a controller with fake ports and time that is told.

mod dead_man;
mod drift;
mod fixture;
mod give_back;
mod hosts;
mod identity;
mod life;
mod repository;
mod spread;
mod trust;
mod trust_root;
