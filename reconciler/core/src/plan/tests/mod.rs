mod checks;
mod commands;
mod model;
mod property;
mod services;
mod sysctls;

use plumb_api::Observed;
use plumb_api::frame::{DifferenceState, LedgerState};
use plumb_api::plan::{Consequence, Op};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, FileObserved, FileType};
use serde_json::{Value, json};

use self::model::{ModelHost, address, intent};
use super::*;
use crate::desired::{Existing, FieldAddress, HostIntent, Lifecycle};

fn content(text: &str) -> Value {
    serde_json::to_value(Content::of(text.as_bytes())).unwrap()
}

fn planned(intent: &HostIntent, host: &ModelHost) -> Planned {
    plan(intent, &host.observe(&goal(intent)), PlanOptions::default())
}

/// A host on which an intent was applied.
fn settled(intent: &HostIntent) -> ModelHost {
    let mut host = ModelHost::default();
    let first = planned(intent, &host);
    host.apply(&first.plan, &goal(intent));
    assert!(planned(intent, &host).is_settled());
    host
}

fn lines(planned: &Planned) -> Vec<String> {
    planned
        .plan
        .changes
        .iter()
        .map(|c| format!("{:?} {} {:?} {:?}", c.op, c.address, c.cause, c.certainty).to_lowercase())
        .collect()
}

fn spoil(host: &mut ModelHost, name: &str, change: impl FnOnce(&mut FileObserved)) {
    let Some(Observed::File(file)) = host.has.get_mut(&address(name)) else {
        panic!("{name} isn't there");
    };
    change(file);
}

#[test]
fn causes_are_told_apart_field_by_field() {
    let before = intent(&[(
        "file:/etc/a",
        json!({"content": content("1"), "mode": "0644"}),
    )]);
    let after = intent(&[(
        "file:/etc/a",
        json!({"content": content("2"), "mode": "0644"}),
    )]);
    let mut host = settled(&before);

    assert_eq!(
        lines(&planned(&after, &host)),
        ["update file:/etc/a intent exact"]
    );

    spoil(&mut host, "file:/etc/a", |f| f.mode = "0600".parse().ok());
    assert_eq!(
        lines(&planned(&before, &host)),
        ["update file:/etc/a drift exact"]
    );
    let both = planned(&after, &host);
    assert_eq!(lines(&both), ["update file:/etc/a intent exact"]);
    assert_eq!(both.plan.changes[0].fields.len(), 2);

    spoil(&mut host, "file:/etc/a", |f| {
        f.content = Some(Content::of(b"3"));
    });
    assert_eq!(
        lines(&planned(&after, &host)),
        ["update file:/etc/a conflict exact"]
    );
}

#[test]
fn held_drift_lets_intent_pass() {
    let with = |text: &str, mode| {
        let spec = json!({"content": content(text), "mode": "0644"});
        let mut intent = intent(&[("file:/etc/a", spec)]);
        intent.drift.mode = mode;
        intent
    };
    let mut host = settled(&with("1", DriftMode::Alert));
    spoil(&mut host, "file:/etc/a", |f| f.mode = "0600".parse().ok());
    let old = host.get(&address("file:/etc/a"));

    let alert = planned(&with("1", DriftMode::Alert), &host);
    assert!(alert.plan.is_empty() && !alert.is_settled());
    assert_eq!(alert.held_drift[0].fields[0].field, "mode");
    let ignore = planned(&with("1", DriftMode::Ignore), &host);
    assert!(ignore.plan.is_empty() && ignore.is_settled());

    // New intent is applied in every mode, and what drifted stays as it is.
    let newer = with("2", DriftMode::Alert);
    let both = planned(&newer, &host);
    host.apply(&both.plan, &goal(&newer));
    let Observed::File(file) = host.get(&address("file:/etc/a")) else {
        panic!("no file");
    };
    assert_eq!(file.content, Some(Content::of(b"2")));
    assert_eq!(file.mode, "0600".parse().ok(), "was {old:?}");
    assert_eq!(planned(&newer, &host).held_drift.len(), 1);

    // An override corrects it.
    let options = PlanOptions {
        drift: Some(DriftMode::Correct),
    };
    let corrected = plan(&newer, &host.observe(&newer.desired), options);
    assert_eq!(lines(&corrected), ["update file:/etc/a drift exact"]);
}

