//! Whoever reads the adversary's objects finds the same payload and signature in them, or Plumb takes
//! no authority from them.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use plumb_differential::case;
use plumb_differential::examine::{self, Became, Findings, Said};
use plumb_differential::sq::SqGit;
use plumb_differential::table;

const FROM: &str = "<!-- table: tests/run differential -->\n";
const TO: &str = "<!-- end of table -->\n";

struct Examination {
    findings: Vec<Findings>,
    /// The table's column of it, if it is there to be asked.
    sq_git: Option<String>,
}

fn examination() -> &'static Examination {
    static ALL: OnceLock<Examination> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = std::env::var_os("PLUMB_DUMP")
            .expect("PLUMB_DUMP names what the cases left; `tests/run differential` does it all");
        let cases = case::read(Path::new(&folder));
        let sq_git = SqGit::find();
        Examination {
            findings: examine::all(&cases, sq_git.as_ref()),
            sq_git: sq_git.map(|sq_git| sq_git.version()),
        }
    })
}

#[test]
fn whatever_is_read_in_two_ways_counts_for_nothing() {
    let mut disputed = 0;
    for object in examination().findings.iter().flat_map(|case| &case.objects) {
        if !object.is_disputed() {
            continue;
        }
        disputed += 1;
        assert!(
            object.is_refused(),
            "{} {} {}: ours {:?}, others {:?}",
            object.case,
            object.world,
            object.id,
            object.ours,
            object.readers
        );
        println!("{} {}: {}", object.case, object.id, table::why(object));
        for (reader, said) in &object.readers {
            println!("    {reader}: {said:?}");
        }
    }
    // The cases hold objects made to be read in two ways: if none is found, nothing was compared.
    assert!(
        disputed >= 6,
        "only {disputed} objects are read in two ways"
    );
}

#[test]
fn each_reader_found_signatures_as_ours_did() {
    for reader in ["git", "libgit2", "gix"] {
        let same = examination()
            .findings
            .iter()
            .flat_map(|case| &case.objects)
            .filter(|object| {
                matches!(object.readers[reader], Said::Parts { .. })
                    && object.readers[reader] == object.ours()
            })
            .count();
        assert!(
            same > 100,
            "{reader} found the bytes of {same} signatures as Plumb does"
        );
    }
}

/// Approvals of others may still make up for it.
#[test]
fn no_signature_counts_that_git_calls_bad() {
    for case in &examination().findings {
        for object in case
            .objects
            .iter()
            .filter(|object| !object.is_tag && object.git == "bad")
        {
            assert!(
                object.became != Became::Signed,
                "{} {} is accepted",
                case.name,
                object.id
            );
        }
    }
}

#[test]
fn the_table_says_what_was_found() {
    let Examination { findings, sq_git } = examination();
    let rows = table::rows(findings);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verifiers.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(FROM).expect("the table's beginning");
    let (table, after) = rest.split_once(TO).expect("the table's end");
    let (stated, table) = table
        .split_once("\n\n")
        .expect("the versions stand above it");
    let versions = versions(sq_git.as_deref());
    if std::env::var_os("PLUMB_BLESS").is_some() {
        assert!(sq_git.is_some(), "the table is written with sq-git at hand");
        let table = table::render(&rows);
        std::fs::write(
            &page,
            format!("{before}{FROM}{versions}\n\n{table}{TO}{after}"),
        )
        .unwrap();
        return;
    }
    let stated_rows = table::parse(table);
    assert_eq!(
        stated_rows.len(),
        rows.len(),
        "PLUMB_BLESS=1 writes the table anew"
    );
    // What another version of a program says is its own affair.
    let same = |name: &str| {
        let of = |text: &str| {
            text.split("; ")
                .find(|part| part.starts_with(name))
                .map(str::to_owned)
        };
        of(stated) == of(&versions) && of(stated).is_some()
    };
    let columns = [
        true,
        true,
        true,
        same("git") && same("gpg"),
        same("libgit2"),
        same("gix"),
        same("sq-git"),
    ];
    for (stated, found) in stated_rows.iter().zip(&rows) {
        for ((stated, found), compared) in stated.iter().zip(found).zip(columns) {
            assert!(
                !compared || stated == found,
                "{stated:?} is now {found:?}: PLUMB_BLESS=1 writes the table anew"
            );
        }
    }
}

fn versions(sq_git: Option<&str>) -> String {
    let first_line = |program: &str, flag: &str| {
        let done = Command::new(program).arg(flag).output().unwrap();
        String::from_utf8_lossy(&done.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let git = first_line("git", "--version").replace("git version", "git");
    let gpg = first_line("gpg", "--version").replace("gpg (GnuPG)", "gpg");
    let (major, minor, patch) = git2::Version::get().libgit2_version();
    let lock = include_str!("../Cargo.lock");
    let gix = lock
        .split("name = \"gix-object\"\nversion = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let sq_git = sq_git
        .map(|version| format!("; {}", version.split(" (").next().unwrap_or(version)))
        .unwrap_or_default();
    format!("{git}; {gpg}; libgit2 {major}.{minor}.{patch}; gix-object {gix}{sq_git}")
}
