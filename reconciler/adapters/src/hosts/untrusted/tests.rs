use std::collections::BTreeMap;

use plumb_api::frame::{
    Delta, Difference, Fence, Lineage, ProgressState, Purpose, RevisionMark, TakeOver,
};
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::report::{ChangeResult, ErrorCode};
use plumb_api::resource::{DirectoryObserved, FileSpec};
use plumb_api::{Epoch, Observed, Spec};

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn fence() -> Fence {
    Fence {
        protocol: 1,
        fleet: "home".parse().unwrap(),
        host: "web1".parse().unwrap(),
        formerly: Vec::new(),
        controller: "c0".parse().unwrap(),
        epoch: Epoch(1),
        take_over: TakeOver::No,
    }
}

fn asked() -> Observe {
    Observe {
        fence: fence(),
        base: None,
        target: Digest::of_bytes(b"t"),
        delta: Delta {
            set: BTreeMap::from([(address("file:/a"), Spec::File(FileSpec::default()))]),
            remove: Vec::new(),
        },
        purpose: Purpose::Look,
        reveal: Reveal::Nothing,
        attendance: plumb_api::frame::Attendance::Unattended,
    }
}

fn differs(what: &str) -> Difference {
    Difference {
        address: address(what),
        state: DifferenceState::Differs,
        observed: None,
        fields: Vec::new(),
        confirmed: None,
        read_back: plumb_api::read_back::ReadBacks::default(),
        original: None,
        losses: Vec::new(),
        refusal: None,
        text: None,
    }
}

fn ledger() -> LedgerSummary {
    LedgerSummary {
        state: LedgerState::Fresh,
        sequence: 0,
        epoch: None,
        controller: None,
        revision: None,
        confirmed: None,
        resources: 0,
    }
}

fn told(differences: Vec<Difference>) -> ObserveReport {
    ObserveReport {
        target: Digest::of_bytes(b"t"),
        ledger: ledger(),
        facts: Facts::default(),
        clock: None,
        in_sync: 0,
        differences,
        unconfirmed: Vec::new(),
        aliases: std::collections::BTreeMap::new(),
        gone: Vec::new(),
        waiting: None,
    }
}

#[test]
fn an_observation_speaks_of_what_was_asked() {
    assert!(observed(&asked(), told(vec![differs("file:/a")])).is_ok());
    let mut other_target = told(Vec::new());
    other_target.target = Digest::of_bytes(b"u");
    let mut desired_but_undesired = differs("file:/a");
    desired_but_undesired.state = DifferenceState::Undesired;
    let mut of_another_type = differs("file:/a");
    of_another_type.observed = Some(Observed::Directory(DirectoryObserved::default()));
    let mut alias = told(Vec::new());
    let (service, file) = (address("service:a"), address("file:/b"));
    alias.aliases.insert(service, file);
    let mut unasked = told(Vec::new());
    unasked.unconfirmed.push(address("file:/b"));
    let mut revision = told(Vec::new());
    revision.ledger.revision = Some(RevisionMark("main; rm -rf /".to_owned()));
    for wrong in [
        alias,
        other_target,
        told(vec![differs("file:/b")]),
        told(vec![differs("file:/a"), differs("file:/a")]),
        told(vec![desired_but_undesired]),
        told(vec![of_another_type]),
        unasked,
        revision,
    ] {
        assert!(observed(&asked(), wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_undesired_resource_may_be_unobservable() {
    let mut gone = differs("sysctl:net.ipv4.conf.gone.forwarding");
    gone.state = DifferenceState::Unobservable(AgentError::new(ErrorCode::NotFound, "gone"));
    assert!(observed(&asked(), told(vec![gone.clone()])).is_ok());
    let mut dropping = asked();
    dropping.base = Some(Digest::of_bytes(b"s"));
    dropping.delta.remove.push(gone.address.clone());
    assert!(observed(&dropping, told(vec![gone])).is_ok());
}

#[test]
fn texts_leave_a_host_only_where_asked_for_and_short() {
    let mut shown = differs("file:/a");
    shown.text = Some("secret".to_owned());
    let report = observed(&asked(), told(vec![shown.clone()])).unwrap();
    assert_eq!(report.differences[0].text, None);
    let revealing = Observe {
        reveal: Reveal::WorldReadable,
        ..asked()
    };
    let report = observed(&revealing, told(vec![shown.clone()])).unwrap();
    assert_eq!(report.differences[0].text.as_deref(), Some("secret"));
    shown.text = Some("x".repeat(TEXT + 1));
    let report = observed(&revealing, told(vec![shown])).unwrap();
    assert_eq!(report.differences[0].text, None);
}

fn apply() -> Apply {
    Apply {
        fence: fence(),
        plan: Plan {
            target: Digest::of_bytes(b"t"),
            changes: vec![Change {
                id: ChangeId(0),
                address: address("file:/a"),
                op: Op::Create,
                cause: Cause::Intent,
                certainty: Certainty::Exact,
                fields: Vec::new(),
                consequences: Vec::new(),
                precondition: None,
                after: Vec::new(),
            }],
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        revision: RevisionMark("ab".repeat(20)),
        lineage: Lineage::First,
        departure: plumb_api::frame::Departure::Stays,
        dead_man: None,
    }
}

#[test]
fn a_report_is_on_the_plan_and_on_all_of_it() {
    let result = |id, what, outcome| ChangeResult {
        id: ChangeId(id),
        address: address(what),
        outcome,
    };
    let report_of = |results| Report {
        target: Digest::of_bytes(b"t"),
        results,
        ledger: ledger(),
        settling: 0,
        stopped: None,
        unconfirmed: Vec::new(),
        warnings: vec!["\u{202e}".repeat(5000); 50],
    };
    let failed = Outcome::Failed(AgentError {
        code: ErrorCode::Io,
        message: "\u{202e}".repeat(5000),
        hint: None,
    });
    let cut = report(&apply(), report_of(vec![result(0, "file:/a", failed)])).unwrap();
    let Outcome::Failed(error) = &cut.results[0].outcome else {
        panic!("{cut:?}");
    };
    assert!(error.message.len() <= MAX_MESSAGE && !error.message.contains('\u{202e}'));
    assert!(cut.warnings.len() <= WARNINGS);
    assert!(
        cut.warnings
            .iter()
            .all(|w| w.len() <= MAX_MESSAGE && !w.contains('\u{202e}'))
    );
    for wrong in [
        vec![],
        vec![result(1, "file:/a", Outcome::Applied)],
        vec![result(0, "file:/b", Outcome::Applied)],
        vec![result(0, "file:/a", Outcome::Skipped(ChangeId(7)))],
        vec![
            result(0, "file:/a", Outcome::Applied),
            result(0, "file:/a", Outcome::Applied),
        ],
    ] {
        assert!(
            report(&apply(), report_of(wrong.clone())).is_err(),
            "{wrong:?}"
        );
    }
    let outside = Progress {
        address: address("file:/b"),
        state: ProgressState::Started,
    };
    assert!(progress(&apply(), outside).is_err());
}

#[test]
fn nothing_moves_a_terminals_cursor() {
    assert_eq!(printable("a\u{1b}[2Jb\tc\n", 100), "a\u{fffd}[2Jb\tc\n");
    assert_eq!(printable("häh", 2), "h");
    let odd = facts(Facts {
        hostname: "x".repeat(300),
        ..Facts::default()
    });
    assert_eq!(odd.hostname.len(), 255);
}
