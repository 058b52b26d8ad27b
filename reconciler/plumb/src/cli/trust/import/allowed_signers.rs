//! Imports `allowed_signers` of ssh-keygen(1) and git: lines of principals, options and a key.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil};

use super::note::Note;
use super::people::{People, unusable};
use crate::cli::init::founders::{Founder, first_policy, word};
use crate::cli::init::new_policy::NewPolicy;
use crate::public_key::PublicKey;

/// Maximum offset of a time zone ahead of UTC. A time without a zone is in the time zone of whoever reads the
/// file, which may be any.
const FARTHEST_AHEAD: SignedDuration = SignedDuration::from_hours(14);

/// True if the first line with content has the form of a line of `allowed_signers`.
pub(super) fn looks_like(text: &str) -> bool {
    lines(text).next().is_some_and(|(_, line)| {
        SignerLine::parse(line).is_ok_and(|line| PublicKey::read(line.key.as_bytes(), "").is_ok())
    })
}

/// Imports the file into a policy with everybody in one group. The file doesn't say who may change the policy
/// itself. So a change of the policy needs two signatures if there are two people.
pub(super) fn read(text: &str) -> (NewPolicy, Vec<Note>) {
    let (mut people, mut notes) = (People::default(), Vec::new());
    let mut names = IdentityNames::default();
    for (at, line) in lines(text) {
        if let Err(why) = import_line(line, at, &mut names, &mut people, &mut notes) {
            notes.push(Note::at(at, format!("left out: {why}")));
        }
    }
    // Build the policy as `plumb trust init` does, then give each person all of their keys.
    let first = people.0.iter().filter_map(|person| {
        let (key, _) = person.keys.first()?;
        Some(Founder {
            identity: person.name.clone(),
            key: key.clone(),
        })
    });
    let mut new = first_policy(first.collect());
    new.identities = people.0;
    (new, notes)
}

/// Describes the rules that the import adds, because an `allowed_signers` file has no rules.
pub(super) fn rules(new: &NewPolicy) -> Option<Note> {
    (new.identities.len() > 1).then(|| {
        Note::without_line(
            "this format doesn't say who may change the policy: here one signature changes hosts, two change trust/ and fleet.yaml",
        )
    })
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A line, split into its parts.
struct SignerLine<'a> {
    principals: &'a str,
    options: Vec<(String, Option<String>)>,
    key: &'a str,
}

impl<'a> SignerLine<'a> {
    fn parse(line: &'a str) -> Result<Self, &'static str> {
        let (principals, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or("unclosed quote")
                .map(|(principals, rest)| (principals, rest.trim_start()))?,
            None => line
                .split_once([' ', '\t'])
                .map(|(principals, rest)| (principals, rest.trim_start()))
                .ok_or("no key in this line")?,
        };
        let is_key = |word: &str| {
            ["ssh-", "ecdsa-", "sk-"]
                .iter()
                .any(|kind| word.starts_with(kind))
        };
        if is_key(rest) {
            return Ok(Self {
                principals,
                options: Vec::new(),
                key: rest,
            });
        }
        let (options, length) = options(rest)?;
        let key = rest[length..].trim_start();
        if !is_key(key) {
            return Err("no key of a known type in this line");
        }
        Ok(Self {
            principals,
            options,
            key,
        })
    }
}

/// An option's name in lower case, and its value.
type LineOption = (String, Option<String>);

/// Parses options, which are separated by commas and have quoted values, and returns the offset of their end.
/// It rejects what ssh-keygen rejects: a value without quotes, text after a closing quote, a repeated option.
fn options(text: &str) -> Result<(Vec<LineOption>, usize), &'static str> {
    let mut found: Vec<LineOption> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let length = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        at += length;
        let mut value = None;
        if let Some(given) = text[at..].strip_prefix('=') {
            let given = given
                .strip_prefix('"')
                .ok_or("the value of an option isn't in quotes")?;
            let length = closing_quote(given).ok_or("unclosed quote")?;
            value = Some(given[..length].replace("\\\"", "\""));
            at += "=\"".len() + length + "\"".len();
        }
        if found.iter().any(|(other, _)| *other == name) {
            return Err("duplicate option: ssh-keygen rejects the line");
        }
        found.push((name, value));
        match text[at..].chars().next() {
            Some(',') => at += 1,
            Some(' ' | '\t') | None => return Ok((found, at)),
            Some(_) => return Err("text follows the closing quote of an option"),
        }
    }
}

