//! Output on stdout: tables for people, JSON and YAML for programs, and colour if wanted. Progress and errors
//! go to stderr.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use plumb_trust::object::invisible;
use serde::Serialize;

use crate::report::{Failure, OrFail as _};

/// The form of data on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs, one document.
    Json,
    /// The same as JSON, in YAML.
    Yaml,
}

/// The choice of colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The meaning of a piece of text, from which the palette chooses its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Good, added.
    Good,
    /// A warning, changed.
    Warn,
    /// Bad, removed.
    Error,
    /// A hint, a name.
    Hint,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

/// The choice between coloured and plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    colored: bool,
}

impl Palette {
    /// A palette without colour.
    pub const fn plain() -> Self {
        Self { colored: false }
    }

    /// A palette with colour.
    pub const fn colored() -> Self {
        Self { colored: true }
    }

    /// Resolves a choice for a stream.
    fn of(choice: ColorChoice, stream: &impl io::IsTerminal) -> Self {
        let colored = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                stream.is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self { colored }
    }

    /// True if it has no colour.
    pub fn is_plain(self) -> bool {
        !self.colored
    }

    /// Paints text in the colour of its meaning.
    pub fn paint(self, paint: Paint, text: impl fmt::Display) -> String {
        if !self.colored {
            return text.to_string();
        }
        format!("{}{text}{PLAIN}", paint.start())
    }

    /// Makes text safe for a terminal: keeps our own colours, and escapes every other control or invisible
    /// character. Text by strangers is filtered where it is read; this catches what was missed there.
    fn walled(self, text: &str) -> Cow<'_, str> {
        let foreign = |c: char| invisible(c) && !matches!(c, '\n' | '\t');
        let ours = |rest: &str| {
            std::iter::once(PLAIN)
                .chain(Paint::ALL.map(Paint::start))
                .find(|code| self.colored && rest.starts_with(code))
        };
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(foreign) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let mut after = from.chars();
            if let Some(code) = ours(from) {
                out.push_str(code);
                rest = from.get(code.len()..).unwrap_or_default();
            } else {
                out.extend(after.next().into_iter().flat_map(char::escape_unicode));
                rest = after.as_str();
            }
        }
        if out.is_empty() {
            return rest.into();
        }
        out.push_str(rest);
        out.into()
    }
}

/// Ends a colour.
const PLAIN: &str = "\u{1b}[0m";

impl Paint {
    const ALL: [Self; 6] = [
        Self::Good,
        Self::Warn,
        Self::Error,
        Self::Hint,
        Self::Dim,
        Self::Bold,
    ];

    /// The escape sequence that begins the colour.
    const fn start(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Error => "\u{1b}[1;31m",
            Self::Hint => "\u{1b}[36m",
            Self::Dim => "\u{1b}[2m",
            Self::Bold => "\u{1b}[1m",
        }
    }
}

/// True if a character is invisible, except for newlines.
fn foreign(c: char) -> bool {
    invisible(c) && c != '\n'
}

