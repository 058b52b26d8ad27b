//! The faults of one change: a field that can't be done doesn't keep the others from being done.

use plumb_api::report::AgentError;

use super::Effect;
use crate::error::Result;

/// Collects the errors of a change's fields.
#[derive(Default)]
pub(super) struct Faults {
    all: Vec<AgentError>,
}

impl Faults {
    /// Keeps the error of a step, if it has one.
    pub(super) fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.all.push(error);
        }
    }

    /// Returns the outcome of the change. Several errors become one that tells all of them.
    pub(super) fn outcome(self) -> Result<Effect> {
        let mut all = self.all.into_iter();
        let Some(first) = all.next() else {
            return Ok(Effect::Done);
        };
        let rest: Vec<AgentError> = all.collect();
        if rest.is_empty() {
            return Err(first);
        }
        let messages: Vec<&str> = std::iter::once(&first)
            .chain(&rest)
            .map(|error| error.message.as_str())
            .collect();
        let mut hints: Vec<&str> = Vec::new();
        for hint in std::iter::once(&first)
            .chain(&rest)
            .filter_map(|error| error.hint.as_deref())
        {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let error = AgentError::new(first.code, messages.join("; "));
        Err(if hints.is_empty() {
            error
        } else {
            error.hint(hints.join("; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::report::ErrorCode;

    use super::*;

    #[test]
    fn tells_every_fault_of_a_change() {
        let mut faults = Faults::default();
        faults.note(Ok(()));
        let error = |message| AgentError::new(ErrorCode::NotFound, message);
        faults.note(Err(error("no group").hint("add it")));
        faults.note(Err(AgentError::new(ErrorCode::NoSpace, "no home")));
        faults.note(Err(error("no other group").hint("add it")));
        let told = faults.outcome().unwrap_err();
        assert_eq!(told.code, ErrorCode::NotFound);
        assert_eq!(told.message, "no group; no home; no other group");
        assert_eq!(told.hint.as_deref(), Some("add it"));
        assert_eq!(Faults::default().outcome(), Ok(Effect::Done));
    }
}
