//! Imports sequoia-git's `openpgp-policy.toml`: people with certificates and rights.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_trust::policy::{BindRef, KeyFile};
use serde::Deserialize;
use toml::Spanned;

use super::note::Note;
use super::people::{People, unusable};
use crate::cli::init::founders::word;
use crate::cli::init::new_policy::{NewPolicy, Rule};
use crate::public_key::PublicKey;
use crate::report::{Failure, OrFail as _};

#[derive(Deserialize)]
struct SqGitPolicy {
    version: Option<i64>,
    #[serde(default)]
    commit_goodlist: Vec<Spanned<String>>,
    #[serde(default)]
    authorization: BTreeMap<Spanned<String>, Authorization>,
    #[serde(flatten)]
    other: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Authorization {
    #[serde(default)]
    keyring: String,
    /// Rights by name, such as `sign_commit = true`.
    #[serde(flatten)]
    rights: BTreeMap<String, toml::Value>,
}

/// Rights that are imported.
const RIGHTS: [&str; 3] = ["sign_commit", "add_user", "retire_user"];
/// Rights that are known but have no equivalent here.
const OTHERS: [&str; 3] = ["sign_tag", "sign_archive", "audit"];

impl Authorization {
    fn has(&self, right: &str) -> bool {
        self.rights.get(right) == Some(&toml::Value::Boolean(true))
    }

