use super::*;

fn context(position: Position) -> HintContext {
    HintContext {
        commit: "c0ffee".to_owned(),
        accepted: "acce97".to_owned(),
        branch: "main".to_owned(),
        remote: "origin".to_owned(),
        position,
    }
}

#[test]
fn every_row_has_at_most_two_sentences_and_three_commands() {
    for code in ReasonCode::ALL {
        let Some(hint) = hint([*code], &context(Position::Newest)) else {
            continue;
        };
        let sentences = hint.text.matches(". ").count() + 1;
        assert!(sentences <= 2, "{code}: {}", hint.text);
        assert!(hint.text.ends_with('.'), "{code}: {}", hint.text);
        assert!(hint.commands.len() <= 3, "{code}: {:?}", hint.commands);
        assert!(
            !hint.commands.iter().any(|command| command.contains('{')),
            "{code}: {:?}",
            hint.commands
        );
    }
}

#[test]
fn only_the_newest_commit_is_amended() {
    for code in ReasonCode::ALL {
        let hint = hint([*code], &context(Position::Below));
        let commands = hint.map(|hint| hint.commands).unwrap_or_default();
        assert!(
            !commands.iter().any(|command| command.contains("--amend")),
            "{code}: {commands:?}"
        );
    }
}

#[test]
fn nothing_is_signed_or_approved_that_a_revoked_key_signed() {
    let codes = [
        ReasonCode::Uncovered,
        ReasonCode::KeyRevoked,
        ReasonCode::ApprovalsMissing,
        ReasonCode::HeartbeatStale,
    ];
    let hint = hint(codes, &context(Position::Newest)).unwrap();
    assert_eq!(
        hint.commands,
        [
            "git show c0ffee",
            "git push --force-with-lease origin acce97~0:refs/heads/main"
        ]
    );
}

#[test]
fn the_most_specific_reason_decides() {
    let text = |codes: &[ReasonCode]| {
        hint(codes.iter().copied(), &context(Position::Newest)).map(|hint| hint.text)
    };
    assert_eq!(
        text(&[ReasonCode::Uncovered, ReasonCode::ApprovalsMissing]),
        text(&[ReasonCode::Uncovered])
    );
    let unknown = text(&[ReasonCode::UnknownKey]);
    assert_eq!(
        text(&[ReasonCode::Uncovered, ReasonCode::UnknownKey]),
        unknown
    );
    assert_eq!(
        text(&[ReasonCode::NotDescendant, ReasonCode::KeyExpired]),
        text(&[ReasonCode::NotDescendant])
    );
    assert_eq!(text(&[ReasonCode::Ancestor]), None);
}

#[test]
fn names_are_one_word_in_a_command() {
    let context = HintContext {
        branch: "pr;id>&2".to_owned(),
        ..context(Position::Newest)
    };
    let hint = hint([ReasonCode::KeyRevoked], &context).unwrap();
    assert_eq!(
        hint.commands[1],
        "git push --force-with-lease origin acce97~0:refs/heads/'pr;id>&2'"
    );
}
