//! The YAML form of `TrustPolicy`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use plumb_api::selector::Selector;
use plumb_document::Spanned;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Need;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) api_version: Option<Spanned<String>>,
    pub(super) kind: Spanned<String>,
    #[serde(rename = "metadata")]
    pub(super) _metadata: MetadataSpec,
    pub(super) spec: Spanned<Spec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetadataSpec {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "labels", default)]
    _labels: BTreeMap<String, String>,
}

/// The rules of who may change what in a repository.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    /// The version of the policy: each change raises it by at least one.
    pub(super) serial: Spanned<u64>,
    /// The identity of the repository, fixed when it is created.
    pub(super) repository: Spanned<String>,
    /// The full name of the branch that hosts follow: `refs/heads/main`.
    #[serde(rename = "ref")]
    pub(super) reference: Spanned<String>,
    /// What a signature must say of the branch that it is meant for.
    pub(super) bind_ref: BindRef,
    /// People and machines, by name, with their keys.
    pub(super) identities: BTreeMap<String, Spanned<IdentitySpec>>,
    /// Lists of identities, by name, that rules refer to.
    pub(super) groups: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
    /// The needs of changes. All rules that match a changed path hold; a path that none matches can't be changed.
    pub(super) rules: Spanned<Vec<Spanned<RuleSpec>>>,
    /// The requirement for commits of merged branches.
    #[serde(default)]
    pub(super) side_branches: SideBranches,
    /// The settings of approvals.
    #[serde(default)]
    pub(super) approvals: ApprovalsSpec,
    /// The limits for times in commits.
    #[serde(default)]
    pub(super) time: TimeSpec,
    /// The limits for keys.
    #[serde(default)]
    pub(super) crypto: CryptoSpec,
    /// The heartbeat: a signed tag that shows that no commits are withheld.
    pub(super) freshness: Option<FreshnessSpec>,
    /// Periods in which changes aren't accepted.
    #[serde(default)]
    pub(super) freeze: Vec<Spanned<FreezeSpec>>,
    /// The needs of an emergency, and what it bypasses.
    pub(super) emergency: Option<EmergencySpec>,
}

/// The way in which a signature must name the branch that it is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BindRef {
    /// Not at all. For one person with their own server.
    None,
    /// Each commit of the branch needs the trailer `Deploy-Ref: REPOSITORY REF`, or an approval that names
    /// both.
    Trailer,
    /// Each commit needs an approval that names the branch, or its own `Deploy-Ref`. The same as `Trailer` in
    /// effect.
    Approval,
}

/// The requirement for commits of merged branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SideBranches {
    /// None: whoever approves the merge vouches for them.
    #[default]
    Vouched,
    /// Each commit must be signed by an identity of the policy, and of the policies of the commit's parents.
    AllSigned,
}

/// A person or a machine.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct IdentitySpec {
    /// Keys of the identity. A key belongs to one identity.
    pub(super) keys: Spanned<Vec<Spanned<KeySpec>>>,
}

/// A key: exactly one of `openpgp` and `ssh`. Its file is in `trust/keys/`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeySpec {
    /// The fingerprint of an OpenPGP certificate: 40 or 64 hexadecimal digits.
    pub(super) openpgp: Option<Spanned<String>>,
    /// The fingerprint of an SSH key: `SHA256:…`.
    pub(super) ssh: Option<Spanned<String>>,
    /// The time (RFC 3339) from which signatures of the key don't count.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(super) valid_before: Option<Timestamp>,
}

/// The needs of a change.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSpec {
    /// Patterns of paths: `**` is everything, `trust/**` everything below `trust`.
    pub(super) paths: Option<Spanned<Vec<Spanned<String>>>>,
    /// A selector of the hosts that the change affects.
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub(super) hosts: Option<Spanned<Hosts>>,
    /// The required signatures and approvals; all of them must be there.
    pub(super) need: Spanned<Vec<Spanned<Need>>>,
}

/// The settings of approvals.
#[derive(Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ApprovalsSpec {
    /// Maximum time between the signatures of one step; `7d` when left out.
    pub(super) max_age: Option<Seconds>,
}

