//! Output on stdout: tables for people, JSON and YAML for programs, and colour if wanted. Progress and errors
//! go to stderr.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use plumb_trust::object::invisible;
use serde::Serialize;

pub use crate::palette::{ColorChoice, Paint, Palette};
use crate::report::{Exit, Failure, OrFail as _};

/// The form of data on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people: more columns, and no cut cells.
    Wide,
    /// For programs, one document.
    Json,
    /// The same as JSON, in YAML.
    Yaml,
    /// A folder per host; only for `plumb render`.
    Dir,
    /// `plumb check` alone: SARIF 2.1.0.
    #[value(hide = true)]
    Sarif,
    /// `plumb check` alone: GitHub's workflow commands.
    #[value(hide = true)]
    Github,
}

/// True if a character is invisible, except for newlines.
fn is_invisible(c: char) -> bool {
    invisible(c) && c != '\n'
}

/// Escapes invisible characters in JSON. Such characters occur only in strings, where a JSON parser reads the
/// escape as the same character.
fn escaped(json: &str) -> Cow<'_, str> {
    escaped_by(json, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escaped_by(json: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !json.contains(is_invisible) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_invisible(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Renders data as YAML. If the data has invisible characters, writes it as JSON, which is valid YAML, and
/// escapes these characters with `\U`. JSON's own escapes don't work here: for some characters they are two
/// surrogates, which YAML doesn't allow.
pub(crate) fn to_yaml<T: Serialize>(data: &T) -> Result<String, Failure> {
    let unwritten = || "cannot write the result as YAML".to_owned();
    let text = serde_saphyr::to_string(data).or_fail(unwritten)?;
    if !text.contains(is_invisible) {
        return Ok(text);
    }
    let mut json = serde_json::to_string_pretty(data).or_fail(unwritten)?;
    json.push('\n');
    let written = escaped_by(&json, |c, out| {
        let _ = write!(out, "\\U{:08x}", u32::from(c));
    });
    Ok(written.into_owned())
}

/// A command's output settings, chosen once from the command line and the terminal.
#[derive(Debug)]
pub struct Shell {
    /// The format of data on stdout.
    pub format: Format,
    /// Colour on stdout.
    pub out: Palette,
    /// Colour on stderr.
    pub err: Palette,
}

impl Shell {
    /// Creates the settings from the options of the command line.
    pub fn new(format: Format, color: ColorChoice) -> Self {
        Self {
            format,
            out: Palette::of(color, &io::stdout()),
            err: Palette::of(color, &io::stderr()),
        }
    }

    /// Writes data in the chosen format; `table` renders the text for people.
    ///
    /// # Errors
    /// Fails if stdout can't be written. A closed pipe is no error.
    pub fn emit<T: Serialize>(
        &self,
        data: &T,
        table: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table | Format::Wide => self.out.sanitized(&table(self.out)).into_owned(),
            Format::Json => return self.emit_json(data),
            Format::Yaml => to_yaml(data)?,
            Format::Dir => return Err(Failure::new("`-o dir` is for `plumb render`")),
            Format::Sarif | Format::Github => {
                return Err(Failure::new("this command doesn't have this format")
                    .hint("use `-o json`; only `plumb check` has `sarif` and `github`")
                    .exit(Exit::TROUBLE));
            }
        };
        self.print(&text)
    }

    /// Writes data to stdout as JSON.
    ///
    /// # Errors
    /// Fails as [`emit`](Self::emit) does.
    pub fn emit_json<T: Serialize>(&self, data: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(data)
            .or_fail(|| "cannot write the result as JSON".to_owned())?;
        text.push('\n');
        self.print(&escaped(&text))
    }

    /// Writes text to stdout.
    ///
    /// # Errors
    /// Fails as [`emit`](Self::emit) does.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new("cannot write to stdout").because(&error))
            }
            _ => Ok(()),
        }
    }

    /// Reports progress on stderr.
    pub fn say(&self, text: impl fmt::Display) {
        let text = text.to_string();
        // A closed stderr is no reason to stop.
        let _ = writeln!(io::stderr(), "{}", self.err.sanitized(&text));
    }

    /// Writes a warning to stderr.
    pub fn warn(&self, text: impl fmt::Display) {
        self.say(format_args!(
            "{} {text}",
            self.err.paint(Paint::Warn, "warning:")
        ));
    }

    /// Asks a question on the terminal; only `y` or `yes` confirms.
    ///
    /// # Errors
    /// Fails if the answer can't be read.
    pub fn confirms(&self, question: &str) -> Result<bool, Failure> {
        // If writing the question fails, read the answer anyway.
        let _ = write!(io::stderr(), "{} [y/N] ", self.err.sanitized(question));
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .or_fail(|| "cannot read the answer".to_owned())?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// True if a person can answer questions on this terminal.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

/// A table without borders, as kubectl prints it: three spaces between columns.
pub struct Table {
    rows: Vec<Vec<(Option<Paint>, String)>>,
    palette: Palette,
    /// The number of columns that are shown.
    columns: usize,
}

impl Table {
    /// Creates a table with these headings.
    pub fn new<const N: usize>(headings: [&str; N], palette: Palette) -> Self {
        let headings = headings.map(|heading| (Some(Paint::Bold), heading.to_owned()));
        Self {
            rows: vec![headings.into()],
            palette,
            columns: N,
        }
    }

    /// Shows only the first `narrow` columns, unless the format is wide.
    #[must_use]
    pub fn columns_in(mut self, format: Format, narrow: usize) -> Self {
        if format != Format::Wide {
            self.columns = self.columns.min(narrow);
        }
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.painted(cells.map(|cell| (None, cell)));
    }

    /// Adds a row, with colours for some cells. The lines of a cell with several lines are joined, because a
    /// row is one line.
    pub fn painted<const N: usize>(&mut self, cells: [(Option<Paint>, String); N]) {
        let joined = |text: String| text.lines().collect::<Vec<_>>().join("; ");
        let cells = cells.map(|(paint, text)| (paint, joined(text)));
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns;
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let row = row.get(..columns).unwrap_or(row);
            // No padding after the last cell with text.
            let last = row.iter().rposition(|(_, text)| !text.is_empty());
            for (column, (paint, text)) in row.iter().enumerate() {
                if last.is_none_or(|last| column > last) {
                    break;
                }
                match paint {
                    Some(paint) => f.write_str(&self.palette.paint(*paint, text))?,
                    None => f.write_str(text)?,
                }
                if last != Some(column) {
                    let pad = widths[column] + 3 - text.chars().count();
                    write!(f, "{:pad$}", "")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Formats a duration in one unit: `12s`, `5m`, `3h`, `9d`.
pub fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Cuts a text to a width, for a cell of a table.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", start.trim_end())
}

/// Returns the first twelve digits of a commit id, which is enough for people.
pub fn short(oid: &str) -> &str {
    oid.get(..12).unwrap_or(oid)
}

/// Quotes a name for a command that people may copy into a POSIX shell. Names that a shell leaves unchanged
/// aren't quoted.
pub fn quoted(name: &str) -> Cow<'_, str> {
    // A shell expands a tilde only at the beginning.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-~".contains(&b);
    if !name.is_empty() && !name.starts_with('~') && name.bytes().all(plain) {
        return name.into();
    }
    format!("'{}'", name.replace('\'', "'\\''")).into()
}

/// Formats a number with its noun.
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Splits a name for sorting, so that `h9` comes before `h10`: each digit sequence is compared as a number.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, after) = rest.split_at(digits);
        let end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        parts.push((text.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = after;
    }
    parts
}

/// Joins names as alternatives: `a, b or c`.
pub fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [first, second] => format!("{first} or {second}"),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}

/// Lists resources, and adds how many more there are if `count`, the number of all resources, is larger.
pub(crate) fn named(resources: &[String], count: u32) -> String {
    match (count as usize).saturating_sub(resources.len()) {
        0 => resources.join(", "),
        more => format!("{} and {more} more", resources.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_trailing_space() {
        let mut table = Table::new(["NAME", "READY"], Palette::plain());
        table.row(["linda".to_owned(), "True".to_owned()]);
        table.row(["a-longer-name".to_owned(), "False".to_owned()]);
        let text = table.to_string();
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        assert!(text.starts_with("NAME"), "{text:?}");
    }

    #[test]
    fn json_stays_the_same_text_to_programs() {
        let text = "a\u{9b}\u{202e}\u{7f}\u{e0001}\n\u{1b}é";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = escaped(&json);
        assert!(
            !escaped.chars().any(|c| invisible(c) && c != '\n'),
            "{escaped}"
        );
        assert_eq!(
            serde_json::from_str::<Vec<String>>(&escaped).unwrap(),
            [text]
        );
    }

    #[test]
    fn yaml_stays_the_same_text_to_programs() {
        assert_eq!(to_yaml(&["a: b"]).unwrap(), "- \"a: b\"\n");
        for text in ["a\u{9b}\u{7f}\n\u{1b}é", "\u{202e}\u{e0001}\"\\/\ta\r\n"] {
            let written = to_yaml(&[text]).unwrap();
            assert!(!written.contains(is_invisible), "{written}");
            let read: Vec<String> = serde_saphyr::from_str(&written).unwrap();
            assert_eq!(read, [text], "{written}");
        }
    }

    #[test]
    fn a_shell_reads_a_quoted_name_as_it_is() {
        assert_eq!(quoted("origin/main"), "origin/main");
        for name in [
            "pr;id>&2", "", "it's", "$(id)", "a b", "`id`", "~x", "é", "''",
        ] {
            let run = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(name))])
                .output()
                .unwrap();
            assert_eq!(run.stdout, name.as_bytes(), "{name}");
            assert!(run.stderr.is_empty(), "{run:?}");
        }
    }

    #[test]
    fn h9_comes_before_h10() {
        let mut names = ["web-10", "h10", "web-2a", "h9", "h", "web-2"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["h9", "h10", "h", "web-2", "web-2a", "web-10"]);
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |s| jiff::Timestamp::from_second(s).unwrap();
        let text: Vec<_> = [5, 119, 120, 7199, 7200, 200_000]
            .map(|s| age(at(0), at(s)))
            .into();
        assert_eq!(text, ["5s", "119s", "2m", "119m", "2h", "2d"]);
    }

    #[test]
    fn names_are_told_as_one_of_them() {
        assert_eq!(one_of(&["a"]), "a");
        assert_eq!(one_of(&["a", "b"]), "a or b");
        assert_eq!(one_of(&["a", "b", "c"]), "a, b or c");
        assert_eq!(one_of::<&str>(&[]), "nobody");
    }
}
