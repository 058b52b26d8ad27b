//! Manifests: reads the YAML files of a repository into typed objects.
//!
//! [`load`] reads the files of a revision and always returns a [`Fleet`]. An object with errors stays in the
//! fleet together with its diagnostics, so that its host is held at its last desired state instead of looking
//! deleted.

mod clear_text;
pub mod code;
mod facts;
mod fleet;
mod host;
mod image;
mod literal;
mod network;
mod object;
mod profile;
mod reference;
mod secret;
pub mod selector;
mod too_large;
mod unsupported;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use plumb_api::kind::{ObjectKind, Os};
use plumb_api::{FleetName, HostName};
use plumb_document::{Diagnostic, SourceFile, SourceMap, Span};

use crate::parallel;
use crate::render::Engine;

pub(crate) use facts::{
    Consumer, EndpointFact, Facts, HostFacts, HostNetwork, MemberFact, NoTarget, SSH_PORT, Target,
    target,
};
pub(crate) use fleet::FleetObject;
pub(crate) use host::{Host, Layer, mapping};
pub(crate) use image::Image;
pub(crate) use network::Network;
pub(crate) use object::Broken;
pub(crate) use profile::{Profile, include};
pub(crate) use reference::{FieldRef, closest_address};
pub(crate) use secret::{
    SecretEntry, ValueProblem, check_delivery as secret_delivery, problem, recipients, usage,
};
pub(crate) use too_large::too_large;
pub(crate) use unsupported::{TYPES, diagnostic as unsupported_diagnostic};

/// The files of a revision.
///
/// `R` is the type of the revision. A [`Fleet<R>`] can only be loaded by code that can create an `R`. Hosts
/// are only driven to a fleet whose `R` is a verified revision, which only the trust crate can create.
#[derive(Debug, Clone)]
pub struct Sources<R> {
    /// The revision that the files belong to.
    pub revision: R,
    /// The files by path from the repository's root.
    pub files: BTreeMap<Arc<str>, SourceFile>,
}

/// A loaded fleet and the diagnostics of its objects.
#[derive(Debug)]
pub struct LoadedFleet<R> {
    /// The fleet; it also has the objects with errors.
    pub fleet: Fleet<R>,
    /// Errors and warnings about objects. Errors that show only when hosts are resolved are in the result of
    /// [`resolve`](crate::resolve::resolve).
    pub diagnostics: Vec<Diagnostic>,
}

/// The objects of a revision, ready to be resolved.
#[derive(Debug, Clone)]
pub struct Fleet<R> {
    revision: R,
    manifests: Arc<Manifests>,
}

impl<R> Fleet<R> {
    /// Returns the revision that the fleet was loaded from.
    pub fn revision(&self) -> &R {
        &self.revision
    }

    /// Returns the names of all hosts, including hosts whose manifests have errors.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.manifests.hosts.keys()
    }

    /// True if there is a host of this name.
    pub fn has_host(&self, name: &HostName) -> bool {
        self.manifests.hosts.contains_key(name)
    }

    /// Returns a host's labels; `None` if there is no such host or its labels can't be read.
    pub fn labels(&self, name: &HostName) -> Option<&BTreeMap<String, String>> {
        match self.manifests.hosts.get(name)? {
            Ok(host) => Some(&host.labels),
            Err(broken) => broken.labels.as_ref(),
        }
    }

    /// Returns the operating system that a host's manifest names; `None` if it names none or has errors.
    pub fn os(&self, name: &HostName) -> Option<&Os> {
        let host = self.manifests.hosts.get(name)?.as_ref().ok()?;
        host.spec.os.as_ref()
    }

    /// Returns the text of every file, for snippets in diagnostics.
    pub fn source_map(&self) -> SourceMap {
        let mut map = SourceMap::default();
        for (file, found) in self.manifests.files.iter() {
            if let Some(bytes) = found.bytes() {
                map.insert(file.clone(), bytes.clone());
            }
        }
        map
    }

    pub(crate) fn manifests(&self) -> &Manifests {
        &self.manifests
    }
}

