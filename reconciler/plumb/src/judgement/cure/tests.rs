//! What is advised against each reason.

use super::*;
use crate::judgement::message::Messages;
use crate::judgement::place::{Signature, Start};

/// A commit that isn't accepted.
const COMMIT: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";
/// The newest of those that wait.
const TIP: &str = "f00df00df00df00df00df00df00df00df00df00d";
/// The last accepted one.
const ACCEPTED: &str = "acce97edacce97edacce97edacce97edacce97ed";

fn place(position: Position) -> Place {
    Place {
        commit: COMMIT.to_owned(),
        accepted: ACCEPTED.to_owned(),
        base: ACCEPTED.to_owned(),
        tip: TIP.to_owned(),
        position,
        branch: "main".to_owned(),
        remote: "origin".to_owned(),
        deploy_ref: None,
        messages: Messages::Plain,
        signature: Signature::Other,
        others: Others::These(Vec::new()),
        start: Start::on("main", "origin"),
        on_server: OnServer::Yes,
        freeze: Freeze::Over,
        emergency: Emergency::No,
        approvals: Approvals::Here,
    }
}

#[test]
fn an_unsigned_commit_is_first_signed() {
    let cures =
        place(Position::Newest).cures(&[ReasonCode::Uncovered], &Givers::These("bob".to_owned()));
    assert_eq!(
        cures[0].commands[0],
        "git commit --amend --no-edit -S --allow-empty"
    );
    // Our own commands refuse what is the name of a tag too.
    assert_eq!(
        cures[1].commands[0],
        format!("plumb approve {}", &COMMIT[..12])
    );
    assert!(cures[1].what.contains("bob"));
    let cures = place(Position::Below).cures(&[ReasonCode::Uncovered], &Givers::Unknown);
    assert_eq!(
        cures[0].commands[0],
        format!("git log --patch --diff-merges=first-parent {ACCEPTED}..{TIP}")
    );
    assert_eq!(
        cures[0].commands[1],
        format!(
            "git rebase --rebase-merges --exec \"git commit --amend --no-edit -S --allow-empty\" {ACCEPTED}"
        )
    );
}

#[test]
fn an_emergency_that_the_policy_has_is_given_as_a_command() {
    let mut place = place(Position::Newest);
    let all =
        |place: &Place, codes: &[ReasonCode]| format!("{:?}", place.cures(codes, &Givers::Unknown));
    assert!(!all(&place, &[ReasonCode::Frozen]).contains("Emergency"));
    place.emergency = Emergency::Can {
        who: "1 of ops".to_owned(),
        ttl: "4h".to_owned(),
    };
    for code in [ReasonCode::Frozen, ReasonCode::ApprovalsMissing] {
        let said = all(&place, &[code]);
        for part in [
            "which 1 of ops can",
            "within 4h",
            "--amend --no-edit -S --allow-empty --trailer 'Emergency: WHY'",
        ] {
            assert!(said.contains(part), "{code}: {part}: {said}");
        }
    }
    place.position = Position::Below;
    assert!(all(&place, &[ReasonCode::Frozen]).contains("an emergency waits too"));
}

#[test]
fn an_approval_is_no_help_to_a_late_emergency_under_a_freeze() {
    let mut place = place(Position::Newest);
    for (freeze, helps) in [(Freeze::Over, true), (Freeze::InForce, false)] {
        place.freeze = freeze;
        let cures = place.cures(&[ReasonCode::EmergencyExpired], &Givers::Unknown);
        let approve = format!("{cures:?}").contains("plumb approve");
        assert_eq!(approve, helps, "{cures:?}");
    }
}

#[test]
fn newer_approvals_are_fetched_after_everything_else() {
    let mut place = place(Position::Newest);
    place.approvals = Approvals::Older;
    let cures = place.cures(&[ReasonCode::ApprovalsMissing], &Givers::Unknown);
    assert_eq!(cures.len(), 2, "{cures:?}");
    assert!(cures[1].commands[0].starts_with("git fetch origin 'refs/tags/approve/main/*:"));
}

