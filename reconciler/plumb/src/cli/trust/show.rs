use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_trust::policy::{Authority, BindRef, KEYS_PATH, PolicyKey, Satisfiability, SideBranches};
use plumb_trust::{Policy, RevocationBegun};
use serde::Serialize;

use super::exceptions::{describe_freeze, emergency, endless_freeze_warning, freezes};
use super::folder::Folder;
use super::heartbeat;
use super::revocations::{self, Revocations};
use crate::cli::folder::RepositoryFolderOrWord;
use crate::output::{Paint, Palette, Shell, Table};
use crate::report::{Exit, Failure, render_diagnostics};

/// Describe the policy: its identities, and who can approve what
///
/// Reads trust/ in the folder, and the fetched `revoke/` tags. `plumb trust check` looks for errors.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    folder: RepositoryFolderOrWord,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicySummary<'a> {
    policy: &'a Policy,
    check: &'a Satisfiability,
    /// Revoked keys of the policy, with the time since when they are revoked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    revoked: BTreeMap<String, Timestamp>,
    /// Revocations of keys of the policy that lack signatures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revocations_begun: Vec<&'a RevocationBegun>,
}

impl Show {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = Folder::read(self.folder.path())?;
        let authority = folder.usable()?;
        let now = Timestamp::now();
        let revoked = Revocations::of(&folder, now);
        let check = revoked.check(&authority, now);
        if !authority.warnings.is_empty() {
            shell.say(render_diagnostics(
                &authority.warnings,
                &folder.sources(),
                shell.err,
            ));
        }
        let shown = PolicySummary {
            policy: &authority.policy,
            check: &check,
            revoked: keys_with(&authority, &revoked),
            revocations_begun: revoked.begun().collect(),
        };
        shell.emit(&shown, |palette| {
            text(&folder, &authority, &check, &revoked, now, palette)
        })?;
        Ok(Exit::OK)
    }
}

fn keys_with(authority: &Authority, revoked: &Revocations) -> BTreeMap<String, Timestamp> {
    let keys = authority.policy.identities.iter().flat_map(|i| &i.keys);
    keys.filter_map(|key| Some((key.name.to_string(), revoked.since(authority, &key.name)?)))
        .collect()
}

/// Describes a key with its file and the time at which it ends.
fn describe_key(
    key: &PolicyKey,
    folder: &Folder,
    authority: &Authority,
    revoked: &Revocations,
) -> String {
    let mark = match (revoked.since(authority, &key.name), key.valid_before) {
        (Some(since), _) => Some(revocations::describe(since)),
        (None, Some(until)) => Some(format!("until {until}")),
        (None, None) => None,
    };
    let file = folder.file_of(&key.name).map(|(path, _)| {
        let name = path.strip_prefix(KEYS_PATH).unwrap_or(path);
        name.trim_start_matches('/').to_owned()
    });
    let about: Vec<_> = file.into_iter().chain(mark).collect();
    if about.is_empty() {
        key.name.to_string()
    } else {
        format!("{} ({})", key.name, about.join("; "))
    }
}

/// Describes the repository, the branch and the settings.
fn settings(policy: &Policy, palette: Palette) -> String {
    let bold = |text: &str| palette.paint(Paint::Bold, text);
    let bind = match policy.bind_ref {
        BindRef::None => "signatures need not name the repository and branch",
        BindRef::Trailer => {
            "each commit names the repository and branch (`Deploy-Ref: REPOSITORY REF`), or an approval does"
        }
        BindRef::Approval => "an approval names the repository and branch",
    };
    let merged = match policy.side_branches {
        SideBranches::Vouched => "whoever approves a merge vouches for the commits that it brings",
        SideBranches::AllSigned => "each commit that a merge brings must be signed too",
    };
    let ages = format!(
        "clocks may differ by {}; a signature must arrive within {} of its date; the signatures of one commit must lie within {}",
        policy.skew, policy.max_age, policy.approvals_max_age
    );
    let mut out = String::new();
    for (name, value) in [
        ("Repository", policy.repository.as_str()),
        ("Branch", policy.reference.as_str()),
        ("Serial", &policy.serial.to_string()),
        ("Binding", bind),
        ("Merges", merged),
        ("Time", &ages),
        (
            "RSA keys",
            &format!("at least {} bits", policy.min_rsa_bits),
        ),
        ("Heartbeat", &heartbeat::describe(policy)),
    ] {
        let _ = writeln!(out, "{} {value}", bold(&format!("{name:<11}")));
    }
    out
}

