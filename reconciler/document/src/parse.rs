//! Parses one strict YAML document to a tree.

mod tabs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit::{Event, Marker, Options, Parser, ScalarStyle};
use granit_parser as granit;

use crate::code::codes;
use crate::diagnostic::Diagnostic;
use crate::node::{Entry, Key, Map, Node, Style, Value};
use crate::scalar;
use crate::span::Span;

/// True for the characters that Unicode keeps for programs, and that no text has.
const RESERVED: fn(char) -> bool = |c| ('\u{fdd0}'..='\u{fdef}').contains(&c);

/// Limits on a document, because its text may come from an untrusted author.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum size of the file in bytes.
    pub bytes: usize,
    /// Maximum depth of nested values.
    pub depth: usize,
    /// Maximum number of values that all aliases in the file may expand to.
    pub aliased: usize,
    /// Maximum number of values in the file, including keys, not counting what aliases expand to.
    pub values: usize,
}

/// Maximum number of diagnostics. Parsing stops when it is reached.
const MOST_DIAGNOSTICS: usize = 100;

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            depth: 64,
            aliased: 10_000,
            values: 2_000_000,
        }
    }
}

/// Parses a file with one document, within the default limits.
///
/// # Errors
/// Returns every YAML error, in the order of the file. Parsing stops at a syntax error, at a second document,
/// and when a limit on depth, values or diagnostics is exceeded.
pub fn parse(file: &Arc<str>, bytes: &[u8]) -> Result<Node, Vec<Diagnostic>> {
    parse_with(file, bytes, Limits::default())
}

/// Parses a file with one document, within the given limits.
///
/// # Errors
/// The same as [`parse`].
pub fn parse_with(file: &Arc<str>, bytes: &[u8], limits: Limits) -> Result<Node, Vec<Diagnostic>> {
    let whole = Span::of_file(file.clone());
    if bytes.len() > limits.bytes {
        let message = format!(
            "the file has {} bytes; the limit is {}",
            bytes.len(),
            limits.bytes
        );
        return Err(vec![
            Diagnostic::error(codes::YAML_LIMIT, &whole, message).hint(
                "move large contents to files/ and name them with `content: {file: files/…}`",
            ),
        ]);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| vec![not_utf8(file, bytes, error.valid_up_to())])?;
    let mut builder = Builder {
        file,
        text,
        limits,
        diagnostics: Vec::new(),
        anchors: HashMap::new(),
        open: Vec::new(),
        aliased: 0,
        values: 0,
        root: None,
        tabs: tabs::Tabs::new(text),
    };
    builder.run();
    let Builder {
        mut diagnostics,
        root,
        tabs,
        ..
    } = builder;
    if let Some(offset) = tabs.first_outside_text() {
        let span = span_at(file, text, offset);
        // The misplaced tab probably caused the syntax errors, so report only the tab.
        diagnostics.retain(|diagnostic| diagnostic.code != codes::YAML_SYNTAX);
        diagnostics.push(
            Diagnostic::error(
                codes::YAML_TAB,
                &span,
                "a tab is used where YAML allows only spaces",
            )
            .hint("indent and separate with spaces"),
        );
    }
    if diagnostics.is_empty() {
        Ok(root.unwrap_or_else(|| Node::new(Value::Null, whole)))
    } else {
        diagnostics.sort_by(|a, b| a.span.cmp(&b.span));
        Err(diagnostics)
    }
}

/// A list or mapping that is being parsed.
struct OpenCollection {
    span: Span,
    anchor: usize,
    /// The number of values parsed so far, including the list or mapping itself.
    size: usize,
    /// The parser reports the end of a collection in block notation only at the beginning of the next token.
    /// Such a collection therefore ends where its last value ends (`last`).
    style: granit::StructureStyle,
    last: usize,
    items: OpenItems,
}

enum OpenItems {
    Seq(Vec<Node>),
    Map {
        map: Map,
        seen: HashSet<Arc<str>>,
        key: Pending,
    },
}

