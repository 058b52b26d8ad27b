//! Clocks that differ from the controller's: those of hosts and of Alertmanagers.

use jiff::SignedDuration;
use plumb_api::AlertmanagerUrl;

use super::Step;
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::status::{ConditionStatus, ConditionType};
use crate::view::EventKind;

/// The difference above which a clock counts as skewed. It is well below the allowed skew of the times in
/// signatures (`time.skew`), and above the error that a slow response can cause.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// True if a clock differs from the controller's by more than [`TOLERANCE`].
pub(super) fn is_skewed(offset: SignedDuration) -> bool {
    offset.abs() > TOLERANCE
}

/// Returns the difference in words: `8 min ahead of the controller's`.
pub(super) fn difference(offset: SignedDuration) -> String {
    let side = if offset.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let seconds = offset.abs().as_secs();
    let amount = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{amount} {side} the controller's")
}

impl Step<'_> {
    /// Stores the clock offset of an Alertmanager. Adds a record when the clock becomes skewed, and when it is
    /// correct again.
    pub(super) fn sink_clock(&mut self, sink: &AlertmanagerUrl, offset: SignedDuration) {
        let clocks = &mut self.state.sink_clocks;
        let before = clocks.insert(sink.clone(), offset).is_some_and(is_skewed);
        match (before, is_skewed(offset)) {
            (false, true) => {
                let message = format!("the clock of {sink} is {}", difference(offset));
                self.warn(None, ConditionReason::ClockSkewed, message, None);
            }
            (true, false) => {
                let message = format!("the clock of {sink} agrees with the controller's again");
                let reason = ConditionReason::ClockCorrected;
                self.record(None, EventKind::Normal, reason, message, None);
            }
            _ => {}
        }
        self.derive_source_clock();
    }

    /// Forgets the clocks and failures of Alertmanagers that the Fleet manifest no longer lists, because no
    /// further answer would clear them. If the controller's configuration lists such an Alertmanager too, its
    /// next answer sets them again.
    pub(super) fn forget_sinks(&mut self, left: &[AlertmanagerUrl]) {
        let is_left = |sink: &AlertmanagerUrl| left.iter().any(|one| one.is_same(sink));
        self.state.sink_clocks.retain(|sink, _| !is_left(sink));
        self.state.sinks_failing.retain(|sink| !is_left(sink));
        self.derive_source_clock();
    }

    fn derive_source_clock(&mut self) {
        let skewed = self
            .state
            .sink_clocks
            .iter()
            .filter(|(_, offset)| is_skewed(**offset));
        let all: Vec<_> = skewed
            .map(|(sink, offset)| format!("the clock of {sink} is {}", difference(*offset)))
            .collect();
        let conditions = &mut self.state.source.conditions;
        if all.is_empty() {
            conditions.remove(ConditionType::ClockSkewed);
            return;
        }
        let message = match all.as_slice() {
            [one] => Message::from(one.as_str()),
            all => Message::from(format!("the clocks of {} Alertmanagers differ", all.len()))
                .with_detail(all.join("\n")),
        };
        conditions.set(crate::status::Condition {
            kind: ConditionType::ClockSkewed,
            status: ConditionStatus::True,
            reason: ConditionReason::ClockSkewed,
            message,
            observed_generation: None,
            last_transition_time: self.now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_amount_and_the_side() {
        let minutes = SignedDuration::from_mins;
        assert_eq!(difference(minutes(8)), "8 min ahead of the controller's");
        assert_eq!(difference(minutes(-90)), "90 min behind the controller's");
        assert_eq!(
            difference(SignedDuration::from_hours(-49)),
            "2 days behind the controller's"
        );
        assert!(
            is_skewed(SignedDuration::from_secs(-61)) && !is_skewed(SignedDuration::from_secs(60))
        );
    }
}
