//! `Secret`: values that are encrypted to hosts and operators.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::resource::{Mode, Principal};

/// The spec of a Secret: values that are encrypted to hosts and operators.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretObjectSpec {
    /// The version: each new value raises it.
    #[serde(default)]
    pub version: u64,
    /// The hosts that get the values, as a selector.
    #[serde(default)]
    pub hosts: Value,
    /// The use of each value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliver: Vec<SecretDelivery>,
    /// The readers of each value, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recipients: BTreeMap<String, SecretReaders>,
    /// The encrypted values, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// One use of a value: a file, or a credential of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretDelivery {
    /// The key of the value.
    pub key: String,
    /// The path of a file below `/run` that gets the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The service that gets the value as a credential with the key's name (`LoadCredential=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The owning user of the file; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group of the file; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits of the file; `0400` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// What a ciphertext was made for, in clear, because age hides it. `check` compares it with the manifests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReaders {
    /// The version of the Secret when the value was set.
    pub version: u64,
    /// Digest of the Secret's `hosts` and of the value's use when it was encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Digest>,
    /// The hosts, with the age keys that they had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// The operators, with their age keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operators: BTreeMap<String, String>,
}