/// The node that a mapping expects next.
enum Pending {
    /// The next node is a key.
    Key,
    /// The next node is this key's value.
    Value(Key),
    /// The next node is the value of a rejected key, and is dropped.
    Refused,
}

struct Builder<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    limits: Limits,
    diagnostics: Vec<Diagnostic>,
    anchors: HashMap<usize, (Node, usize)>,
    open: Vec<OpenCollection>,
    aliased: usize,
    values: usize,
    root: Option<Node>,
    tabs: tabs::Tabs<'a>,
}

/// Creates the node of a scalar. Only a plain one can be other than text.
fn scalar_node(value: &str, style: ScalarStyle, span: Span) -> Node {
    let (value, style) = match style {
        ScalarStyle::Plain => (scalar::resolve(value), Style::Plain),
        ScalarStyle::Literal | ScalarStyle::Folded => (Value::String(value.into()), Style::Block),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            (Value::String(value.into()), Style::Quoted)
        }
    };
    Node { value, span, style }
}

impl Builder<'_> {
    /// Refuses a text with characters that Unicode keeps for programs. Plumb marks the places of secrets with them.
    fn is_text(&mut self, value: &str, span: &Span) -> bool {
        let is_text = !value.contains(RESERVED);
        if !is_text {
            let message = "this text has a character that isn't text: U+FDD0 to U+FDEF";
            self.error(
                Diagnostic::error(codes::YAML_ENCODING, span, message)
                    .hint("remove it; Unicode keeps these for programs"),
            );
        }
        is_text
    }

    fn run(&mut self) {
        let mut options = Options::default();
        options.set_emit_comments(self.tabs.any());
        // The depth limit of this crate is lower and has its own message.
        options.flow_nesting_limit = 1 << 10;
        options.block_nesting_limit = 1 << 10;
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, at) = match event {
                Ok(event) => event,
                Err(error) => {
                    let diagnostic = self.syntax_error(&error);
                    self.diagnostics.push(diagnostic);
                    return;
                }
            };
            let span = self.span(&at);
            if self.diagnostics.len() >= MOST_DIAGNOSTICS {
                return;
            }
            if matches!(
                event,
                Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..)
            ) {
                self.values += 1;
            }
            if self.values > self.limits.values {
                let message = format!("the file holds more than {} values", self.limits.values);
                self.error(Diagnostic::error(codes::YAML_LIMIT, &span, message));
                return;
            }
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        self.error(
                            Diagnostic::error(
                                codes::YAML_DOCUMENTS,
                                &span,
                                "the file holds a second YAML document",
                            )
                            .hint("move it to a file of its own"),
                        );
                        return;
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    if tag.is_some() {
                        self.refuse_tag(&span);
                    }
                    self.tabs.scalar(style, &span);
                    if !self.is_text(&value, &span) {
                        return;
                    }
                    self.finish(scalar_node(&value, style, span), anchor, 1);
                }
                Event::SequenceStart(style, anchor, tag) => {
                    if tag.is_some() {
                        self.refuse_tag(&span);
                    }
                    if !self.begin(span, anchor, style, OpenItems::Seq(Vec::new())) {
                        return;
                    }
                }
                Event::MappingStart(style, anchor, tag) => {
                    if tag.is_some() {
                        self.refuse_tag(&span);
                    }
                    let items = OpenItems::Map {
                        map: Map::default(),
                        seen: HashSet::new(),
                        key: Pending::Key,
                    };
                    if !self.begin(span, anchor, style, items) {
                        return;
                    }
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(&span),
                Event::Alias(id) => self.alias(id, &span),
                Event::Comment(..) => self.tabs.comment(&span),
                _ => {}
            }
        }
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn refuse_tag(&mut self, span: &Span) {
        self.error(
            Diagnostic::error(codes::YAML_TAG, span, "YAML tags aren't allowed here")
                .hint("remove the `!…`, or quote it if it is text"),
        );
    }

    fn begin(
        &mut self,
        span: Span,
        anchor: usize,
        style: granit::StructureStyle,
        items: OpenItems,
    ) -> bool {
        if self.open.len() >= self.limits.depth {
            let diagnostic = self.too_deep(&span);
            self.error(diagnostic);
            return false;
        }
        self.open.push(OpenCollection {
            last: span.bytes().end,
            span,
            anchor,
            size: 1,
            style,
            items,
        });
        true
    }

    fn end(&mut self, end: &Span) {
        let Some(OpenCollection {
            span,
            anchor,
            size,
            style,
            last,
            items,
        }) = self.open.pop()
        else {
            return;
        };
        let last = match style {
            granit::StructureStyle::Flow => end.bytes().end.max(span.bytes().end),
            granit::StructureStyle::Block => last,
        };
        let bytes = u32_of(span.bytes().start)..u32_of(last);
        let span = Span::new(self.file.clone(), span.line(), span.column(), bytes);
        let value = match items {
            OpenItems::Seq(items) => Value::Seq(Arc::new(items)),
            OpenItems::Map { map, .. } => Value::Map(Arc::new(map)),
        };
        self.finish(Node::new(value, span), anchor, size);
    }

    fn alias(&mut self, id: usize, span: &Span) {
        let Some((node, size)) = self.anchors.get(&id) else {
            // The parser resolves aliases. If an alias has no finished node, it refers to a collection that
            // contains it.
            self.error(Diagnostic::error(
                codes::YAML_LIMIT,
                span,
                "an alias refers to a value that contains it",
            ));
            self.finish(Node::new(Value::Null, span.clone()), 0, 1);
            return;
        };
        let (node, size) = (
            Node {
                span: span.clone(),
                ..node.clone()
            },
            *size,
        );
        let before = self.aliased;
        self.aliased = self.aliased.saturating_add(size);
        if before <= self.limits.aliased && self.aliased > self.limits.aliased {
            let message = format!(
                "the file's aliases expand to more than {} values",
                self.limits.aliased
            );
            self.error(
                Diagnostic::error(codes::YAML_LIMIT, span, message)
                    .hint("share settings through a profile instead"),
            );
        }
        self.finish(node, 0, size);
    }

    /// Adds a finished node to its parent, or makes it the root.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        parent.size = parent.size.saturating_add(size);
        parent.last = parent.last.max(node.span.bytes().end);
        match &mut parent.items {
            OpenItems::Seq(items) => items.push(node),
            OpenItems::Map { map, seen, key } => match std::mem::replace(key, Pending::Key) {
                Pending::Value(key) => map.push_new(Entry { key, value: node }),
                Pending::Refused => {}
                Pending::Key => match key_of(node, self.text) {
                    Ok(new) if seen.insert(new.text.clone()) => *key = Pending::Value(new),
                    Ok(again) => {
                        *key = Pending::Refused;
                        let mut diagnostic = Diagnostic::error(
                            codes::YAML_DUPLICATE_KEY,
                            &again.span,
                            format!("`{}` is set twice in this mapping", again.text),
                        );
                        if let Some(first) = map.entry(&again.text) {
                            diagnostic = diagnostic.related(&first.key.span, "here first");
                        }
                        self.diagnostics.push(diagnostic.hint("remove one of them"));
                    }
                    Err(diagnostic) => {
                        *key = Pending::Refused;
                        self.diagnostics.push(*diagnostic);
                    }
                },
            },
        }
    }

    fn span(&self, at: &granit::Span) -> Span {
        let start = offset_of(&at.start, self.text);
        let end = offset_of(&at.end, self.text).max(start);
        // The parser's span of a block scalar ends at the beginning of the next line. Cut it to the end of
        // the last line.
        let text = self.text.get(start..end).unwrap_or_default();
        let end = start + text.trim_end().len();
        Span::new(
            self.file.clone(),
            u32_of(at.start.line()),
            u32_of(at.start.col() + 1),
            u32_of(start)..u32_of(end),
        )
    }

    fn too_deep(&self, span: &Span) -> Diagnostic {
        let message = format!("values are nested more than {} deep", self.limits.depth);
        Diagnostic::error(codes::YAML_LIMIT, span, message)
    }

    fn syntax_error(&self, error: &granit::ScanError) -> Diagnostic {
        let span = self.span(&granit::Span::empty(*error.marker()));
        let line = self
            .text
            .lines()
            .nth(span.line().saturating_sub(1) as usize)
            .unwrap_or_default();
        if *error.kind() == granit::ErrorKind::RecursionLimitExceeded {
            return self.too_deep(&span);
        }
        let diagnostic = Diagnostic::error(
            codes::YAML_SYNTAX,
            &span,
            format!("invalid YAML: {}", error.info()),
        );
        match error.kind() {
            granit::ErrorKind::UnclosedQuotedScalar => {
                return diagnostic.hint("add the quote at the end of the text");
            }
            granit::ErrorKind::MismatchedFlowCollectionEnd { .. }
            | granit::ErrorKind::UnclosedFlowCollection { .. }
            | granit::ErrorKind::ExpectedFlowMappingSeparator
            | granit::ErrorKind::ExpectedFlowSequenceSeparator => {
                return diagnostic.hint("close each `{` with `}` and each `[` with `]`, or put text with brackets in quotes");
            }
            granit::ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
                return diagnostic.hint(
                    "remove the control character, or write it as an escape in double quotes",
                );
            }
            _ => {}
        }
        match line.split_once(": ") {
            Some((_, value)) if value.trim_start().starts_with("{{") => {
                diagnostic.hint(EXPRESSION_HINT)
            }
            Some((_, value)) if value.contains(": ") => {
                diagnostic.hint("put text that contains `: ` in quotes")
            }
            Some((_, value))
                if value
                    .trim_start()
                    .starts_with(['*', '&', '!', '%', '@', '`']) =>
            {
                diagnostic.hint("put text that begins with this character in quotes")
            }
            _ => diagnostic,
        }
    }
}

