//! The text of a policy.

use super::{Files, REF, REPOSITORY};
use crate::keys::{Key, people};

/// A policy's text, part by part.
#[derive(Clone)]
pub struct PolicyText {
    /// `serial`
    pub serial: u64,
    /// `repository`
    pub repository: String,
    /// `ref`
    pub reference: String,
    /// `bindRef`
    pub bind_ref: String,
    /// Names, and their keys: how the policy names each, with what follows.
    pub identities: Vec<(String, Vec<String>)>,
    /// Names and members.
    pub groups: Vec<(String, String)>,
    /// Rules, each as one line.
    pub rules: Vec<String>,
    /// Further lines.
    pub more: String,
    /// The files of keys.
    pub keys: Vec<(String, String)>,
}

impl PolicyText {
    /// Ops of three and sec of two; `prod/**` needs two of ops.
    pub fn usual() -> Self {
        let p = people();
        let mut text = Self {
            serial: 1,
            repository: REPOSITORY.to_owned(),
            reference: REF.to_owned(),
            bind_ref: "none".to_owned(),
            identities: Vec::new(),
            groups: vec![
                ("ops".to_owned(), "[alice, bob, carol]".to_owned()),
                ("sec".to_owned(), "[dave, erin]".to_owned()),
            ],
            rules: vec![
                "{paths: [\"**\"], need: [{from: ops, count: 1}]}".to_owned(),
                "{paths: [\"prod/**\"], need: [{from: ops, count: 2}]}".to_owned(),
                "{paths: [\"trust/**\"], need: [{from: ops, count: 2}, {from: sec, count: 1}]}"
                    .to_owned(),
            ],
            more: String::new(),
            keys: Vec::new(),
        };
        for (name, key) in [
            ("alice", &p.alice),
            ("bob", &p.bob),
            ("carol", &p.carol),
            ("dave", &p.dave),
            ("erin", &p.erin),
        ] {
            text.identity(name, &[key]);
        }
        text
    }

    /// Adds or replaces an identity.
    pub fn identity(&mut self, name: &str, keys: &[&Key]) {
        self.identities.retain(|(other, _)| other != name);
        self.keys
            .retain(|(file, _)| !file.starts_with(&format!("{name}-")));
        self.identities.push((
            name.to_owned(),
            keys.iter().map(|key| key.policy_line()).collect(),
        ));
        for (index, key) in keys.iter().enumerate() {
            self.keys.push((format!("{name}-{index}"), key.public()));
        }
    }

    /// The text.
    pub fn render(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "kind: TrustPolicy\nmetadata: {{name: main}}\nspec:\n  serial: {}\n  repository: {}\n  ref: {}\n  bindRef: {}\n  identities:\n",
            self.serial, self.repository, self.reference, self.bind_ref
        );
        for (name, keys) in &self.identities {
            let keys: Vec<String> = keys.iter().map(|key| format!("{{{key}}}")).collect();
            writeln!(text, "    {name}: {{keys: [{}]}}", keys.join(", ")).unwrap();
        }
        text.push_str("  groups:\n");
        for (name, members) in &self.groups {
            writeln!(text, "    {name}: {members}").unwrap();
        }
        text.push_str("  rules:\n");
        for rule in &self.rules {
            writeln!(text, "    - {rule}").unwrap();
        }
        for line in self.more.lines() {
            writeln!(text, "  {line}").unwrap();
        }
        text
    }

    /// The files of `trust/`.
    pub fn files(&self) -> Files {
        let mut files = Files::from([(
            "trust/policy.yaml".to_owned(),
            ("100644", self.render().into_bytes()),
        )]);
        for (name, key) in &self.keys {
            files.insert(
                format!("trust/keys/{name}"),
                ("100644", key.clone().into_bytes()),
            );
        }
        files
    }
}
