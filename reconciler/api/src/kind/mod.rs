//! The objects of a fleet repository: Kubernetes-shaped, one to a file.
//!
//! These are the forms that a manifest decodes into and that `plumb get -o json` prints. Parts that
//! are composed and rendered before they have a type (`resources`, a profile's parameters) are plain
//! trees here.

mod fleet;
mod host;
mod network;
mod profile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use fleet::{AlertmanagerRef, FleetSpec, Halt, Rollout};
pub use host::{
    Arch, Assign, Connect, DriftMode, DriftSpec, Existing, HostSpec, HostState, MemberSpec, Os,
    OsFamily, SuspendSpec,
};
pub use network::{NetworkMember, NetworkSpec, NetworkType};
pub use profile::{EndpointSpec, Param, ParamType, Port, ProfileSpec, Protocol, ScrapeSpec};

/// The version of the objects; it may be left out of a manifest.
pub const API_VERSION: &str = "plumb.dev/v1alpha1";

/// Resources, or any block shaped like them: type → name → fields. Nothing (`null`) is a spec of defaults.
pub type Blocks = BTreeMap<String, BTreeMap<String, Value>>;

/// The kinds of objects that lie in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `fleet.yaml`.
    Fleet,
    /// `hosts/NAME.yaml`.
    Host,
    /// `profiles/NAME.yaml`.
    Profile,
    /// `networks/NAME.yaml`.
    Network,
    /// `secrets/NAME.yaml`.
    Secret,
    /// `images/NAME.yaml`.
    Image,
    /// `trust/policy.yaml`.
    TrustPolicy,
}

impl ObjectKind {
    /// Its name, as in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Host => "Host",
            Self::Profile => "Profile",
            Self::Network => "Network",
            Self::Secret => "Secret",
            Self::Image => "Image",
            Self::TrustPolicy => "TrustPolicy",
        }
    }
}

/// What an object is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Its name: the file's.
    pub name: String,
    /// Free labels: selectors look at them, and a host's become alert labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An object with its spec, and a status where someone observed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object<Spec, Status = ()> {
    /// [`API_VERSION`].
    #[serde(default = "api_version")]
    pub api_version: String,
    /// What it is.
    pub kind: ObjectKind,
    /// What it is called.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(default)]
    pub spec: Spec,
    /// What is the case; never in a manifest.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn none<T>() -> Option<T> {
    None
}