const EXPRESSION_HINT: &str = "put an expression in quotes: \"{{ … }}\"";

fn key_of(node: Node, text: &str) -> Result<Key, Box<Diagnostic>> {
    let Node { value, span, style } = node;
    let text = match value {
        Value::String(key) if style == Style::Plain && &*key == "<<" => {
            return Err(Box::new(
                Diagnostic::error(
                    codes::YAML_MERGE,
                    &span,
                    "merge keys (`<<`) aren't allowed here",
                )
                .hint("share settings through a profile"),
            ));
        }
        Value::String(key) => key,
        Value::Int(_, raw) | Value::Float(_, raw) => raw,
        Value::Bool(value) => Arc::from(if value { "true" } else { "false" }),
        Value::Null | Value::Seq(_) | Value::Map(_) => {
            let what = Node::new(value, span.clone()).describe();
            let diagnostic = Diagnostic::error(
                codes::YAML_KEY,
                &span,
                format!("a key must be a word, not {what}"),
            );
            // Without quotes, `x: {{ y }}` is a mapping whose key is a mapping.
            let before = text.get(..span.bytes().start).unwrap_or_default();
            return Err(Box::new(if before.ends_with('{') {
                diagnostic.hint(EXPRESSION_HINT)
            } else {
                diagnostic
            }));
        }
    };
    Ok(Key { text, span })
}

fn offset_of(marker: &Marker, text: &str) -> usize {
    marker.byte_offset().unwrap_or_else(|| {
        text.char_indices()
            .nth(marker.index())
            .map_or(text.len(), |(offset, _)| offset)
    })
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn span_at(file: &Arc<str>, text: &str, offset: usize) -> Span {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    Span::new(
        file.clone(),
        u32_of(line),
        u32_of(column),
        u32_of(offset)..u32_of(offset + 1),
    )
}

fn not_utf8(file: &Arc<str>, bytes: &[u8], offset: usize) -> Diagnostic {
    let valid = bytes
        .get(..offset)
        .and_then(|valid| std::str::from_utf8(valid).ok())
        .unwrap_or_default();
    let mut span = span_at(file, valid, offset);
    if valid.is_empty() {
        span = Span::of_file(file.clone());
    }
    Diagnostic::error(codes::YAML_ENCODING, &span, "the file is not UTF-8 text")
        .hint("save it as UTF-8; move binary contents to files/")
}

#[cfg(test)]
mod tests;