#[test]
fn ignored_addresses_are_made_and_then_left() {
    let mut intent = intent(&[(
        "file:/etc/a",
        json!({"content": content("1"), "mode": "0644"}),
    )]);
    intent.drift.ignore.insert(FieldAddress {
        address: address("file:/etc/a"),
        field: Some("content".to_owned()),
    });
    let mut host = settled(&intent);
    spoil(&mut host, "file:/etc/a", |f| f.content = None);
    let one = planned(&intent, &host);
    assert!(one.is_settled() && one.held_drift[0].mode == DriftMode::Ignore);
    spoil(&mut host, "file:/etc/a", |f| f.mode = None);
    let two = planned(&intent, &host);
    assert_eq!(two.plan.changes[0].fields.len(), 1, "only the mode");
}

#[test]
fn a_service_restarts_after_its_inputs_and_only_then() {
    let with = |text: &str| {
        intent(&[
            ("file:/etc/a.conf", json!({"content": content(text)})),
            ("unit:a.service", json!({"content": content("unit")})),
            (
                "service:a",
                json!({"state": "started", "restartOn": ["file:/etc/a.conf"]}),
            ),
            (
                "service:b",
                json!({"state": "stopped", "restartOn": ["file:/etc/a.conf"]}),
            ),
        ])
    };
    let first = planned(&with("1"), &ModelHost::default());
    assert_eq!(
        lines(&first),
        [
            "create file:/etc/a.conf intent exact",
            "create unit:a.service intent exact",
            "create service:a intent exact",
        ],
        "a start reads its inputs, and what is stopped stays so"
    );
    let mut host = settled(&with("1"));
    let second = planned(&with("2"), &host);
    assert_eq!(
        lines(&second),
        [
            "update file:/etc/a.conf intent exact",
            "run service:a intent predicted"
        ]
    );
    let run = &second.plan.changes[1];
    assert_eq!(
        run.consequences,
        [Consequence::Restarts("a.service".to_owned())]
    );
    assert_eq!((run.after.len(), run.precondition), (1, None));
    host.apply(&second.plan, &with("2").desired);
    assert_eq!(host.restarts, [address("service:a")]);

    // A restart that got lost is still to be done, and is nobody's drift.
    let Some(Observed::Service(service)) = host.has.get_mut(&address("service:a")) else {
        panic!("no service");
    };
    service.stale = plumb_api::resource::Stale::Restart;
    let mut alert = with("2");
    alert.drift.mode = DriftMode::Alert;
    assert_eq!(
        lines(&planned(&alert, &host)),
        ["run service:a intent exact"]
    );
}

#[test]
fn a_unit_that_goes_restarts_what_stays() {
    let with = |drop_in: bool| {
        let mut all = vec![
            ("unit:a.service", json!({"content": content("unit")})),
            ("service:a", json!({"state": "started"})),
        ];
        if drop_in {
            all.push(("unit:a.service.d/x.conf", json!({"content": content("x")})));
        }
        intent(&all)
    };
    let host = settled(&with(true));
    assert_eq!(
        lines(&planned(&with(false), &host)),
        [
            "delete unit:a.service.d/x.conf intent exact",
            "run service:a intent predicted"
        ]
    );
}

#[test]
fn what_is_taken_back_goes_in_reverse_and_hosts_are_driven_to_the_end() {
    let all = [
        ("directory:/srv/a", json!({})),
        (
            "file:/srv/a/b",
            json!({"owner": "web", "content": content("1")}),
        ),
        ("group:www", json!({})),
        ("user:web", json!({"groups": ["www"]})),
        ("package:sudo", json!({})),
        ("service:ssh", json!({"enabled": true})),
        ("package:btop", json!({})),
        (
            "file:/etc/ssh/sshd_config.d/a.conf",
            json!({"content": content("s")}),
        ),
    ];
    let kept = intent(&all);
    let host = settled(&kept);
    let order = |planned: &Planned| -> Vec<String> {
        let changes = planned.plan.changes.iter();
        changes.map(|change| change.address.to_string()).collect()
    };
    let place = |order: &[String], name: &str| order.iter().position(|o| o == name).unwrap();

    let made = order(&planned(&kept, &ModelHost::default()));
    for (earlier, later) in [
        ("group:www", "user:web"),
        ("user:web", "file:/srv/a/b"),
        ("directory:/srv/a", "file:/srv/a/b"),
        ("file:/srv/a/b", "package:sudo"),
        ("package:btop", "service:ssh"),
        ("package:btop", "file:/etc/ssh/sshd_config.d/a.conf"),
    ] {
        assert!(
            place(&made, earlier) < place(&made, later),
            "{earlier} before {later}: {made:?}"
        );
    }

    let mut retired = kept.clone();
    retired.lifecycle = Lifecycle::Retired;
    let taken = planned(&retired, &host);
    assert!(
        taken
            .plan
            .changes
            .iter()
            .all(|change| change.op == Op::Delete)
    );
    let taken = order(&taken);
    for (earlier, later) in [
        ("user:web", "group:www"),
        ("file:/srv/a/b", "user:web"),
        ("file:/srv/a/b", "directory:/srv/a"),
    ] {
        assert!(
            place(&taken, earlier) < place(&taken, later),
            "{earlier} before {later}: {taken:?}"
        );
    }
}

