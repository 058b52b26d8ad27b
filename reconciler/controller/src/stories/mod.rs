//! Stories: a controller with fake ports and time that is told.

mod fixture;
mod hosts;
mod repository;
mod tales;
mod trust;
