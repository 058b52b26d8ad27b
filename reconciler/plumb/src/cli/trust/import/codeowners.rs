//! Imports CODEOWNERS in GitHub's form: patterns of paths with their owners.
//!
//! In CODEOWNERS only the last line that matches a path counts; in a policy every rule that matches must be
//! met. So where lines with different owners overlap, the imported policy requires more than the file, and a
//! note says so. It never requires less.

use std::collections::BTreeSet;

use plumb_trust::Policy;
use plumb_trust::policy::{Pattern, TRUST_PATH};

use super::note::Note;
use crate::cli::init::founders::word;
use crate::cli::init::new_policy::Rule;
use crate::report::Failure;
use crate::yaml_edit::{EditError, PathStep, Yaml, scalar};

/// Adds the file's rules to a policy's text. Also returns notes on the differences. Fails if the text's
/// layout isn't understood.
pub(super) fn read(
    text: &str,
    policy: &Policy,
    policy_text: &str,
) -> (Result<String, Failure>, Vec<Note>) {
    let mut notes = Vec::new();
    let lines: Vec<OwnerLine> = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| owned(line, at + 1, policy, &mut notes))
        .collect();
    overlaps(&lines, &mut notes);
    let mut groups = Groups {
        policy,
        new: Vec::new(),
    };
    let mut rules: Vec<Rule> = Vec::new();
    for line in &lines {
        let group = groups.of(&line.owners, line.at);
        if has_rule(policy, &line.pattern, &group) {
            continue;
        }
        let needs = vec![(group, 1)];
        // Lines with the same owners share a rule.
        match rules.iter_mut().find(|rule| rule.needs == needs) {
            Some(rule) => rule.paths.push(line.pattern.clone()),
            None => rules.push(Rule {
                paths: vec![line.pattern.clone()],
                needs,
            }),
        }
    }
    if let Some(rule) = trust_rule(policy, &groups, &rules) {
        let names: Vec<_> = rule.needs.iter().map(|(name, _)| name.as_str()).collect();
        notes.push(Note::without_line(format!(
            "whoever changes trust/ could change these rules, so trust/ must need as much: 1 of {}",
            names.join(" and 1 of ")
        )));
        rules.push(rule);
    }
    let mut yaml = Yaml::new(policy_text.to_owned());
    let added = add(&mut yaml, &groups, &rules).map_err(|error| {
        let failure = Failure::new(format!("trust/policy.yaml: {error}"))
            .hint("add the groups and rules to the file yourself:");
        let new = groups.new.iter();
        let forms = new.map(|(name, members)| format!("{}: {}", scalar(name), list(members)));
        let forms = forms.chain(rules.iter().map(|rule| format!("- {}", rule.form())));
        forms.fold(failure, Failure::hint)
    });
    (added.map(|()| yaml.text().to_owned()), notes)
}

/// A line that can be imported.
struct OwnerLine {
    at: usize,
    /// The pattern in the file.
    written: String,
    /// The pattern in the policy.
    pattern: String,
    /// Identities of the policy.
    owners: BTreeSet<String>,
}

fn owned(line: &str, at: usize, policy: &Policy, notes: &mut Vec<Note>) -> Option<OwnerLine> {
    // Text after ` #` is a comment, which is removed below.
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (written, rest) = split(line);
    let rest = rest.split(" #").next().unwrap_or_default();
    let mut say = |message: String| notes.push(Note::at(at, message));
    if written.starts_with(['"', '\'']) {
        say("left out: CODEOWNERS has no quotes; write a space in a pattern as `\\ `".to_owned());
        return None;
    }
    if written.starts_with('[') || written.starts_with("^[") {
        say(
            "left out: sections (`[…]`) are GitLab's, which counts approvals differently"
                .to_owned(),
        );
        return None;
    }
    let words: Vec<&str> = rest
        .split_whitespace()
        .take_while(|w| !w.starts_with('#'))
        .collect();
    if words.is_empty() {
        say(format!(
            "left out: `{written}` has no owner, which cancels earlier lines there; here every rule that matches must hold"
        ));
        return None;
    }
    let pattern = match pattern(&written) {
        Ok(pattern) => {
            // In CODEOWNERS a star at the end matches only files directly in that folder.
            if pattern != "**" && (pattern == "*" || pattern.ends_with("/*")) {
                say(format!(
                    "stricter here: `{written}` also matches deeper folders"
                ));
            }
            pattern
        }
        Err(why) => {
            say(format!("left out: `{written}` {why}"));
            return None;
        }
    };
    let mut owners = BTreeSet::new();
    for owner in words {
        match identities(owner, policy) {
            Ok((names, note)) => {
                owners.extend(names);
                if let Some(note) = note {
                    say(note);
                }
            }
            Err(why) => say(format!("{owner} is left out: {why}")),
        }
    }
    if owners.is_empty() {
        say(format!(
            "left out: no owner of `{written}` is an identity here"
        ));
        return None;
    }
    Some(OwnerLine {
        at,
        written,
        pattern,
        owners,
    })
}

