//! Parses a [`Policy`] and checks that it is valid in itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::selector::Selector;
use plumb_document::{Diagnostic, Node, Span, Spanned, Value};

use super::identity_set::IdentitySet;
use super::names;
use super::{
    Emergency, Freeze, Freshness, Identity, IdentityIndex, Need, POLICY_PATH, Pattern, Policy,
    PolicyKey, Rule, Seconds, TRUST_PATH, codes, spec,
};
use crate::key_name::KeyName;
use crate::object::limits;
use crate::work::{WorkCounter, count};

const API_VERSION: &str = "plumb.dev/v1alpha1";

/// Maximum number of identities, of groups, of rules, and of patterns in a rule.
const MOST: usize = 1000;
/// Maximum number of diagnostics that are returned.
const MOST_DIAGNOSTICS: usize = 100;
/// Maximum number of unknown names for which the nearest known one is searched.
const MOST_SEARCHES: usize = 5;

impl Policy {
    /// Parses a policy's text and checks that it is valid in itself. [`Authority`](super::Authority) checks
    /// that the policy's keys exist and that its rules can be met.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_counted(text, &WorkCounter::default())
    }

    /// Parses a policy's text, and counts the work.
    pub(super) fn parse_counted(text: &[u8], work: &WorkCounter) -> Result<Self, Vec<Diagnostic>> {
        let within = plumb_document::Limits {
            bytes: 1 << 20,
            depth: 16,
            aliased: 1000,
            values: limits::POLICY_VALUES,
        };
        let node = plumb_document::parse_with(&Arc::from(POLICY_PATH), text, within)?;
        work.add(|work| work.yaml_values += values(&node));
        let document: spec::Document = plumb_document::decode(&node)?;
        let mut reader = Reader {
            work,
            diagnostics: Vec::new(),
            names: BTreeMap::new(),
            searches: 0,
        };
        if *document.kind != "TrustPolicy" {
            reader.wrong(
                codes::POLICY_KIND,
                &document.kind.span,
                format!("`{}` isn't `TrustPolicy`", document.kind.value),
            );
        }
        if let Some(version) = document.api_version.filter(|v| **v != API_VERSION) {
            reader.wrong(
                codes::POLICY_KIND,
                &version.span,
                format!("`{}` isn't `{API_VERSION}`", version.value),
            );
        }
        let policy = reader.policy(document.spec);
        if reader.diagnostics.is_empty() {
            Ok(policy)
        } else {
            Err(reader.diagnostics)
        }
    }
}

/// Counts a value and the values within it.
fn values(node: &Node) -> u64 {
    1 + match &node.value {
        Value::Seq(items) => items.iter().map(values).sum(),
        Value::Map(map) => map.iter().map(|entry| 1 + values(&entry.value)).sum(),
        _ => 0,
    }
}

/// Returns, for each group, the largest count that a need requires.
fn strongest<'n>(needs: impl Iterator<Item = &'n Need>) -> BTreeMap<&'n str, u32> {
    let mut strongest: BTreeMap<&str, u32> = BTreeMap::new();
    for need in needs {
        let most = strongest.entry(&need.from).or_default();
        *most = need.count.max(*most);
    }
    strongest
}

struct Reader<'w> {
    work: &'w WorkCounter,
    diagnostics: Vec<Diagnostic>,
    names: BTreeMap<String, IdentityIndex>,
    /// Number of searches for the nearest known name so far.
    searches: usize,
}

