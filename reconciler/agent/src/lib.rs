//! The part of Plumb that runs on a host.
