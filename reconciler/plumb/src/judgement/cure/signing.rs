//! The command that signs a commit anew.

use crate::judgement::message::Messages;
use crate::judgement::place::Place;

/// With which key a commit is signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// The one that git signs with.
    Own,
    /// One that git isn't told otherwise.
    Another,
}

impl Place {
    /// The command that signs anew, and adds these trailers. Where the policy wants each commit to say where
    /// it is meant, and one doesn't, that is one of them: whoever follows the advice may have no hook.
    pub(super) fn signing(&self, with: With, trailers: &[&str]) -> String {
        let key = match with {
            With::Own => "",
            With::Another => "-c user.signingkey=KEY ",
        };
        let bind = self
            .deploy_ref
            .as_ref()
            .filter(|_| self.messages != Messages::Bound)
            .map(|deploy_ref| format!("Deploy-Ref: {deploy_ref}"));
        let all: Vec<&str> = bind
            .as_deref()
            .into_iter()
            .chain(trailers.iter().copied())
            .collect();
        if all.is_empty() {
            return format!("git {key}commit --amend --no-edit -S --allow-empty");
        }
        if self.messages == Messages::Odd {
            let paragraph = all.join("%n");
            return format!(
                "git log -1 --no-show-signature --format='%B%n%n{paragraph}' | git {key}commit --amend -S --allow-empty -F -"
            );
        }
        let once = bind.as_ref().map_or("", |_| "-c trailer.ifExists=replace ");
        let all: Vec<String> = all
            .iter()
            .map(|one| format!(" --trailer '{one}'"))
            .collect();
        format!(
            "git {key}{once}commit --amend --no-edit -S --allow-empty{}",
            all.concat()
        )
    }
}