#[test]
fn what_the_server_hasnt_got_isnt_set_back_there() {
    let mut place = place(Position::Below);
    place.on_server = OnServer::No;
    place.others = Others::These(vec!["c0de by bob@fleet.example".to_owned()]);
    for code in ReasonCode::ALL
        .iter()
        .filter(|code| **code != ReasonCode::Rewound)
    {
        let cures = place.cures(&[*code], &Givers::Unknown);
        let pushes = format!("{cures:?}").contains(&format!("{ACCEPTED}~0:refs/heads/main"));
        assert!(!pushes, "{code}: {cures:?}");
    }
}

#[test]
fn whoever_is_elsewhere_first_goes_there() {
    let mut place = place(Position::Newest);
    place.start = Start {
        go: Some("git switch main".to_owned()),
        push: None,
    };
    for code in ReasonCode::ALL {
        for cure in place.cures(&[*code], &Givers::Unknown) {
            let amends = |command: &String| command.contains("--amend");
            let of_head =
                cure.commands.iter().any(amends) && !cure.commands[0].contains("SIDE-BRANCH");
            if of_head {
                assert_eq!(cure.commands[0], "git switch main", "{code}: {cure:?}");
                assert_eq!(cure.commands.len(), 2, "{code}: {cure:?}");
            }
        }
    }
}

#[test]
fn every_reject_begins_with_the_reset_but_a_branch_that_was_set_back() {
    for code in ReasonCode::ALL
        .iter()
        .filter(|code| code.verdict() == Verdict::Reject)
    {
        let cures = place(Position::Newest).cures(&[*code], &Givers::Unknown);
        let reset = cures[0].commands[0]
            == format!("git push --force-with-lease origin {ACCEPTED}~0:refs/heads/main");
        assert_eq!(reset, *code != ReasonCode::Rewound, "{code}: {cures:?}");
    }
}

#[test]
fn everything_but_what_waits_for_another_has_a_cure() {
    for code in ReasonCode::ALL {
        let none = place(Position::Newest)
            .cures(&[*code], &Givers::Unknown)
            .is_empty();
        let expected = matches!(code, ReasonCode::Ancestor | ReasonCode::ApprovalIgnored);
        assert_eq!(none, expected, "{code}");
    }
}

#[test]
fn what_a_revoked_key_signed_is_looked_at_and_set_back_before_anybody_signs_it() {
    let codes = [
        ReasonCode::ApprovalsMissing,
        ReasonCode::Uncovered,
        ReasonCode::KeyRevoked,
    ];
    for position in [Position::Newest, Position::Below] {
        let cures = place(position).cures(&codes, &Givers::These("bob".to_owned()));
        let commands: Vec<&str> = cures
            .iter()
            .flat_map(|cure| cure.commands.iter().map(String::as_str))
            .collect();
        assert_eq!(
            commands[..2],
            [
                &format!("git show {COMMIT}"),
                &format!("git push --force-with-lease origin {ACCEPTED}~0:refs/heads/main")
            ]
        );
        let rebase = commands.iter().any(|command| command.contains("rebase"));
        assert!(!rebase, "{cures:?}");
    }
}

#[test]
fn nobody_is_told_to_sign_what_may_be_anybodys() {
    let mut place = place(Position::Below);
    for others in [
        Others::Unknown,
        Others::These(vec!["c0de by a revoked key".to_owned()]),
    ] {
        place.others = others;
        for code in ReasonCode::ALL {
            let cures = place.cures(&[*code], &Givers::Unknown);
            let rebase = cures
                .iter()
                .flat_map(|cure| &cure.commands)
                .any(|command| command.contains("--exec") && !command.contains("BASE"));
            assert!(!rebase, "{code}: {cures:?}");
        }
    }
}

