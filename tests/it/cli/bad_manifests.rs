//! Bad manifests: each has its expected diagnostics beside it, in `tests/it/bad`. A case is a headline with
//! `#`, its files with `---`, and its diagnostics below `>>>`. `PLUMB_BLESS=1 cargo test -p tests --test it bad_`
//! writes the diagnostics; read the difference before you commit it.
//!
//! A file marked `spec` is the spec of an object whose kind and name follow from its path. One that is marked
//! `escaped` has bytes as `\xff`, and line ends and tabs as `\r` and `\t`. Beside the files of a case there is
//! a host `good` without mistakes, which no case but those marked `[all held]` may hold.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::diagnostics::{FLEET, Found, check, hosts};
use super::environment::Environment;

const GOOD: &str = "kind: Host\nmetadata: {name: good}\nspec: {resources: {file: {/etc/motd: {content: hello}}}}\n";

/// The hosts that a case may hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Not the host `good`.
    Concerned,
    /// Every host, because fleet.yaml has an error.
    All,
}

/// A bad fleet.
struct Case {
    title: String,
    holds: Holds,
    /// The path and the bytes of each file.
    files: Vec<(String, Vec<u8>)>,
    /// The text of the files as it is in the collection.
    written: String,
    expected: String,
}

/// Reads a collection of cases.
fn cases(text: &str) -> Vec<Case> {
    let mut all = Vec::new();
    for block in text.split("\n\n# ") {
        let block = block.strip_prefix("# ").unwrap_or(block);
        let (title, rest) = block.split_once('\n').unwrap();
        let (written, expected) = rest.split_once(">>>\n").unwrap_or_else(|| {
            (
                rest.trim_end().strip_suffix(">>>").expect("a case has >>>"),
                "",
            )
        });
        let holds = if title.ends_with("[all held]") {
            Holds::All
        } else {
            Holds::Concerned
        };
        all.push(Case {
            title: title.to_owned(),
            holds,
            files: files(written),
            written: written.to_owned(),
            expected: expected.trim_end().to_owned(),
        });
    }
    all
}

fn files(written: &str) -> Vec<(String, Vec<u8>)> {
    let parts = written.split("--- ").filter(|part| !part.is_empty());
    // A document marker of YAML has no path behind it.
    let mut files: Vec<(String, String)> = Vec::new();
    for part in parts {
        let (head, text) = part.split_once('\n').unwrap();
        files.push((head.to_owned(), text.to_owned()));
    }
    let bytes = |(head, text): (String, String)| {
        let (path, mark) = head.split_once(' ').unwrap_or((head.as_str(), ""));
        let bytes = match mark {
            "spec" => object(path, &text).into_bytes(),
            "escaped" => unescaped(&text),
            _ => text.into_bytes(),
        };
        (path.to_owned(), bytes)
    };
    files.into_iter().map(bytes).collect()
}

