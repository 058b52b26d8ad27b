//! Several services of one plan, by every route: a real host starts them, a sandbox enables them.

use plumb_api::report::{AgentError, ErrorCode, Outcome};
use plumb_api::resource::{ServiceSpec, ServiceState};
use plumb_api::{Address, Kind, Spec};

use crate::driver::Driver;
use crate::ground::Ground;

/// In the order of their names the one that fails has others on both sides.
const NAMES: [&str; 3] = [
    "plumb-contract-before",
    "plumb-contract-fails",
    "plumb-contract-later",
];
const FAILS: &str = NAMES[1];

/// What a case before this one left, if it ended early.
const CLEAN: &str = "for unit in plumb-contract-before plumb-contract-fails plumb-contract-later; do \
                     systemctl --quiet disable --now $unit 2>/dev/null; systemctl reset-failed $unit 2>/dev/null; \
                     rm -f /etc/systemd/system/$unit.service /run/$unit.starts; \
                     done; systemctl daemon-reload";

fn service(name: &str) -> Address {
    Address::new(Kind::Service, name).unwrap()
}

/// Writes a unit as a person does; each of its starts leaves a line.
fn unit(ground: &Ground, name: &str, then: &str, rest: &str) {
    let text = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'echo start >>/run/{name}.starts; {then}'\n{rest}"
    );
    ground.sh(&format!(
        "mkdir -p $R/etc/systemd/system; cat >$R/etc/systemd/system/{name}.service <<'END'\n{text}\nEND"
    ));
}

const INSTALL: &str = "[Install]\nWantedBy=multi-user.target\n";

fn want(driver: &mut Driver<'_>) {
    let started = driver.ground.is_real().then_some(ServiceState::Started);
    driver.want(NAMES.map(|name| {
        let spec = ServiceSpec {
            state: started,
            enabled: Some(true),
            ..ServiceSpec::default()
        };
        (service(name), Spec::Service(spec))
    }));
}

/// How often each was started, in their order.
fn starts(ground: &Ground) -> Vec<usize> {
    NAMES
        .map(|name| {
            let text = ground.sh(&format!("cat /run/{name}.starts 2>/dev/null || true"));
            text.lines().count()
        })
        .to_vec()
}

fn is_enabled(ground: &Ground, name: &str) -> bool {
    let link = format!("$R/etc/systemd/system/multi-user.target.wants/{name}.service");
    ground.sh(&format!("test -L {link} && echo yes || true")) == "yes"
}

/// Makes them as desired: the others must be applied. Why the one that fails did.
async fn all_but_one(driver: &mut Driver<'_>) -> AgentError {
    let before = driver.observe().await;
    assert_eq!(before.differences.len(), NAMES.len(), "{before:?}");
    let (report, _) = driver.carry_out(&before).await;
    assert_eq!(report.stopped, None);
    let outcome = |name: &str| {
        let own = |address: &Address| *address == service(name);
        let mut results = report.results.iter().filter(|r| own(&r.address));
        let only = results
            .next()
            .unwrap_or_else(|| panic!("{name}: {report:?}"));
        assert!(results.next().is_none(), "{name} has one outcome");
        only.outcome.clone()
    };
    for name in NAMES.into_iter().filter(|name| *name != FAILS) {
        assert_eq!(outcome(name), Outcome::Applied, "{name}");
        assert!(is_enabled(driver.ground, name), "{name}");
    }
    // Looked at again, it alone differs.
    assert_eq!(driver.differences().await, [service(FAILS)]);
    match outcome(FAILS) {
        Outcome::Failed(error) => error,
        other => panic!("{FAILS}: {other:?}"),
    }
}

pub async fn one_that_fails_among_several_fails_alone(ground: &Ground) {
    if ground.is_real() {
        ground.sh(CLEAN);
    }
    let (fails, installed) = if ground.is_real() {
        ("echo the licence is missing >&2; exit 3", INSTALL)
    } else {
        ("true", "")
    };
    unit(ground, NAMES[0], "true", INSTALL);
    unit(ground, FAILS, fails, installed);
    unit(ground, NAMES[2], "true", INSTALL);
    if ground.is_real() {
        ground.sh("systemctl daemon-reload");
    }
    let mut driver = Driver::new(ground).await;
    want(&mut driver);
    let error = all_but_one(&mut driver).await;
    assert!(error.message.contains(FAILS), "{error}");
    for name in [NAMES[0], NAMES[2]] {
        assert!(!error.message.contains(name), "{error}");
    }
    if ground.is_real() {
        assert_eq!(error.code, ErrorCode::CommandFailed, "{error}");
        assert!(error.message.contains("the licence is missing"), "{error}");
        for name in [NAMES[0], NAMES[2]] {
            assert_eq!(ground.sh(&format!("systemctl is-active {name}")), "active");
        }
        assert_eq!(
            ground.sh(&format!("systemctl is-active {FAILS} || true")),
            "failed"
        );
        // To learn which one failed, none was started a second time.
        assert_eq!(starts(ground), [1, 1, 1]);
    } else {
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
        assert!(!is_enabled(ground, FAILS));
    }
    // Mended, it alone is made.
    unit(ground, FAILS, "true", INSTALL);
    if ground.is_real() {
        ground.sh("systemctl daemon-reload");
    }
    driver.converge().await;
    assert!(is_enabled(ground, FAILS));
    if ground.is_real() {
        assert_eq!(starts(ground), [1, 2, 1]);
    }
    // They are given back as they were found.
    driver.want([]);
    driver.converge().await;
    for name in NAMES {
        assert!(!is_enabled(ground, name), "{name}");
    }
    if ground.is_real() {
        ground.sh(CLEAN);
    }
}