impl Reader<'_> {
    fn wrong(&mut self, code: plumb_document::Code, span: &Span, message: impl Into<String>) {
        self.add(Diagnostic::error(code, span, message));
    }

    /// Adds a diagnostic unless the limit is reached.
    fn add(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() {
            self.diagnostics.push(diagnostic);
        }
    }

    fn is_full(&self) -> bool {
        self.diagnostics.len() >= MOST_DIAGNOSTICS
    }

    fn policy(&mut self, spec: Spanned<spec::Spec>) -> Policy {
        let Spanned { value: spec, span } = spec;
        self.words(&spec);
        let identities = self.identities(spec.identities, &span);
        let groups = self.groups(&spec.groups);
        if spec.rules.len() > MOST {
            self.wrong(
                codes::POLICY_VALUE,
                &spec.rules.span,
                format!("more than {MOST} rules"),
            );
        }
        let rules: Vec<Rule> = spec
            .rules
            .value
            .iter()
            .map(|rule| self.rule(rule, &groups))
            .collect();
        let freeze = spec
            .freeze
            .iter()
            .map(|freeze| self.freeze(freeze))
            .collect();
        let emergency = spec.emergency.map(|emergency| Emergency {
            need: self.needs(&emergency.need, &groups),
            ttl: emergency.ttl,
            bypasses: emergency.bypasses,
            never: self.patterns(&emergency.never),
        });
        let emergency_needs = emergency.iter().flat_map(|emergency| &emergency.need);
        let needs = rules
            .iter()
            .flat_map(|rule| &rule.need)
            .chain(emergency_needs);
        if self.are_few(needs, &groups, &spec.rules.span) {
            self.trust_rule(&rules, &groups, &spec.rules.span);
        }
        let min_rsa_bits = spec.crypto.min_rsa_bits.map_or(3072, |bits| {
            if !(2048..=16384).contains(&*bits) {
                self.wrong(
                    codes::POLICY_VALUE,
                    &bits.span,
                    format!(
                        "{} bits: RSA keys that mean anything have 2048 to 16384",
                        bits.value
                    ),
                );
            }
            bits.value
        });
        Policy {
            serial: spec.serial.value,
            repository: spec.repository.value,
            reference: spec.reference.value,
            bind_ref: spec.bind_ref,
            freshness: spec
                .freshness
                .as_ref()
                .and_then(|freshness| self.freshness(freshness, &groups)),
            identities,
            groups,
            rules,
            side_branches: spec.side_branches,
            approvals_max_age: spec.approvals.max_age.unwrap_or(Seconds(7 * 86_400)),
            skew: spec.time.skew.unwrap_or(Seconds(600)),
            max_age: spec.time.max_age.unwrap_or(Seconds(14 * 86_400)),
            min_rsa_bits,
            freeze,
            emergency,
        }
    }

    /// Checks that the names that trailers contain are single words.
    fn words(&mut self, spec: &spec::Spec) {
        if !names::is_repository(&spec.repository) {
            self.wrong(
                codes::POLICY_VALUE,
                &spec.repository.span,
                "`repository` is one word of letters, digits and `.`, `_`, `/`, `:`, `@`, `+`, `-`, such as a UUID",
            );
        }
        if !names::is_branch(&spec.reference) {
            self.wrong(
                codes::POLICY_VALUE,
                &spec.reference.span,
                "`ref` is the full name of a branch, such as refs/heads/main, in letters, digits and `.`, `_`, `/`, `-`",
            );
        }
    }

    fn identities(
        &mut self,
        identities: BTreeMap<String, Spanned<spec::IdentitySpec>>,
        span: &Span,
    ) -> Vec<Identity> {
        if identities.is_empty() || identities.len() > MOST {
            self.wrong(
                codes::POLICY_VALUE,
                span,
                format!("a policy has between 1 and {MOST} identities"),
            );
        }
        let mut owners: BTreeMap<KeyName, String> = BTreeMap::new();
        let mut read = Vec::with_capacity(identities.len());
        for (name, identity) in identities {
            if !names::is_identity(&name) {
                self.wrong(
                    codes::POLICY_VALUE,
                    &identity.span,
                    format!(
                        "`{}` isn't a name of letters, digits, `-`, `_` and `.`",
                        name.escape_debug()
                    ),
                );
            }
            if identity.keys.is_empty() || identity.keys.len() > 100 {
                self.wrong(
                    codes::POLICY_KEY,
                    &identity.keys.span,
                    format!("`{name}` needs between 1 and 100 keys"),
                );
            }
            let mut keys = Vec::new();
            for key in &identity.keys.value {
                let Some(key_name) = self.key(key) else {
                    continue;
                };
                if let Some(owner) = owners.insert(key_name.clone(), name.clone()) {
                    self.wrong(codes::POLICY_KEY, &key.span, format!("the key {key_name} is `{owner}`'s already; one key counts for one identity"));
                }
                keys.push(PolicyKey {
                    name: key_name,
                    valid_before: key.valid_before,
                });
            }
            self.names.insert(name.clone(), read.len());
            read.push(Identity { name, keys });
        }
        read
    }

    fn key(&mut self, key: &Spanned<spec::KeySpec>) -> Option<KeyName> {
        let (text, name) = match (&key.openpgp, &key.ssh) {
            (Some(text), None) => (text, KeyName::openpgp(text)),
            (None, Some(text)) => (text, KeyName::ssh(text)),
            _ => {
                self.wrong(
                    codes::POLICY_KEY,
                    &key.span,
                    "a key is either `openpgp` or `ssh`",
                );
                return None;
            }
        };
        if let Err(error) = &name {
            self.wrong(codes::POLICY_KEY, &text.span, error.to_string());
        }
        name.ok()
    }

    fn groups(
        &mut self,
        groups: &BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
    ) -> BTreeMap<String, Vec<IdentityIndex>> {
        let mut read = BTreeMap::new();
        if groups.len() > MOST
            && let Some(last) = groups.values().next_back()
        {
            self.wrong(
                codes::POLICY_VALUE,
                &last.span,
                format!("more than {MOST} groups"),
            );
        }
        for (name, members) in groups {
            if !names::is_group(name) {
                self.wrong(
                    codes::POLICY_VALUE,
                    &members.span,
                    format!(
                        "`{}` isn't a group's name of letters, digits and `.`, `_`, `/`, `:`, `@`, `+`, `-`",
                        name.escape_debug()
                    ),
                );
            }
            let mut indexes = BTreeSet::new();
            for member in &members.value {
                if let Some(index) = self.names.get(member.as_str()) {
                    indexes.insert(*index);
                    continue;
                }
                if self.is_full() {
                    break;
                }
                // Each search compares the name with all identities.
                self.searches += 1;
                let near = (self.searches <= MOST_SEARCHES)
                    .then(|| self.names.keys().map(String::as_str))
                    .and_then(|names| plumb_document::closest(member, names));
                let message = format!("there is no identity `{}`", member.value);
                let mut diagnostic =
                    Diagnostic::error(codes::POLICY_REFERENCE, &member.span, message);
                if let Some(near) = near {
                    diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
                }
                self.add(diagnostic);
            }
            read.insert(name.clone(), indexes.into_iter().collect());
        }
        read
    }

    fn patterns(&mut self, patterns: &[Spanned<String>]) -> Vec<Pattern> {
        let mut read = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            match Pattern::parse(pattern) {
                Ok(pattern) => read.push(pattern),
                Err(error) => self.wrong(codes::POLICY_PATTERN, &pattern.span, error.to_string()),
            }
        }
        read
    }

    /// Returns the selector of a rule or freeze by `hosts`, which has no `paths`.
    fn hosts<P>(
        &mut self,
        hosts: Option<&Spanned<spec::Hosts>>,
        paths: Option<&P>,
    ) -> Option<Selector> {
        let hosts = hosts?;
        if paths.is_some() {
            let message = "it is about `paths` or about `hosts`, not both; write two";
            self.wrong(codes::POLICY_VALUE, &hosts.span, message);
        }
        Some(hosts.value.0.clone())
    }

    fn rule(
        &mut self,
        rule: &Spanned<spec::RuleSpec>,
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
    ) -> Rule {
        let hosts = self.hosts(rule.hosts.as_ref(), rule.paths.as_ref());
        let paths = match &rule.paths {
            Some(paths) if !paths.is_empty() && paths.len() <= MOST => self.patterns(paths),
            Some(_) => {
                self.wrong(
                    codes::POLICY_PATTERN,
                    &rule.span,
                    format!("a rule has between 1 and {MOST} patterns; `**` is everything"),
                );
                Vec::new()
            }
            None => {
                if rule.hosts.is_none() {
                    self.wrong(
                        codes::POLICY_PATTERN,
                        &rule.span,
                        "a rule says which `paths` or `hosts` it is about",
                    );
                }
                Vec::new()
            }
        };
        Rule {
            paths,
            hosts,
            need: self.needs(&rule.need, groups),
        }
    }

    fn needs(
        &mut self,
        needs: &Spanned<Vec<Spanned<Need>>>,
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
    ) -> Vec<Need> {
        if needs.is_empty() {
            self.wrong(
                codes::POLICY_NEED,
                &needs.span,
                "an empty `need` would let everybody through",
            );
        }
        for need in &needs.value {
            if need.count == 0 {
                self.wrong(
                    codes::POLICY_NEED,
                    &need.span,
                    "`count: 0` would let everybody through",
                );
            }
            if !groups.contains_key(&need.from) {
                self.wrong(
                    codes::POLICY_REFERENCE,
                    &need.span,
                    format!("there is no group `{}`", need.from),
                );
            }
        }
        needs.value.iter().map(|need| need.value.clone()).collect()
    }

    /// Counts the group members that all needs name in total. Adds a diagnostic and returns `false` if there
    /// are too many to compare.
    fn are_few<'n>(
        &mut self,
        needs: impl Iterator<Item = &'n Need>,
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
        span: &Span,
    ) -> bool {
        let members: usize = needs
            .map(|need| groups.get(&need.from).map_or(0, Vec::len))
            .sum();
        let few = members <= limits::NEED_MEMBERS;
        if !few {
            let message = format!(
                "the needs name groups of more than {} members, counted again for each need",
                limits::NEED_MEMBERS
            );
            self.wrong(codes::POLICY_NEED, span, message);
        }
        few
    }

    /// Checks that the rules that own all of `trust/` require whatever another rule requires.
    fn trust_rule(
        &mut self,
        rules: &[Rule],
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
        span: &Span,
    ) {
        let trust: Vec<&Need> = rules
            .iter()
            .filter(|rule| rule.owns(TRUST_PATH))
            .flat_map(|rule| &rule.need)
            .collect();
        if trust.is_empty() {
            self.wrong(
                codes::POLICY_TRUST_RULE,
                span,
                "no rule owns all of `trust/`: add one with the pattern `trust/**`",
            );
            return;
        }
        let strongest = strongest(trust.iter().copied());
        let total = self.names.len();
        let members = |name: &str| groups.get(name).map_or(&[][..], Vec::as_slice);
        let set = |name: &str| IdentitySet::new(total, members(name).iter().copied());
        let sets: Vec<(IdentitySet, u32)> = strongest
            .iter()
            .map(|(name, count)| (set(name), *count))
            .collect();
        let needs = rules.iter().flat_map(|rule| &rule.need);
        for (name, most) in self::strongest(needs.clone()) {
            let group = set(name);
            self.work.add(|work| {
                work.members += sets
                    .iter()
                    .map(|(set, _)| 1 + count(set.len()))
                    .sum::<u64>();
            });
            let within = sets.iter().filter(|(set, _)| set.is_subset(&group));
            let asked = within.map(|(_, count)| *count).max().unwrap_or_default();
            if asked >= most {
                continue;
            }
            let weaker: BTreeSet<u32> = needs
                .clone()
                .filter(|need| need.from == name && need.count > asked)
                .map(|need| need.count)
                .collect();
            for count in weaker {
                let message = format!(
                    "the rules for `trust/**` are weaker than one that needs {count} of `{name}`"
                );
                let hint = format!("let `trust/**` need at least {count} of `{name}` too");
                self.add(Diagnostic::error(codes::POLICY_TRUST_RULE, span, message).hint(hint));
            }
        }
    }

    fn freeze(&mut self, freeze: &Spanned<spec::FreezeSpec>) -> Freeze {
        let hosts = self.hosts(freeze.hosts.as_ref(), freeze.paths.as_ref());
        if freeze.from >= freeze.to {
            self.wrong(
                codes::POLICY_VALUE,
                &freeze.span,
                "the freeze ends before it begins",
            );
        }
        let paths = match &freeze.paths {
            Some(paths) => self.patterns(paths),
            None if hosts.is_some() => Vec::new(),
            None => Pattern::parse("**").into_iter().collect(),
        };
        Freeze {
            from: freeze.from,
            to: freeze.to,
            paths,
            hosts,
        }
    }

    fn freshness(
        &mut self,
        freshness: &spec::FreshnessSpec,
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
    ) -> Option<Freshness> {
        let from = self.names.get(freshness.from.as_str()).copied();
        match from {
            None => self.wrong(
                codes::POLICY_REFERENCE,
                &freshness.from.span,
                format!("there is no identity `{}`", freshness.from.value),
            ),
            Some(from) if groups.values().any(|group| group.contains(&from)) => {
                let message =
                    "a heartbeat's key is always at hand, so its identity may be in no group";
                self.wrong(codes::POLICY_VALUE, &freshness.from.span, message);
            }
            Some(_) => {}
        }
        if freshness.max_age.0 == 0 {
            self.wrong(
                codes::POLICY_VALUE,
                &freshness.tag.span,
                "`maxAge` must be longer than no time at all",
            );
        }
        let tag = match Pattern::parse(&freshness.tag) {
            Ok(tag) => Some(tag),
            Err(error) => {
                self.wrong(
                    codes::POLICY_PATTERN,
                    &freshness.tag.span,
                    error.to_string(),
                );
                None
            }
        };
        Some(Freshness {
            tag: tag?,
            from: from?,
            max_age: freshness.max_age,
            on_stale: freshness.on_stale,
        })
    }
}
