//! ARCHITECTURE.md, enforced: floors, purity, the agent's Rust version, the size of files, the names of rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every crate of ours and its floor.
const FLOORS: [(&str, u8); 8] = [
    ("plumb-api", 0),
    ("plumb-document", 0),
    ("plumb-trust", 1),
    ("plumb-core", 1),
    ("plumb-agent", 1),
    ("plumb-adapters", 2),
    ("plumb-controller", 3),
    ("plumb", 4),
];

/// Crates that do I/O: none may be reached from a pure crate.
const IMPURE: [&str; 16] = [
    "tokio",
    "mio",
    "async-std",
    "smol",
    "reqwest",
    "hyper",
    "socket2",
    "rustix",
    "nix",
    "notify",
    "gix",
    "russh",
    "redb",
    "tempfile",
    "walkdir",
    "axum",
];

/// Reached all the same, with the reason.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON")
}

/// The packages that a package reaches by normal dependencies, itself included.
fn closure(metadata: &Value, of: &str) -> BTreeSet<String> {
    let id = |name: &str| {
        let packages = metadata["packages"].as_array().into_iter().flatten();
        packages
            .filter(|package| package["name"] == name && package["source"].is_null())
            .map(|package| package["id"].as_str().expect("ids are texts").to_owned())
            .next()
            .unwrap_or_else(|| panic!("no package {name}"))
    };
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| (node["id"].as_str().expect("ids are texts"), node))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open = vec![id(of)];
    while let Some(next) = open.pop() {
        if !reached.insert(next.clone()) {
            continue;
        }
        for dependency in nodes[next.as_str()]["deps"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let normal = dependency["dep_kinds"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|kind| kind["kind"].is_null());
            if normal {
                open.push(
                    dependency["pkg"]
                        .as_str()
                        .expect("ids are texts")
                        .to_owned(),
                );
            }
        }
    }
    reached
}

fn packages(metadata: &Value) -> BTreeMap<String, Value> {
    let all = metadata["packages"].as_array().into_iter().flatten();
    all.map(|package| {
        (
            package["id"].as_str().expect("ids are texts").to_owned(),
            package.clone(),
        )
    })
    .collect()
}

#[test]
fn no_crate_depends_upward() {
    let metadata = metadata(&["--no-deps"]);
    let floors: BTreeMap<_, _> = FLOORS.into_iter().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().expect("names are texts");
        if name == "tests" {
            continue;
        }
        let floor = floors
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no floor: name it in FLOORS"));
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().expect("names are texts");
            if dependency["kind"] == "dev" {
                continue;
            }
            if let Some(below) = floors.get(on) {
                assert!(
                    below < floor,
                    "{name} (floor {floor}) depends on {on} (floor {below})"
                );
            }
        }
    }
}

#[test]
fn pure_crates_reach_no_io() {
    let metadata = metadata(&[]);
    let packages = packages(&metadata);
    for pure in ["plumb-api", "plumb-document", "plumb-trust", "plumb-core"] {
        for id in closure(&metadata, pure) {
            let name = packages[&id]["name"].as_str().expect("names are texts");
            let excused = EXCEPTIONS
                .iter()
                .any(|(of, on, _)| *of == pure && *on == name);
            assert!(!IMPURE.contains(&name) || excused, "{pure} reaches {name}");
        }
    }
}

#[test]
fn the_agent_builds_with_the_rust_of_debian_trixie() {
    let metadata = metadata(&[]);
    let packages = packages(&metadata);
    for id in closure(&metadata, "plumb-agent") {
        let Some(wanted) = packages[&id]["rust_version"].as_str() else {
            continue;
        };
        let mut parts = wanted
            .split('.')
            .map(|part| part.parse::<u32>().expect("versions are numbers"));
        let version = (parts.next(), parts.next());
        assert!(
            version <= (Some(1), Some(85)),
            "{} wants Rust {wanted}",
            packages[&id]["name"]
        );
    }
}