    /// Lists the rights that aren't imported, and why.
    fn left_out(&self) -> Vec<String> {
        let mut why = Vec::new();
        for (right, value) in &self.rights {
            let right = right.as_str();
            if OTHERS.contains(&right) {
                if self.has(right) {
                    why.push(format!(
                        "`{right}` has no meaning here: only commits of the branch are judged"
                    ));
                }
            } else if !RIGHTS.contains(&right) {
                why.push(format!("unknown right `{right}`, left out"));
            } else if !value.is_bool() {
                why.push(format!(
                    "`{right}` isn't true or false, so it isn't granted"
                ));
            }
        }
        why
    }
}

/// Imports the file into a policy.
///
/// In sequoia-git a commit needs one signer with `sign_commit`. A change of the policy needs one with
/// `add_user` or `retire_user`, depending on the change. In the imported policy, every change of `trust/`
/// needs a signer who may add and a signer who may retire. Somebody with both rights counts as both.
pub(super) fn read(text: &str) -> Result<(NewPolicy, Vec<Note>), Failure> {
    let document: SqGitPolicy =
        toml::from_str(text).or_fail(|| "cannot read it as a sequoia-git policy".to_owned())?;
    let mut notes = Vec::new();
    if document.version.is_some_and(|version| version != 0) {
        notes.push(Note::without_line(
            "its version isn't 0, the only known one: compare the result with care",
        ));
    }
    for key in document.other.keys() {
        notes.push(Note::without_line(format!("unknown key `{key}`, left out")));
    }
    for commit in &document.commit_goodlist {
        notes.push(Note::at(
            line(text, commit.span().start),
            format!(
                "{} was declared good although its key was revoked; here a person approves it again with `plumb approve`",
                commit.get_ref()
            ),
        ));
    }
    let mut people = People::default();
    let (mut signers, mut adders, mut retirers) = (Vec::new(), Vec::new(), Vec::new());
    for (title, rights) in &document.authorization {
        let at = line(text, title.span().start);
        let title = title.get_ref();
        let name = name_of(title);
        if name.is_empty() || people.0.iter().any(|person| person.name == name) {
            notes.push(Note::at(
                at,
                format!(
                    "no identity name can be made of `{title}`, so it is left out: rename it there"
                ),
            ));
            continue;
        }
        if name != *title {
            notes.push(Note::at(at, format!("`{title}` becomes {name} here")));
        }
        if !keys(&mut people, &name, rights, at, &mut notes) {
            continue;
        }
        for (right, list) in RIGHTS
            .into_iter()
            .zip([&mut signers, &mut adders, &mut retirers])
        {
            if rights.has(right) {
                list.push(name.clone());
            }
        }
        for why in rights.left_out() {
            notes.push(Note::at(at, format!("{name}: {why}")));
        }
    }
    Ok((
        policy_of(people, signers, adders, retirers, &mut notes)?,
        notes,
    ))
}

/// Adds a person's certificates. Returns true if at least one of them can sign.
fn keys(
    people: &mut People,
    name: &str,
    rights: &Authorization,
    at: usize,
    notes: &mut Vec<Note>,
) -> bool {
    let files = match KeyFile::parse_keyring(rights.keyring.as_bytes()) {
        Ok(files) => files,
        Err(error) => {
            notes.push(Note::at(
                at,
                format!("{name} is left out: the keyring is {error}"),
            ));
            return false;
        }
    };
    let mut any = false;
    for file in files {
        let origin = format!("a certificate of {name}");
        let Ok(key) = PublicKey::of_key_file(file, &origin) else {
            notes.push(Note::at(
                at,
                format!("{origin} is left out: cannot re-encode it"),
            ));
            continue;
        };
        let fingerprint = key.name.clone();
        if let Some(why) = unusable(&key, Timestamp::now()) {
            notes.push(Note::at(
                at,
                format!("{name}: the certificate {fingerprint} is left out, because its signatures wouldn't count: {why}"),
            ));
            continue;
        }
        match people.add(name, key, None) {
            Ok(()) => any = true,
            Err(why) => notes.push(Note::at(at, format!("{name}: {why}; it is left out here"))),
        }
    }
    if !any {
        notes.push(Note::at(
            at,
            format!("{name} is left out: no certificate is left"),
        ));
    }
    any
}

fn policy_of(
    people: People,
    signers: Vec<String>,
    adders: Vec<String>,
    retirers: Vec<String>,
    notes: &mut Vec<Note>,
) -> Result<NewPolicy, Failure> {
    for (who, right) in [
        (&signers, "sign_commit"),
        (&adders, "add_user"),
        (&retirers, "retire_user"),
    ] {
        if who.is_empty() {
            return Err(Failure::new(format!(
                "nobody with a usable certificate has `{right}`, so nobody could change trust/ here"
            ))
            .hint("grant it to somebody there, or start with `plumb trust init`"));
        }
    }
    let need = |group: &str| (group.to_owned(), 1);
    let (mut groups, mut trust) = (
        vec![("committers".to_owned(), signers)],
        vec![need("committers")],
    );
    if adders == retirers {
        groups.push(("maintainers".to_owned(), adders));
        trust.push(need("maintainers"));
    } else {
        notes.push(Note::without_line(
            "there `add_user` and `retire_user` are two rights; here a change of trust/ needs somebody with each",
        ));
        groups.push(("adders".to_owned(), adders));
        groups.push(("retirers".to_owned(), retirers));
        trust.extend([need("adders"), need("retirers")]);
    }
    notes.push(Note::without_line(
        "there one signature is enough on any branch, so this policy starts with count 1 and `bindRef: none`. Raise them to require more",
    ));
    Ok(NewPolicy {
        identities: people.0,
        groups,
        rules: vec![
            Rule {
                paths: vec!["**".to_owned()],
                needs: vec![need("committers")],
            },
            Rule {
                paths: vec!["trust/**".to_owned()],
                needs: trust,
            },
        ],
        bind: BindRef::None,
    })
}

/// Returns a short name for `Name <address>` or a plain name.
fn name_of(title: &str) -> String {
    let address = title
        .split_once('<')
        .and_then(|(_, rest)| rest.split(['@', '>']).next());
    word(address.filter(|part| !part.is_empty()).unwrap_or(title))
}

/// Returns the line number of an offset in a text, from 1.
fn line(text: &str, place: usize) -> usize {
    text.get(..place)
        .map_or(1, |before| before.matches('\n').count() + 1)
}