fn text(
    folder: &Folder,
    authority: &Authority,
    check: &Satisfiability,
    revoked: &Revocations,
    now: Timestamp,
    palette: Palette,
) -> String {
    let policy = &authority.policy;
    let able = authority.able_without(revoked.names(), now);
    let mut out = settings(policy, palette);
    let _ = writeln!(out);
    let mut table = Table::new(["IDENTITY", "GROUPS", "KEYS"], palette);
    for (index, identity) in policy.identities.iter().enumerate() {
        let groups = policy
            .groups
            .iter()
            .filter(|(_, members)| members.contains(&index));
        let groups: Vec<_> = groups.map(|(name, _)| name.as_str()).collect();
        let keys: Vec<_> = identity
            .keys
            .iter()
            .map(|key| describe_key(key, folder, authority, revoked))
            .collect();
        table.row([identity.name.clone(), groups.join(", "), keys.join(", ")]);
    }
    let _ = writeln!(out, "{table}");
    let mut table = Table::new(["TO CHANGE", "NEEDS", "WHO COULD", "ALONE"], palette);
    for rule in &policy.rules {
        let needs: Vec<_> = rule
            .need
            .iter()
            .map(|need| format!("{} of {}", need.count, need.from))
            .collect();
        let who: Vec<_> = rule
            .need
            .iter()
            .map(|need| {
                let members = policy
                    .group(&need.from)
                    .iter()
                    .map(|index| policy.name(*index))
                    .filter(|name| able.contains(name));
                members.collect::<Vec<_>>().join(", ")
            })
            .collect();
        let title = rule.title();
        let alone = check.alone.iter().find(|alone| alone.rule == title);
        let (identities, emergency) = alone.map_or((&[][..], &[][..]), |alone| {
            (&alone.identities, &alone.emergency)
        });
        let mut words = match identities {
            [] => "nobody".to_owned(),
            some => some.join(", "),
        };
        if !emergency.is_empty() {
            let _ = write!(words, "; in an emergency {}", emergency.join(", "));
        }
        table.row([title, needs.join(" and "), who.join("; "), words]);
    }
    let _ = write!(out, "{table}");
    let _ = writeln!(
        out,
        "\nAll rules that match a changed path must hold; nobody can change a path that no rule matches."
    );
    describe_exceptions(&mut out, policy, &able, now, palette);
    for lacking in &check.unsatisfiable {
        let _ = writeln!(
            out,
            "{} {} needs {} of {}, and only {} could sign",
            palette.paint(Paint::Error, "unsatisfiable:"),
            lacking.rule,
            lacking.count,
            lacking.from,
            lacking.usable
        );
    }
    let incomplete = revoked.incomplete(authority);
    for note in check
        .unusable
        .iter()
        .chain(&check.doubled)
        .chain(&incomplete)
    {
        let _ = writeln!(out, "{} {note}", palette.paint(Paint::Warn, "note:"));
    }
    out
}

fn describe_exceptions(
    out: &mut String,
    policy: &Policy,
    able: &BTreeSet<&str>,
    now: Timestamp,
    palette: Palette,
) {
    let bold = |text: &str| palette.paint(Paint::Bold, text);
    if let Some(told) = emergency(policy, able) {
        let _ = writeln!(out, "{} {told}.", bold("Emergency:"));
    }
    for freeze in freezes(policy, now) {
        let _ = writeln!(out, "{} {}", bold("Freeze"), describe_freeze(freeze, now));
    }
    for warning in freezes(policy, now).filter_map(endless_freeze_warning) {
        let _ = writeln!(out, "{} {warning}", palette.paint(Paint::Warn, "note:"));
    }
}
