use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use plumb_trust::Policy;
use plumb_trust::policy::{Authority, BindRef, Satisfiability};
use serde::Serialize;

use super::folder::Folder;
use crate::output::{Paint, Palette, Shell, Table};
use crate::report::{Exit, Failure, render_diagnostics};

/// The policy in words: its identities, and who can approve what
///
/// Reads trust/ as it lies in the folder. `plumb trust check` looks for what is wrong with it.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The repository's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Shown<'a> {
    policy: &'a Policy,
    check: &'a Satisfiability,
}

impl Show {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = Folder::read(&self.dir)?;
        let authority = folder.usable()?;
        let now = Timestamp::now();
        let check = authority.check(now);
        if !authority.warnings.is_empty() {
            shell.say(render_diagnostics(
                &authority.warnings,
                &folder.sources(),
                shell.err,
            ));
        }
        let shown = Shown {
            policy: &authority.policy,
            check: &check,
        };
        shell.emit(&shown, |palette| text(&authority, &check, now, palette))?;
        Ok(Exit::OK)
    }
}

fn text(authority: &Authority, check: &Satisfiability, now: Timestamp, palette: Palette) -> String {
    let policy = &authority.policy;
    let able = authority.able_without(&[], now);
    let bold = |text: &str| palette.paint(Paint::Bold, text);
    let bind = match policy.bind_ref {
        BindRef::None => "a signature needn't say where it is meant",
        BindRef::Trailer => "each commit says `Deploy-Ref: REPOSITORY REF`, or an approval does",
        BindRef::Approval => "an approval says where it is meant",
    };
    let mut out = String::new();
    for (name, value) in [
        ("Repository", policy.repository.as_str()),
        ("Branch", policy.reference.as_str()),
        ("Serial", &policy.serial.to_string()),
        ("Binding", bind),
    ] {
        let _ = writeln!(out, "{} {value}", bold(&format!("{name:<11}")));
    }
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
            .map(|key| match key.valid_before {
                Some(until) => format!("{} (until {until})", key.name),
                None => key.name.to_string(),
            })
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
        let alone = alone.map_or_else(String::new, |alone| alone.identities.join(", "));
        table.row([
            title,
            needs.join(" and "),
            who.join("; "),
            if alone.is_empty() {
                "nobody".to_owned()
            } else {
                alone
            },
        ]);
    }
    let _ = write!(out, "{table}");
    let _ = writeln!(
        out,
        "\nAll rules that match a changed path must hold; a path that none matches can't change."
    );
    for lacking in &check.unsatisfiable {
        let _ = writeln!(
            out,
            "{} {} needs {} of {}, and only {} could sign",
            palette.paint(Paint::Error, "can't be met:"),
            lacking.rule,
            lacking.count,
            lacking.from,
            lacking.usable
        );
    }
    for note in check.unusable.iter().chain(&check.doubled) {
        let _ = writeln!(out, "{} {note}", palette.paint(Paint::Warn, "note:"));
    }
    out
}