/// Our sources: path and text. Tests, generated files and tables of data are not counted as code.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut open = vec![root().join("reconciler")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("folders can be read") {
            let path = entry.expect("folders can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are text");
                files.push((
                    path.strip_prefix(root())
                        .expect("it lies in the workspace")
                        .to_owned(),
                    text,
                ));
            }
        }
    }
    assert!(files.len() > 20, "the sources were not found");
    files
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part == "tests"
            || part == "tests.rs"
            || part.ends_with("_tests.rs")
            || part == "benches"
            || part == "examples"
    })
}

/// What of a file is code: up to its inline tests.
fn code(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

#[test]
fn files_stay_small() {
    let mut sizes: Vec<(usize, PathBuf)> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (code(&text).lines().count(), path))
        .collect();
    sizes.sort();
    let (longest, path) = sizes.last().expect("there are sources");
    assert!(*longest <= 1000, "{} has {longest} lines", path.display());
    let at = |percent: usize| sizes[sizes.len() * percent / 100].0;
    assert!(at(50) <= 200, "the median file has {} lines", at(50));
    assert!(
        at(95) <= 600,
        "one file in twenty has over {} lines",
        at(95)
    );
}

#[test]
fn rooms_have_names() {
    for (path, _) in sources() {
        for part in path.components() {
            let part = part.as_os_str().to_string_lossy();
            let stem = part.trim_end_matches(".rs");
            let nameless = ["util", "utils", "common", "helper", "helpers", "misc"].contains(&stem);
            assert!(!nameless, "{} is a room without a name", path.display());
        }
    }
}

/// Paths of the standard library that do I/O, read the clock or the environment, or start threads.
const IMPURE_STD: [&str; 10] = [
    "std::fs",
    "std::os",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::process",
    "std::env",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
];

/// Calls and macros that do, whatever they are imported as.
const IMPURE_WORDS: [&str; 6] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "println!",
    "eprintln!",
];

/// Folders that use an impure path all the same, with the reason.
const IMPURE_ALLOWED: [(&str, &str, &str); 3] = [
    (
        "reconciler/trust/src/evaluate/",
        "std::thread",
        "scoped threads compute names and signatures of later commits; no verdict depends on them",
    ),
    (
        "reconciler/trust/src/policy/",
        "std::time::SystemTime",
        "the type of an argument; nothing reads the clock",
    ),
    (
        "reconciler/core/src/parallel.rs",
        "std::thread",
        "scoped threads map a pure function over items; the result doesn't depend on their number",
    ),
];

