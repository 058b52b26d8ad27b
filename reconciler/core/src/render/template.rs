//! A template text that is compiled once and rendered many times.

use std::ops::BitOr;

use minijinja::{Environment, Error, Value as Jinja};

use super::{Context, ExpressionOutput};

/// The variables that a text reads. They decide which hosts can share its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NamesRead {
    /// True if the text reads `host`, the facts of the host.
    pub(crate) host: bool,
    /// Tells what the text reads of `fleet`, the facts of all hosts.
    pub(crate) fleet: FleetRead,
    /// True if the text reads `instance`, the key of the profile instance.
    pub(crate) instance: bool,
}

/// The part of `fleet` that a text reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum FleetRead {
    /// Nothing.
    #[default]
    Nothing,
    /// Facts that are the same for all hosts.
    Facts,
    /// Maybe endpoints, whose addresses differ between the hosts that read them.
    Endpoints,
}

impl NamesRead {
    /// Returns the value for a text that may read every variable.
    pub(crate) fn all() -> Self {
        Self {
            host: true,
            fleet: FleetRead::Endpoints,
            instance: true,
        }
    }

    /// True if all hosts with the same parameters get the same result. Reading the rest of `fleet` is fine,
    /// because it is the same for all hosts.
    pub(crate) fn is_shared(self) -> bool {
        !self.host && self.fleet != FleetRead::Endpoints
    }
}

impl BitOr for NamesRead {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            host: self.host || other.host,
            fleet: self.fleet.max(other.fleet),
            instance: self.instance || other.instance,
        }
    }
}

/// The form of a text: one whole `{{ … }}`, or expressions mixed with other text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Mixed,
}

/// A text that was compiled into the environment.
#[derive(Debug)]
pub(super) struct Compiled {
    name: String,
    form: Form,
    pub(super) uses: NamesRead,
    broken: bool,
}

/// The template variable that stores the value of a whole `{{ … }}`.
const VALUE: &str = "plumb_value";

/// Returns the expression between the braces if the text is one whole `{{ … }}`.
fn whole<'t>(env: &Environment<'_>, text: &'t str) -> Option<&'t str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    env.compile_expression_owned(inner.to_owned())
        .is_ok()
        .then_some(inner)
}

/// Returns a template that stores the value of an expression in [`VALUE`]. The expression stays on its line,
/// so that positions of errors differ by [`SHIFT`] columns only.
fn keeping(inner: &str) -> String {
    format!("{{% set {VALUE} = ({inner}) %}}")
}

/// Number of columns by which [`keeping`] moves an expression to the right.
pub(super) const SHIFT: usize = "{% set plumb_value = (".len() - "{{".len();

/// Returns the variables among names with their attributes, such as `fleet.domain`.
fn uses(names: &std::collections::HashSet<String>) -> NamesRead {
    let reads = |variable: &str| {
        names
            .iter()
            .any(|name| name.split('.').next() == Some(variable))
    };
    NamesRead {
        host: reads("host"),
        fleet: match reads("fleet") {
            // `fleet` without an attribute may be anything.
            true if names.contains("fleet") || names.contains("fleet.endpoints") => {
                FleetRead::Endpoints
            }
            true => FleetRead::Facts,
            false => FleetRead::Nothing,
        },
        instance: reads("instance"),
    }
}

impl Compiled {
    pub(super) fn new(env: &mut Environment<'static>, name: String, text: &str) -> Self {
        let keep = whole(env, text).map(keeping);
        let form = if keep.is_some() {
            Form::Whole
        } else {
            Form::Mixed
        };
        if let Some(keep) = keep {
            // The expression compiled by itself, so this template compiles too. If it doesn't, the error of
            // the text itself is reported.
            let _ = env.add_template_owned(format!("{name}v"), keep);
        }
        let compiled = env.add_template_owned(name.clone(), text.to_owned());
        let uses = match env.get_template(&name) {
            Ok(template) => uses(&template.undeclared_variables(true)),
            Err(_) => NamesRead::all(),
        };
        Self {
            broken: compiled.is_err(),
            name,
            form,
            uses,
        }
    }

    pub(super) fn run(
        &self,
        env: &Environment<'static>,
        text: &str,
        context: &Context,
        want: ExpressionOutput,
    ) -> Result<Jinja, Error> {
        if self.broken {
            return run_once(env, text, context, want);
        }
        if self.form.wants(want) {
            let captured = env
                .get_template(&format!("{}v", self.name))?
                .render_captured(context.value())?;
            return Ok(captured.state().lookup(VALUE).unwrap_or_default());
        }
        env.get_template(&self.name)?
            .render(context.value())
            .map(Jinja::from)
    }
}

/// Compiles a text and renders it once.
pub(super) fn run_once(
    env: &Environment<'static>,
    text: &str,
    context: &Context,
    want: ExpressionOutput,
) -> Result<Jinja, Error> {
    match whole(env, text) {
        Some(inner) if want == ExpressionOutput::Value => {
            let keep = keeping(inner);
            let captured = env
                .template_from_named_str("expression", &keep)?
                .render_captured(context.value())?;
            Ok(captured.state().lookup(VALUE).unwrap_or_default())
        }
        _ => env.render_str(text, context.value()).map(Jinja::from),
    }
}
