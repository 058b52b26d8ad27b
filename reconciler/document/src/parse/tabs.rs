//! Finds misplaced tabs: a tab is allowed only inside quoted text, block text and comments.

use granit_parser::ScalarStyle;

use crate::span::Span;

/// The byte offsets of tabs that aren't inside any scalar or comment found so far.
pub(super) struct Tabs<'a> {
    text: &'a str,
    offsets: Vec<usize>,
}

impl<'a> Tabs<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            offsets: text
                .bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\t')
                .map(|(at, _)| at)
                .collect(),
        }
    }

    /// True if any tabs are left.
    pub(super) fn any(&self) -> bool {
        !self.offsets.is_empty()
    }

    /// Drops the tabs that a scalar may contain: inside its quotes, or after the indentation of its block.
    pub(super) fn scalar(&mut self, style: ScalarStyle, span: &Span) {
        if self.offsets.is_empty() || style == ScalarStyle::Plain {
            return;
        }
        let range = span.bytes();
        match style {
            ScalarStyle::Plain => {}
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                self.offsets.retain(|offset| !range.contains(offset));
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let text = self.text;
                self.offsets.retain(|offset| {
                    let line = text[..*offset].rfind('\n').map_or(0, |at| at + 1);
                    let indented = text[line..*offset].starts_with(' ');
                    !(range.contains(offset) && (indented || line < range.start))
                });
            }
        }
    }

    /// Drops the tabs inside a comment.
    pub(super) fn comment(&mut self, span: &Span) {
        let range = span.bytes();
        self.offsets.retain(|offset| !range.contains(offset));
    }

    /// Returns the offset of the first tab that is in no scalar or comment.
    pub(super) fn first_outside_text(&self) -> Option<usize> {
        self.offsets.first().copied()
    }
}
