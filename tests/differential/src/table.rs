//! The table of docs/verifiers.md.

use std::fmt::Write as _;

use crate::case::Ours;
use crate::examine::{Became, CORPUS, Examined, Findings, Said};

/// The columns.
pub const COLUMNS: [&str; 7] = [
    "case",
    "what it is",
    "Plumb",
    "git",
    "libgit2",
    "gix",
    "sq-git",
];

/// One line for each case, by number. Without sq-git its column is empty.
pub fn rows(findings: &[Findings]) -> Vec<[String; 7]> {
    let cases = findings.iter().filter(|case| case.name != CORPUS);
    let mut rows: Vec<(Key, [String; 7])> = cases.map(row).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The study's before ours, by number.
type Key = (bool, u32, String);

fn row(findings: &Findings) -> (Key, [String; 7]) {
    let (key, label, title) = name(&findings.name);
    let subjects: Vec<&Examined> = findings
        .objects
        .iter()
        .filter(|object| object.is_subject)
        .collect();
    let reader = |name: &str| sorted(subjects.iter().filter_map(|object| compared(object, name)));
    let git = |kind: &str| {
        let words = subjects.iter().filter(|object| kind_of(object) == kind);
        sorted(words.map(|object| object.git.to_owned()))
    };
    let mut by_git = git("commit");
    let tags = git("tag");
    if !tags.is_empty() {
        let between = if by_git.is_empty() { "" } else { "; " };
        let _ = write!(by_git, "{between}tags: {tags}");
    }
    let row = [
        label,
        title,
        counted(findings.plumb.iter().cloned()),
        by_git,
        reader("libgit2"),
        reader("gix"),
        counted(findings.sq_git.iter().map(|word| (*word).to_owned())),
    ];
    (key, row)
}

fn kind_of(object: &Examined) -> &'static str {
    if object.is_tag { "tag" } else { "commit" }
}

/// A reader's bytes beside ours.
fn compared(object: &Examined, reader: &str) -> Option<String> {
    let word = match (&object.readers[reader], &object.ours()) {
        (Said::Unasked, _) => return None,
        (Said::Unread(_), _) => "unread",
        (Said::Unsigned, _) => "unsigned",
        (said, ours) if said == ours => "same",
        (_, Said::Unread(_)) => "reads it",
        _ => "**other**",
    };
    Some(word.to_owned())
}

/// What Plumb's splitter says, for the list of disputes.
pub fn why(object: &Examined) -> String {
    match &object.ours {
        Ours::Refused { refused } => refused.clone(),
        Ours::Parts {
            is_armor: false,
            signature: Some(_),
            ..
        } => "the signature isn't one whole block of armor".to_owned(),
        Ours::Parts { .. } if object.became == Became::Rejected => {
            "the commit is rejected".to_owned()
        }
        Ours::Parts { .. } => "nothing".to_owned(),
    }
}

/// The same in the order of the alphabet: objects come in that of their names, which new keys make new.
fn sorted(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    words.sort();
    counted(words.into_iter())
}

/// Words in order of their first coming, with how often if more than once.
fn counted(words: impl Iterator<Item = String>) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for word in words {
        match counts.iter_mut().find(|(other, _)| *other == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let times = |(word, count): (String, usize)| {
        if count == 1 {
            word
        } else {
            format!("{word} ×{count}")
        }
    };
    counts.into_iter().map(times).collect::<Vec<_>>().join("; ")
}

/// `case_81_and_82_rules_by_effect` is case 81, 82: rules by effect.
fn name(test: &str) -> (Key, String, String) {
    let (kind, mut rest) = test.split_once('_').unwrap_or((test, ""));
    let mut numbers: Vec<&str> = Vec::new();
    loop {
        let (word, more) = rest.split_once('_').unwrap_or((rest, ""));
        if word.parse::<u32>().is_err()
            && !(word == "and" && more.starts_with(|c: char| c.is_ascii_digit()))
        {
            break;
        }
        if word != "and" {
            numbers.push(word);
        }
        rest = more;
    }
    let own = kind == "own";
    let first = numbers
        .first()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    let label = format!("{}{}", if own { "own " } else { "" }, numbers.join(", "));
    ((own, first, test.to_owned()), label, rest.replace('_', " "))
}

/// The table as Markdown.
pub fn render(rows: &[[String; 7]]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        COLUMNS.join(" | "),
        "---|".repeat(COLUMNS.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// The rows of a Markdown table.
pub fn parse(text: &str) -> Vec<[String; 7]> {
    text.lines()
        .filter_map(|line| {
            let cells: Vec<String> = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect();
            cells.try_into().ok()
        })
        .skip(1)
        .collect()
}
