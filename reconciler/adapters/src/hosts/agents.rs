//! Finds agent binaries: embedded in the program, or in a few known folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use plumb_api::Digest;

/// The agent for one architecture.
#[derive(Debug)]
pub struct AgentBinary {
    arch: String,
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl AgentBinary {
    fn new(arch: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            arch: arch.to_owned(),
            digest: Digest::of_bytes(&bytes),
            bytes,
        }
    }

    /// The architecture, as `uname -m` prints it.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The digest of the bytes; hosts keep the agent under it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes of the binary.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// The architectures, as `uname -m` prints them, that are tried if the host's architecture is unknown.
const KNOWN: [&str; 7] = [
    "x86_64", "aarch64", "armv7l", "i686", "riscv64", "ppc64le", "s390x",
];

/// The folder in which a system package installs agents.
const SYSTEM: &str = "/usr/lib/plumb/agents";

#[derive(Debug)]
struct CachedAgent {
    modified: SystemTime,
    length: u64,
    binary: Arc<AgentBinary>,
}

/// Finds agents. It caches a binary on disk until its size or modification time changes.
#[derive(Debug, Default)]
pub struct Agents {
    embedded: BTreeMap<String, Arc<AgentBinary>>,
    /// Path patterns, in search order; `{arch}` stands for the architecture.
    places: Vec<String>,
    cache: Mutex<BTreeMap<PathBuf, CachedAgent>>,
}

impl Agents {
    /// Creates an empty set of agents.
    pub fn none() -> Self {
        Self::default()
    }

    /// Finds the agents beside a program. Searches `agents/ARCH/plumb-agent` in the program's folder, then
    /// the cargo target folder that contains that folder (`cargo agents` puts agents there), then the system
    /// package's folder.
    pub fn beside(program: &Path) -> Self {
        let folder = program.parent().unwrap_or(Path::new("/"));
        Self::default()
            .folder(&folder.join("agents"))
            .target(folder.parent().unwrap_or(folder))
            .folder(Path::new(SYSTEM))
    }

    /// Adds a folder that holds `ARCH/plumb-agent`, to be searched last.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.places
            .push(format!("{}/{{arch}}/plumb-agent", folder.display()));
        self
    }

    /// Adds a cargo target folder, to be searched last.
    #[must_use]
    pub fn target(mut self, target: &Path) -> Self {
        self.places.push(format!(
            "{}/{{arch}}-unknown-linux-gnu/agent/plumb-agent",
            target.display()
        ));
        self
    }

    /// Adds an agent that is embedded in the program; it takes precedence over any on disk.
    #[must_use]
    pub fn embed(mut self, arch: &str, bytes: &[u8]) -> Self {
        let binary = Arc::new(AgentBinary::new(arch, bytes));
        self.embedded.insert(arch.to_owned(), binary);
        self
    }

    /// Returns the agent for an architecture, if there is one.
    pub fn find(&self, arch: &str) -> Option<Arc<AgentBinary>> {
        if !is_arch(arch) {
            return None;
        }
        if let Some(binary) = self.embedded.get(arch) {
            return Some(Arc::clone(binary));
        }
        self.places
            .iter()
            .find_map(|place| self.read(arch, Path::new(&place.replace("{arch}", arch))))
    }

    /// Returns the agents of all known architectures.
    pub fn all(&self) -> Vec<Arc<AgentBinary>> {
        KNOWN.iter().filter_map(|arch| self.find(arch)).collect()
    }

    fn read(&self, arch: &str, path: &Path) -> Option<Arc<AgentBinary>> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let (modified, length) = (metadata.modified().ok()?, metadata.len());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.get(path)
            && cached.modified == modified
            && cached.length == length
        {
            return Some(Arc::clone(&cached.binary));
        }
        let bytes = std::fs::read(path).ok()?;
        let binary = Arc::new(AgentBinary::new(arch, bytes));
        cache.insert(
            path.to_owned(),
            CachedAgent {
                modified,
                length,
                binary: Arc::clone(&binary),
            },
        );
        Some(binary)
    }
}

/// True if a text may be an architecture. It goes into paths and commands, so few characters are allowed.
pub(super) fn is_arch(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_agent_comes_before_one_on_disk_and_a_changed_one_is_read_again() {
        let folder = std::env::temp_dir().join(format!("plumb-agents-{}", std::process::id()));
        let program = folder.join("release/plumb");
        let built = folder.join("x86_64-unknown-linux-gnu/agent");
        std::fs::create_dir_all(&built).unwrap();
        std::fs::write(built.join("plumb-agent"), b"first").unwrap();
        let agents = Agents::beside(&program);
        let first = agents.find("x86_64").unwrap();
        assert_eq!(&**first.bytes(), b"first");
        assert!(Arc::ptr_eq(&first, &agents.find("x86_64").unwrap()));
        std::fs::write(built.join("plumb-agent"), b"the second").unwrap();
        assert_eq!(&**agents.find("x86_64").unwrap().bytes(), b"the second");
        assert!(agents.find("aarch64").is_none());
        let agents = agents.embed("x86_64", b"built in");
        assert_eq!(&**agents.find("x86_64").unwrap().bytes(), b"built in");
        assert_eq!(agents.all().len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_architecture_is_no_path() {
        assert!(is_arch("x86_64") && is_arch("aarch64"));
        for wrong in ["", "../../etc", "x86 64", "$(id)", "X86"] {
            assert!(!is_arch(wrong) && Agents::none().find(wrong).is_none());
        }
    }
}