/// An object, or its errors if it has any.
pub(crate) type Entry<T> = Result<Arc<T>, Broken>;

/// The kind and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectId {
    Fleet,
    Host(HostName),
    Profile(Arc<str>),
    Network(Arc<str>),
    Secret(Arc<str>),
}

/// A set of objects.
pub(crate) type ObjectIdSet = BTreeSet<ObjectId>;

/// The reasons why something about a host is unknown: `diagnostics` are the host's own errors, `because` are
/// other objects with errors that the host depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Problems {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) because: ObjectIdSet,
}

impl Problems {
    pub(crate) fn because(id: ObjectId) -> Self {
        Self {
            diagnostics: Vec::new(),
            because: [id].into(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.diagnostics.is_empty() && self.because.is_empty()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        self.because.extend(other.because);
    }

    /// Returns `value` if there are no problems.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl From<Diagnostic> for Problems {
    fn from(diagnostic: Diagnostic) -> Self {
        vec![diagnostic].into()
    }
}

impl From<Vec<Diagnostic>> for Problems {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            diagnostics,
            because: ObjectIdSet::new(),
        }
    }
}

/// The objects of a revision, and what is computed once for all hosts.
#[derive(Debug)]
pub(crate) struct Manifests {
    pub(crate) files: Arc<BTreeMap<Arc<str>, SourceFile>>,
    pub(crate) name: FleetName,
    pub(crate) fleet: Result<FleetObject, Broken>,
    pub(crate) hosts: BTreeMap<HostName, Entry<Host>>,
    pub(crate) profiles: BTreeMap<Arc<str>, Entry<Profile>>,
    pub(crate) networks: BTreeMap<Arc<str>, Entry<Network>>,
    pub(crate) secrets: BTreeMap<Arc<str>, SecretEntry>,
    pub(crate) images: BTreeMap<Arc<str>, Entry<Image>>,
    /// The repository's identity in the trust policy, if it has one.
    pub(crate) repository: Option<Arc<str>>,
    /// The position of each profile in an order in which including profiles precede included profiles.
    pub(crate) profile_order: BTreeMap<Arc<str>, usize>,
    /// Diagnostics that aren't errors of one object: warnings, and errors about files that contain no usable
    /// object.
    pub(crate) loose: Vec<Diagnostic>,
    pub(crate) engine: Engine,
    pub(crate) facts: Arc<Facts>,
    pub(crate) fragments: crate::compose::Fragments,
    pub(crate) settled: crate::compose::ParamsCache,
    pub(crate) of_fleet: crate::expand::OfFleet,
}

/// Loads the objects of a revision.
pub fn load<R>(sources: Sources<R>) -> LoadedFleet<R> {
    let Sources { revision, files } = sources;
    let manifests = read(Arc::new(files));
    let diagnostics = manifests.diagnostics();
    LoadedFleet {
        fleet: Fleet {
            revision,
            manifests: Arc::new(manifests),
        },
        diagnostics,
    }
}

/// The role of a file, derived from its path.
enum Place<'a> {
    Fleet,
    Object(ObjectKind, &'a str),
    /// A manifest with a wrong extension, which Plumb would otherwise ignore silently.
    Misnamed,
    Other,
}

fn place(path: &str) -> Place<'_> {
    if path == "fleet.yaml" {
        return Place::Fleet;
    }
    if path == "fleet.yml" {
        return Place::Misnamed;
    }
    let Some((folder, rest)) = path.split_once('/') else {
        return Place::Other;
    };
    let kind = match folder {
        "hosts" => ObjectKind::Host,
        "profiles" => ObjectKind::Profile,
        "networks" => ObjectKind::Network,
        "secrets" => ObjectKind::Secret,
        "images" => ObjectKind::Image,
        _ => return Place::Other,
    };
    let file = rest.rsplit('/').next().unwrap_or(rest);
    if file.starts_with('.') {
        return Place::Other;
    }
    match file.rsplit_once('.') {
        Some((stem, "yaml")) => Place::Object(kind, stem),
        Some((_, ending))
            if ["yml", "yaml~", "json"].contains(&ending)
                || ending.eq_ignore_ascii_case("yaml") =>
        {
            Place::Misnamed
        }
        _ => Place::Other,
    }
}

