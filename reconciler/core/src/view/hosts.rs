//! The list of hosts in a view. Views share chunks of hosts by reference, so that creating a view is cheap and
//! a change copies only one chunk.

use std::sync::Arc;

use plumb_api::HostName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HostObject;

/// Maximum number of hosts in a chunk. A chunk that exceeds it is split into halves.
const CHUNK: usize = 64;

type Chunk = Arc<Vec<Arc<HostObject>>>;

/// Hosts in the order of their names. A clone shares all chunks with the original.
#[derive(Debug, Clone, Default)]
pub struct HostList {
    /// Sorted by name. No chunk is empty.
    chunks: Vec<Chunk>,
    len: usize,
}

impl HostList {
    /// Adds a host, or replaces the host with its name.
    pub fn insert(&mut self, host: Arc<HostObject>) {
        let name = &host.metadata.name;
        let Some(at) = self.chunk_of(name) else {
            self.chunks.push(Arc::new(vec![host]));
            self.len += 1;
            return;
        };
        let place = find(&self.chunks[at], name);
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match place {
            Ok(old) => chunk[old] = host,
            Err(free) => {
                chunk.insert(free, host);
                self.len += 1;
                if chunk.len() > CHUNK {
                    let rest = chunk.split_off(CHUNK / 2);
                    self.chunks.insert(at + 1, Arc::new(rest));
                }
            }
        }
    }

    /// Removes the host with this name.
    pub fn remove(&mut self, name: &HostName) {
        let Some(at) = self.chunk_of(name) else {
            return;
        };
        if let Ok(place) = find(&self.chunks[at], name) {
            let chunk = Arc::make_mut(&mut self.chunks[at]);
            chunk.remove(place);
            self.len -= 1;
            if chunk.is_empty() {
                self.chunks.remove(at);
            }
        }
    }

    /// Returns the host with this name.
    pub fn get(&self, name: &HostName) -> Option<&Arc<HostObject>> {
        let chunk = &self.chunks[self.chunk_of(name)?];
        find(chunk, name).ok().map(|at| &chunk[at])
    }

    /// Iterates over the hosts.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HostObject>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns the number of hosts.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no host.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the index of the chunk to which a host of this name belongs; `None` if the list is empty.
    fn chunk_of(&self, name: &HostName) -> Option<usize> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk[0].metadata.name <= *name);
        (!self.chunks.is_empty()).then(|| after.saturating_sub(1))
    }
}

fn find(chunk: &[Arc<HostObject>], name: &HostName) -> Result<usize, usize> {
    chunk.binary_search_by(|host| host.metadata.name.cmp(name))
}

impl FromIterator<Arc<HostObject>> for HostList {
    fn from_iter<I: IntoIterator<Item = Arc<HostObject>>>(hosts: I) -> Self {
        let mut list = Self::default();
        for host in hosts {
            list.insert(host);
        }
        list
    }
}

impl Serialize for HostList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(AsRef::as_ref))
    }
}

impl<'de> Deserialize<'de> for HostList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hosts = Vec::<HostObject>::deserialize(deserializer)?;
        Ok(hosts.into_iter().map(Arc::new).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::HostStatus;

    fn host(number: u32) -> Arc<HostObject> {
        let name: HostName = format!("host-{number:04}").parse().unwrap();
        let status = HostStatus::new(name);
        Arc::new(HostObject::new(Arc::default(), status))
    }

    fn names(list: &HostList) -> Vec<HostName> {
        list.iter().map(|host| host.metadata.name.clone()).collect()
    }

    #[test]
    fn inserts_and_removals_keep_the_order_of_names() {
        let (mut list, mut expected) = (HostList::default(), BTreeSet::new());
        for step in 0..2_000_u32 {
            let host = host(step * 7_919 % 500);
            let name = host.metadata.name.clone();
            if step % 3 == 2 {
                list.remove(&name);
                expected.remove(&name);
            } else {
                list.insert(host);
                expected.insert(name);
            }
            assert_eq!(list.len(), expected.len());
        }
        assert_eq!(names(&list), Vec::from_iter(expected.clone()));
        assert!(list.chunks.iter().all(|chunk| !chunk.is_empty()));
        for number in 0..500 {
            let name = host(number).metadata.name.clone();
            let found = list.get(&name).map(|host| host.metadata.name.clone());
            assert_eq!(found, expected.get(&name).cloned());
        }
        for name in &expected {
            list.remove(name);
        }
        assert!(list.is_empty() && list.chunks.is_empty());
    }

    #[test]
    fn a_change_copies_one_chunk_and_leaves_older_clones_as_they_were() {
        let mut list: HostList = (0..1_000).map(host).collect();
        let before = list.clone();
        let changed = host(500);
        list.insert(changed.clone());
        let copied = list.chunks.iter().zip(&before.chunks);
        let copied = copied.filter(|(new, old)| !Arc::ptr_eq(new, old)).count();
        assert_eq!(copied, 1);
        let name = &changed.metadata.name;
        assert!(Arc::ptr_eq(list.get(name).unwrap(), &changed));
        assert!(!Arc::ptr_eq(before.get(name).unwrap(), &changed));
        list.remove(name);
        assert_eq!((list.len(), before.len()), (999, 1_000));
    }

    #[test]
    fn a_list_is_serialized_as_plain_objects() {
        let list: HostList = (0..100).rev().map(host).collect();
        let text = serde_json::to_string(&list).unwrap();
        let plain: Vec<HostObject> = serde_json::from_str(&text).unwrap();
        assert_eq!(plain.len(), 100);
        let back: HostList = serde_json::from_str(&text).unwrap();
        assert_eq!(names(&back), names(&list));
    }
}
