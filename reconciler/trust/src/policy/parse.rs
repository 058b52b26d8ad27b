//! From text to a [`Policy`] that makes sense in itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_document::{Diagnostic, Node, Span, Spanned, Value};

use super::names;
use super::{
    Emergency, Freeze, Freshness, Identity, IdentityIndex, Need, POLICY_PATH, Pattern, Policy,
    PolicyKey, Rule, Seconds, TRUST_PATH, codes, spec,
};
use crate::signature::KeyName;
use crate::work::{WorkCounter, count};

const API_VERSION: &str = "plumb.dev/v1alpha1";

/// What there may be at most of identities, keys of one, groups and rules.
const MOST: usize = 1000;

impl Policy {
    /// Reads a policy's text. What it says of itself is checked; whether its keys are there, and
    /// whether its rules can be met, is the [`Authority`](super::Authority)'s.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_counted(text, &WorkCounter::default())
    }

    /// Reads a policy's text, and counts the work.
    pub(super) fn parse_counted(text: &[u8], work: &WorkCounter) -> Result<Self, Vec<Diagnostic>> {
        let limits = plumb_document::Limits {
            bytes: 1 << 20,
            depth: 16,
            aliased: 1000,
        };
        let node = plumb_document::parse_with(&Arc::from(POLICY_PATH), text, limits)?;
        work.add(|work| work.yaml_values += values(&node));
        let document: spec::Document = plumb_document::decode(&node)?;
        let mut reader = Reader {
            work,
            diagnostics: Vec::new(),
            names: BTreeMap::new(),
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

/// Counts a value and those within it.
fn values(node: &Node) -> u64 {
    1 + match &node.value {
        Value::Seq(items) => items.iter().map(values).sum(),
        Value::Map(map) => map.iter().map(|entry| 1 + values(&entry.value)).sum(),
        _ => 0,
    }
}

struct Reader<'w> {
    work: &'w WorkCounter,
    diagnostics: Vec<Diagnostic>,
    names: BTreeMap<String, IdentityIndex>,
}

impl Reader<'_> {
    fn wrong(&mut self, code: plumb_document::Code, span: &Span, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(code, span, message));
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
        self.trust_rule(&rules, &groups, &spec.rules.span);
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

    /// What is compared word by word in trailers must be one word.
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
        identities: BTreeMap<String, Spanned<spec::Identity>>,
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

    fn key(&mut self, key: &Spanned<spec::Key>) -> Option<KeyName> {
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
                let near = plumb_document::closest(member, self.names.keys().map(String::as_str));
                let message = format!("there is no identity `{}`", member.value);
                let mut diagnostic =
                    Diagnostic::error(codes::POLICY_REFERENCE, &member.span, message);
                if let Some(near) = near {
                    diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
                }
                self.diagnostics.push(diagnostic);
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

    fn no_hosts(&mut self, hosts: Option<&Spanned<serde::de::IgnoredAny>>) {
        if let Some(hosts) = hosts {
            let message = "rules and freezes by `hosts` can't be judged yet, as effects on hosts aren't computed; write `paths`";
            self.wrong(codes::UNSUPPORTED_FIELD, &hosts.span, message);
        }
    }

    fn rule(
        &mut self,
        rule: &Spanned<spec::Rule>,
        groups: &BTreeMap<String, Vec<IdentityIndex>>,
    ) -> Rule {
        self.no_hosts(rule.hosts.as_ref());
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
                        "a rule says which `paths` it is about",
                    );
                }
                Vec::new()
            }
        };
        Rule {
            paths,
            need: self.needs(&rule.need, groups),
        }
    }

    fn needs(
        &mut self,
        needs: &Spanned<Vec<Spanned<spec::Need>>>,
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
        needs
            .value
            .iter()
            .map(|need| Need {
                from: need.from.clone(),
                count: need.count,
            })
            .collect()
    }

    /// Whatever another rule asks for, the rules that own all of `trust/` ask for too.
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
        let members = |name: &str| groups.get(name).map_or(&[][..], Vec::as_slice);
        let work = self.work;
        let implied = |need: &Need| {
            trust.iter().any(|t| {
                let pairs = count(members(&t.from).len() * members(&need.from).len());
                work.add(|work| work.members += pairs);
                t.count >= need.count
                    && members(&t.from)
                        .iter()
                        .all(|m| members(&need.from).contains(m))
            })
        };
        for need in rules
            .iter()
            .flat_map(|rule| &rule.need)
            .filter(|need| !implied(need))
        {
            let message = format!(
                "the rules for `trust/**` are weaker than one that needs {} of `{}`",
                need.count, need.from
            );
            let hint = format!(
                "let `trust/**` need at least {} of `{}` too",
                need.count, need.from
            );
            self.diagnostics
                .push(Diagnostic::error(codes::POLICY_TRUST_RULE, span, message).hint(hint));
        }
    }

    fn freeze(&mut self, freeze: &Spanned<spec::Freeze>) -> Freeze {
        self.no_hosts(freeze.hosts.as_ref());
        if freeze.from >= freeze.to {
            self.wrong(
                codes::POLICY_VALUE,
                &freeze.span,
                "the freeze ends before it begins",
            );
        }
        let everything = || Pattern::parse("**").into_iter().collect();
        let paths = freeze
            .paths
            .as_ref()
            .map_or_else(everything, |paths| self.patterns(paths));
        Freeze {
            from: freeze.from,
            to: freeze.to,
            paths,
        }
    }

    fn freshness(
        &mut self,
        freshness: &spec::Freshness,
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