/// The objects read so far, by kind and name.
#[derive(Default)]
struct ObjectIndex {
    fleet: Option<Result<FleetObject, Broken>>,
    objects: BTreeMap<(ObjectKind, Arc<str>), Result<object::Object, Broken>>,
    loose: Vec<Diagnostic>,
}

impl ObjectIndex {
    fn add(
        &mut self,
        file: &Arc<str>,
        kind: ObjectKind,
        name: &str,
        object: Result<object::Object, Broken>,
    ) {
        let key = (kind, Arc::from(name));
        let Some(before) = self.objects.get_mut(&key) else {
            self.objects.insert(key, object);
            return;
        };
        let first = match before {
            Ok(object) => Some(object.span.clone()),
            Err(broken) => broken
                .diagnostics
                .first()
                .map(|diagnostic| diagnostic.span.clone()),
        };
        let mut diagnostic = Diagnostic::error(
            code::DUPLICATE_OBJECT,
            &Span::of_file(file.clone()),
            format!("a second {} has the name `{name}`", kind.as_str()),
        )
        .hint("remove or rename one of the files; names are unique across folders");
        if let Some(first) = first {
            diagnostic = diagnostic.related(&first, "here");
        }
        match before {
            Ok(object) => {
                *before = Err(Broken {
                    labels: Some(object.labels.clone()),
                    diagnostics: vec![diagnostic],
                });
            }
            Err(broken) => broken.diagnostics.push(diagnostic),
        }
    }
}

fn find(files: &BTreeMap<Arc<str>, SourceFile>) -> ObjectIndex {
    let mut found = ObjectIndex::default();
    let files: Vec<_> = files.iter().collect();
    let read = parallel::map(&files, |(file, found)| match place(file) {
        Place::Object(kind, name) if plumb_api::name::is_label(name) => {
            Some(object::read(file, found, kind, Some(name)))
        }
        _ => None,
    });
    for ((file, content), read) in files.into_iter().zip(read) {
        match place(file) {
            Place::Fleet => found.fleet = Some(fleet::read(file, content)),
            Place::Object(
                kind @ (ObjectKind::Host
                | ObjectKind::Profile
                | ObjectKind::Network
                | ObjectKind::Secret
                | ObjectKind::Image),
                name,
            ) => {
                if let Some(object) = read {
                    if let Ok(object) = &object {
                        literal::warn(&object.spec, &mut found.loose);
                    }
                    found.add(file, kind, name, object);
                } else {
                    found.loose.push(
                        Diagnostic::error(
                            code::INVALID_NAME,
                            &Span::of_file(file.clone()),
                            format!("`{name}` isn't a valid name of a {}", kind.as_str()),
                        )
                        .hint("use 1 to 63 of a-z, 0-9 and `-`, without `-` at either end; any other host name goes into `spec.hostname`"),
                    );
                }
            }
            // Only a folder's kind is in `place`; the fleet and the policy have files of their own.
            Place::Object(ObjectKind::Fleet | ObjectKind::TrustPolicy, _) => {}
            Place::Misnamed => found.loose.push(
                Diagnostic::error(
                    code::MISPLACED_MANIFEST,
                    &Span::of_file(file.clone()),
                    "Plumb doesn't read this file",
                )
                .hint("rename it to end with .yaml"),
            ),
            Place::Other => {
                let misplaced = content.bytes().and_then(|bytes| misplaced(file, bytes));
                found.loose.extend(misplaced);
            }
        }
    }
    found
}

