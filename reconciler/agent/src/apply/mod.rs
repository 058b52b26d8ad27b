//! Applies a plan, in its order and in batches where types allow. Every change needs the lock, a valid fence,
//! and its intent on disk.

mod batch;
mod capture;
mod moved;
mod settle;
mod space;
mod verify;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use plumb_api::frame::{Apply, Departure, LedgerState, Lineage, Report};
use plumb_api::plan::{Change, FieldChange};
use plumb_api::report::{AgentError, ChangeResult, ErrorCode, Outcome};
use plumb_api::{Address, Digest, Observed, Spec};

use crate::blobs::Blobs;
use crate::book::{
    self, Begin, Desired, Entry, Holder, Home, Journal, Ledger, NextGeneration, Original,
    Originals, Record,
};
use crate::error::{Result, fail};
use crate::observe::{known, summary, unknown};
use crate::provider::{self, ApplyContext, Direction, Effect, RefusedField};
use crate::recover::{locked, roll_forward};
use crate::sys::{Accounts, Sys};
use crate::undesired::give_backs;
use crate::wire::Wire;

/// The time that a run waits for the one before it, which has just been superseded.
const PATIENCE: Duration = Duration::from_secs(5);

/// One change of the plan, with its spec and its outcome.
struct Step<'a> {
    change: &'a Change,
    /// The desired spec, or the one that restores the original.
    spec: Cow<'a, Spec>,
    /// The desired spec's digest, or `None` if the resource isn't desired any more.
    digest: Option<Digest>,
    outcome: Option<Outcome>,
}

/// A run under way.
struct Run<'a> {
    sys: &'a Sys,
    home: &'a Home,
    request: &'a Apply,
    desired: &'a Desired,
    wire: &'a Wire,
    ledger: Ledger,
    journal: Option<Journal>,
    context: ApplyContext<'a>,
    steps: Vec<Step<'a>>,
    /// Changes that were made and have to settle.
    settling: Vec<Doing>,
    /// The time for which the run only waited for changes to settle.
    waited: Duration,
}

impl Step<'_> {
    /// Returns the reason for which it has its spec.
    fn direction(&self) -> Direction {
        match self.digest {
            Some(_) => Direction::Desired,
            None => Direction::Restored,
        }
    }
}

/// A step under way: its observed state, its differences, and the ledger's entry before its intent.
struct Doing {
    step: usize,
    /// The step's spec without the fields whose drift is held back, if there are any.
    spare: Option<Spec>,
    observed: Observed,
    fields: Vec<FieldChange>,
    /// Fields that differ too and that the host refuses; `fields` doesn't have them.
    refused: Vec<RefusedField>,
    before: Option<Entry>,
    original: Option<Original>,
    /// The marks of its inputs at the moment of its start.
    inputs: Option<BTreeMap<Address, Digest>>,
    effect: Option<Result<Effect>>,
    /// The time of the change.
    since: Instant,
}

impl Doing {
    /// Returns the spec to apply: the step's spec without the fields that are held back.
    fn spec<'b>(&'b self, step: &'b Step<'_>) -> &'b Spec {
        self.spare.as_ref().unwrap_or(&step.spec)
    }
}

