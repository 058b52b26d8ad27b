//! Colours for a terminal, and text that is safe to print there.

use std::borrow::Cow;
use std::fmt;
use std::io;

use clap::ValueEnum;
use plumb_trust::object::invisible;

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

/// The meaning of a piece of text, from which the palette chooses its colour.
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

/// A set of terminal colours, which may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    colored: bool,
}

impl Palette {
    /// Returns the palette without colours.
    pub const fn plain() -> Self {
        Self { colored: false }
    }

    /// Returns the palette with colours.
    pub const fn colored() -> Self {
        Self { colored: true }
    }

    /// Returns the palette for a user's choice and an output stream.
    pub(crate) fn of(choice: ColorChoice, stream: &impl io::IsTerminal) -> Self {
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

    /// True if the palette has no colours.
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

    /// Makes text safe for a terminal: keeps the colours that Plumb adds, and escapes every other control or
    /// invisible character. Untrusted text is already filtered where it is read; this is a second check.
    pub(crate) fn sanitized(self, text: &str) -> Cow<'_, str> {
        let foreign = |c: char| invisible(c) && !matches!(c, '\n' | '\t');
        let ours = |rest: &str| {
            std::iter::once(PLAIN)
                .chain(Paint::ALL.map(Paint::start))
                .chain(SNIPPETS)
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

/// The escape sequence that ends a colour.
const PLAIN: &str = "\u{1b}[0m";

/// The escape sequences that begin the colours of snippets (`miette::ThemeStyles::ansi`).
const SNIPPETS: [&str; 5] = [
    "\u{1b}[31m",
    "\u{1b}[32;1m",
    "\u{1b}[33;1m",
    "\u{1b}[35;1m",
    "\u{1b}[36;1;4m",
];

impl Paint {
    const ALL: [Self; 6] = [
        Self::Good,
        Self::Warn,
        Self::Error,
        Self::Hint,
        Self::Dim,
        Self::Bold,
    ];

    /// Returns the escape sequence that begins the colour.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colours_reach_a_terminal() {
        let name = "fix\u{1b}[8m \u{9b}8m\r\u{202e}x\u{200b}\u{1b}]0;t\u{7}";
        let shown = "fix\\u{1b}[8m \\u{9b}8m\\u{d}\\u{202e}x\\u{200b}\\u{1b}]0;t\\u{7}";
        assert_eq!(Palette::plain().sanitized(name), shown);
        let palette = Palette::colored();
        for paint in Paint::ALL {
            let painted = palette.paint(paint, "a\tb\n");
            assert_eq!(palette.sanitized(&painted), painted);
            assert_eq!(
                palette.sanitized(&palette.paint(paint, name)),
                palette.paint(paint, shown)
            );
        }
        for code in SNIPPETS {
            let painted = format!("{code}×{PLAIN}");
            assert_eq!(palette.sanitized(&painted), painted);
        }
        // Without colours of ours, none is.
        assert_eq!(Palette::plain().sanitized("\u{1b}[0m"), "\\u{1b}[0m");
    }
}