/// Returns a warning if a file looks like an object but is at a path where Plumb reads none.
fn misplaced(file: &Arc<str>, bytes: &[u8]) -> Option<Diagnostic> {
    let ending = Path::new(&**file)
        .extension()
        .and_then(|ending| ending.to_str())?;
    let elsewhere = ["files/", "trust/", "."]
        .iter()
        .any(|start| file.starts_with(start))
        || file.contains("/.");
    if elsewhere || !["yaml", "yml"].contains(&ending) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let kind = text
        .lines()
        .find_map(|line| line.strip_prefix("kind:"))?
        .trim();
    [
        "Fleet",
        "Host",
        "Profile",
        "Network",
        "Secret",
        "Image",
        "TrustPolicy",
    ]
    .contains(&kind)
    .then(|| {
        let folder = match kind {
            "Fleet" => "fleet.yaml".to_owned(),
            "TrustPolicy" => "trust/policy.yaml".to_owned(),
            kind => format!("{}s/", kind.to_ascii_lowercase()),
        };
        Diagnostic::warning(
            code::MISPLACED_MANIFEST,
            &Span::of_file(file.clone()),
            format!("this looks like a {kind}, but Plumb doesn't read one here"),
        )
        .hint(format!("move it to {folder}"))
    })
}

/// An object in the type of its kind, or its errors.
enum TypedObject {
    Host(HostName, Entry<Host>),
    Profile(Entry<Profile>),
    Network(Entry<Network>),
    Secret(SecretEntry),
    Image(Entry<Image>),
}

impl TypedObject {
    fn of(
        engine: &Engine,
        defaults: &Arc<plumb_document::Map>,
        repository: Option<&Arc<str>>,
        kind: ObjectKind,
        name: &Arc<str>,
        object: &Result<object::Object, Broken>,
    ) -> Option<Self> {
        let object = object.as_ref().map_err(Clone::clone);
        let broken = |object: &object::Object, diagnostics| Broken {
            labels: Some(object.labels.clone()),
            diagnostics,
        };
        match kind {
            ObjectKind::Host => {
                let name = name.parse::<HostName>().ok()?;
                let host = object.and_then(|object| {
                    host::read(object, defaults, |statics| {
                        facts::render_statics(engine, &name, object, statics)
                    })
                    .map(Arc::new)
                    .map_err(|diagnostics| broken(object, diagnostics))
                });
                Some(Self::Host(name, host))
            }
            ObjectKind::Profile => Some(Self::Profile(object.and_then(|object| {
                profile::read(object)
                    .map(Arc::new)
                    .map_err(|diagnostics| broken(object, diagnostics))
            }))),
            ObjectKind::Network => Some(Self::Network(object.and_then(|object| {
                network::read(object)
                    .map(Arc::new)
                    .map_err(|diagnostics| broken(object, diagnostics))
            }))),
            ObjectKind::Secret => Some(Self::Secret(SecretEntry::read(object, repository))),
            ObjectKind::Image => Some(Self::Image(object.and_then(|object| {
                image::read(object)
                    .map(Arc::new)
                    .map_err(|diagnostics| broken(object, diagnostics))
            }))),
            ObjectKind::Fleet | ObjectKind::TrustPolicy => None,
        }
    }
}

