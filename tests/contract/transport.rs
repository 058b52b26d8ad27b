//! The conversation itself.

use std::time::Duration;

use plumb_api::frame::{ProgressState, Purpose, TakeOver};
use plumb_api::plan::Plan;
use plumb_api::report::{ErrorCode, Outcome};
use plumb_api::resource::{FileSpec, Mode};
use plumb_api::{Address, Digest, Epoch, Kind, Spec};
use plumb_core::ports::{Hosts, Observation};

use crate::driver::{Driver, at, code};
use crate::ground::{AREA, Ground};

fn file(driver: &mut Driver<'_>, name: &str, text: &str) -> (Address, Spec) {
    let spec = FileSpec {
        content: Some(driver.content(text.as_bytes())),
        mode: Some(Mode::from_bits(0o644)),
        ..FileSpec::default()
    };
    (at(Kind::File, name), Spec::File(spec))
}

pub async fn facts_name_the_machine(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let facts = driver.session.facts().await.unwrap();
    assert_eq!(facts.agent, env!("CARGO_PKG_VERSION"));
    assert_eq!(facts.arch, ground.sh("uname -m"));
    if ground.is_real() {
        assert_eq!(facts.hostname, ground.sh("cat /proc/sys/kernel/hostname"));
        assert_eq!(facts.machine_id, ground.sh("cat /etc/machine-id"));
        assert_eq!(
            facts.boot_id,
            ground.sh("cat /proc/sys/kernel/random/boot_id")
        );
        assert_eq!(facts.os, "debian");
    }
}

pub async fn an_unknown_base_asks_for_the_whole_state(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let wanted = file(&mut driver, "a", "a");
    driver.want([wanted]);
    let mut question = driver.question(Purpose::Drive);
    question.base = Some(Digest::of_bytes(b"what nobody holds"));
    let answer = driver.session.observe(question).await.unwrap();
    assert_eq!(answer, Observation::NeedState);
    assert_eq!(driver.differences().await, [at(Kind::File, "a")]);
}

pub async fn a_state_travels_as_a_delta(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let (a, b, c) = (
        file(&mut driver, "a", "a"),
        file(&mut driver, "b", "b"),
        file(&mut driver, "c", "c"),
    );
    driver.want([a.clone(), b.clone()]);
    driver.converge().await;
    let held = driver.target();
    // The host holds it beyond the session.
    driver.connector = ground.connector();
    driver.reconnect().await;
    driver.want([b, c.clone()]);
    let mut question = driver.question(Purpose::Drive);
    question.base = Some(held);
    question.delta.set = [c.clone()].into();
    question.delta.remove = vec![a.0.clone()];
    let report = driver.ask(question).await;
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|d| d.address.clone())
        .collect();
    assert_eq!(report.in_sync, 1);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&a.0) && found.contains(&c.0));
}

pub async fn looking_writes_nothing(ground: &Ground) {
    let traces =
        format!("ls -A $R{AREA}; ls -A $R/var/lib/plumb 2>/dev/null | grep -v ^agents || true");
    let before = ground.sh(&traces);
    let mut driver = Driver::new(ground).await;
    let wanted = file(&mut driver, "a", "a");
    driver.want([wanted]);
    let report = driver.ask(driver.question(Purpose::Look)).await;
    assert_eq!(report.differences.len(), 1);
    assert_eq!(ground.sh(&traces), before);
}