#[test]
fn a_removal_is_intent_whatever_the_host_did() {
    let with = intent(&[("file:/a", json!({"content": content("x"), "mode": "0600"}))]);
    let without = intent(&[("file:/b", json!({}))]);
    let mut host = settled(&with);
    let cause = |host: &ModelHost| {
        let mut report = host.observe(&goal(&without));
        for difference in &mut report.differences {
            // As an agent looks at a file that goes: it is there, and nothing more is asked.
            if let Some(Observed::File(file)) = &mut difference.observed {
                file.content = None;
            }
        }
        let planned = plan(&without, &report, PlanOptions::default());
        let goes = planned
            .plan
            .changes
            .into_iter()
            .find(|change| change.op == Op::Delete);
        goes.map(|change| change.cause)
    };
    assert_eq!(cause(&host), Some(Cause::Intent));
    spoil(&mut host, "file:/a", |file| file.mode = "0644".parse().ok());
    assert_eq!(cause(&host), Some(Cause::Intent));
}

#[test]
fn a_group_is_let_go_before_it_goes() {
    let with = intent(&[
        ("group:www", json!({})),
        ("user:web", json!({"groups": ["www"], "shell": "/bin/sh"})),
    ]);
    let without = intent(&[("user:web", json!({"shell": "/bin/bash"}))]);
    assert_eq!(
        lines(&planned(&without, &settled(&with))),
        [
            "update user:web intent exact",
            "delete group:www intent exact"
        ]
    );
}

#[test]
fn one_path_changes_hands() {
    let file = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    let link = intent(&[("link:/etc/a", json!({"target": "/etc/b"}))]);
    assert_eq!(
        lines(&planned(&link, &settled(&file))),
        [
            "delete file:/etc/a intent exact",
            "create link:/etc/a intent predicted"
        ]
    );
}

#[test]
fn what_lies_below_a_link_follows_it() {
    let with = |target: &str| {
        intent(&[
            ("link:/srv/current", json!({"target": target})),
            ("file:/srv/current/a", json!({"content": content(target)})),
        ])
    };
    let order = |planned: &Planned| -> Vec<String> {
        let changes = planned.plan.changes.iter();
        changes
            .filter(|c| c.address.name().starts_with("/srv"))
            .map(|c| format!("{:?} {}", c.op, c.address).to_lowercase())
            .collect()
    };
    let first = planned(&with("one"), &ModelHost::default());
    assert_eq!(
        order(&first),
        ["create link:/srv/current", "create file:/srv/current/a"]
    );
    let moved = planned(&with("two"), &settled(&with("one")));
    assert_eq!(
        order(&moved),
        ["update link:/srv/current", "update file:/srv/current/a"]
    );
    let rest = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    let dropped = planned(&rest, &settled(&with("one")));
    assert_eq!(
        order(&dropped),
        ["delete file:/srv/current/a", "delete link:/srv/current"]
    );
    // The file goes where it lies now, before the link leads to another folder.
    let other = intent(&[("link:/srv/current", json!({"target": "two"}))]);
    assert_eq!(
        order(&planned(&other, &settled(&with("one")))),
        ["delete file:/srv/current/a", "update link:/srv/current"]
    );
    // A folder takes the link's place.
    let folder = intent(&[
        ("directory:/srv/current", json!({})),
        ("file:/srv/current/a", json!({"content": content("two")})),
    ]);
    assert_eq!(
        order(&planned(&folder, &settled(&with("one")))),
        [
            "delete link:/srv/current",
            "create directory:/srv/current",
            "update file:/srv/current/a"
        ]
    );
}