/// Adds the full paths that a `use` tree names: `std::{fs, io::{self, Read}}` names three.
fn use_paths(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        paths.push(format!("{prefix}{}", path.trim_end_matches("::self")));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let group = group.trim_end();
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = group[from..at].trim();
                match item {
                    "" => {}
                    "self" => paths.push(prefix.trim_end_matches("::").to_owned()),
                    item => use_paths(&prefix, item, paths),
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path of the standard library that code names, in `use` items and in place.
fn std_paths(code: &str) -> Vec<String> {
    let code: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut paths = Vec::new();
    for item in code.split("use std::").skip(1) {
        let tree: String = item.split(';').next().unwrap_or_default().to_owned();
        use_paths("std::", &tree.replace('\n', " "), &mut paths);
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for piece in code.split("std::").skip(1) {
        let end = piece.find(|c| !is_path(c)).unwrap_or(piece.len());
        paths.push(format!("std::{}", &piece[..end]));
    }
    paths
}

/// The impure paths and words of a file.
fn impurities(shown: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let allowed = |path: &str| {
        IMPURE_ALLOWED
            .iter()
            .any(|(folder, allowed, _)| shown.starts_with(folder) && path.starts_with(allowed))
    };
    let mut found: Vec<String> = std_paths(code)
        .into_iter()
        .filter(|path| IMPURE_STD.iter().any(|impure| path.starts_with(impure)))
        .filter(|path| !allowed(path))
        .collect();
    for word in IMPURE_WORDS {
        let used = code
            .lines()
            .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
        if used {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn finds_impure_imports_in_groups() {
    let found = |text: &str| impurities("reconciler/core/src/x.rs", text);
    for (text, impure) in [
        ("use std::{fmt, fs};", "std::fs"),
        (
            "use std::{\n    collections::{BTreeMap, BTreeSet},\n    io::{self, Read},\n    thread,\n};",
            "std::thread",
        ),
        ("use std::net::{IpAddr, TcpStream};", "std::net::TcpStream"),
        ("use std::{env::{self, args}};", "std::env"),
        ("use std::fs::File as Handle;", "std::fs::File"),
        ("fn f() { std::thread::sleep(x) }", "std::thread::sleep"),
        (
            "use std::{time::{Duration, Instant}};",
            "std::time::Instant",
        ),
        ("fn f() { jiff::Timestamp::now() }", "Timestamp::now"),
    ] {
        assert!(
            found(text).iter().any(|one| one == impure),
            "{text}: {:?}",
            found(text)
        );
    }
    let pure = "use std::{collections::BTreeMap, fmt::{self, Write}, net::IpAddr, time::Duration};\n// std::fs\n";
    assert_eq!(found(pure), Vec::<String>::new());
    let trust = "use std::thread::{Builder, Scope};";
    assert_eq!(
        impurities("reconciler/trust/src/evaluate/x.rs", trust),
        Vec::<String>::new()
    );
    assert_eq!(found(trust).len(), 3);
}

#[test]
fn pure_crates_do_no_io_and_start_no_threads() {
    for (path, text) in sources() {
        let shown = path.to_string_lossy().into_owned();
        let pure = ["api", "document", "trust", "core"]
            .iter()
            .any(|room| shown.starts_with(&format!("reconciler/{room}/src")));
        if pure && !is_test(&path) {
            assert_eq!(impurities(&shown, &text), Vec::<String>::new(), "{shown}");
        }
    }
}

/// The numbers of a list such as `1–5, 69, own 31–33`; others than numbers are left out.
fn numbers(list: &str) -> Vec<(&'static str, u32)> {
    let (mut kind, mut found) = ("case", Vec::new());
    for item in list.split(',').map(str::trim) {
        let item = item.strip_prefix("own ").map_or(item, |rest| {
            kind = "own";
            rest
        });
        let (from, to) = item.split_once('–').unwrap_or((item, item));
        if let (Ok(first), Ok(last)) = (from.parse::<u32>(), to.parse::<u32>()) {
            found.extend((first..=last).map(|n| (kind, n)));
        }
    }
    found
}

#[test]
fn the_threat_table_names_tests_that_are_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("## What is defended").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut cases = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests/adversary")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        for name in source.lines().filter_map(|line| line.strip_prefix("fn ")) {
            let mut words = name.split('_');
            let kind = match words.next() {
                Some("case") => "case",
                Some("own") => "own",
                _ => continue,
            };
            // Some test two rows: `case_11_and_12_…`.
            let numbers = words.take_while(|word| *word == "and" || word.parse::<u32>().is_ok());
            cases.extend(numbers.filter_map(|word| Some((kind, word.parse::<u32>().ok()?))));
        }
    }
    assert!(cases.len() > 115, "{} cases", cases.len());
    let rows: Vec<&str> = section
        .lines()
        .filter(|l| l.starts_with("| "))
        .skip(1)
        .collect();
    assert!(rows.len() > 15);
    for row in rows {
        let [_, attacker, answer, shown, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row} isn't three cells");
        };
        let mut tests = 0;
        for part in shown.split(';') {
            for number in numbers(part.trim()) {
                assert!(cases.contains(&number), "{attacker}: {number:?} is no case");
                tests += 1;
            }
            for place in part.split('`').skip(1).step_by(2) {
                let homes = ["", "tests/e2e", "reconciler"];
                let found = homes
                    .iter()
                    .any(|home| root().join(home).join(place).exists());
                assert!(found, "{attacker}: {place} isn't there");
                tests += 1;
            }
        }
        assert!(
            tests > 0 || answer.contains("**nothing**"),
            "{attacker}: nothing shows it"
        );
    }
}
