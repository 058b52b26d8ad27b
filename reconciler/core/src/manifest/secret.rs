//! `secrets/NAME.yaml`: reads encrypted values, and checks who can read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::kind::{HostState, SecretDelivery, SecretObjectSpec, SecretReaders};
use plumb_api::name::is_label;
use plumb_api::resource::check_secret_path;
use plumb_api::secret::{is_age_key, is_armored};
use plumb_api::selector::Selector;
use plumb_api::{Address, Digest};
use plumb_document::{Diagnostic, Node, SourceFile, Span, decode, parse};

use super::object::Object;
use super::{Broken, Entry, HostFacts, Manifests, code};
use crate::compose::{Fragment, Piece, Priority, Scope};
use crate::expand::secret as expansion;
use crate::secret::Recipients;

/// A decoded Secret.
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) name: Arc<str>,
    pub(crate) file: Arc<str>,
    pub(crate) spec: SecretObjectSpec,
    pub(crate) selector: Selector,
    /// The resources that each selected host gets.
    pub(crate) fragment: Arc<Fragment>,
    /// The spec as a tree, which has the position of each value.
    pub(crate) node: Node,
}

/// A Secret or its errors, and the hosts that it concerns.
#[derive(Debug, Clone)]
pub(crate) struct SecretEntry {
    /// `None` if `hosts` can't be read, so that every host may be concerned.
    selector: Option<Selector>,
    pub(crate) object: Entry<Secret>,
}

impl SecretEntry {
    pub(super) fn read(object: Result<&Object, Broken>, repository: Option<&Arc<str>>) -> Self {
        match object {
            Ok(object) => {
                let selector = object
                    .spec
                    .get("hosts")
                    .and_then(|node| selector(node).ok());
                let read = read(object, repository).map(Arc::new);
                Self {
                    selector,
                    object: read.map_err(|diagnostics| Broken {
                        labels: Some(object.labels.clone()),
                        diagnostics,
                    }),
                }
            }
            Err(broken) => Self {
                selector: None,
                object: Err(broken),
            },
        }
    }

    /// True if the Secret selects the host, or if that is unknown.
    pub(crate) fn may_select(&self, host: &HostFacts) -> bool {
        self.selector
            .as_ref()
            .is_none_or(|selector| selector.matches(host.name.as_str(), &host.labels))
    }
}

/// Reads a selector: text, or a list of names.
fn selector(node: &Node) -> Result<Selector, Box<Diagnostic>> {
    let wrong = |message: String| {
        let diagnostic = Diagnostic::error(code::INVALID_SELECTOR, &node.span, message);
        Box::new(
            diagnostic.hint("write `hosts: role=web`, `hosts: [web1, web2]` or `hosts: \"*\"`"),
        )
    };
    match (node.as_str(), node.as_seq()) {
        (Some(text), _) => Selector::parse(text).map_err(|error| wrong(error.to_string())),
        (None, Some(items)) => {
            let names: Option<Vec<String>> = items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect();
            names
                .map(Selector::names)
                .ok_or_else(|| wrong("a list of hosts has only names".to_owned()))
        }
        (None, None) => Err(wrong(format!(
            "expected a selector of hosts, not {}",
            node.describe()
        ))),
    }
}

