//! Services: what they read without naming it, and what isn't drift.

use plumb_api::resource::{RunState, ServiceObserved};

use super::*;

fn text(word: &str) -> Value {
    json!({"content": content(word)})
}

fn workers(word: &str, more: &[(&str, Value)]) -> HostIntent {
    let started = json!({"state": "started"});
    let mut all = vec![
        ("unit:worker@.service", text(word)),
        ("service:worker@a", started.clone()),
        ("service:worker@b", started),
    ];
    all.extend(more.iter().map(|(name, spec)| (*name, spec.clone())));
    intent(&all)
}

fn restarts(planned: &Planned) -> Vec<String> {
    let all = planned.plan.changes.iter().flat_map(|c| &c.consequences);
    all.map(ToString::to_string)
        .filter(|text| text.starts_with("restarts"))
        .collect()
}

/// The changes that a change comes after.
fn before<'p>(planned: &'p Planned, name: &str) -> Vec<&'p Address> {
    let changes = &planned.plan.changes;
    let one = changes.iter().find(|c| c.address == address(name));
    let one = one.unwrap_or_else(|| panic!("{name} isn't in the plan"));
    one.after
        .iter()
        .map(|id| &changes[usize::try_from(id.0).unwrap()].address)
        .collect()
}

#[test]
fn a_template_comes_before_its_instances_and_restarts_them() {
    let first = planned(&workers("one", &[]), &ModelHost::default());
    for name in ["service:worker@a", "service:worker@b"] {
        assert_eq!(before(&first, name), [&address("unit:worker@.service")]);
        let change = first
            .plan
            .changes
            .iter()
            .find(|c| c.address == address(name));
        assert_eq!(change.and_then(|c| c.precondition), None, "{name}");
    }
    let host = settled(&workers("one", &[]));
    let changed = planned(&workers("two", &[]), &host);
    assert_eq!(
        restarts(&changed),
        ["restarts worker@a.service", "restarts worker@b.service"]
    );
    let all = [("unit:worker@.service.d/all.conf", text("x"))];
    assert_eq!(restarts(&planned(&workers("one", &all), &host)).len(), 2);
    let only = [("unit:worker@a.service.d/a.conf", text("x"))];
    assert_eq!(
        restarts(&planned(&workers("one", &only), &host)),
        ["restarts worker@a.service"]
    );
}

#[test]
fn instances_are_given_back_before_their_template_goes() {
    let intent = workers("one", &[("file:/etc/a", text("x"))]);
    let host = settled(&intent);
    let rest = super::model::intent(&[("file:/etc/a", text("x"))]);
    let dropped = planned(&rest, &host);
    let first = before(&dropped, "unit:worker@.service");
    assert_eq!(
        first,
        [&address("service:worker@a"), &address("service:worker@b")]
    );
}

#[test]
fn a_drop_in_of_the_unit_restarts_a_service_that_is_named_by_an_alias() {
    let named = |word: &str| {
        intent(&[
            ("unit:mariadb.service.d/x.conf", text(word)),
            ("service:mysql", json!({"state": "started"})),
        ])
    };
    let host = settled(&named("one"));
    let wanted = named("two");
    let mut report = host.observe(&goal(&wanted));
    report
        .aliases
        .insert(address("service:mysql"), address("service:mariadb"));
    let changed = plan(&wanted, &report, PlanOptions::default());
    assert_eq!(restarts(&changed), ["restarts mariadb.service"]);
    assert_eq!(
        before(&changed, "service:mysql"),
        [&address("unit:mariadb.service.d/x.conf")]
    );
}

#[test]
fn a_unit_that_fails_by_itself_has_not_drifted_in_any_mode() {
    let mut wanted = intent(&[("service:app", json!({"state": "started"}))]);
    let mut host = settled(&wanted);
    let mut found = |state| {
        let Some(Observed::Service(service)) = host.has.get_mut(&address("service:app")) else {
            panic!("no service");
        };
        service.state = Some(state);
        host.observe(&goal(&wanted))
    };
    let states = [RunState::Failed, RunState::Starting, RunState::Restarting];
    let reports: Vec<ObserveReport> = states.into_iter().map(&mut found).collect();
    let stopped = found(RunState::Stopped);
    for mode in [DriftMode::Correct, DriftMode::Alert, DriftMode::Ignore] {
        wanted.drift.mode = mode;
        for report in &reports {
            let planned = plan(&wanted, report, PlanOptions::default());
            assert!(planned.held_drift.is_empty(), "{mode:?}");
            let change = &planned.plan.changes[0];
            assert_eq!(change.cause, Cause::Intent, "{mode:?}");
            assert_eq!(change.precondition, None, "it moves by itself");
        }
    }
    wanted.drift.mode = DriftMode::Correct;
    let somebody = plan(&wanted, &stopped, PlanOptions::default());
    assert_eq!(somebody.plan.changes[0].cause, Cause::Drift);
}

#[test]
fn starts_once_a_unit_that_systemd_knows_already() {
    let once = intent(&[("service:app", json!({"state": "started", "manage": "once"}))]);
    let mut host = ModelHost::default();
    let known = ServiceObserved {
        known: true,
        state: Some(RunState::Stopped),
        ..ServiceObserved::default()
    };
    let app = address("service:app");
    host.has
        .insert(app.clone(), Observed::Service(known.clone()));
    let first = planned(&once, &host);
    assert_eq!(lines(&first), ["update service:app intent exact"]);
    host.apply(&first.plan, &goal(&once));
    host.has.insert(app, Observed::Service(known));
    assert!(planned(&once, &host).is_settled(), "it was started once");
}