/// Carries out a plan.
pub(crate) fn run(
    sys: &Sys,
    home: &Home,
    request: &Apply,
    desired: &Desired,
    blobs: &Blobs,
    differing: &BTreeSet<Address>,
    wire: &Wire,
) -> Result<Report> {
    let holder = Holder::claim(home, &request.fence)?;
    let Some(_lock) = home.lock("lock", PATIENCE)? else {
        return Err(locked());
    };
    let mut loaded = book::load(sys, Some(home))?;
    book::refuse_lost(&loaded.state)?;
    roll_forward(sys, home, &mut loaded)?;
    check_lineage(&loaded.ledger, request)?;
    let steps = steps(sys, &request.plan.changes, desired, &loaded.ledger)?;
    let originals = Originals::open(home)?;
    let temporary = format!(
        ".plumb-{}-{}",
        std::process::id(),
        crate::sys::monotonic_micros()
    );
    let room = space::room(&loaded.ledger, &steps, desired, &request.plan.confirm);
    space::check(home)?;
    let next = NextGeneration::reserve(home, room)?;
    let mut ledger = loaded.ledger;
    let begin = Begin::new(
        ledger.sequence,
        sys.facts().machine_id,
        holder.clone(),
        request.revision.clone(),
        temporary.clone(),
    );
    let journal = if steps.is_empty() {
        // Nothing can be left half done: only the ledger is written, in one step.
        ledger.absorb(&Record::Begin(begin));
        None
    } else {
        let opened = match Journal::begin(home, begin, room) {
            Ok(opened) => opened,
            Err(error) => {
                next.release(home)?;
                return Err(error);
            }
        };
        ledger.absorb(&opened.1);
        Some(opened.0)
    };
    let context = ApplyContext {
        sys,
        home,
        accounts: Accounts::default(),
        owners: ledger.owners.clone(),
        desired,
        blobs,
        originals: &originals,
        temporary: &temporary,
        records: Vec::new(),
        warnings: Vec::new(),
        unsynced: Vec::new(),
    };
    let mut run = Run {
        sys,
        home,
        request,
        desired,
        wire,
        ledger,
        journal,
        context,
        steps,
        settling: Vec::new(),
        waited: Duration::ZERO,
    };
    let driven = wire.alive(|| run.drive());
    let moved = wire.alive(|| run.note_moved(differing));
    let stopped = driven.and(moved).err();
    run.settle_ledger(stopped.as_ref());
    let Run {
        mut ledger,
        steps,
        context,
        waited,
        ..
    } = run;
    next.write(home, &mut ledger)?;
    originals.retain(&provider::contents_of_originals(&ledger))?;
    if request.departure == Departure::Leaves && stopped.is_none() && ledger.resources.is_empty() {
        home.leave(sys)?;
    }
    let results = steps
        .into_iter()
        .map(|step| ChangeResult {
            id: step.change.id,
            address: step.change.address.clone(),
            outcome: step.outcome.unwrap_or(Outcome::Stopped),
        })
        .collect();
    Ok(Report {
        target: request.plan.target,
        results,
        ledger: summary(&ledger, LedgerState::Sound, Some(&holder)),
        settling: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        stopped,
        warnings: context.warnings,
    })
}

/// Rejects a request whose controller doesn't know the revision that the host ran last. A host never goes
/// back by itself.
fn check_lineage(ledger: &Ledger, request: &Apply) -> Result<()> {
    let Some(newest) = &ledger.revision else {
        return Ok(());
    };
    let shown = match &request.lineage {
        Lineage::First => None,
        Lineage::DescendsFrom(from) | Lineage::RollsBackFrom(from) => Some(from),
    };
    if shown == Some(newest) {
        return Ok(());
    }
    let claim = match shown {
        Some(from) => format!("the controller takes it for {}", from.0),
        None => "the controller knows of none".to_owned(),
    };
    Err(AgentError::new(
        ErrorCode::WouldGoBack,
        format!(
            "this host ran revision {}, {claim}: {} isn't shown to come after it",
            newest.0, request.revision.0
        ),
    )
    .hint("going back needs a signed commit with a `Rollback-To:` trailer"))
}

/// Pairs the plan's changes with their specs. Rejects an inconsistent plan as a whole.
fn steps<'a>(
    sys: &Sys,
    changes: &'a [Change],
    desired: &'a Desired,
    ledger: &Ledger,
) -> Result<Vec<Step<'a>>> {
    let known = known(desired, ledger);
    let mut undesired = give_backs(sys, desired, ledger);
    let mut seen = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let mut steps = Vec::new();
    for change in changes {
        if let Some(late) = change.after.iter().find(|id| !seen.contains(*id)) {
            return fail(
                ErrorCode::Protocol,
                format!(
                    "{} comes after change {}, which isn't before it in the plan",
                    change.address, late.0
                ),
            );
        }
        if !seen.insert(change.id) || !addresses.insert(&change.address) {
            return fail(
                ErrorCode::Protocol,
                format!("the plan has {} twice", change.address),
            );
        }
        if !known.contains(&change.address) {
            return Err(unknown(&change.address));
        }
        let (spec, digest) = if let Some(leaf) = desired.get(&change.address) {
            (Cow::Borrowed(&leaf.spec), Some(leaf.digest))
        } else {
            let Some(spec) = undesired.remove(&change.address).flatten() else {
                return Err(unknown(&change.address));
            };
            (Cow::Owned(spec), None)
        };
        steps.push(Step {
            change,
            spec,
            digest,
            outcome: None,
        });
    }
    Ok(steps)
}