/// Splits a line into its pattern and the rest. `\ ` is a space within the pattern.
fn split(line: &str) -> (String, &str) {
    let mut pattern = String::new();
    let mut characters = line.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, ' ')) => pattern.push(' '),
                Some((_, other)) => pattern.extend(['\\', other]),
                None => pattern.push('\\'),
            },
            ' ' | '\t' => return (pattern, &line[at..]),
            c => pattern.push(c),
        }
    }
    (pattern, "")
}

/// Translates a pattern of CODEOWNERS into a pattern of a policy. In both, a pattern that matches a folder
/// covers everything in the folder.
fn pattern(written: &str) -> Result<String, String> {
    if let Some(c) = written
        .chars()
        .find(|c| matches!(c, '?' | '[' | ']' | '!' | '\\' | '{' | '}'))
    {
        return Err(format!(
            "has a `{c}`, which has no equivalent: list the paths"
        ));
    }
    let whole = written.trim_end_matches('/');
    let anchored = whole.trim_start_matches('/');
    if anchored.is_empty() {
        return Err("matches nothing".to_owned());
    }
    // A pattern with no slash except at its end matches at any depth.
    let anywhere = !whole.contains('/');
    let made = match (anywhere, anchored) {
        (true, "*" | "**") => "**".to_owned(),
        (true, name) => format!("**/{name}"),
        (false, path) => path.to_owned(),
    };
    Pattern::parse(&made).map_err(|error| format!("can't be translated: {error}"))?;
    Ok(made)
}

/// Resolves an owner to identities. A team is resolved to the policy's group of the same name, and a note
/// about that is returned too.
fn identities(owner: &str, policy: &Policy) -> Result<(Vec<String>, Option<String>), String> {
    if owner.contains(',') {
        return Err("owners are separated by spaces".to_owned());
    }
    let Some(name) = owner.strip_prefix('@') else {
        return Err(
            "an e-mail address doesn't identify a key; name the identity as @NAME".to_owned(),
        );
    };
    if let Some((_, team)) = name.split_once('/') {
        let group = policy
            .groups
            .get(team)
            .ok_or_else(|| format!("the policy has no group {team} for this team"))?;
        let names = group.iter().map(|m| policy.name(*m).to_owned()).collect();
        return Ok((
            names,
            Some(format!(
                "{owner} is assumed to be the group {team}: compare the members"
            )),
        ));
    }
    policy
        .identities
        .iter()
        .find(|identity| identity.name.eq_ignore_ascii_case(name))
        .map(|identity| (vec![identity.name.clone()], None))
        .ok_or_else(|| format!("the policy has no identity {name}"))
}

/// Adds a note for each line that overlaps with an earlier line of other owners. In CODEOWNERS only the last
/// of them counts; in the policy both must be met.
fn overlaps(lines: &[OwnerLine], notes: &mut Vec<Note>) {
    for (at, line) in lines.iter().enumerate() {
        let earlier = lines[..at].iter().filter(|other| {
            other.owners != line.owners && may_overlap(&other.pattern, &line.pattern)
        });
        let all: Vec<_> = earlier
            .map(|other| format!("`{}` (line {})", other.written, other.at))
            .collect();
        if !all.is_empty() {
            notes.push(Note::at(
                line.at,
                format!(
                    "stricter here: where `{}` and {} both match, CODEOWNERS uses this line alone, and here both must hold",
                    line.written,
                    all.join(", ")
                ),
            ));
        }
    }
}

