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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) serial: Spanned<u64>,
    pub(super) repository: Spanned<String>,
    #[serde(rename = "ref")]
    pub(super) reference: Spanned<String>,
    pub(super) bind_ref: BindRef,
    pub(super) identities: BTreeMap<String, Spanned<IdentitySpec>>,
    pub(super) groups: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
    pub(super) rules: Spanned<Vec<Spanned<RuleSpec>>>,
    #[serde(default)]
    pub(super) side_branches: SideBranches,
    #[serde(default)]
    pub(super) approvals: ApprovalsSpec,
    #[serde(default)]
    pub(super) time: TimeSpec,
    #[serde(default)]
    pub(super) crypto: CryptoSpec,
    pub(super) freshness: Option<FreshnessSpec>,
    #[serde(default)]
    pub(super) freeze: Vec<Spanned<FreezeSpec>>,
    pub(super) emergency: Option<EmergencySpec>,
}

/// The way in which a signature must name the branch that it is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "camelCase")]
pub enum SideBranches {
    /// None: whoever approves the merge vouches for them.
    #[default]
    Vouched,
    /// Each commit must be signed by an identity of the policy, and of the policies of the commit's parents.
    AllSigned,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentitySpec {
    pub(super) keys: Spanned<Vec<Spanned<KeySpec>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeySpec {
    pub(super) openpgp: Option<Spanned<String>>,
    pub(super) ssh: Option<Spanned<String>>,
    pub(super) valid_before: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSpec {
    pub(super) paths: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) hosts: Option<Spanned<Hosts>>,
    pub(super) need: Spanned<Vec<Spanned<Need>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ApprovalsSpec {
    pub(super) max_age: Option<Seconds>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TimeSpec {
    pub(super) skew: Option<Seconds>,
    pub(super) max_age: Option<Seconds>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CryptoSpec {
    pub(super) min_rsa_bits: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FreshnessSpec {
    pub(super) tag: Spanned<String>,
    pub(super) from: Spanned<String>,
    pub(super) max_age: Seconds,
    #[serde(default)]
    pub(super) on_stale: OnStale,
}

/// The effect of a stale heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnStale {
    /// No new commit is accepted, and an alarm is raised.
    #[default]
    Hold,
    /// Only an alarm is raised.
    Alarm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeSpec {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) paths: Option<Vec<Spanned<String>>>,
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
#[serde(rename_all = "camelCase")]
pub enum Bypass {
    /// Freezes.
    Freeze,
    /// The needs of the rules, which the emergency's own needs replace.
    Counts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmergencySpec {
    pub(super) need: Spanned<Vec<Spanned<Need>>>,
    pub(super) ttl: Seconds,
    pub(super) bypasses: Vec<Bypass>,
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