/// Escapes invisible characters in JSON. They occur only within strings, where a program reads the escape as
/// the same character.
fn escaped(json: &str) -> Cow<'_, str> {
    escaped_by(json, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escaped_by(json: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !json.contains(foreign) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if foreign(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Renders data as YAML. If it has invisible characters, the result is JSON with those escaped: YAML reads
/// JSON's strings, but needs its own `\U` escape for characters that JSON writes as two surrogates.
fn yaml<T: Serialize>(data: &T) -> Result<String, Failure> {
    let unwritten = || "the answer can't be written as YAML".to_owned();
    let text = serde_saphyr::to_string(data).or_fail(unwritten)?;
    if !text.contains(foreign) {
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
    /// The form of data.
    pub format: Format,
    /// Colour on stdout.
    pub out: Palette,
    /// Colour on stderr.
    pub err: Palette,
}

impl Shell {
    /// Resolves the options.
    pub fn new(format: Format, color: ColorChoice) -> Self {
        Self {
            format,
            out: Palette::of(color, &io::stdout()),
            err: Palette::of(color, &io::stderr()),
        }
    }

    /// Writes data in the chosen form; `table` renders the text for people.
    ///
    /// # Errors
    /// Fails if stdout can't be written. A closed pipe is no error.
    pub fn emit<T: Serialize>(
        &self,
        data: &T,
        table: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => self.out.walled(&table(self.out)).into_owned(),
            Format::Json => {
                let mut text = serde_json::to_string_pretty(data)
                    .or_fail(|| "the answer can't be written as JSON".to_owned())?;
                text.push('\n');
                escaped(&text).into_owned()
            }
            Format::Yaml => yaml(data)?,
        };
        self.print(&text)
    }

    /// Writes text to stdout.
    ///
    /// # Errors
    /// Fails as [`emit`](Self::emit) does.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new("stdout can't be written").because(&error))
            }
            _ => Ok(()),
        }
    }

    /// Reports progress on stderr.
    pub fn say(&self, text: impl fmt::Display) {
        let text = text.to_string();
        // A closed stderr is no reason to stop.
        let _ = writeln!(io::stderr(), "{}", self.err.walled(&text));
    }

    /// Writes a warning to stderr.
    pub fn warn(&self, text: impl fmt::Display) {
        self.say(format_args!(
            "{} {text}",
            self.err.paint(Paint::Warn, "warning:")
        ));
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
}

impl Table {
    /// Creates a table with these headings.
    pub fn new<const N: usize>(headings: [&str; N], palette: Palette) -> Self {
        let headings = headings.map(|heading| (Some(Paint::Bold), heading.to_owned()));
        Self {
            rows: vec![headings.into()],
            palette,
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.into_iter().map(|cell| (None, cell)).collect());
    }

    /// Adds a row with colours for some cells.
    pub fn painted<const N: usize>(&mut self, cells: [(Option<Paint>, String); N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
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

/// The first twelve digits of a commit, enough for people.
pub fn short(oid: &str) -> &str {
    oid.get(..12).unwrap_or(oid)
}

/// Quotes a name for a command that people may copy. Only names that a shell would change are quoted, in
/// POSIX's way.
pub fn quoted(name: &str) -> Cow<'_, str> {
    // A shell expands a tilde only at the beginning.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-~".contains(&b);
    if !name.is_empty() && !name.starts_with('~') && name.bytes().all(plain) {
        return name.into();
    }
    format!("'{}'", name.replace('\'', "'\\''")).into()
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

/// Lists the addresses that a status names, and counts the rest.
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
    fn only_our_own_colours_reach_a_terminal() {
        let name = "fix\u{1b}[8m \u{9b}8m\r\u{202e}x\u{200b}\u{1b}]0;t\u{7}";
        let shown = "fix\\u{1b}[8m \\u{9b}8m\\u{d}\\u{202e}x\\u{200b}\\u{1b}]0;t\\u{7}";
        assert_eq!(Palette::plain().walled(name), shown);
        let palette = Palette::colored();
        for paint in Paint::ALL {
            let painted = palette.paint(paint, "a\tb\n");
            assert_eq!(palette.walled(&painted), painted);
            assert_eq!(
                palette.walled(&palette.paint(paint, name)),
                palette.paint(paint, shown)
            );
        }
        // Without colours of ours, none is.
        assert_eq!(Palette::plain().walled("\u{1b}[0m"), "\\u{1b}[0m");
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
        assert_eq!(yaml(&["a: b"]).unwrap(), "- \"a: b\"\n");
        for text in ["a\u{9b}\u{7f}\n\u{1b}é", "\u{202e}\u{e0001}\"\\/\ta\r\n"] {
            let written = yaml(&[text]).unwrap();
            assert!(!written.contains(foreign), "{written}");
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