/// The limits for times in commits.
#[derive(Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TimeSpec {
    /// Maximum clock error that is tolerated; `10m` when left out.
    pub(super) skew: Option<Seconds>,
    /// Maximum time between the date of a signature and the time at which a controller first sees it; `14d` when left out.
    pub(super) max_age: Option<Seconds>,
}

/// The limits for keys.
#[derive(Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CryptoSpec {
    /// Minimum length in bits of an RSA key that counts; 3072 when left out.
    pub(super) min_rsa_bits: Option<Spanned<u32>>,
}

/// The heartbeat: a signed tag that shows that no commits are withheld.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FreshnessSpec {
    /// Pattern of the tags' names: `alive/main/*`.
    pub(super) tag: Spanned<String>,
    /// The identity that signs heartbeats. It is in no group.
    pub(super) from: Spanned<String>,
    /// Maximum age of the latest heartbeat.
    pub(super) max_age: Seconds,
    /// The effect of a stale heartbeat.
    #[serde(default)]
    pub(super) on_stale: OnStale,
}

/// The effect of a stale heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnStale {
    /// No new commit is accepted, and an alarm is raised.
    #[default]
    Hold,
    /// Only an alarm is raised.
    Alarm,
}

/// A period in which changes aren't accepted.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeSpec {
    /// The beginning (RFC 3339).
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) from: Timestamp,
    /// The end (RFC 3339).
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) to: Timestamp,
    /// Patterns of the paths that the freeze concerns; all of them when left out.
    pub(super) paths: Option<Vec<Spanned<String>>>,
    /// A selector of the hosts that the freeze concerns.
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub(super) hosts: Option<Spanned<Hosts>>,
}

/// Hosts, as text or as a list of names.
pub(super) struct Hosts(pub(super) Selector);

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostsVisitor)
    }
}

struct HostsVisitor;

impl<'de> Visitor<'de> for HostsVisitor {
    type Value = Hosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a selector such as `env=prod`, or a list of hosts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hosts, E> {
        Selector::parse(text).map(Hosts).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Hosts, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        if names.is_empty() {
            return Err(de::Error::custom("an empty list selects no host"));
        }
        Ok(Hosts(Selector::Names(names)))
    }
}

/// A check that an emergency bypasses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Bypass {
    /// Freezes.
    Freeze,
    /// The needs of the rules, which the emergency's own needs replace.
    Counts,
}

/// The needs of an emergency, and what it bypasses.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct EmergencySpec {
    /// The signatures and approvals that a declaration of an emergency needs.
    pub(super) need: Spanned<Vec<Spanned<Need>>>,
    /// Time for which an emergency holds.
    pub(super) ttl: Seconds,
    /// The checks that an emergency bypasses.
    pub(super) bypasses: Vec<Bypass>,
    /// Patterns of paths that an emergency never changes.
    #[serde(default)]
    pub(super) never: Vec<Spanned<String>>,
}

/// A length of time: `30s`, `5m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub i64);

impl Seconds {
    /// Parses `30s`, `10m`, `24h`, `7d`, `2w` or several of them in a row.
    pub fn parse(text: &str) -> Option<Self> {
        let mut total: i64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: i64 = rest[..digits].parse().ok()?;
            let unit = match rest.as_bytes().get(digits)? {
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            total = total.checked_add(number.checked_mul(unit)?)?;
            rest = &rest[digits + 1..];
        }
        // A century is as good as forever, and can't overflow when it is added to a time.
        (!text.is_empty() && total <= 3_155_760_000).then_some(Self(total))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([0-9]+[smhdw])+$",
            "title": "length of time such as 30s",
        })
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` isn't a length of time; write 30s, 10m, 24h or 7d"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;

    #[test]
    fn lengths_of_time() {
        for (text, seconds) in [
            ("30s", 30),
            ("10m", 600),
            ("7d", 604_800),
            ("1h30m", 5400),
            ("0s", 0),
        ] {
            let parsed = Seconds::parse(text).unwrap();
            assert_eq!(parsed.0, seconds);
            assert_eq!(parsed.to_string(), text);
        }
        for wrong in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5x",
            "99999999999999999999s",
            "9999999w",
        ] {
            assert_eq!(Seconds::parse(wrong), None, "{wrong}");
        }
    }
}