fn read(object: &Object, repository: Option<&Arc<str>>) -> Result<Secret, Vec<Diagnostic>> {
    let spec: SecretObjectSpec = decode(&object.spec)?;
    let place = |field: &str| {
        object
            .spec
            .get(field)
            .map_or(&object.span, |node| &node.span)
    };
    let mut diagnostics = Vec::new();
    let selector = match object.spec.get("hosts").map(selector) {
        Some(Ok(selector)) => Some(selector),
        Some(Err(diagnostic)) => {
            diagnostics.push(*diagnostic);
            None
        }
        None => {
            diagnostics.push(
                Diagnostic::error(
                    code::INVALID_SELECTOR,
                    &object.span,
                    "a Secret needs `hosts`",
                )
                .hint("write `hosts: role=web`, `hosts: [web1, web2]` or `hosts: \"*\"`"),
            );
            None
        }
    };
    for (field, keys) in [
        ("values", spec.values.keys().collect::<Vec<_>>()),
        ("recipients", spec.recipients.keys().collect()),
        ("deliver", spec.deliver.iter().map(|one| &one.key).collect()),
    ] {
        for key in keys.into_iter().filter(|key| !is_label(key)) {
            diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    place(field),
                    format!("`{key}` isn't a valid key of a Secret"),
                )
                .hint("use 1 to 63 of a-z, 0-9 and `-`, without `-` at either end"),
            );
        }
    }
    for (at, one) in spec.deliver.iter().enumerate() {
        let span = object
            .spec
            .get("deliver")
            .and_then(|list| list.as_seq()?.get(at))
            .map_or(place("deliver"), |node| &node.span);
        if let Err((message, hint)) = check_delivery(one) {
            let diagnostic = Diagnostic::error(plumb_document::codes::INVALID_VALUE, span, message);
            diagnostics.push(diagnostic.hint(hint));
        }
    }
    for (key, _) in spec.values.iter().filter(|(_, text)| !is_armored(text)) {
        let message = format!("the value of `{key}` isn't an age file");
        let diagnostic = Diagnostic::error(code::CLEAR_TEXT_SECRET, place("values"), message);
        diagnostics.push(diagnostic.hint(format!(
            "if it is the value itself, everybody who can read the repository knows it now: make a new one, and run `plumb secret set {}/{key}`",
            object.name
        )));
    }
    if repository.is_none() && !spec.values.is_empty() {
        diagnostics.push(
            Diagnostic::error(
                code::SECRET,
                &object.span,
                "the repository has no identity, which secrets are bound to",
            )
            .hint("run `plumb trust init`, which writes trust/policy.yaml"),
        );
    }
    let repository = repository.map_or("", |repository| repository);
    match (selector, pieces(object, repository, &spec)) {
        (Some(selector), Ok(pieces)) if diagnostics.is_empty() => {
            let scope = scope(&object.name);
            Ok(Secret {
                name: object.name.as_str().into(),
                file: object.file.clone(),
                spec,
                selector,
                fragment: Arc::new(Fragment::of_pieces(pieces, scope)),
                node: object.spec.clone(),
            })
        }
        (_, pieces) => {
            diagnostics.extend(pieces.err().map(|diagnostic| *diagnostic));
            Err(diagnostics)
        }
    }
}

fn scope(name: &str) -> Arc<Scope> {
    Arc::new(Scope {
        by: format!("secret {name}").into(),
        instance: None,
    })
}

/// Returns the resources of a Secret as pieces.
fn pieces(
    object: &Object,
    repository: &str,
    spec: &SecretObjectSpec,
) -> Result<Vec<Piece>, Box<Diagnostic>> {
    let wrong =
        |message: String| Box::new(Diagnostic::error(code::INVALID_NAME, &object.span, message));
    let parts = expansion::parts(repository, &object.name, spec);
    let parts = parts.map_err(|error| wrong(error.to_string()))?;
    let scope = scope(&object.name);
    let piece = |part: crate::expand::Part| {
        let address = part.address().map_err(wrong)?;
        let span = object
            .spec
            .get("values")
            .and_then(|values| Some(values.as_map()?.entry(key_of(&address))?.key.span.clone()))
            .unwrap_or_else(|| object.span.clone());
        let fields = Arc::new(part.own_fields(&span));
        let address = address.into();
        Ok(Piece::new(
            address,
            Priority::Defaults,
            span,
            fields,
            scope.clone(),
        ))
    };
    parts.into_iter().map(piece).collect()
}

/// Returns the key in a secret's address.
fn key_of(address: &Address) -> &str {
    let name = address.name();
    name.rsplit_once('/').map_or(name, |(_, key)| key)
}

