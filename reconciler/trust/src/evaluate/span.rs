//! Approvals by tags of the commit itself, and by tags with `Approve-Base:`, which approve several commits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::approvals::{self, Span, ignored};
use super::coverage::CountedSignature;
use super::step::{Candidate, add_note};
use super::{Evaluation, Parent};
use crate::object::{ObjectKind, limits};
use crate::oid::Oid;
use crate::reason::Reason;
use crate::signature::Finding;

/// Cached results about tags with a base. Anybody who may push tags can push many, and a tag may span any
/// step. So each signature is verified once under each policy, the commits that a tag spans are read once,
/// and a tag that isn't signed by a key of the policy costs nothing more.
#[derive(Default)]
pub(super) struct Spans {
    /// The tags as sorted under the policy of the last step, with the object name of that policy's `trust`
    /// folder.
    sorted: RefCell<Option<(Oid, Rc<Sorted>)>>,
    /// By tag, the reason that the tag's span isn't valid, or `None` if it is.
    void: RefCell<HashMap<Oid, Option<&'static str>>>,
}

/// Tags with a base, sorted by whether a key of one policy has signed them.
#[derive(Default)]
struct Sorted {
    /// Positions in [`Approvals::spans`](approvals::Approvals) of the tags that a key of the policy has
    /// signed.
    ours: Vec<usize>,
    /// Some of the other tags: the target, and the reason that the tag doesn't count.
    strangers: Vec<(Oid, Reason)>,
}

/// Maximum number of tags in `strangers`.
const TOLD: usize = 20;

impl Evaluation<'_> {
    /// Adds the signatures of tags whose target is the commit, and of tags that span the commit.
    pub(super) fn direct_signatures(
        &self,
        parent: &Parent,
        candidate: &Candidate<'_>,
        signatures: &mut Vec<CountedSignature>,
        notes: &mut Vec<Reason>,
    ) {
        let mut note = |result: Result<CountedSignature, Reason>| match result {
            Ok(signature) => signatures.push(signature),
            Err(reason) => add_note(notes, reason),
        };
        for tag in self.approvals.of(&candidate.id) {
            note(self.approval(parent, tag, &candidate.id, candidate.seconds));
        }
        let ahead = |target| self.chain.position(target).filter(|to| *to > candidate.at);
        let sorted = self.sorted_spans(parent);
        for (target, reason) in &sorted.strangers {
            if ahead(target).is_some() {
                note(Err(reason.clone()));
            }
        }
        for span in sorted
            .ours
            .iter()
            .filter_map(|at| self.approvals.spans.get(*at))
        {
            let Some(to) = ahead(&span.target) else {
                continue;
            };
            if let Some(why) = self.void(span, to) {
                let name = self.approvals.name(&span.tag);
                note(Err(ignored(name, why).of_tag(name)));
                continue;
            }
            // The base itself isn't in the span.
            let base = self.chain.position(&span.base);
            if base.is_none_or(|base| base < candidate.at) {
                note(self.span_signature(parent, span));
            }
        }
    }

    fn span_signature(&self, parent: &Parent, span: &Span) -> Result<CountedSignature, Reason> {
        let target = self.graph.node(&span.target)?.seconds;
        // The target is built on the parent, so its time is at least the parent's.
        self.approval(parent, &span.tag, &span.target, target.max(parent.seconds))
    }

    fn sorted_spans(&self, parent: &Parent) -> Rc<Sorted> {
        if let Some((trust, sorted)) = &*self.spans.sorted.borrow()
            && *trust == parent.trust
        {
            return sorted.clone();
        }
        let mut sorted = Sorted::default();
        let between = |span: &Span| {
            let from = self.chain.position(&span.base).map_or(0, |base| base + 1);
            self.chain
                .position(&span.target)
                .is_some_and(|to| to != from)
        };
        // Skip the many tags that have a base but span nothing except their target.
        let spans = self.approvals.spans.iter().enumerate();
        for (at, span) in spans.filter(|(_, span)| between(span)) {
            let name = self.approvals.name(&span.tag);
            match self.by_a_key(parent, span).map_err(|r| r.of_tag(name)) {
                Ok(()) => sorted.ours.push(at),
                Err(reason) if sorted.strangers.len() < TOLD => {
                    sorted.strangers.push((span.target, reason));
                }
                Err(_) => {}
            }
        }
        let sorted = Rc::new(sorted);
        *self.spans.sorted.borrow_mut() = Some((parent.trust, sorted.clone()));
        sorted
    }

    fn by_a_key(&self, parent: &Parent, span: &Span) -> Result<(), Reason> {
        let name = self.approvals.name(&span.tag);
        let read = self.objects.read(&span.tag, ObjectKind::Tag, limits::TAG);
        let raw = read.map_err(|e| ignored(name, e))?;
        let tag = approvals::parse(&raw, &span.tag, name).map_err(|e| ignored(name, e))?;
        let finding = self
            .examine_tag(&parent.authority, &tag)
            .ok_or_else(|| ignored(name, "it isn't signed"))?;
        match finding {
            Finding::Good(_) => Ok(()),
            Finding::Void(_, _, reason) | Finding::Not(reason) => Err(ignored(name, reason)),
        }
    }

    /// Returns the reason that a span isn't valid: its base isn't an earlier commit of the branch, or
    /// `trust/` changes within the span. Returns `None` for a valid span.
    fn void(&self, span: &Span, to: usize) -> Option<&'static str> {
        if let Some(known) = self.spans.void.borrow().get(&span.tag) {
            return *known;
        }
        let why = match self.chain.between(self.objects, &span.base, to) {
            None => Some("its `Approve-Base:` isn't an earlier commit of the branch"),
            Some(commits) => match self.one_trust(&commits) {
                Ok(true) => None,
                Ok(false) => Some("its `Approve-Base:` spans a change of trust/"),
                Err(_) => Some("a commit that it spans can't be read"),
            },
        };
        self.spans.void.borrow_mut().insert(span.tag, why);
        why
    }

    fn one_trust(&self, commits: &[Oid]) -> Result<bool, Reason> {
        let mut first = None;
        for id in commits {
            let trust = self.trees.trust(&self.graph.node(id)?.tree)?;
            if *first.get_or_insert(trust) != trust {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