/// Finds the first quote without a backslash before it.
fn closing_quote(text: &str) -> Option<usize> {
    text.char_indices()
        .find(|(at, c)| *c == '"' && !text[..*at].ends_with('\\'))
        .map(|(at, _)| at)
}

/// Adds the key of a line to its person, or returns the reason why the line can't be imported. Differences
/// that don't prevent the import become notes.
fn import_line(
    line: &str,
    at: usize,
    names: &mut IdentityNames,
    people: &mut People,
    notes: &mut Vec<Note>,
) -> Result<(), String> {
    let line = SignerLine::parse(line)?;
    let mut end = None;
    for (name, value) in &line.options {
        match (name.as_str(), value.as_deref()) {
            ("cert-authority", None) => {
                return Err(
                    "`cert-authority`: SSH certificates never count here, only plain keys"
                        .to_owned(),
                );
            }
            ("namespaces", Some(list)) => {
                if !for_git(list)? {
                    return Err(format!("`namespaces=\"{list}\"` doesn't include git"));
                }
            }
            ("valid-after", Some(text)) => {
                let (_, latest) =
                    time(text).ok_or_else(|| format!("`valid-after={text}` isn't a time"))?;
                if latest > Timestamp::now() {
                    return Err(format!(
                        "`valid-after={text}` is in the future, and keys here have no start time: add the key then"
                    ));
                }
                notes.push(Note::at(
                    at,
                    format!("`valid-after={text}` has passed and is left out: signatures older than the policy never count"),
                ));
            }
            ("valid-before", Some(text)) => {
                let (earliest, latest) =
                    time(text).ok_or_else(|| format!("`valid-before={text}` isn't a time"))?;
                if earliest <= Timestamp::now() {
                    return Err(format!("`valid-before={text}` has passed"));
                }
                if earliest != latest {
                    notes.push(Note::at(
                        at,
                        format!("`valid-before={text}` has no time zone; the earliest possible time is used: {earliest}"),
                    ));
                }
                end = Some(earliest);
            }
            (name, _) => return Err(format!("unknown option `{name}`")),
        }
    }
    let key = PublicKey::read(line.key.as_bytes(), "the key").map_err(|failure| {
        failure
            .render(crate::output::Palette::plain())
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned()
    })?;
    if let Some(why) = unusable(&key, Timestamp::now()) {
        return Err(format!(
            "signatures by the key {} wouldn't count: {why}",
            key.name
        ));
    }
    let name = principal(line.principals, at, names, notes)?;
    people.add(&name, key, end)
}

/// The identity name in the policy of each principal. Different principals are always different people, even
/// if their names look alike: if they shared an identity, one could sign for the other.
#[derive(Default)]
struct IdentityNames(BTreeMap<String, String>);

impl IdentityNames {
    fn of(&self, principal: &str) -> Option<&String> {
        self.0.get(&principal.to_lowercase())
    }

    fn call(&mut self, principal: &str, name: &str) {
        self.0
            .entry(principal.to_lowercase())
            .or_insert_with(|| name.to_owned());
    }

    /// Finds the principal that has an identity name.
    fn holder(&self, name: &str) -> Option<&String> {
        self.0
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(principal, _)| principal)
    }

    /// Returns an unused identity name: `name`, or `name` with a number if another principal has it. Also
    /// returns that principal.
    fn free(&self, name: &str) -> (String, Option<String>) {
        let Some(other) = self.holder(name) else {
            return (name.to_owned(), None);
        };
        let mut number = 2_u32;
        let mut free = format!("{name}-{number}");
        while self.holder(&free).is_some() {
            number += 1;
            free = format!("{name}-{number}");
        }
        (free, Some(other.clone()))
    }
}

/// Returns the identity name of the key's owner. The owner is the first principal, which must name one
/// person.
fn principal(
    list: &str,
    at: usize,
    names: &mut IdentityNames,
    notes: &mut Vec<Note>,
) -> Result<String, String> {
    let all: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    let (first, others) = all.split_first().ok_or("no principal in this line")?;
    if list.contains(['*', '?', '!']) {
        return Err(format!(
            "`{list}` is a pattern, but an identity is one person: list the people by name"
        ));
    }
    let local = first.split('@').next().unwrap_or(first);
    let own = word(local);
    if own.is_empty() {
        return Err(format!("no identity name can be made of `{first}`"));
    }
    let known = all.iter().find_map(|principal| names.of(principal));
    let name = if let Some(name) = known {
        name.clone()
    } else {
        let (name, other) = names.free(&own);
        if let Some(other) = other {
            notes.push(Note::at(
                at,
                format!("{first} becomes {name}, because {own} is {other}: if they are one person, write both into one line, or one person counts twice"),
            ));
        } else if own != local.to_lowercase() && others.is_empty() {
            notes.push(Note::at(
                at,
                format!("{first} becomes {name}, because names here consist of a to z, digits, `.`, `_` and `-`"),
            ));
        }
        name
    };
    for principal in &all {
        names.call(principal, &name);
    }
    if !others.is_empty() {
        notes.push(Note::at(
            at,
            format!(
                "{first} becomes {name}; {} is assumed to be the same person",
                others.join(", ")
            ),
        ));
    }
    Ok(name)
}