#[test]
fn users_and_groups_that_name_each_other_have_an_order() {
    let circle = intent(&[
        ("group:www", json!({"members": ["web"]})),
        ("user:web", json!({"groups": ["www"]})),
    ]);
    let all = lines(&planned(&circle, &ModelHost::default()));
    assert!(all[0].starts_with("create group:www"), "{all:?}");
    assert!(all[1].starts_with("create user:web"), "{all:?}");
}

#[test]
fn refusals_say_what_to_do_and_plan_nothing() {
    let mut careful = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    careful.existing = Existing::Refuse;
    let mut host = ModelHost::default();
    assert!(
        planned(&careful, &host).refusal.is_none(),
        "creating is free"
    );
    host.has.insert(
        address("file:/etc/a"),
        Observed::File(FileObserved {
            file_type: FileType::File,
            ..FileObserved::default()
        }),
    );
    let refused = planned(&careful, &host);
    assert!(refused.plan.is_settled());
    let refusal = refused.refusal.unwrap();
    assert_eq!(
        refusal.to_string(),
        "file:/etc/a exists already and differs from the manifest"
    );
    assert!(refusal.hint().unwrap().contains("existing: keep"));

    let some = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    let none = intent(&[]);
    let refused = planned(&none, &settled(&some));
    assert_eq!(refused.refusal, Some(Refusal::Empty { resources: 1 }));
    assert!(refused.plan.is_settled());

    let mut lost = ModelHost::default().observe(&some.desired);
    lost.ledger.state = LedgerState::Lost("it is of another machine".to_owned());
    let refused = plan(&some, &lost, PlanOptions::default());
    assert!(refused.plan.is_settled() && matches!(refused.refusal, Some(Refusal::LedgerLost(_))));

    let mut other = ModelHost::default().observe(&some.desired);
    other.target = none.desired.digest();
    let refused = plan(&some, &other, PlanOptions::default());
    assert!(matches!(refused.refusal, Some(Refusal::OtherTarget { .. })));
}

#[test]
fn what_cannot_be_looked_at_stops_only_what_comes_after_it() {
    let all = intent(&[
        ("package:aa", json!({})),
        (
            "service:a",
            json!({"state": "started", "after": ["package:aa"]}),
        ),
        ("file:/etc/b", json!({"content": content("1")})),
    ]);
    let mut report = ModelHost::default().observe(&all.desired);
    for difference in &mut report.differences {
        if difference.address == address("package:aa") {
            let error = AgentError::new(ErrorCode::Io, "dpkg's database can't be read");
            difference.state = DifferenceState::Unobservable(error);
        }
    }
    let planned = plan(&all, &report, PlanOptions::default());
    assert_eq!(lines(&planned), ["create file:/etc/b intent exact"]);
    assert_eq!(planned.problems.len(), 1);
    assert_eq!(planned.blocked[0].address, address("service:a"));
    assert_eq!(planned.differing().len(), 3);
}

#[test]
fn a_host_cannot_have_anything_done_by_naming_it() {
    let some = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    let mut report = ModelHost::default().observe(&some.desired);
    let mut foreign = report.differences[0].clone();
    foreign.address = address("file:/etc/shadow");
    report.differences.push(foreign);
    report.unconfirmed.push(address("user:root"));
    report.gone.push(address("file:/etc/a"));
    let planned = plan(&some, &report, PlanOptions::default());
    assert_eq!(lines(&planned), ["create file:/etc/a intent exact"]);
    assert!(planned.plan.confirm.is_empty() && planned.plan.forget.is_empty());
}

#[test]
fn once_made_is_left_alone() {
    let once = |text| {
        let spec = json!({"content": content(text), "manage": "once"});
        intent(&[("file:/etc/a", spec)])
    };
    let host = settled(&once("1"));
    assert!(planned(&once("2"), &host).plan.is_empty());
    assert_eq!(
        planned(&once("2"), &ModelHost::default())
            .plan
            .changes
            .len(),
        1
    );
}