/// Returns the object at a path with this spec.
fn object(path: &str, spec: &str) -> String {
    let kind = match path.split('/').next() {
        Some("hosts") => "Host",
        Some("profiles") => "Profile",
        Some("networks") => "Network",
        Some("secrets") => "Secret",
        other => panic!("no kind of object lies in {other:?}"),
    };
    let name = Path::new(path).file_stem().unwrap().to_str().unwrap();
    let mut text = format!("kind: {kind}\nmetadata: {{name: {name}}}\nspec:\n");
    for line in spec.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let code = &rest[at + 1..];
        let taken = match code.as_bytes()[0] {
            b't' => {
                out.push(b'\t');
                1
            }
            b'r' => {
                out.push(b'\r');
                1
            }
            b'x' => {
                out.push(u8::from_str_radix(&code[1..3], 16).unwrap());
                3
            }
            other => panic!("unknown escape {}", char::from(other)),
        };
        rest = &code[taken..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Asserts what holds for every bad fleet: each diagnostic has a place in a file, and the host `good` is held
/// only if all are.
#[track_caller]
fn is_told_well(title: &str, found: &Found, holds: Holds) {
    for one in &found.all {
        let file = one["file"].as_str().unwrap_or_default();
        assert!(
            !file.is_empty() && one["line"].as_u64() >= Some(1),
            "{title}: {one}"
        );
        let message = one["message"].as_str().unwrap_or_default();
        assert!(
            !message.is_empty() && message.len() <= 400,
            "{title}: {one}"
        );
    }
    let errors = found.all.iter().filter(|one| one["severity"] == "error");
    let held = errors.flat_map(hosts).any(|host| host == "good");
    assert_eq!(held, holds == Holds::All, "{title}\n{}", found.text);
}

fn write(env: &Environment, path: &str, bytes: &[u8]) {
    let path = env.path("fleet").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn collection(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/bad");
    folder.join(name).with_extension("txt")
}

#[track_caller]
fn run(name: &str) {
    let text = fs::read_to_string(collection(name)).unwrap();
    let mut blessed = String::new();
    let mut wrong = String::new();
    for case in cases(&text) {
        let env = Environment::new();
        write(&env, "fleet.yaml", FLEET.as_bytes());
        write(&env, "hosts/good.yaml", GOOD.as_bytes());
        for (path, bytes) in &case.files {
            write(&env, path, bytes);
        }
        let found = check(&env, "fleet");
        is_told_well(&case.title, &found, case.holds);
        let says = found.text.trim_end();
        if says != case.expected {
            let _ = write!(
                wrong,
                "# {}\nexpected:\n{}\nfound:\n{says}\n\n",
                case.title, case.expected
            );
        }
        let _ = write!(blessed, "# {}\n{}>>>\n", case.title, case.written);
        if !says.is_empty() {
            let _ = writeln!(blessed, "{says}");
        }
        blessed.push('\n');
    }
    if std::env::var_os("PLUMB_BLESS").is_some() {
        fs::write(collection(name), format!("{}\n", blessed.trim_end())).unwrap();
        return;
    }
    assert!(
        wrong.is_empty(),
        "{name} differs; if it should, write it with PLUMB_BLESS=1\n{wrong}"
    );
}

#[test]
fn bad_syntax_is_told() {
    run("syntax");
}

#[test]
fn bad_objects_are_told() {
    run("objects");
}

#[test]
fn bad_hosts_are_told() {
    run("hosts");
}

#[test]
fn bad_fleets_are_told() {
    run("fleet");
}

#[test]
fn bad_networks_are_told() {
    run("networks");
}

#[test]
fn bad_resources_are_told() {
    run("resources");
}

#[test]
fn bad_composition_is_told() {
    run("composition");
}

#[test]
fn bad_templates_are_told() {
    run("templates");
}

#[test]
fn bad_secrets_are_told() {
    run("secrets");
}

/// Checks a fleet with one more file that is too large to be written down.
#[track_caller]
fn with(path: &str, bytes: &[u8]) -> Found {
    let env = Environment::new();
    write(&env, "fleet.yaml", FLEET.as_bytes());
    write(&env, "hosts/good.yaml", GOOD.as_bytes());
    write(&env, path, bytes);
    let found = check(&env, "fleet");
    is_told_well(path, &found, Holds::Concerned);
    found
}

#[test]
fn bad_sizes_are_told() {
    let host = |spec: &str| format!("kind: Host\nmetadata: {{name: bad}}\nspec: {spec}\n");
    for (title, bytes, says) in [
        (
            "lists in lists",
            host(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
            "error[yaml-limit]",
        ),
        (
            "mappings in mappings",
            host(&"{a: ".repeat(5000)),
            "error[yaml-limit]",
        ),
        (
            "lists that aren't closed",
            host(&"[".repeat(200_000)),
            "error[yaml-limit]",
        ),
        (
            "five megabytes",
            host(&format!("{{hostname: \"{}\"}}", "x".repeat(5 << 20))),
            "error[yaml-limit]",
        ),
        (
            "a hundred megabytes",
            host(&"#".repeat(100 << 20)),
            "hosts/bad.yaml:1:1: error[",
        ),
        (
            "a name of a megabyte",
            host(&format!("{{{}: 1}}", "x".repeat(1 << 20))),
            "error[",
        ),
        (
            "ten thousand unknown fields",
            host(&format!(
                "{{{}}}",
                (0..10_000).fold(String::new(), |all, n| all + &format!("f{n}: 1, "))
            )),
            "error[unknown-field]",
        ),
    ] {
        let found = with("hosts/bad.yaml", bytes.as_bytes());
        assert!(found.text.contains(says), "{title}\n{:.2000}", found.text);
        assert!(found.all.len() <= 100, "{title}: {}", found.all.len());
    }
}

#[test]
fn bad_bulk_of_files_is_told() {
    let found = with("files/large.bin", &vec![b'x'; 100 << 20]);
    assert!(
        found
            .text
            .starts_with("files/large.bin:1:1: warning[file-too-large]"),
        "{}",
        found.text
    );
}

#[test]
fn bad_links_are_told() {
    let env = Environment::new();
    write(&env, "fleet.yaml", FLEET.as_bytes());
    write(&env, "hosts/good.yaml", GOOD.as_bytes());
    write(&env, "files/a", b"a\n");
    env.write("outside", "secret\n");
    let host = "kind: Host\nmetadata: {name: bad}\nspec: {resources: {file: {/etc/x: {content: {file: files/link}}}}}\n";
    write(&env, "hosts/bad.yaml", host.as_bytes());
    for target in ["../../outside", "/etc/hostname", "nowhere", "link", "."] {
        let link = env.path("fleet/files/link");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).unwrap();
        let run = env.plumb("fleet", &["check", "-o", "json"]);
        assert!(!run.stdout.contains("secret"), "{target}: {}", run.stdout);
        assert!(run.code == 1, "{target}: {}{}", run.stdout, run.stderr);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("files/link"), "{target}: {said}");
    }
}
