//! The ledger's entry for one resource.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::read_back::ReadBacks;
use plumb_api::resource::Principal;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::original::Original;

/// A point in time that survives changes of the clock: a boot, and microseconds since it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub boot: String,
    pub micros: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            boot: crate::sys::boot_id(),
            micros: crate::sys::monotonic_micros(),
        }
    }
}

/// The owner that Plumb records for a path in a sandbox, where it can't change ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub user: Principal,
    pub group: Principal,
}

/// The owners of a sandbox's paths; root owns a path that isn't listed.
pub(crate) type Owners = BTreeMap<String, Owner>;

/// A step that is done only when a resource is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CreationStep {
    /// A user's home, with the files of `/etc/skel`.
    Home,
}

/// A resource that Plumb made, changed, or found as desired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The spec that was last confirmed; `None` while the first change is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// The digest of `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The values that the host shows in another form than Plumb wrote them.
    #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
    pub read_back: ReadBacks,
    /// The ledger's counter at Plumb's last change of the resource; 0 if Plumb never changed it.
    #[serde(default)]
    pub generation: u64,
    /// The time of that change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Moment>,
    /// The state before Plumb's first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// A service's inputs at its last start, see `provider::service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<Address, Digest>>,
    /// The fields that were tried or confirmed since the original and that `spec` doesn't have: what a failed
    /// run or an earlier revision changed is given back too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Spec>,
    /// The steps of its creation that haven't succeeded yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pending: BTreeSet<CreationStep>,
    /// Fields that Plumb's changes of other resources moved since `spec` was confirmed. They are no drift.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub moved: BTreeSet<String>,
}

impl Entry {
    /// Returns a spec with every field that Plumb may have changed, or `None` if none is known.
    pub(crate) fn managed(&self) -> Option<&Spec> {
        self.touched.as_ref().or(self.spec.as_ref())
    }

    /// Adds the fields of a spec to those that are given back.
    pub(super) fn touch(&mut self, spec: &Spec) {
        match self.managed() {
            Some(managed) if managed == spec => {}
            Some(managed) => self.touched = Some(united(managed, spec, Sets::Joined)),
            None => self.touched = Some(spec.clone()),
        }
    }

    /// Sets the confirmed spec. Every step of its creation has succeeded.
    pub(super) fn confirm(&mut self, spec: &Spec, digest: Digest) {
        // What earlier specs added to a set has been taken out of it again.
        if let Some(managed) = self.managed() {
            self.touched = Some(united(managed, spec, Sets::Replaced));
        }
        self.touched.take_if(|touched| touched == spec);
        self.spec = Some(spec.clone());
        self.digest = Some(digest);
        self.pending.clear();
        self.moved.clear();
    }

    /// Returns the confirmed spec without the fields that Plumb itself moved, so that only the host's own
    /// changes differ from it.
    pub(crate) fn confirmed(&self) -> Option<Spec> {
        let spec = self.spec.as_ref()?;
        if self.moved.is_empty() {
            return Some(spec.clone());
        }
        let moved: Vec<&str> = self.moved.iter().map(String::as_str).collect();
        spec.without(&moved)
    }
}

/// The treatment of sets that both of two specs name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sets {
    /// The elements of both count.
    Joined,
    /// The later spec's elements count.
    Replaced,
}

/// Returns a spec with the fields of both. Where both name a field, the later one counts.
fn united(earlier: &Spec, later: &Spec, sets: Sets) -> Spec {
    let json = |spec: &Spec| spec.to_json().ok();
    let (Some(serde_json::Value::Object(mut all)), Some(serde_json::Value::Object(new))) =
        (json(earlier), json(later))
    else {
        return later.clone();
    };
    for (field, mut value) in new {
        let is_set = sets == Sets::Joined && later.kind().sets().contains(&field.as_str());
        let before = all.get(&field).filter(|_| is_set);
        if let (Some(before), Some(items)) = (
            before.and_then(serde_json::Value::as_array),
            value.as_array_mut(),
        ) {
            let missing: Vec<_> = before
                .iter()
                .filter(|item| !items.contains(item))
                .cloned()
                .collect();
            items.extend(missing);
        }
        all.insert(field, value);
    }
    let all = serde_json::Value::Object(all);
    later.kind().decode(all).unwrap_or_else(|_| later.clone())
}

#[cfg(test)]
mod tests {
    use plumb_api::Kind;
    use serde_json::json;

    use super::*;

    fn service(json: serde_json::Value) -> Spec {
        Kind::Service.decode(json).unwrap()
    }

    fn digest() -> Digest {
        Digest::of_bytes(b"")
    }

    #[test]
    fn remembers_fields_of_failed_and_of_earlier_specs() {
        let mut entry = Entry::default();
        entry.touch(&service(json!({"state": "started", "enabled": true})));
        let confirmed = service(json!({"state": "stopped"}));
        entry.confirm(&confirmed, digest());
        assert_eq!(
            entry.managed(),
            Some(&service(json!({"state": "stopped", "enabled": true})))
        );
        entry.confirm(&service(json!({"masked": false})), digest());
        assert_eq!(
            entry.managed(),
            Some(&service(
                json!({"state": "stopped", "enabled": true, "masked": false})
            ))
        );
    }

    #[test]
    fn remembers_what_earlier_specs_added_to_a_set_until_it_is_gone() {
        let group = |members: serde_json::Value| {
            let spec = json!({"members": members});
            Kind::Group.decode(spec).unwrap()
        };
        let mut entry = Entry::default();
        let both = group(json!(["ann", "bob"]));
        entry.touch(&both);
        entry.confirm(&both, digest());
        let one = group(json!(["ann"]));
        entry.touch(&one);
        assert_eq!(entry.managed(), Some(&both), "bob may be there still");
        entry.confirm(&one, digest());
        assert_eq!(entry.managed(), Some(&one));
    }

    #[test]
    fn keeps_one_spec_if_nothing_else_was_tried() {
        let mut entry = Entry::default();
        let spec = service(json!({"state": "started"}));
        entry.touch(&spec);
        entry.confirm(&spec, digest());
        assert_eq!(
            (entry.touched.as_ref(), entry.managed()),
            (None, Some(&spec))
        );
    }
}
