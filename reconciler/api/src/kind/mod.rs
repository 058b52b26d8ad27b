//! The objects of a fleet repository: Kubernetes-shaped, one per file.
//!
//! Manifests decode into these types, and `plumb get -o json` prints them. Parts that are composed and
//! rendered before they have a type (`resources`, a profile's parameters) are plain trees here.

mod endpoint;
mod example;
mod fleet;
mod host;
mod image;
mod network;
mod profile;
mod secret;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use endpoint::{EndpointOn, EndpointSpec, Port, Protocol, ScrapeSpec};
pub use fleet::{
    AlertmanagerRef, ClearTextSecrets, DeadManTimer, FleetSecrets, FleetSpec, Halt, Policies,
    Rollout,
};
pub use host::{
    AliasSpec, Arch, Assign, Connect, DriftMode, DriftSpec, Existing, ForwardSpec, HostSpec,
    HostState, MemberSpec, Os, OsFamily, PrivateKey, SuspendSpec,
};
pub use image::{ImageFormat, ImageSpec};
pub use network::{NetworkDhcp, NetworkMember, NetworkSpec, NetworkType, WireguardNetwork};
pub use profile::{Param, ParamType, ProfileSpec};
pub use secret::{SecretDelivery, SecretObjectSpec, SecretReaders};

/// The `apiVersion` of all objects; a manifest may leave it out.
pub const API_VERSION: &str = "plumb.dev/v1alpha1";

/// Resources as a nested mapping: type → name → fields. `null` in place of the fields means that all of them
/// have their defaults.
pub type Blocks = BTreeMap<String, BTreeMap<String, Value>>;

/// The kinds of objects in a repository.
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
    /// Returns the kind's name, as `kind:` has it.
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

    /// Every kind, in the order in which the documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::Fleet,
        Self::Host,
        Self::Profile,
        Self::Network,
        Self::Secret,
        Self::Image,
        Self::TrustPolicy,
    ];

    /// Returns the kind's name in the name of a file: `trustpolicy`.
    pub fn file_stem(self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl std::str::FromStr for ObjectKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!(
                "there is no kind `{text}`; the kinds are {}",
                all.join(", ")
            )
        })
    }
}

/// The name and labels of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name of the object, as in the name of its file.
    pub name: String,
    /// Labels of any name. Selectors match them, and a host's labels are added to its alerts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An object with its spec, and its status if it was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object<Spec, Status = ()> {
    /// Version of the object's format: [`API_VERSION`].
    #[serde(default = "api_version")]
    pub api_version: String,
    /// The kind of object.
    pub kind: ObjectKind,
    /// The name and labels.
    pub metadata: Metadata,
    /// The desired state.
    #[serde(default)]
    pub spec: Spec,
    /// The observed state; never in a manifest.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn none<T>() -> Option<T> {
    None
}
