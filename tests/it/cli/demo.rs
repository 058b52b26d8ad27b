//! The whole way.

use super::environment::Environment;

#[test]
fn every_step_of_the_demonstration_is_observed() {
    let env = Environment::new();
    let run = env.plumb(".", &["demo", "--once"]).exits(0);
    assert!(!run.stdout.contains('✗'));
    run.stdout_has(&[
        "A signed push reaches the hosts",
        "PlumbCommitVerificationFailed fires",
        "Two people for sensitive paths",
        "PlumbHostDrifted is resolved",
        "killed (SIGKILL)",
        "All 7 steps succeeded",
    ]);
}