/// Checks a delivery. An error is the mistake and the remedy.
pub(crate) fn check_delivery(one: &SecretDelivery) -> Result<(), (String, &'static str)> {
    const WAYS: &str = "write {key: KEY, path: /run/plumb/secrets/NAME} or {key: KEY, unit: NAME}";
    match (&one.path, &one.unit) {
        (Some(path), None) => {
            check_secret_path(path).map_err(|message| (message, WAYS))?;
            match one.mode.filter(|mode| mode.bits() & 0o7007 != 0) {
                Some(mode) => Err((
                    format!("the mode {mode} lets others read a secret"),
                    "give it to a group: {group: app, mode: \"0440\"}",
                )),
                None => Ok(()),
            }
        }
        (None, Some(unit)) => {
            if unit.is_empty() || unit.contains('/') || unit.contains(char::is_whitespace) {
                return Err((format!("`{unit}` isn't the name of a unit"), WAYS));
            }
            if one.owner.is_some() || one.group.is_some() || one.mode.is_some() {
                return Err((
                    "systemd gives a unit's credentials to the unit itself".to_owned(),
                    "remove `owner`, `group` and `mode`, or deliver to a `path`",
                ));
            }
            Ok(())
        }
        _ => Err((
            "a delivery must have exactly one of `path` and `unit`".to_owned(),
            WAYS,
        )),
    }
}

/// Returns the repository's identity in the trust policy.
pub(super) fn repository(files: &BTreeMap<Arc<str>, SourceFile>) -> Option<Arc<str>> {
    const POLICY: &str = "trust/policy.yaml";
    let bytes = files.get(POLICY)?.bytes()?;
    let policy = parse(&Arc::from(POLICY), bytes).ok()?;
    Some(policy.get("spec")?.get("repository")?.as_str()?.into())
}

/// Returns the hosts that a selector selects and the operators, with their keys.
pub(crate) fn recipients(manifests: &Manifests, selector: &Selector) -> Recipients {
    let mut all = Recipients::default();
    for (name, host) in &manifests.hosts {
        let Ok(host) = host else { continue };
        let is_driven = matches!(host.spec.state, HostState::Active | HostState::Dormant);
        if !is_driven || !selector.matches(name.as_str(), &host.labels) {
            continue;
        }
        match &host.spec.age_key {
            Some(key) => drop(all.hosts.insert(name.to_string(), key.clone())),
            None => all.keyless_hosts.push(name.to_string()),
        }
    }
    let operators = manifests.fleet.as_ref().map(|fleet| &fleet.spec.secrets);
    for name in operators.iter().flat_map(|secrets| &secrets.operators) {
        match operator_key(manifests, name) {
            Some(key) => drop(all.operators.insert(name.clone(), key)),
            None => all.keyless_operators.push(name.clone()),
        }
    }
    all
}

/// Returns the key in an operator's file.
fn operator_key(manifests: &Manifests, name: &str) -> Option<String> {
    let file = manifests
        .files
        .get(format!("trust/recipients/{name}.pub").as_str())?;
    let text = std::str::from_utf8(file.bytes()?).ok()?;
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| is_age_key(line)).map(str::to_owned)
}

/// Checks that everyone who should read a value can, and nobody else, and that each value was encrypted for
/// its present use. These diagnostics hold no host: a host that can't decrypt a secret says so itself.
pub(super) fn check(manifests: &Manifests) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for secret in manifests
        .secrets
        .values()
        .filter_map(|one| one.object.as_ref().ok())
    {
        let derived = recipients(manifests, &secret.selector);
        let span = secret
            .node
            .get("hosts")
            .map_or(&secret.node.span, |node| &node.span);
        diagnostics.extend(lacking(secret, &derived, span));
        let keys: BTreeSet<&String> = secret
            .spec
            .values
            .keys()
            .chain(secret.spec.deliver.iter().map(|one| &one.key))
            .collect();
        for key in keys {
            if let Some(problem) = problem(&secret.name, &secret.spec, key, &derived) {
                let span = place_of(secret, key).unwrap_or_else(|| span.clone());
                let message = format!("`{}/{key}` {}", secret.name, problem.message());
                diagnostics.push(
                    Diagnostic::error(code::SECRET, &span, message)
                        .hint(problem.hint(&secret.name, key)),
                );
            }
        }
    }
    diagnostics
}

