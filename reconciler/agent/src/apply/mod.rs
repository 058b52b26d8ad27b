//! Applies a plan in its order, and in batches where resource types allow it. Before each change, the run
//! must hold the host's lock, its fence must be valid, and the intent of the change must be on disk.

mod batch;
mod capture;
mod cut_off;
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
use crate::dead_man;
use crate::error::{Result, fail};
use crate::observe::{known, summary, unknown};
use crate::provider::{self, ApplyContext, Direction, Effect, ItemChange, RefusedField};
use crate::recover::{locked, roll_forward};
use crate::sys::{Accounts, Sys};
use crate::undesired::give_backs;
use crate::wire::Wire;

/// Maximum time that a run waits for the host's lock. An earlier run that this one has superseded may hold
/// the lock until its current change ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One change of the plan, with its spec and its outcome.
struct Step<'a> {
    change: &'a Change,
    /// The desired spec, or the spec that restores the original.
    spec: Cow<'a, Spec>,
    /// Digest of the desired spec. `None` if nothing desires the resource any more.
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
    /// Changes that were made and must settle before they are verified.
    settling: Vec<Doing>,
    /// Total time that the run spent only waiting for changes to settle.
    waited: Duration,
    phase: Phase,
}

/// The phase of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// All changes but these, which could cut the controller off.
    Ordinary(BTreeSet<usize>),
    /// Only these changes, under the dead-man timer.
    CutOff(BTreeSet<usize>),
}

impl Phase {
    /// True if the change at this place belongs to the phase.
    fn allows(&self, place: usize) -> bool {
        match self {
            Self::Ordinary(guarded) => !guarded.contains(&place),
            Self::CutOff(places) => places.contains(&place),
        }
    }
}

impl Step<'_> {
    fn result(self) -> ChangeResult {
        ChangeResult {
            id: self.change.id,
            address: self.change.address.clone(),
            outcome: self.outcome.unwrap_or(Outcome::Stopped),
        }
    }

    /// Returns whether the step's spec is desired or restores the original.
    fn direction(&self) -> Direction {
        match self.digest {
            Some(_) => Direction::Desired,
            None => Direction::Restored,
        }
    }
}

/// A change that the run is carrying out: the observed state, the differing fields, and the ledger's entry
/// before the intent was written.
struct Doing {
    step: usize,
    /// The step's spec without the fields whose drift the plan leaves alone. `None` if there are no such
    /// fields.
    spare: Option<Spec>,
    observed: Observed,
    fields: Vec<FieldChange>,
    /// Further fields that differ but that the host refuses to change. They aren't in `fields`.
    refused: Vec<RefusedField>,
    before: Option<Entry>,
    original: Option<Original>,
    /// Marks of the resource's inputs just before the change was made.
    inputs: Option<BTreeMap<Address, Digest>>,
    effect: Option<Result<Effect>>,
    /// The time at which the change was made.
    since: Instant,
}

impl Doing {
    /// Returns the spec to apply: the step's spec without the fields whose drift the plan leaves alone.
    fn spec<'b>(&'b self, step: &'b Step<'_>) -> &'b Spec {
        self.spare.as_ref().unwrap_or(&step.spec)
    }

    /// Returns the change as the provider sees it.
    fn change<'b>(&'b self, step: &'b Step<'_>) -> ItemChange<'b> {
        ItemChange {
            address: &step.change.address,
            spec: self.spec(step),
            observed: &self.observed,
            fields: &self.fields,
            original: self.original.as_ref(),
        }
    }
}

/// Carries out a plan and returns the report.
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
    dead_man::refuse_armed(home)?;
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
    let opened = match open_journal(home, begin, room, &steps) {
        Ok(opened) => opened,
        Err(error) => {
            next.release(home)?;
            return Err(error);
        }
    };
    let (journal, first) = opened;
    ledger.absorb(&first);
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
        phase: Phase::Ordinary(BTreeSet::new()),
    };
    run.phase = Phase::Ordinary(run.guarded());
    let driven = wire.alive(|| run.drive());
    let moved = wire.alive(|| run.note_moved(differing));
    let (stopped, armed) = match driven {
        Ok(armed) => (moved.err(), armed),
        Err(error) => (Some(error), None),
    };
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
    Ok(Report {
        target: request.plan.target,
        results: steps.into_iter().map(Step::result).collect(),
        ledger: summary(&ledger, LedgerState::Sound, Some(&holder)),
        settling: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        stopped,
        unconfirmed: armed
            .into_iter()
            .flat_map(|armed| armed.pre_images)
            .map(|pre_image| pre_image.address)
            .collect(),
        warnings: context.warnings,
    })
}

/// Opens the journal of a run, and returns its first record. Without changes, no journal is needed: the run only
/// writes the ledger, in one step.
fn open_journal(
    home: &Home,
    begin: Begin,
    room: u64,
    steps: &[Step<'_>],
) -> Result<(Option<Journal>, Record)> {
    if steps.is_empty() {
        return Ok((None, Record::Begin(begin)));
    }
    let (journal, first) = Journal::begin(home, begin, room)?;
    Ok((Some(journal), first))
}

/// Rejects a request whose lineage doesn't name the revision that the host applied last, so that a host never
/// goes back to an older revision by accident.
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

/// Pairs each change of the plan with its spec. Rejects the whole plan if it is inconsistent.
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