/// True if some path could match both patterns. Unclear cases count as true, which only leads to a note.
fn may_overlap(a: &str, b: &str) -> bool {
    let fixed = |pattern: &str| -> Vec<String> {
        pattern
            .split('/')
            .take_while(|part| !part.contains('*'))
            .map(str::to_ascii_lowercase)
            .collect()
    };
    let (a, b) = (fixed(a), fixed(b));
    let shorter = a.len().min(b.len());
    a[..shorter] == b[..shorter]
}

/// True if the policy already has a rule with this pattern and a need of this group.
fn has_rule(policy: &Policy, pattern: &str, group: &str) -> bool {
    policy.rules.iter().any(|rule| {
        rule.paths.iter().any(|own| own.as_str() == pattern)
            && rule.need.iter().any(|need| need.from == group)
    })
}

/// The groups of the policy, and new ones for the owners of lines.
struct Groups<'p> {
    policy: &'p Policy,
    new: Vec<(String, BTreeSet<String>)>,
}

impl Groups<'_> {
    fn members(&self, name: &str) -> BTreeSet<String> {
        let new = self.new.iter().find(|(own, _)| own == name);
        match new {
            Some((_, members)) => members.clone(),
            None => self
                .policy
                .group(name)
                .iter()
                .map(|member| self.policy.name(*member).to_owned())
                .collect(),
        }
    }

    /// Finds or adds a group with exactly these members.
    fn of(&mut self, owners: &BTreeSet<String>, line: usize) -> String {
        let known = self
            .policy
            .groups
            .keys()
            .chain(self.new.iter().map(|(name, _)| name))
            .find(|name| self.members(name) == *owners);
        if let Some(name) = known {
            return name.clone();
        }
        let taken = |name: &str| {
            self.policy.groups.contains_key(name) || self.new.iter().any(|(own, _)| own == name)
        };
        let wish = match owners.iter().next() {
            Some(only) if owners.len() == 1 => word(only),
            _ => format!("owners-{line}"),
        };
        let mut name = wish.clone();
        let mut number = 2_u32;
        while taken(&name) {
            name = format!("{wish}-{number}");
            number = number.saturating_add(1);
        }
        self.new.push((name.clone(), owners.clone()));
        name
    }
}

/// Returns a rule for `trust/**` with the needs of the new rules, unless the policy has these needs there
/// already.
fn trust_rule(policy: &Policy, groups: &Groups<'_>, rules: &[Rule]) -> Option<Rule> {
    let owns_trust = |rule: &&Rule| {
        rule.paths
            .iter()
            .any(|path| Pattern::parse(path).is_ok_and(|pattern| pattern.owns(TRUST_PATH)))
    };
    let have: Vec<BTreeSet<String>> = policy
        .rules_for(TRUST_PATH)
        .flat_map(|(_, rule)| &rule.need)
        .map(|need| groups.members(&need.from))
        .chain(
            rules
                .iter()
                .filter(owns_trust)
                .flat_map(|rule| &rule.needs)
                .map(|(name, _)| groups.members(name)),
        )
        .collect();
    let mut needs: Vec<(String, u32)> = Vec::new();
    for (name, count) in rules.iter().flat_map(|rule| &rule.needs) {
        let members = groups.members(name);
        let implied = have.iter().any(|some| some.is_subset(&members));
        if !implied && !needs.iter().any(|(own, _)| own == name) {
            needs.push((name.clone(), *count));
        }
    }
    (!needs.is_empty()).then(|| Rule {
        paths: vec!["trust/**".to_owned()],
        needs,
    })
}

/// Renders members as a YAML list on one line.
fn list(members: &BTreeSet<String>) -> String {
    let members: Vec<_> = members.iter().map(|member| scalar(member)).collect();
    format!("[{}]", members.join(", "))
}

fn add(yaml: &mut Yaml, groups: &Groups<'_>, rules: &[Rule]) -> Result<(), EditError> {
    for (name, members) in &groups.new {
        let path = [PathStep::Key("spec"), PathStep::Key("groups")];
        yaml.insert(&path, name, &list(members))?;
    }
    for rule in rules {
        yaml.push(
            &[PathStep::Key("spec"), PathStep::Key("rules")],
            &rule.form(),
        )?;
    }
    Ok(())
}