#[test]
fn plan_names_the_composite_of_a_part() {
    let part = "file:/etc/cron.d/a";
    let mut intent = intent(&[(part, json!({"content": content("1")}))]);
    let origin = CompositeAddress::new(plumb_api::CompositeKind::Cron, "a").unwrap();
    let origins = BTreeMap::from([(address(part), origin)]);
    intent.desired = intent.desired.with_origins(origins);
    let planned = planned(&intent, &ModelHost::default());
    let named = planned.name(&planned.plan.changes[0].address);
    assert_eq!(named, "file:/etc/cron.d/a (from cron:a)");
}

/// A file's difference that the host refuses with this error.
fn refused_by_host(report: &mut plumb_api::frame::ObserveReport, name: &str, code: ErrorCode) {
    for difference in &mut report.differences {
        if difference.address == address(name) {
            difference.refusal = Some(AgentError::new(code, "no"));
        }
    }
}

#[test]
fn change_that_the_host_refuses_is_a_problem_and_no_change() {
    let all = intent(&[
        ("file:/etc/a", json!({"content": content("1")})),
        (
            "file:/etc/b",
            json!({"content": content("1"), "after": ["file:/etc/a"]}),
        ),
        ("file:/etc/c", json!({"content": content("1")})),
    ]);
    let mut report = ModelHost::default().observe(&all.desired);
    refused_by_host(&mut report, "file:/etc/a", ErrorCode::Refused);
    let planned = plan(&all, &report, PlanOptions::default());
    assert_eq!(lines(&planned), ["create file:/etc/c intent exact"]);
    assert_eq!(planned.problems[0].trouble, Trouble::Refused);
    assert_eq!(planned.blocked[0].address, address("file:/etc/b"));
}

#[test]
fn obstacle_that_the_plan_itself_removes_is_none() {
    let file = intent(&[("file:/etc/a", json!({"content": content("1")}))]);
    let link = intent(&[("link:/etc/a", json!({"target": "/etc/b"}))]);
    let mut report = settled(&file).observe(&link.desired);
    refused_by_host(&mut report, "link:/etc/a", ErrorCode::Refused);
    let planned = plan(&link, &report, PlanOptions::default());
    assert_eq!(
        lines(&planned),
        [
            "delete file:/etc/a intent exact",
            "create link:/etc/a intent predicted"
        ]
    );
    // A missing owner may come with the user that is made first.
    let owned = intent(&[
        ("user:web", json!({})),
        (
            "file:/etc/a",
            json!({"content": content("1"), "owner": "web"}),
        ),
    ]);
    let mut report = ModelHost::default().observe(&owned.desired);
    refused_by_host(&mut report, "file:/etc/a", ErrorCode::NotFound);
    let planned = plan(&owned, &report, PlanOptions::default());
    assert_eq!(
        lines(&planned),
        [
            "create user:web intent exact",
            "create file:/etc/a intent predicted"
        ]
    );
    let nobody = intent(&[(
        "file:/etc/a",
        json!({"content": content("1"), "owner": "web"}),
    )]);
    let mut report = ModelHost::default().observe(&nobody.desired);
    refused_by_host(&mut report, "file:/etc/a", ErrorCode::NotFound);
    let planned = plan(&nobody, &report, PlanOptions::default());
    assert!(planned.plan.is_empty());
    assert_eq!(planned.problems.len(), 1);
}

#[test]
fn differences_of_contents_are_shown_only_where_everybody_may_read_them() {
    let desired = |mode: &str| {
        intent(&[(
            "file:/etc/a",
            json!({"content": content("new\n"), "mode": mode}),
        )])
    };
    let diff = |mode: &str, text: Option<&str>, bytes: &'static [u8]| {
        let all = desired(mode);
        let mut host = settled(&all);
        spoil(&mut host, "file:/etc/a", |file| {
            file.content = Some(plumb_api::resource::Content::of(b"old\n"));
        });
        let mut report = host.observe(&all.desired);
        report.differences[0].text = text.map(str::to_owned);
        let diffs = content_diffs(&all.desired, &report, &|_| Some(bytes.into()));
        diffs[&address("file:/etc/a")].to_string()
    };
    assert_eq!(
        diff("0644", Some("old\n"), b"new\n"),
        "@@ -1 +1 @@\n-old\n+new\n"
    );
    assert!(diff("0600", Some("old\n"), b"new\n").ends_with("(not shown: not world-readable)\n"));
    assert!(diff("0644", None, b"new\n").starts_with("-4 bytes, sha256 "));
    assert!(diff("0644", Some("old\n"), b"\0\xff").ends_with("(binary)\n"));
}