fn read(files: Arc<BTreeMap<Arc<str>, SourceFile>>) -> Manifests {
    let ObjectIndex {
        fleet,
        objects,
        mut loose,
    } = find(&files);
    let fleet = fleet.unwrap_or_else(|| {
        let diagnostic = Diagnostic::error(
            code::MISSING_FLEET,
            &Span::of_file("fleet.yaml"),
            "fleet.yaml is missing",
        )
        .hint("add one with `kind: Fleet` and `metadata: {name: …}`");
        Err(Broken {
            labels: None,
            diagnostics: vec![diagnostic],
        })
    });
    let name = fleet
        .as_ref()
        .map_or_else(|_| FleetName::nameless(), |fleet| fleet.name.clone());
    let policies = fleet.as_ref().map(|fleet| fleet.spec.policies);
    let clear_text = policies.unwrap_or_default().clear_text_secrets;
    loose.extend(clear_text::find(&files, clear_text));
    let repository = secret::repository(&files);
    let mut engine = Engine::new(&files);
    let empty = Arc::default();
    let defaults = fleet.as_ref().map_or(&empty, |fleet| &fleet.defaults);
    engine.learn_map(defaults);
    for object in objects.values().flatten() {
        engine.learn(&object.spec);
    }
    let objects: Vec<_> = objects.into_iter().collect();
    let typed = parallel::map(&objects, |((kind, name), object)| {
        TypedObject::of(&engine, defaults, repository.as_ref(), *kind, name, object)
    });
    let (mut hosts, mut profiles) = (BTreeMap::new(), BTreeMap::new());
    let (mut networks, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    let mut images = BTreeMap::new();
    for (((_, name), _), typed) in objects.into_iter().zip(typed) {
        match typed {
            Some(TypedObject::Host(host_name, host)) => drop(hosts.insert(host_name, host)),
            Some(TypedObject::Profile(profile)) => drop(profiles.insert(name, profile)),
            Some(TypedObject::Network(network)) => drop(networks.insert(name, network)),
            Some(TypedObject::Secret(secret)) => drop(secrets.insert(name, secret)),
            Some(TypedObject::Image(image)) => drop(images.insert(name, image)),
            None => {}
        }
    }
    let profile_order = crate::compose::order(&mut profiles);
    let mut manifests = Manifests {
        files,
        name,
        fleet,
        hosts,
        profiles,
        networks,
        secrets,
        images,
        repository,
        profile_order,
        loose: std::mem::take(&mut loose),
        engine,
        facts: Arc::default(),
        fragments: crate::compose::Fragments::default(),
        settled: crate::compose::ParamsCache::default(),
        of_fleet: crate::expand::OfFleet::default(),
    };
    manifests.facts = Arc::new(facts::all(&manifests));
    let stale = secret::check(&manifests);
    manifests.loose.extend(stale);
    let unknown = image::check(&manifests);
    manifests.loose.extend(unknown);
    manifests
}

impl Manifests {
    /// Returns the profile of this name or its errors; `None` if there is no such profile.
    pub(crate) fn profile(&self, name: &str) -> Option<&Entry<Profile>> {
        self.profiles.get(name)
    }

    /// Returns the errors of an object.
    pub(crate) fn problems(&self, id: &ObjectId) -> &[Diagnostic] {
        let broken = match id {
            ObjectId::Fleet => self.fleet.as_ref().err(),
            ObjectId::Host(name) => self.hosts.get(name).and_then(|entry| entry.as_ref().err()),
            ObjectId::Profile(name) => self
                .profiles
                .get(name)
                .and_then(|entry| entry.as_ref().err()),
            ObjectId::Network(name) => self
                .networks
                .get(name)
                .and_then(|entry| entry.as_ref().err()),
            ObjectId::Secret(name) => self
                .secrets
                .get(name)
                .and_then(|entry| entry.object.as_ref().err()),
        };
        broken.map_or(&[], |broken| &broken.diagnostics)
    }

    /// Returns the diagnostics of all objects, sorted by file and position.
    fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all = self.loose.clone();
        all.extend(
            self.fleet
                .as_ref()
                .err()
                .into_iter()
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.extend(
            self.hosts
                .values()
                .filter_map(|entry| entry.as_ref().err())
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.extend(
            self.profiles
                .values()
                .filter_map(|entry| entry.as_ref().err())
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.extend(
            self.networks
                .values()
                .filter_map(|entry| entry.as_ref().err())
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.extend(
            self.secrets
                .values()
                .filter_map(|entry| entry.object.as_ref().err())
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.extend(
            self.images
                .values()
                .filter_map(|entry| entry.as_ref().err())
                .flat_map(|broken| broken.diagnostics.clone()),
        );
        all.sort_by(|a, b| a.span.cmp(&b.span));
        all
    }
}

#[cfg(test)]
mod tests;
