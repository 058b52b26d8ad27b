//! Rendering: evaluates expressions and templates. Each error has its position in the YAML.
//!
//! Templates are compiled once per revision. A text that contains `{{` is an expression. If the whole text is
//! one `{{ … }}`, the result keeps its type. An undefined value is an error, and `none` can't be printed. The
//! engine's fuel limits the work of a rendering, because manifests may come from an untrusted author.

mod cidr;
mod error;
mod filters;
mod fleet;
mod template;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value as Jinja};
use plumb_document::{Diagnostic, Entry, Map, Node, SourceFile, Style, Value};

use crate::manifest::{ObjectIdSet, code};
use template::{Compiled, Form};

pub(crate) use fleet::view;
pub(crate) use template::{FleetRead, NamesRead};
pub(crate) use value::{from_node, serialized, to_node};

/// Maximum fuel of one rendering; the template engine consumes fuel with each instruction.
const FUEL: u64 = 2_000_000;

/// A record of the objects with errors that a rendering read.
#[derive(Debug, Default)]
pub(crate) struct BrokenReads {
    held: Mutex<ObjectIdSet>,
}

impl BrokenReads {
    /// Records objects with errors whose facts a rendering requested.
    pub(crate) fn hold(&self, ids: impl IntoIterator<Item = crate::manifest::ObjectId>) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ids);
    }

    /// Returns the recorded objects and clears the record.
    pub(crate) fn take(&self) -> ObjectIdSet {
        std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The variables that an expression can read: `host`, in a profile `params` and `instance`, and in phase 2
/// `fleet`.
#[derive(Debug, Clone)]
pub(crate) struct Context(Jinja);

impl Context {
    /// Creates the context of phase 1, in which keys, `when`, endpoints, networks and parameters are
    /// evaluated.
    pub(crate) fn facts(host: &Jinja, instance: Option<(&str, &Jinja)>) -> Self {
        Self::new(host, instance, None)
    }

    /// Creates the context of phase 2, in which resources are rendered.
    pub(crate) fn new(
        host: &Jinja,
        instance: Option<(&str, &Jinja)>,
        fleet: Option<&Jinja>,
    ) -> Self {
        let mut pairs = vec![("host", host.clone())];
        if let Some((key, params)) = instance {
            pairs.push(("instance", Jinja::from(key)));
            pairs.push(("params", params.clone()));
        }
        if let Some(fleet) = fleet {
            pairs.push(("fleet", fleet.clone()));
        }
        Self(Jinja::from_pairs(pairs))
    }
}

/// The template engine with all compiled templates of a revision.
pub(crate) struct Engine {
    env: Environment<'static>,
    known: HashMap<Arc<str>, Compiled>,
    /// The variables that each template file reads.
    files: HashMap<Arc<str>, NamesRead>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("templates", &self.known.len())
            .finish_non_exhaustive()
    }
}

/// True if the node is a text with an expression.
pub(crate) fn is_expression(node: &Node) -> bool {
    node.style != Style::Made && node.as_str().is_some_and(|text| text.contains("{{"))
}

/// True if any text in the tree has an expression.
pub(crate) fn has_expression(node: &Node) -> bool {
    match &node.value {
        Value::String(_) => is_expression(node),
        Value::Seq(items) => items.iter().any(has_expression),
        Value::Map(map) => map.iter().any(|entry| has_expression(&entry.value)),
        _ => false,
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_debug(true);
    // The last newline of a template file belongs to its text, so keep it.
    if let Ok(syntax) = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        env.set_syntax(syntax);
    }
    env.set_formatter(|out, state, value| {
        if value.is_none() {
            return Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                "the value is none, which would be printed as text; use `default` or `if`",
            ));
        }
        // Configuration files need `true`, not Python's `True`.
        if value.kind() == ValueKind::Bool {
            return minijinja::escape_formatter(
                out,
                state,
                &Jinja::from(if value.is_true() { "true" } else { "false" }),
            );
        }
        minijinja::escape_formatter(out, state, value)
    });
    env.add_filter("string", |value: &Jinja| match value.kind() {
        ValueKind::Bool if value.is_true() => "true".to_owned(),
        ValueKind::Bool => "false".to_owned(),
        _ => value.to_string(),
    });
    filters::add(&mut env);
    env.add_filter("cidr", cidr::cidr);
    env.add_function("cidr", cidr::cidr);
    env.add_filter("targets", fleet::targets);
    env.add_function("secret", secret);
    env
}