pub async fn contents_arrive_whole(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let long: Vec<u8> = (0..3 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let all: [(&str, &[u8]); 4] = [
        ("long", &long),
        ("empty", b""),
        ("binary", b"\0\xff\n\r\0"),
        ("text", "grüße\n".as_bytes()),
    ];
    let mut wanted = Vec::new();
    for (name, bytes) in all {
        let spec = FileSpec {
            content: Some(driver.content(bytes)),
            ..FileSpec::default()
        };
        wanted.push((at(Kind::File, name), Spec::File(spec)));
    }
    driver.want(wanted);
    driver.converge().await;
    for (name, bytes) in all {
        let sum = ground.sh(&format!("sha256sum <$R{AREA}/{name}"));
        assert_eq!(
            sum.split(' ').next(),
            Some(Digest::of_bytes(bytes).to_string().as_str()),
            "{name}"
        );
    }
}

pub async fn a_content_that_does_not_come_fails_its_change_alone(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let (a, b) = (file(&mut driver, "a", "a"), file(&mut driver, "b", "b"));
    driver.want([a, b]);
    let report = driver.observe().await;
    let plan = driver.plan(&report);
    let only = vec![(Digest::of_bytes(b"b"), b"b".as_slice().into())];
    let (done, _) = driver.send(plan, &report, only).await.unwrap();
    assert!(
        matches!(&done.results[0].outcome, Outcome::Failed(e) if e.code == ErrorCode::MissingContent),
        "{done:?}"
    );
    assert_eq!(done.results[1].outcome, Outcome::Applied);
    assert_eq!(ground.sh(&format!("cd $R{AREA}; ls; cat b")), "b\nb");
    driver.converge().await;
}

pub async fn progress_is_told_of_each_change(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let (a, b) = (file(&mut driver, "a", "a"), file(&mut driver, "b", "b"));
    driver.want([a.clone(), b.clone()]);
    let before = driver.observe().await;
    let (_, told) = driver.carry_out(&before).await;
    for address in [a.0, b.0] {
        let states: Vec<_> = told
            .iter()
            .filter(|p| p.address == address)
            .map(|p| p.state)
            .collect();
        assert_eq!(
            states,
            [ProgressState::Started, ProgressState::Finished],
            "{address}"
        );
    }
}

pub async fn a_change_by_hand_since_the_observation_is_kept(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let wanted = file(&mut driver, "a", "ours");
    driver.want([wanted]);
    let before = driver.observe().await;
    ground.sh(&format!("echo theirs >$R{AREA}/a"));
    let (report, _) = driver.carry_out(&before).await;
    assert!(
        matches!(&report.results[0].outcome, Outcome::Failed(e) if e.code == ErrorCode::PreconditionFailed),
        "{report:?}"
    );
    assert_eq!(ground.sh(&format!("cat $R{AREA}/a")), "theirs");
}

pub async fn an_older_epoch_is_refused(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let wanted = file(&mut driver, "a", "a");
    driver.want([wanted]);
    let report = driver.observe().await;
    let mut newer = driver.question(Purpose::Drive);
    newer.fence.epoch = Epoch(driver.fence.epoch.0 + 1);
    let mut other = driver.connector.connect(ground.target()).await.unwrap();
    other.observe(newer).await.unwrap();
    // The older one observed before the newer came: its plan is refused all the same.
    let plan = driver.plan(&report);
    match driver.send(plan, &report, Vec::new()).await {
        Ok((report, _)) => {
            assert_eq!(report.stopped.map(|e| e.code), Some(ErrorCode::Superseded));
            assert_eq!(report.results[0].outcome, Outcome::Stopped);
        }
        refused => assert_eq!(code(refused), ErrorCode::Superseded),
    }
    let again = driver.question(Purpose::Drive);
    assert_eq!(
        code(driver.session.observe(again).await),
        ErrorCode::Superseded
    );
    assert_eq!(ground.sh(&format!("ls $R{AREA}")), "");
}

pub async fn another_controller_takes_over_only_when_told_to(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    driver.observe().await;
    driver.fence.controller = "two".parse().unwrap();
    driver.fence.epoch = Epoch(driver.fence.epoch.0 + 1);
    let question = driver.question(Purpose::Drive);
    assert_eq!(
        code(driver.session.observe(question).await),
        ErrorCode::Superseded
    );
    driver.fence.take_over = TakeOver::Yes;
    driver.observe().await;
    driver.fence.controller = "one".parse().unwrap();
    driver.fence.take_over = TakeOver::No;
    let question = driver.question(Purpose::Drive);
    assert_eq!(
        code(driver.session.observe(question).await),
        ErrorCode::Superseded
    );
}

pub async fn another_hosts_name_is_refused(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    driver.observe().await;
    driver.fence.host = "another".parse().unwrap();
    let question = driver.question(Purpose::Drive);
    assert_eq!(
        code(driver.session.observe(question).await),
        ErrorCode::Refused
    );
}

pub async fn an_unobserved_plan_is_refused_and_the_session_goes_on(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let report = driver.observe().await;
    let plan = Plan {
        target: Digest::of_bytes(b"never observed"),
        changes: Vec::new(),
        confirm: Vec::new(),
        forget: Vec::new(),
    };
    assert_eq!(
        code(driver.send(plan, &report, Vec::new()).await),
        ErrorCode::Protocol
    );
    driver.session.facts().await.unwrap();
    assert_eq!(driver.differences().await, []);
}

pub async fn sessions_follow_one_another(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let wanted = file(&mut driver, "a", "a");
    driver.want([wanted]);
    driver.converge().await;
    for _ in 0..5 {
        driver.reconnect().await;
        let mut question = driver.question(Purpose::Drive);
        question.base = Some(driver.target());
        question.delta.set.clear();
        let report = driver.ask(question).await;
        assert_eq!((report.in_sync, report.differences.len()), (1, 0));
    }
    // Two at a time: one looks while the other is open.
    let mut other = driver.connector.connect(ground.target()).await.unwrap();
    other.observe(driver.question(Purpose::Look)).await.unwrap();
    driver.session.facts().await.unwrap();
}

pub async fn nothing_is_left_running(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    driver.session.facts().await.unwrap();
    drop(driver);
    // The name of a process has 15 bytes at most. A sandbox's agent is told from others by its folder.
    let running = if ground.is_real() {
        "cat /proc/[0-9]*/comm 2>/dev/null | grep -c -e ^plumb-agent -e ^test-agent || true"
    } else {
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c -e \"[-]-root $R \" || true"
    };
    for _ in 0..50 {
        if ground.sh(running) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("an agent still runs");
}
