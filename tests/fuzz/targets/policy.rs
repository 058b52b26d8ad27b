//! Reading never panics; a policy that is read has a rule for itself that needs somebody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::Policy;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = Policy::parse(data) {
        assert!(policy.rules_for("trust/policy.yaml").any(|(_, rule)| !rule.need.is_empty()));
        assert!(policy.rules.iter().all(|rule| rule.need.iter().all(|need| need.count > 0)));
    }
});
