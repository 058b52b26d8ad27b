//! The provider of the types whose files come from a source.

use std::marker::PhantomData;

use plumb_api::resource::{Presence, Resource, TreeObserved};
use plumb_api::{Observed, Spec};

use super::{Source, Stage};
use crate::error::Result;
use crate::provider::{
    ApplyContext, Effect, GiveBack, Identity, Inquiry, Item, ItemChange, ObserveContext, Provider,
    at_path, each, wrong_type,
};

/// A type whose files come from a source.
pub(in super::super) trait TreeSpec: Resource + Sync + 'static {
    /// The files, in a phrase for people.
    const DESCRIPTION: &'static str;

    /// Returns the spec of this type; `None` if it is another type's.
    fn of(spec: &Spec) -> Option<&Self>;

    /// Returns the spec that restores a folder that was in this state.
    fn restoring(state: Presence) -> Spec;

    /// Wraps an observation.
    fn observed(found: TreeObserved) -> Observed;

    /// Returns the source of the files.
    fn source(&self) -> Source<'_>;

    /// Writes the files of the source into the stage.
    fn fill(&self, cx: &mut ApplyContext<'_>, stage: &Stage, path: &str) -> Result<()>;
}

/// The provider of one such type.
pub(in super::super) struct Trees<T>(PhantomData<T>);

impl<T> Trees<T> {
    pub(in super::super) const PROVIDER: Self = Self(PhantomData);
}

impl<T: TreeSpec> Provider for Trees<T> {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("tree")
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            if T::of(item.spec).is_none() {
                return wrong_type(item.address);
            }
            let owners = item.spec.owners();
            super::observe(cx, item.address.name(), owners.user, owners.group).map(T::observed)
        };
        items.iter().map(one).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        super::check_change(cx, change)
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, |cx, change| {
            let Some(spec) = T::of(change.spec) else {
                return wrong_type(change.address);
            };
            super::apply(cx, change, &spec.source(), |cx, stage| {
                spec.fill(cx, stage, change.address.name())
            })
        })
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl<T: TreeSpec> GiveBack for Trees<T> {
    fn full_spec(&self) -> Spec {
        T::restoring(Presence::Present)
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        T::restoring(if original.exists() {
            Presence::Present
        } else {
            Presence::Absent
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        original.exists().then(|| T::DESCRIPTION.to_owned())
    }
}
