//! The ledger's entry for one resource.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::read_back::ReadBacks;
use plumb_api::resource::Principal;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::original::Original;

/// A point in time that doesn't depend on the wall clock: the id of a boot, and microseconds since that boot.
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

/// The owner that Plumb records for a path in a sandbox, where the agent can't change ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub user: Principal,
    pub group: Principal,
}

/// The recorded owners of a sandbox's paths. Paths without an entry belong to root.
pub(crate) type Owners = BTreeMap<String, Owner>;

/// A step that runs only when a resource is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CreationStep {
    /// Make a user's home, with the files of `/etc/skel`.
    Home,
}

/// The ledger's entry for a resource that Plumb created, changed, or found as desired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The spec that was confirmed last. `None` until the first change has been confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// Digest of `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The values that the host shows in another form than Plumb wrote them.
    #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
    pub read_back: ReadBacks,
    /// Value of the ledger's counter at Plumb's last change of the resource; 0 if Plumb never changed it.
    #[serde(default)]
    pub generation: u64,
    /// The time of Plumb's last change of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Moment>,
    /// The resource's state before Plumb's first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// Marks of the inputs that a service or command had at its last start, see `provider::inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<Address, Digest>>,
    /// Union of all specs that Plumb tried to apply or confirmed since the original. `None` if it equals
    /// `spec`. Restoring the original uses it, to undo also the changes of failed runs and earlier revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Spec>,
    /// Steps of the resource's creation that haven't succeeded yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pending: BTreeSet<CreationStep>,
    /// Fields that changed since `spec` was confirmed because Plumb changed other resources. These
    /// differences aren't drift.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub moved: BTreeSet<String>,
}

impl Entry {
    /// Returns a spec with every field that Plumb may have changed, or `None` if the ledger has no spec of
    /// the resource.
    pub(crate) fn managed(&self) -> Option<&Spec> {
        self.touched.as_ref().or(self.spec.as_ref())
    }

    /// Adds the fields of `spec` to the fields that Plumb may have changed.
    pub(super) fn touch(&mut self, spec: &Spec) {
        match self.managed() {
            Some(managed) if managed == spec => {}
            Some(managed) => self.touched = Some(united(managed, spec, Sets::Joined)),
            None => self.touched = Some(spec.clone()),
        }
    }

    /// Sets the confirmed spec, and clears the pending creation steps and moved fields.
    pub(super) fn confirm(&mut self, spec: &Spec, digest: Digest) {
        // Elements that earlier specs added to a set were removed before the resource could be confirmed.
        if let Some(managed) = self.managed() {
            self.touched = Some(united(managed, spec, Sets::Replaced));
        }
        self.touched.take_if(|touched| touched == spec);
        self.spec = Some(spec.clone());
        self.digest = Some(digest);
        self.pending.clear();
        self.moved.clear();
    }

    /// Returns the confirmed spec without the fields that Plumb's own changes of other resources altered. The
    /// remaining differences come from the host.
    pub(crate) fn confirmed(&self) -> Option<Spec> {
        let spec = self.spec.as_ref()?;
        if self.moved.is_empty() {
            return Some(spec.clone());
        }
        let moved: Vec<&str> = self.moved.iter().map(String::as_str).collect();
        spec.without(&moved)
    }
}

/// The way in which to unite a set that two specs both name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sets {
    /// Keep the elements of both specs.
    Joined,
    /// Keep only the elements of the later spec.
    Replaced,
}

/// Returns a spec with the fields of both. Where both name a field, the later one counts. Of a set or a map that
/// both name, the elements or entries of both count.
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
        let before = all.get(&field).filter(|_| sets == Sets::Joined);
        if let (Some(before), Some(entries)) = (
            before.and_then(serde_json::Value::as_object),
            value.as_object_mut(),
        ) {
            for (key, entry) in before {
                entries.entry(key).or_insert_with(|| entry.clone());
            }
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
    fn remembers_the_entries_of_a_map_until_they_are_gone() {
        let database = |settings: serde_json::Value| {
            let spec = json!({"settings": settings});
            Kind::Database.decode(spec).unwrap()
        };
        let mut entry = Entry::default();
        let both = database(json!({"jit": "off", "work_mem": "1MB"}));
        entry.touch(&both);
        entry.confirm(&both, digest());
        let one = database(json!({"work_mem": "2MB"}));
        entry.touch(&one);
        let all = database(json!({"jit": "off", "work_mem": "2MB"}));
        assert_eq!(entry.managed(), Some(&all), "jit may be off still");
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