/// Returns the placeholder of a secret. The value itself is on no machine but the hosts.
fn secret(name: &str) -> Result<String, minijinja::Error> {
    match format!("secret:{name}").parse::<plumb_api::Address>() {
        Ok(_) => Ok(plumb_api::secret::placeholder(name)),
        Err(error) => Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("`{name}` isn't the name of a secret: {error}"),
        )),
    }
}

impl Engine {
    /// Creates an engine, and compiles the template files of a revision.
    pub(crate) fn new(files: &BTreeMap<Arc<str>, SourceFile>) -> Self {
        let mut engine = Self {
            env: environment(),
            known: HashMap::new(),
            files: HashMap::new(),
        };
        for (file, found) in files.iter().filter(|(file, _)| file.starts_with("files/")) {
            if file.ends_with(".j2")
                && let Some(bytes) = found.bytes()
                && let Ok(text) = std::str::from_utf8(bytes)
            {
                engine.compile(text);
                engine.files.insert(file.clone(), engine.uses_of(text));
            }
        }
        engine
    }

    /// Compiles the expressions and templates of a tree.
    pub(crate) fn learn(&mut self, node: &Node) {
        match &node.value {
            Value::String(text) if text.contains("{{") => self.compile(text),
            Value::Seq(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Map(map) => self.learn_map(map),
            _ => {}
        }
    }

    /// Compiles the expressions and templates of a mapping.
    pub(crate) fn learn_map(&mut self, map: &Map) {
        for Entry { key, value } in map {
            if key.text.contains("{{") {
                self.compile(&key.text);
            }
            match (&*key.text, value.as_str()) {
                ("template", Some(text)) => self.compile(text),
                ("when", Some(text)) => self.compile(&condition(text)),
                _ => self.learn(value),
            }
        }
    }

    fn compile(&mut self, text: &str) {
        if self.known.contains_key(text) {
            return;
        }
        let name = format!("t{}", self.known.len());
        let compiled = Compiled::new(&mut self.env, name, text);
        self.known.insert(text.into(), compiled);
    }

    /// Returns the variables that the expressions of a tree read.
    pub(crate) fn uses(&self, node: &Node) -> NamesRead {
        match &node.value {
            Value::String(text) if is_expression(node) => self.uses_of(text),
            Value::Seq(items) => items
                .iter()
                .fold(NamesRead::default(), |uses, item| uses | self.uses(item)),
            Value::Map(map) => map.iter().fold(NamesRead::default(), |uses, entry| {
                uses | match (&*entry.key.text, entry.value.as_str()) {
                    ("template", Some(text)) => self.uses_of(text),
                    // The text of the template file decides which variables are read. If an expression names
                    // the file, assume every variable.
                    ("templateFile", Some(file)) => {
                        self.files.get(file).copied().unwrap_or(NamesRead::all())
                    }
                    _ => self.uses(&entry.value),
                }
            }),
            _ => NamesRead::default(),
        }
    }

    /// Returns the variables that a text reads; all of them if the text wasn't compiled.
    pub(crate) fn uses_of(&self, text: &str) -> NamesRead {
        self.known
            .get(text)
            .map_or(NamesRead::all(), |compiled| compiled.uses)
    }

    /// Evaluates every expression of a tree.
    pub(crate) fn render(&self, node: &Node, context: &Context) -> Result<Node, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let rendered = self.tree(node, context, &mut diagnostics);
        if diagnostics.is_empty() {
            Ok(rendered)
        } else {
            Err(diagnostics)
        }
    }

    fn tree(&self, node: &Node, context: &Context, diagnostics: &mut Vec<Diagnostic>) -> Node {
        match &node.value {
            Value::String(text) if is_expression(node) => {
                match self.expression(node, text, context) {
                    Ok(node) => node,
                    Err(diagnostic) => {
                        diagnostics.push(*diagnostic);
                        node.clone()
                    }
                }
            }
            Value::Seq(items) if has_expression(node) => {
                let items = items
                    .iter()
                    .map(|item| self.tree(item, context, diagnostics))
                    .collect();
                Node::seq(items, node.span.clone())
            }
            Value::Map(map) if has_expression(node) => {
                let entries = map.iter().map(|entry| Entry {
                    key: entry.key.clone(),
                    value: self.tree(&entry.value, context, diagnostics),
                });
                Node::map(entries.collect(), node.span.clone())
            }
            _ => node.clone(),
        }
    }

