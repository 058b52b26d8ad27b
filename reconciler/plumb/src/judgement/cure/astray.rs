//! What helps a commit that isn't built on what is accepted.

use super::{Cure, Others, Place};
use crate::output::short;

impl Place {
    /// Of a commit that isn't built on what is accepted. A rebase signs what it makes anew, so it is for one's
    /// own commits; others' are merged, and stay as they are.
    pub(super) fn build_on_accepted(&self) -> Cure {
        let Self { base, remote, .. } = self;
        let fetch = format!("git fetch {remote}");
        if matches!(&self.others, Others::These(others) if others.is_empty()) {
            let there = self.there(vec![format!("git rebase --gpg-sign {base}")]);
            return Cure {
                what: "then build on what is accepted: your commits are made anew on top of it, and signed"
                    .to_owned(),
                commands: [fetch]
                    .into_iter()
                    .chain(there)
                    .chain(self.start.push.clone())
                    .collect(),
            };
        }
        let deploy_ref = self
            .deploy_ref
            .as_ref()
            .map_or_else(String::new, |meant| format!(" -m 'Deploy-Ref: {meant}'"));
        Cure {
            what: "then build on what is accepted: a merge of the branch belongs on top of it, not the other way around. Commits by others may be among these, so merge them as they are, once you have looked at them".to_owned(),
            commands: vec![
                fetch,
                format!("git log --patch --show-signature {base}..{}", self.tip),
                format!("git switch --detach {base}"),
                format!(
                    "git merge --no-ff -S -m 'Merge {}'{deploy_ref} {}",
                    short(&self.tip),
                    self.tip
                ),
                format!("git push {remote} HEAD~0:refs/heads/{}", self.branch),
            ],
        }
    }
}