/// True if one of the patterns matches `git`, the namespace of git's signatures.
fn for_git(list: &str) -> Result<bool, String> {
    if list.contains(['!', '?']) {
        return Err(format!(
            "`namespaces=\"{list}\"` can't be translated: list the names"
        ));
    }
    // As in ssh-keygen, case matters, and a blank is part of a name.
    Ok(list.split(',').any(|pattern| matches(pattern, "git")))
}

/// True if a pattern of literal characters and stars matches the whole word.
fn matches(pattern: &str, word: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == word,
        Some((before, after)) => word.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter_map(|from| rest.get(from..))
                .any(|rest| matches(after, rest))
        }),
    }
}

/// Parses `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]` into the earliest and the latest moment that it can mean.
fn time(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, SignedDuration::ZERO),
        None => (text, FARTHEST_AHEAD),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(Some(0), |part| part.parse::<i8>().ok())
    };
    let date = civil::DateTime::new(
        digits[..4].parse().ok()?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        0,
    )
    .ok()?;
    let utc = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    // No time zone is further behind than UTC-12.
    let behind = if zone.is_zero() {
        SignedDuration::ZERO
    } else {
        SignedDuration::from_hours(12)
    };
    Some((utc.checked_sub(zone).ok()?, utc.checked_add(behind).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let line = SignerLine::parse(
            "alice@x,al@y namespaces=\"git,file\",Valid-Before=\"20300101Z\" ssh-ed25519 AAAA c",
        )
        .unwrap();
        assert_eq!(line.principals, "alice@x,al@y");
        assert_eq!(line.key, "ssh-ed25519 AAAA c");
        assert_eq!(
            line.options,
            [
                ("namespaces".to_owned(), Some("git,file".to_owned())),
                ("valid-before".to_owned(), Some("20300101Z".to_owned()))
            ]
        );
        assert_eq!(
            SignerLine::parse("\"a b\" Cert-Authority ssh-rsa AAAA")
                .unwrap()
                .options,
            [("cert-authority".to_owned(), None)]
        );
        for wrong in [
            "alice",
            "alice ssh",
            "alice namespaces=\"git ssh-rsa A",
            "alice valid-before=20300101Z ssh-rsa A",
            "alice namespaces=\"git\"x ssh-rsa A",
            "alice valid-before=\"20300101\",valid-before=\"20290101\" ssh-rsa A",
            "alice namespaces=\"git\",Namespaces=\"git\" ssh-rsa A",
        ] {
            assert!(SignerLine::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_zone_or_a_range() {
        let (from, to) = time("20300102Z").unwrap();
        assert_eq!(
            (from, from.to_string().as_str()),
            (to, "2030-01-02T00:00:00Z")
        );
        let (from, to) = time("203001020304").unwrap();
        assert_eq!(from.to_string(), "2030-01-01T13:04:00Z");
        assert_eq!(to.to_string(), "2030-01-02T15:04:00Z");
        assert_eq!(
            time("20300102030405Z").unwrap().0.to_string(),
            "2030-01-02T03:04:05Z"
        );
        for wrong in ["", "2030", "20301301Z", "2030-01-01", "20300102030Z"] {
            assert!(time(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_namespaces_of_git_count() {
        assert_eq!(for_git("file,git"), Ok(true));
        assert_eq!(for_git("*"), Ok(true));
        assert_eq!(for_git("g*t,file"), Ok(true));
        for other in [
            "file",
            "file, git",
            "GIT",
            "g{it}",
            "[g]it",
            "git/",
            "/git",
            "",
            "*f*",
        ] {
            assert_eq!(for_git(other), Ok(false), "{other}");
        }
        assert!(for_git("!git,*").is_err());
    }
}
