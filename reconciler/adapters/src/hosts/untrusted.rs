//! Checks all output of agents, because a host may be compromised. It truncates texts and makes them
//! printable, and it rejects an answer as a whole if it doesn't fit the request.

use std::collections::BTreeSet;

use plumb_api::frame::{
    AdoptOutcome, AdoptScope, Adopted, Apply, DifferenceState, Facts, LedgerState, LedgerSummary,
    Observe, ObserveReport, Progress, Report, Reveal,
};
use plumb_api::report::{AgentError, MAX_MESSAGE, Outcome};
use plumb_api::{Address, Digest};

/// The maximum length of a short text such as a name or reason, in bytes.
const SHORT: usize = 512;
/// The maximum length of a file's text that may be shown, in bytes.
const TEXT: usize = 64 << 10;
/// Maximum number of losses that one difference may list.
const LOSSES: usize = 8;
/// The maximum number of resources in an answer.
const RESOURCES: usize = 100_000;

/// Maximum number of warnings that are taken from a report.
const WARNINGS: usize = 20;

/// The reason for rejecting an answer, as a phrase.
pub(super) type Refusal = String;

/// Replaces control and bidirectional formatting characters, except for newlines and tabs, and truncates the
/// text to `most` bytes.
pub(super) fn printable(text: &str, most: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let c = match c {
            '\n' | '\t' => c,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

fn tidy(text: &mut String, most: usize) {
    let unclean = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.len() > most || text.contains(unclean) {
        *text = printable(text, most);
    }
}

/// Makes the texts of an agent's error printable.
pub(super) fn error(mut error: AgentError) -> AgentError {
    tidy(&mut error.message, MAX_MESSAGE);
    if let Some(hint) = &mut error.hint {
        tidy(hint, SHORT);
    }
    error
}

/// Makes the texts of a machine's facts printable.
pub(super) fn facts(mut facts: Facts) -> Facts {
    for text in [
        &mut facts.hostname,
        &mut facts.arch,
        &mut facts.os,
        &mut facts.release,
        &mut facts.machine_id,
        &mut facts.boot_id,
        &mut facts.agent,
    ] {
        tidy(text, 255);
    }
    facts
}

fn ledger(ledger: &mut LedgerSummary) -> Result<(), Refusal> {
    if let LedgerState::Lost(why) = &mut ledger.state {
        tidy(why, SHORT);
    }
    match &ledger.revision {
        Some(mark) if mark.0.len() > 64 || !mark.0.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Err("its ledger has an invalid revision".to_owned())
        }
        _ => Ok(()),
    }
}

fn same_target(asked: Digest, told: Digest) -> Result<(), Refusal> {
    if asked == told {
        Ok(())
    } else {
        Err(format!("it answered for the state {told}, not for {asked}"))
    }
}

/// Checks what an agent says that its host has, against the request.
pub(super) fn adopted(scope: &AdoptScope, told: Vec<Adopted>) -> Result<Vec<Adopted>, Refusal> {
    if told.len() > RESOURCES {
        return Err(format!("it reports {} resources, too many", told.len()));
    }
    let one = |mut found: Adopted| {
        let address = &found.address;
        if matches!(scope, AdoptScope::Named(asked) if !asked.contains(address)) {
            return Err(outside(address));
        }
        match &mut found.outcome {
            AdoptOutcome::Found { spec, .. } if spec.kind() != address.kind() => {
                return Err(format!("it describes {address} by a spec of another type"));
            }
            AdoptOutcome::Found { text, .. } => {
                // A text that can't be shown as it is would be another text in the manifest.
                let is_clean = |text: &String| text.len() <= TEXT && printable(text, TEXT) == *text;
                *text = text.take().filter(is_clean);
            }
            AdoptOutcome::Failed(why) => *why = error(why.clone()),
            AdoptOutcome::Missing => {}
        }
        Ok(found)
    };
    told.into_iter().map(one).collect()
}

/// Checks an observation against its request.
pub(super) fn observed(asked: &Observe, mut told: ObserveReport) -> Result<ObserveReport, Refusal> {
    same_target(asked.target, told.target)?;
    let spoken = told.differences.len() + told.unconfirmed.len() + told.gone.len();
    if spoken > RESOURCES {
        return Err(format!("it reports {spoken} resources, too many"));
    }
    ledger(&mut told.ledger)?;
    told.facts = facts(told.facts);
    if told.aliases.len() > RESOURCES {
        return Err(format!("it speaks of {} aliases", told.aliases.len()));
    }
    let other_type = |(address, name): &(&Address, &Address)| address.kind() != name.kind();
    if let Some((address, name)) = told.aliases.iter().find(other_type) {
        return Err(format!("it calls {address} an alias of {name}"));
    }
    if let Some(waiting) = &mut told.waiting {
        tidy(waiting, SHORT);
    }
    let mut seen = BTreeSet::new();
    for difference in &mut told.differences {
        let address = &difference.address;
        if !seen.insert(address.clone()) {
            return Err(format!("it reports {address} twice"));
        }
        let desired = asked.delta.set.contains_key(address);
        let dropped = asked.delta.remove.contains(address);
        let foreign = match difference.state {
            DifferenceState::Undesired => desired,
            // Without a base, the request holds the full desired state. With a base, every resource may be
            // part of the state unless the request removes it.
            DifferenceState::Differs => dropped || asked.base.is_none() && !desired,
            // It may be a resource of the ledger that is to be removed, or whose original is to be restored.
            DifferenceState::Unsupported(_) | DifferenceState::Unobservable(_) => false,
        };
        if foreign {
            return Err(format!(
                "it reports {address}, which isn't in the requested state"
            ));
        }
        let kind = address.kind();
        if difference
            .observed
            .as_ref()
            .is_some_and(|o| o.kind() != kind)
            || difference
                .confirmed
                .as_ref()
                .is_some_and(|s| s.kind() != kind)
        {
            return Err(format!("it reports a value of another type for {address}"));
        }
        if asked.reveal == Reveal::Nothing
            || difference.text.as_ref().is_some_and(|t| t.len() > TEXT)
        {
            difference.text = None;
        }
        if let Some(original) = &mut difference.original {
            tidy(original, SHORT);
        }
        for field in &mut difference.fields {
            tidy(&mut field.field, SHORT);
        }
        if let DifferenceState::Unsupported(why) | DifferenceState::Unobservable(why) =
            &mut difference.state
        {
            *why = error(why.clone());
        }
        difference.refusal = difference.refusal.take().map(error);
        difference.losses.truncate(LOSSES);
        for loss in &mut difference.losses {
            tidy(loss, SHORT);
        }
    }
    for address in &told.unconfirmed {
        if asked.delta.remove.contains(address)
            || asked.base.is_none() && !asked.delta.set.contains_key(address)
        {
            return Err(format!(
                "it reports {address}, which isn't in the requested state"
            ));
        }
    }
    if let Some(address) = told.gone.iter().find(|a| asked.delta.set.contains_key(*a)) {
        return Err(format!(
            "it reports {address}, which is desired, as no longer desired"
        ));
    }
    Ok(told)
}

/// Checks progress against the plan.
pub(super) fn progress(asked: &Apply, told: Progress) -> Result<Progress, Refusal> {
    if asked.plan.changes.iter().any(|c| c.address == told.address) {
        Ok(told)
    } else {
        Err(outside(&told.address))
    }
}

fn outside(address: &Address) -> Refusal {
    format!("it reports progress of {address}, which isn't in the plan")
}

/// Checks a report against the plan.
pub(super) fn report(asked: &Apply, mut told: Report) -> Result<Report, Refusal> {
    same_target(asked.plan.target, told.target)?;
    ledger(&mut told.ledger)?;
    if told.results.len() != asked.plan.changes.len() {
        return Err(format!(
            "it reports {} results on {} changes",
            told.results.len(),
            asked.plan.changes.len()
        ));
    }
    for (change, result) in asked.plan.changes.iter().zip(&mut told.results) {
        if change.id != result.id || change.address != result.address {
            return Err(outside(&result.address));
        }
        match &mut result.outcome {
            Outcome::Failed(why) => *why = error(why.clone()),
            Outcome::Skipped(because) if !asked.plan.changes.iter().any(|c| c.id == *because) => {
                return Err(format!(
                    "it skipped {} because of a change that isn't in the plan",
                    change.address
                ));
            }
            _ => {}
        }
    }
    let is_planned = |address: &Address| asked.plan.changes.iter().any(|c| c.address == *address);
    if let Some(address) = told.unconfirmed.iter().find(|one| !is_planned(one)) {
        return Err(outside(address));
    }
    if let Some(stopped) = told.stopped.take() {
        told.stopped = Some(error(stopped));
    }
    told.warnings.truncate(WARNINGS);
    for warning in &mut told.warnings {
        tidy(warning, MAX_MESSAGE);
    }
    Ok(told)
}

#[cfg(test)]
#[path = "untrusted/tests.rs"]
mod tests;
