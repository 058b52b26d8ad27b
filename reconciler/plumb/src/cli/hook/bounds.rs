//! Refuses commits whose files no controller could fetch or load. A single file that is too large to be read
//! isn't refused, because it stops only the hosts that use it. The manifests are checked by `pre-push`, not
//! here.

use plumb_adapters::git::{BoundExceeded, RevisionBounds};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{ObjectKind, Objects as _, Outcome};

use super::input::RefUpdate;
use super::judge::Judge;
use crate::report::Failure;

impl Judge<'_> {
    /// Checks the files of every new commit of a push. Looks only at sizes.
    pub(super) fn check_bounds(
        &self,
        outcome: &Outcome,
        update: &RefUpdate,
    ) -> Result<(), Failure> {
        let objects = self.repository.objects();
        let mut bounds = RevisionBounds::new(objects);
        let steps = &outcome.steps;
        let known = steps
            .iter()
            .position(|step| Some(step.commit) == update.old);
        for step in steps.iter().skip(known.map_or(0, |at| at + 1)) {
            let id = step.commit;
            let raw = objects.read(&id, ObjectKind::Commit, limits::COMMIT);
            let tree = raw
                .ok()
                .and_then(|raw| Some(Commit::parse(&raw, id.format()).ok()?.tree));
            let Some(tree) = tree else {
                continue;
            };
            if let Err(error) = bounds.check(&tree) {
                let hint = match error {
                    BoundExceeded::Object { .. } => {
                        "take the file out of this commit: a later commit that removes it doesn't help"
                    }
                    BoundExceeded::Files(_) | BoundExceeded::Root(_) => {
                        "remove what the fleet doesn't need, and amend the commit"
                    }
                };
                let commit = id.short();
                return Err(
                    Failure::new(format!("no controller could follow {commit}: {error}"))
                        .hint(hint),
                );
            }
        }
        Ok(())
    }
}
