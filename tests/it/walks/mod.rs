//! The walks of `docs/`, followed word by word: every command of a page is run, in order, by the person
//! who is named before it, in an empty root of its own.

mod page;
mod world;

use page::Page;
use world::World;

/// Follows pages one after another in one world.
#[track_caller]
fn follow(pages: &[&str]) {
    let world = World::new();
    for name in pages {
        for block in Page::read(name).blocks {
            let ran = world.run(&block.person, &block.script);
            // There is no controller in this root, and nobody said that there was one.
            assert!(
                !ran.output.contains("cannot notify the controller"),
                "{}",
                ran.output
            );
            if let Err(wrong) = block.compare(&ran) {
                panic!(
                    "docs/{name}, line {}: {wrong}\n--- as {} ---\n{}--- it ended with {} and said ---\n{}",
                    block.line, block.person, block.script, ran.code, ran.output
                );
            }
        }
    }
}

#[test]
fn two_people() {
    follow(&["walk-two-people.md"]);
}

#[test]
fn a_key_is_rotated() {
    follow(&["walk-two-people.md", "walk-rotate-a-key.md"]);
}

#[test]
fn a_key_is_lost() {
    follow(&["walk-two-people.md", "walk-lost-key.md"]);
}

#[test]
fn a_key_is_stolen() {
    follow(&["walk-two-people.md", "walk-stolen-key.md"]);
}

#[test]
fn an_emergency() {
    follow(&["walk-two-people.md", "walk-emergency.md"]);
}

#[test]
fn a_second_host() {
    follow(&["walk-second-host.md"]);
}

#[test]
fn hosts_are_imported() {
    follow(&["import.md"]);
}

#[test]
fn the_root_holds_nothing_but_what_the_pages_name() {
    let world = World::new();
    let ran = world.run(
        "alice",
        "pwd; echo $HOME; ls -A ~ /home /srv; env; git config --list; command -v plumb\n! command -v python3 curl cargo perl",
    );
    assert_eq!(ran.code, 0, "{}", ran.output);
    let lines: Vec<&str> = ran.output.lines().collect();
    assert_eq!(lines[..2], ["/home/alice", "/home/alice"]);
    assert_eq!(lines.last(), Some(&"/walk/bin/plumb"));
    for foreign in ["GIT_", "SSH_", "CARGO", "PLUMB", "user.name", ".gnupg"] {
        assert!(!ran.output.contains(foreign), "{foreign}: {}", ran.output);
    }
}

#[test]
fn a_page_that_is_untrue_is_noticed() {
    let world = World::new();
    let wrong = |page: &str| {
        let page = Page::parse(page);
        let block = &page.blocks[0];
        block
            .compare(&world.run(&block.person, &block.script))
            .is_err()
    };
    let page = |script: &str, says: &str| {
        format!("As alice:\n\n```sh\n{script}\n```\n```text\n{says}\n```\n")
    };
    assert!(!wrong(&page("echo one; echo two 2", "one\ntwo …")));
    assert!(wrong(&page("echo one; echo two", "two\none")));
    assert!(wrong(&page("echo one", "one\ntwo")));
    assert!(wrong(&page("echo one; false; echo two", "one")));
    assert!(!wrong(&page("echo one; false; echo two", "one\n(exit 1)")));
    assert!(wrong(&page("echo one", "one\n(exit 1)")));
    assert!(wrong(&page("false\necho one", "(exit 1)")));
    assert!(!wrong(&page("echo one\nfalse", "(exit 1)")));
}