    /// Evaluates one expression. If the whole text is one `{{ … }}`, the result keeps its type.
    fn expression(
        &self,
        node: &Node,
        text: &str,
        context: &Context,
    ) -> Result<Node, Box<Diagnostic>> {
        let value = self
            .run(text, context, ExpressionOutput::Value)
            .map_err(|error| Box::new(error::at(&error, node, text, context)))?;
        let mut made = to_node(&value, &node.span).map_err(|problem| {
            Box::new(Diagnostic::error(code::EXPRESSION, &node.span, problem))
        })?;
        made.span = node.span.clone();
        Ok(made)
    }

    /// Renders a template to text.
    pub(crate) fn text(
        &self,
        node: &Node,
        text: &str,
        context: &Context,
    ) -> Result<String, Box<Diagnostic>> {
        match self.run(text, context, ExpressionOutput::Text) {
            Ok(value) => Ok(value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)),
            Err(error) => Err(Box::new(error::at(&error, node, text, context))),
        }
    }

    /// Renders a template file. An error has its position in that file, and refers to `used`, the node that
    /// names the file.
    pub(crate) fn file(
        &self,
        file: &Arc<str>,
        text: &str,
        used: &Node,
        context: &Context,
    ) -> Result<String, Box<Diagnostic>> {
        match self.run(text, context, ExpressionOutput::Text) {
            Ok(value) => Ok(value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)),
            Err(error) => Err(Box::new(error::in_file(&error, file, text, used, context))),
        }
    }

    /// Evaluates the condition of a `when`.
    pub(crate) fn condition(
        &self,
        node: &Node,
        text: &str,
        context: &Context,
    ) -> Result<bool, Box<Diagnostic>> {
        let wrapped = condition(text);
        let value = self
            .run(&wrapped, context, ExpressionOutput::Value)
            .map_err(|error| Box::new(error::of_condition(&error, node, context)))?;
        match bool::try_from(value.clone()) {
            Ok(holds) => Ok(holds),
            Err(_) => Err(Box::new(
                Diagnostic::error(
                    code::EXPRESSION,
                    &node.span,
                    format!("a condition must be true or false, not {}", value.kind()),
                )
                .hint("compare it, as in: host.labels.role == 'cloud', 'gpu' in host.labels"),
            )),
        }
    }

    fn run(
        &self,
        text: &str,
        context: &Context,
        want: ExpressionOutput,
    ) -> Result<Jinja, minijinja::Error> {
        if let Some(compiled) = self.known.get(text) {
            return compiled.run(&self.env, text, context, want);
        }
        // Only texts of patches and parameters get here. All other texts were compiled with the revision.
        template::run_once(&self.env, text, context, want)
    }
}

/// The wanted result of a text that is one whole `{{ … }}`: a typed value, or text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpressionOutput {
    Value,
    Text,
}

/// Wraps the condition of a `when`, which has no braces, in braces.
fn condition(text: &str) -> String {
    format!("{{{{ {text} }}}}")
}

/// The variables that expressions and templates can read.
pub(crate) const NAMES: [&str; 4] = ["host", "params", "instance", "fleet"];

impl Context {
    fn value(&self) -> Jinja {
        self.0.clone()
    }

    /// Returns the first undefined path, such as `host.labels.role`, in a piece of a template.
    fn undefined(&self, piece: &str) -> Option<String> {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let paths = piece.split(|c| !is_path(c)).filter(|path| !path.is_empty());
        paths.map(str::to_owned).find(|path| {
            let mut steps = path.split('.');
            if !steps
                .clone()
                .next()
                .is_some_and(|first| NAMES.contains(&first))
            {
                return false;
            }
            let end = steps.try_fold(self.value(), |value, step| {
                value
                    .get_attr(step)
                    .ok()
                    .filter(|next| !next.is_undefined())
            });
            end.is_none()
        })
    }
}

impl Form {
    fn wants(self, want: ExpressionOutput) -> bool {
        matches!((self, want), (Form::Whole, ExpressionOutput::Value))
    }
}

#[cfg(test)]
mod tests;