#[test]
fn a_signature_that_counts_for_nothing_isnt_made_again_in_the_same_way() {
    let codes = [ReasonCode::Uncovered, ReasonCode::UnknownKey];
    let cures = place(Position::Newest).cures(&codes, &Givers::Unknown);
    assert_eq!(
        cures[0].commands[0],
        "git -c user.signingkey=KEY commit --amend --no-edit -S --allow-empty"
    );
    let amends = format!("{cures:?}").matches("--amend").count();
    assert_eq!(amends, 1, "{cures:?}");
    assert!(format!("{cures:?}").contains("plumb approve"));
}

#[test]
fn the_same_help_is_given_once() {
    let codes = [ReasonCode::Uncovered, ReasonCode::ApprovalsMissing];
    let cures = place(Position::Newest).cures(&codes, &Givers::These("bob".to_owned()));
    assert_eq!(cures.len(), 2, "{cures:?}");
}

#[test]
fn whatever_signs_anew_says_where_it_is_meant_if_the_policy_asks_for_it() {
    let mut place = place(Position::Newest);
    place.deploy_ref = Some("r refs/heads/main".to_owned());
    let first = |place: &Place, code| place.cures(&[code], &Givers::Unknown)[0].commands[0].clone();
    for (code, key) in [
        (ReasonCode::Uncovered, ""),
        (ReasonCode::Unbound, ""),
        (ReasonCode::UnknownKey, "-c user.signingkey=KEY "),
    ] {
        place.messages = Messages::Plain;
        assert_eq!(
            first(&place, code),
            format!(
                "git {key}-c trailer.ifExists=replace commit --amend --no-edit -S --allow-empty --trailer 'Deploy-Ref: r refs/heads/main'"
            )
        );
        // Git puts it above what it takes for comments.
        place.messages = Messages::Odd;
        assert_eq!(
            first(&place, code),
            format!(
                "git log -1 --no-show-signature --format='%B%n%nDeploy-Ref: r refs/heads/main' | git {key}commit --amend -S --allow-empty -F -"
            )
        );
        place.messages = Messages::Bound;
        assert_eq!(
            first(&place, code),
            format!("git {key}commit --amend --no-edit -S --allow-empty")
        );
    }
    place.messages = Messages::Odd;
    place.emergency = Emergency::Can {
        who: "1 of ops".to_owned(),
        ttl: "4h".to_owned(),
    };
    let said = format!("{:?}", place.cures(&[ReasonCode::Frozen], &Givers::Unknown));
    assert!(
        said.contains("'%B%n%nDeploy-Ref: r refs/heads/main%nEmergency: WHY' |"),
        "{said}"
    );
}

#[test]
fn an_approval_comes_after_what_would_make_it_void() {
    let mut place = place(Position::Newest);
    place.deploy_ref = Some("r refs/heads/main".to_owned());
    for others in [
        &[ReasonCode::Unbound][..],
        &[ReasonCode::WeakCrypto],
        &[ReasonCode::Uncovered, ReasonCode::Unbound],
    ] {
        let codes = [&[ReasonCode::ApprovalsMissing][..], others].concat();
        let cures = place.cures(&codes, &Givers::These("bob".to_owned()));
        let at = |what: &str| {
            let mut all = cures.iter().flat_map(|cure| &cure.commands);
            all.position(|command| command.contains(what)).unwrap()
        };
        assert!(at("--amend") < at("plumb approve"), "{cures:?}");
    }
}

#[test]
fn a_key_of_ssh_has_no_end_but_the_policys() {
    let mut place = place(Position::Newest);
    let all = |place: &Place| {
        format!(
            "{:?}",
            place.cures(&[ReasonCode::KeyExpired], &Givers::Unknown)
        )
    };
    assert!(all(&place).contains("gpg --quick-set-expire"));
    place.signature = Signature::Ssh;
    let said = all(&place);
    assert!(
        said.contains("validBefore") && !said.contains("gpg"),
        "{said}"
    );
}
