//! Errors of single fields of a change. One failing field doesn't prevent the changes of the other fields.

use plumb_api::report::AgentError;

use super::Effect;
use crate::error::Result;

/// A field that the host refuses to change, independently of the other fields.
#[derive(Debug, Clone)]
pub(crate) struct RefusedField {
    pub(crate) field: &'static str,
    pub(crate) error: AgentError,
}

/// True if `field` is one of the refused fields.
pub(crate) fn is_refused(refused: &[RefusedField], field: &str) -> bool {
    refused.iter().any(|one| one.field == field)
}

/// Fails if there are refused fields or `others` is an error. The returned error combines the errors of the
/// refused fields and `others`.
pub(crate) fn of_refused(refused: &[RefusedField], others: Option<&AgentError>) -> Result<()> {
    let mut faults = Faults::default();
    for error in refused.iter().map(|one| &one.error).chain(others) {
        faults.note(Err(error.clone()));
    }
    faults.outcome().map(|_| ())
}

/// Collects the errors of a change's fields.
#[derive(Default)]
pub(super) struct Faults {
    all: Vec<AgentError>,
}

impl Faults {
    /// Stores the error of a step, if it failed.
    pub(super) fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.all.push(error);
        }
    }

    /// Returns the outcome of the whole change. Combines several errors into one with all their messages and
    /// hints.
    pub(super) fn outcome(self) -> Result<Effect> {
        let mut all = self.all.into_iter();
        let Some(first) = all.next() else {
            return Ok(Effect::Done);
        };
        let rest: Vec<AgentError> = all.collect();
        if rest.is_empty() {
            return Err(first);
        }
        let all = || std::iter::once(&first).chain(&rest);
        let messages = distinct(all().map(|error| error.message.as_str()));
        let hints = distinct(all().filter_map(|error| error.hint.as_deref()));
        let error = AgentError::new(first.code, messages.join("; "));
        Err(if hints.is_empty() {
            error
        } else {
            error.hint(hints.join("; "))
        })
    }
}

/// Returns the texts without duplicates, in the order of their first occurrence.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
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

    #[test]
    fn tells_one_cause_of_two_fields_once() {
        let mut faults = Faults::default();
        for _field in ["home", "uid"] {
            faults.note(Err(AgentError::new(ErrorCode::InUse, "bob is logged in")));
        }
        assert_eq!(faults.outcome().unwrap_err().message, "bob is logged in");
    }
}
