//! A page and the commands on it.

use std::path::Path;

use super::world::Ran;

/// A page.
pub(super) struct Page {
    pub(super) blocks: Vec<Block>,
}

/// One fence of commands, and what the page says that they print.
pub(super) struct Block {
    /// Its first line in the page.
    pub(super) line: usize,
    pub(super) person: String,
    pub(super) script: String,
    says: Vec<String>,
    code: i32,
}

enum Fence {
    None,
    Commands,
    Output,
}

impl Page {
    pub(super) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    /// The fences `sh`, each with the fence `text` that follows it. Whoever was last named at the end of
    /// a line (`As alice:`, `On the server:`) types.
    pub(super) fn parse(text: &str) -> Self {
        let (mut blocks, mut person, mut fence) = (Vec::<Block>::new(), None, Fence::None);
        for (index, line) in text.lines().enumerate() {
            match (&fence, line) {
                (Fence::None, "```sh") => {
                    let person: &String = person.as_ref().unwrap_or_else(|| {
                        panic!("line {}: nobody is said to type this", index + 1)
                    });
                    blocks.push(Block {
                        line: index + 2,
                        person: person.clone(),
                        script: String::new(),
                        says: Vec::new(),
                        code: 0,
                    });
                    fence = Fence::Commands;
                }
                (Fence::None, "```text") => fence = Fence::Output,
                (Fence::None, _) => {
                    assert!(
                        !line.starts_with("```") && !line.starts_with("    "),
                        "line {}: a block that isn't run",
                        index + 1
                    );
                    person = named(line).or(person);
                }
                (_, "```") => fence = Fence::None,
                (Fence::Commands, _) => {
                    let block = blocks.last_mut().unwrap();
                    block.script.push_str(line);
                    block.script.push('\n');
                }
                (Fence::Output, _) => {
                    let block = blocks.last_mut().expect("output follows commands");
                    let code = line
                        .strip_prefix("(exit ")
                        .and_then(|l| l.strip_suffix(')'));
                    match code {
                        Some(code) => block.code = code.parse().unwrap(),
                        None => block.says.push(line.trim().to_owned()),
                    }
                }
            }
        }
        assert!(!blocks.is_empty(), "a page without commands");
        Self { blocks }
    }
}

fn named(line: &str) -> Option<String> {
    let line = line.strip_suffix(':')?;
    if line.ends_with("On the server") {
        return Some("git".to_owned());
    }
    let (_, name) = line.rsplit_once("As ")?;
    name.bytes()
        .all(|b| b.is_ascii_lowercase())
        .then(|| name.to_owned())
}

impl Block {
    /// Whether the commands ended and printed as the page says: each of its lines is part of one that
    /// was printed, in this order, with anything in the place of `…`.
    pub(super) fn compare(&self, ran: &Ran) -> Result<(), String> {
        if ran.code != self.code {
            return Err(format!("it should have ended with {}", self.code));
        }
        let last = self.script.lines().count();
        if let Some(line) = ran.failed.filter(|line| *line != last) {
            return Err(format!("what follows its line {line} wasn't run"));
        }
        let mut printed = ran.output.lines();
        for line in &self.says {
            if !printed.any(|printed| holds(printed, line)) {
                return Err(format!("`{line}` isn't printed, or not in this place"));
            }
        }
        Ok(())
    }
}

fn holds(printed: &str, line: &str) -> bool {
    let mut rest = printed;
    line.split('…').map(str::trim).all(|part| {
        let found = rest.find(part);
        rest = found.map_or("", |at| &rest[at + part.len()..]);
        found.is_some()
    })
}
