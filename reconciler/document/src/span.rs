//! Positions in files, and the text of files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A range of a file's text. Spans are compared and sorted by file and position.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    file: Arc<str>,
    start: u32,
    end: u32,
    line: u32,
    column: u32,
}

impl Span {
    /// Creates a range. `line` and `column` count from 1, `column` in characters; `bytes` are byte offsets.
    pub fn new(file: Arc<str>, line: u32, column: u32, bytes: std::ops::Range<u32>) -> Self {
        Self {
            file,
            start: bytes.start,
            end: bytes.end,
            line,
            column,
        }
    }

    /// Returns a span at the beginning of a file, for a diagnostic about the whole file.
    pub fn of_file(file: impl Into<Arc<str>>) -> Self {
        Self {
            file: file.into(),
            start: 0,
            end: 0,
            line: 1,
            column: 1,
        }
    }

    /// Returns the file's path within the repository.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Returns the column in characters, from 1.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// Returns the byte range within the file.
    pub fn bytes(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("Span", 3)?;
        out.serialize_field("file", &*self.file)?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.end()
    }
}

/// The text of every file that diagnostics may refer to, for rendering snippets.
#[derive(Debug, Clone, Default)]
pub struct SourceMap(BTreeMap<Arc<str>, Arc<[u8]>>);

impl SourceMap {
    /// Adds a file's text.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<[u8]>) {
        self.0.insert(file, text);
    }

    /// Returns a file's text, if it is UTF-8.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.0
            .get(file)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Returns the paths of all files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|file| &**file)
    }

    /// Returns the content of a file.
    pub fn bytes(&self, file: &str) -> Option<&[u8]> {
        self.0.get(file).map(|bytes| &**bytes)
    }

    /// Returns the text that a span covers.
    pub fn slice(&self, span: &Span) -> Option<&str> {
        self.text(span.file())?.get(span.bytes())
    }
}
