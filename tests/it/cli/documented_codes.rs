//! The examples in `docs/codes.md`: each gives what stands below it. `PLUMB_BLESS=1 cargo test -p tests --test it
//! documented` writes what they give; read the difference before you commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::diagnostics::{FLEET, check};
use super::environment::Environment;

/// A code's section of the page.
struct Section<'a> {
    code: &'a str,
    /// The path and the text of each file of the example.
    files: Vec<(&'a str, &'a str)>,
    /// The text between the fences of the result, and where it begins in the page.
    result: Option<(usize, &'a str)>,
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md")
}

/// Returns the sections of the page that have a code as their heading.
fn sections(page: &str) -> Vec<Section<'_>> {
    let mut all: Vec<Section<'_>> = Vec::new();
    let mut path = None;
    let mut fence: Option<(usize, bool)> = None;
    let mut at = 0;
    for line in page.split_inclusive('\n') {
        let text = line.trim_end();
        let next = at + line.len();
        if let Some((start, is_result)) = fence {
            if text == "```" {
                let section = all.last_mut().expect("an example has a heading");
                let body = &page[start..at];
                if is_result {
                    section.result = Some((start, body));
                } else if let Some(path) = path.take() {
                    section.files.push((path, body));
                }
                fence = None;
            }
        } else if let Some(code) = text.strip_prefix("### `") {
            all.push(Section {
                code: code.trim_end_matches('`'),
                files: Vec::new(),
                result: None,
            });
        } else if text.starts_with("```") {
            fence = Some((next, text == "```text"));
        } else if let Some(named) = text
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix("`:"))
        {
            path = Some(named);
        }
        at = next;
    }
    all
}

/// Writes the files that an example only describes.
fn describe(env: &Environment, code: &str) {
    let write = |path: &str, bytes: &[u8]| {
        let path = env.path("fleet").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    match code {
        "file-too-large" => write("files/large.bin", &vec![b'x'; 40 << 20]),
        "key-file" => {
            let policy = include_str!("../../../fleet-repo-template/trust/policy.yaml");
            write("trust/policy.yaml", policy.as_bytes());
            keys(env, &["bob", "carol", "dave", "erin"]);
            write("trust/keys/alice.pub", b"hello\n");
        }
        "yaml-encoding" => write(
            "hosts/web.yaml",
            b"kind: Host\nmetadata: {name: web}\nspec: {hostname: w\xffb}\n",
        ),
        "yaml-tab" => write(
            "hosts/web.yaml",
            b"kind: Host\nmetadata: {name: web}\nspec:\n\tarch: x86_64\n",
        ),
        _ => {}
    }
}

/// Copies the keys of people from the template.
fn keys(env: &Environment, names: &[&str]) {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-repo-template/trust/keys");
    let folder = env.path("fleet/trust/keys");
    fs::create_dir_all(&folder).unwrap();
    for name in names {
        let file = format!("{name}.pub");
        fs::copy(template.join(&file), folder.join(&file)).unwrap();
    }
}

#[test]
fn documented_examples_give_what_the_page_says() {
    let page = fs::read_to_string(docs()).unwrap();
    let all = sections(&page);
    assert!(all.len() > 50, "{}", all.len());
    let mut blessed = String::new();
    let mut copied = 0;
    let mut wrong = String::new();
    for section in &all {
        let Some((start, expected)) = section.result else {
            assert!(section.files.is_empty(), "{} has no result", section.code);
            continue;
        };
        let env = Environment::new();
        env.write("fleet/fleet.yaml", FLEET);
        for (path, text) in &section.files {
            env.write(&format!("fleet/{path}"), text);
            if path.starts_with("trust/") {
                keys(&env, &["alice", "bob"]);
            }
        }
        describe(&env, section.code);
        let found = check(&env, "fleet").text;
        assert!(
            found.contains(&format!("[{}]: ", section.code)),
            "{}\n{found}",
            section.code
        );
        if found != expected {
            let _ = writeln!(
                wrong,
                "{}\nexpected:\n{expected}found:\n{found}",
                section.code
            );
        }
        blessed.push_str(&page[copied..start]);
        blessed.push_str(&found);
        copied = start + expected.len();
    }
    blessed.push_str(&page[copied..]);
    if std::env::var_os("PLUMB_BLESS").is_some() {
        fs::write(docs(), blessed).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "docs/codes.md differs:\n{wrong}");
}
