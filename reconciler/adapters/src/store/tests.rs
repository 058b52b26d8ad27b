use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use futures::executor::block_on;
use plumb_core::ports::{Store, StoreError, Table, Write};
use redb::Database;

use super::RedbStore;
use super::owner::{FORMAT, META};

fn put(table: Table, key: &str, value: &str) -> Write {
    Write::Put(table, key.to_owned(), value.as_bytes().to_vec())
}

fn open_error(folder: &std::path::Path) -> StoreError {
    RedbStore::open(folder).expect_err("must not open")
}

#[test]
fn records_are_kept_by_table_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    assert_eq!(block_on(store.get(Table::Hosts, "linda")), Ok(None));
    assert_eq!(block_on(store.list(Table::Hosts)), Ok(vec![]));
    block_on(store.commit(vec![
        put(Table::Hosts, "linda", "a"),
        put(Table::Targets, "linda", "b"),
        put(Table::Hosts, "beta", "c"),
    ]))
    .unwrap();
    drop(store);

    let store = RedbStore::open(folder.path()).unwrap();
    assert_eq!(
        block_on(store.get(Table::Targets, "linda")),
        Ok(Some(b"b".to_vec()))
    );
    let hosts = block_on(store.list(Table::Hosts)).unwrap();
    assert_eq!(
        hosts,
        [
            ("beta".to_owned(), b"c".to_vec()),
            ("linda".to_owned(), b"a".to_vec())
        ]
    );
    block_on(store.commit(vec![
        Write::Delete(Table::Hosts, "linda".to_owned()),
        Write::Delete(Table::Events, "never there".to_owned()),
    ]))
    .unwrap();
    assert_eq!(block_on(store.get(Table::Hosts, "linda")), Ok(None));
    assert_eq!(
        block_on(store.get(Table::Targets, "linda")),
        Ok(Some(b"b".to_vec()))
    );
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = RedbStore::open(folder.path()).unwrap();
    assert_eq!(open_error(folder.path()), StoreError::Busy);
    drop(first);
    RedbStore::open(folder.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(RedbStore::open(folder.path()).unwrap());
    let file = folder.path().join("state.redb");
    {
        let database = Database::open(&file).unwrap();
        let write = database.begin_write().unwrap();
        write
            .open_table(META)
            .unwrap()
            .insert("format", FORMAT + 1)
            .unwrap();
        write.commit().unwrap();
    }
    assert_eq!(open_error(folder.path()), StoreError::Newer);
}

#[test]
fn what_is_no_store_is_an_error_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.redb");
    std::fs::write(&file, "something else of this name\n".repeat(200)).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        StoreError::Damaged { .. }
    ));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn the_folder_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("var/state");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(RedbStore::open(&folder).unwrap());
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn many_commits_at_once_all_hold() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    let commits = (0..600).map(|n| {
        store.commit(vec![
            put(Table::Hosts, &format!("host-{n:04}"), "x"),
            put(Table::Hosts, "last", &n.to_string()),
        ])
    });
    for done in block_on(futures::future::join_all(commits)) {
        done.unwrap();
    }
    assert_eq!(block_on(store.list(Table::Hosts)).unwrap().len(), 601);
    // Commits keep the order in which they were given.
    assert_eq!(
        block_on(store.get(Table::Hosts, "last")),
        Ok(Some(b"599".to_vec()))
    );
}

/// Not a test of its own: the process that the next one kills.
#[test]
#[ignore = "started by killed_in_the_middle_it_opens_again"]
fn victim() {
    let Ok(folder) = std::env::var("PLUMB_STORE_VICTIM") else {
        return;
    };
    let store = RedbStore::open(folder.as_ref()).unwrap();
    for n in 0_u64.. {
        let value = format!("{n}:{}", "x".repeat(20_000));
        block_on(store.commit(vec![
            put(Table::Hosts, "left", &value),
            put(Table::Targets, "right", &value),
        ]))
        .unwrap();
        println!("done {n}");
    }
}

#[test]
fn killed_in_the_middle_it_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = None::<u64>;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::victim",
                "--ignored",
                "--nocapture",
            ])
            .env("PLUMB_STORE_VICTIM", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("done ") {
                acknowledged = Some(n.parse().unwrap());
                seen += 1;
                if seen > 3 + round * 7 {
                    break;
                }
            }
        }
        child.kill().unwrap();
        // What it still acknowledged before it died counts too.
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("done ") {
                acknowledged = Some(n.parse().unwrap());
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "the victim never got to work");

        let store = RedbStore::open(folder.path()).unwrap();
        let left = block_on(store.get(Table::Hosts, "left")).unwrap().unwrap();
        let right = block_on(store.get(Table::Targets, "right"))
            .unwrap()
            .unwrap();
        assert_eq!(left, right, "half of a commit was kept");
        let kept: u64 = String::from_utf8_lossy(&left)
            .split(':')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            kept >= acknowledged.unwrap(),
            "{kept} < {acknowledged:?}: an acknowledged commit was lost"
        );
        acknowledged = None;
    }
}

#[test]
fn a_file_that_is_no_store_is_told_and_left_as_it_is() {
    for bytes in [
        &b""[..],
        b"re",
        b"garbage that is longer than the magic number",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.redb");
        std::fs::write(&file, bytes).unwrap();
        let error = open_error(folder.path());
        assert!(
            matches!(&error, StoreError::Damaged { path, .. } if path.ends_with("state.redb")),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}
