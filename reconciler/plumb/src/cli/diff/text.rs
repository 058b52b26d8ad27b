//! The text form of a comparison.

use std::fmt::Write as _;

use plumb_api::HostName;
use plumb_api::plan::Op;

use super::{Differences, HostChange};
use crate::cli::plan;
use crate::output::{Paint, Palette, count, short};

/// The number of hosts that are named in the head of a group.
const NAMED: usize = 8;

/// Describes the differences. Hosts with the same changes are listed together.
pub(super) fn text(differences: &Differences, palette: Palette) -> String {
    let mut out = String::new();
    for names in &differences.alike {
        let Some(host) = names.first().and_then(|name| differences.hosts.get(name)) else {
            continue;
        };
        let listed = palette.paint(Paint::Bold, listed(names));
        let _ = match &host.host {
            None => writeln!(out, "{listed}"),
            Some(HostChange::Joins) => {
                writeln!(out, "{listed} {} the fleet", verb(names, "joins", "join"))
            }
            Some(HostChange::RenamedFrom(old)) => writeln!(out, "{listed} was {old}"),
            Some(HostChange::Leaves) => {
                let leaves = verb(names, "leaves", "leave");
                let is = verb(names, "it is left as it is", "they are left as they are");
                writeln!(
                    out,
                    "{listed} {leaves} the fleet: {is} and no longer driven (to remove what Plumb made, push `state: retired` first)"
                )
            }
        };
        if let Some(facts) = &host.facts {
            let _ = writeln!(
                out,
                "  {} the host itself",
                palette.paint(Paint::Warn, "~ update")
            );
            plan::lines(&mut out, &facts.text, palette);
        }
        for change in &host.changes {
            let (paint, word) = match change.op {
                Op::Create => (Paint::Good, "+ create"),
                Op::Delete => (Paint::Error, "- delete"),
                Op::Update | Op::Replace | Op::Run => (Paint::Warn, "~ update"),
            };
            let _ = writeln!(out, "  {} {}", palette.paint(paint, word), change.resource);
            plan::lines(&mut out, &change.text, palette);
        }
        out.push('\n');
    }
    let of = short(&differences.from);
    let to = differences.to.as_deref().map_or("the folder", short);
    let _ = match differences.hosts.len() {
        0 => writeln!(out, "nothing differs between {of} and {to}"),
        hosts => writeln!(
            out,
            "{} {} between {of} and {to}",
            count(hosts, "host"),
            if hosts == 1 { "differs" } else { "differ" }
        ),
    };
    if let Some(trailers) = &differences.trailers {
        if trailers.is_empty() {
            out.push_str("the change needs no trailer\n");
        }
        for trailer in trailers {
            let line = palette.paint(Paint::Hint, trailer);
            let _ = writeln!(out, "{line}\n  {}", trailer.because);
        }
    }
    out
}

fn verb<'w>(names: &[HostName], one: &'w str, many: &'w str) -> &'w str {
    if names.len() == 1 { one } else { many }
}

fn listed(hosts: &[HostName]) -> String {
    let shown: Vec<_> = hosts.iter().take(NAMED).map(ToString::to_string).collect();
    match hosts.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