/// Returns the diagnostics about hosts and operators without a key.
fn lacking(secret: &Secret, derived: &Recipients, span: &Span) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    let new = |message: String| Diagnostic::error(code::SECRET, span, message);
    if let Some(first) = derived.keyless_hosts.first() {
        let hosts = derived.keyless_hosts.join(", ");
        all.push(
            new(format!(
                "no `ageKey` is pinned for {hosts}, so the secret can't be encrypted to it"
            ))
            .hint(format!("run `plumb enroll {first} --address ADDRESS`")),
        );
    }
    if let Some(first) = derived.keyless_operators.first() {
        all.push(
            new(format!(
                "the operator `{first}` has no key in trust/recipients/{first}.pub"
            ))
            .hint(format!("run `plumb secret operator {first}`")),
        );
    }
    if derived.operators.is_empty() && derived.keyless_operators.is_empty() {
        let message = format!(
            "no operator can read `{}`: when its hosts are lost, so is the secret",
            secret.name
        );
        all.push(Diagnostic::warning(code::SECRET, span, message).hint(
            "run `plumb secret operator NAME`, and write `secrets: {operators: [NAME]}` into fleet.yaml",
        ));
    }
    all
}

fn place_of(secret: &Secret, key: &str) -> Option<Span> {
    let values = secret.node.get("values")?.as_map()?;
    Some(values.entry(key)?.key.span.clone())
}

/// The problem of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ValueProblem {
    /// There is no value.
    Missing,
    /// These hosts and operators should be able to read it, and can't.
    Lacks(Vec<String>),
    /// These hosts and operators can read it, and shouldn't.
    Extra(Vec<String>),
    /// It was encrypted for other `hosts` or another delivery.
    OtherUse,
}

impl ValueProblem {
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Missing => "has no value".to_owned(),
            Self::Lacks(names) => format!("isn't encrypted to {}", names.join(", ")),
            Self::Extra(names) => {
                format!(
                    "is still encrypted to {}, who shouldn't read it",
                    names.join(", ")
                )
            }
            Self::OtherUse => "was encrypted for other `hosts` or another delivery".to_owned(),
        }
    }

    fn hint(&self, name: &str, key: &str) -> String {
        match self {
            Self::Missing => format!("run `plumb secret set {name}/{key}`"),
            Self::Lacks(_) | Self::OtherUse => format!("run `plumb secret rekey {name}`"),
            Self::Extra(_) => format!(
                "run `plumb secret set {name}/{key}` with a new value: who could read the old one may have kept it"
            ),
        }
    }
}

/// Returns the digest of a value's use: of `hosts` and of its files.
pub(crate) fn usage(name: &str, spec: &SecretObjectSpec, key: &str) -> Option<Digest> {
    let binding = expansion::binding("", name, spec, key, 0).ok()?;
    Digest::of("secret-usage", &(binding.hosts, binding.deliver)).ok()
}

/// Returns the problem of a value, if it has one.
pub(crate) fn problem(
    name: &str,
    spec: &SecretObjectSpec,
    key: &str,
    derived: &Recipients,
) -> Option<ValueProblem> {
    if !spec.values.contains_key(key) {
        return Some(ValueProblem::Missing);
    }
    let nobody = SecretReaders::default();
    let written = spec.recipients.get(key).unwrap_or(&nobody);
    let groups = [
        (&derived.hosts, &written.hosts),
        (&derived.operators, &written.operators),
    ];
    let names = |of: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let missing = of
            .iter()
            .filter(|(name, key)| other.get(*name) != Some(*key));
        missing.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let lacks: Vec<String> = groups
        .iter()
        .flat_map(|(should, can)| names(should, can))
        .collect();
    if !lacks.is_empty() {
        return Some(ValueProblem::Lacks(lacks));
    }
    if written.usage != usage(name, spec, key) {
        return Some(ValueProblem::OtherUse);
    }
    let extra: Vec<String> = groups
        .iter()
        .flat_map(|(should, can)| names(can, should))
        .collect();
    (!extra.is_empty()).then_some(ValueProblem::Extra(extra))
}
