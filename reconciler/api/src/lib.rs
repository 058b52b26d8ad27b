//! Names, kinds, resource specs and their comparison, plans, reports, wire frames, canonical form.
//!
//! Floor 0, the lowest layer of the workspace: everything here is data and pure functions. The controller and
//! the agent on every host share it, so it builds with Rust 1.85 and depends only on serde, `serde_json` and
//! sha2.
//!
//! - [`name`] — names of different types, so that they can't be confused: hosts, fleets, controllers,
//!   addresses.
//! - [`address`] — addresses of resources, primitive and composite.
//! - [`kind`] — the objects of a repository: Fleet, Host, Profile, Network, Secret, Image.
//! - [`canonical`], [`digest`] — the canonical form of a value, and its hash.
//! - [`resource`] — desired and observed state of resources, and their comparison.
//! - [`LoginUrl`] — an address whose login is never shown.
//! - [`AlertmanagerUrl`] — the address of an Alertmanager, whose path isn't shown either.
//! - [`period`] — lengths of time as manifests write them.
//! - [`size`] — amounts of bytes as manifests write them.
//! - [`secret`] — the text inside the ciphertext of a secret.
//! - [`plan`], [`report`] — the changes for a host, and their outcomes.
//! - [`read_back`] — values that a host shows in another form than the one in which Plumb wrote them.
//! - [`frame`] — the messages between a controller and an agent, and their framing.

pub mod address;
mod alertmanager_url;
pub mod canonical;
pub mod digest;
pub mod frame;
pub mod kind;
mod login_url;
pub mod name;
pub mod period;
pub mod plan;
pub mod read_back;
pub mod report;
pub mod resource;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod selector;
pub mod size;

pub use address::{AnyAddress, AnyKind, CompositeAddress};
pub use alertmanager_url::AlertmanagerUrl;
pub use digest::Digest;
pub use login_url::LoginUrl;
pub use name::{Address, ControllerId, Epoch, FleetName, HostName};
pub use resource::{CompositeKind, CompositeSpec, Kind, Observed, Resource, Spec};
