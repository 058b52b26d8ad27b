//! A profile's parameters: declarations, values and checks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use minijinja::Value as Jinja;
use plumb_api::kind::{Param, ParamType};
use plumb_document::{Diagnostic, Entry, Map, Node, Span, Value, closest};

use crate::manifest::{Layer, Profile, code};
use crate::render::{from_node, has_expression};

/// The rendered parameters that one source gives to an instance.
#[derive(Debug, Clone)]
pub(super) struct RenderedParams {
    pub(super) from: From,
    pub(super) params: Arc<Map>,
    pub(super) form: ParamForm,
}

/// The form of parameters in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParamForm {
    /// Literal: every host gets the same parameters from the same map.
    Written,
    /// With expressions, which were evaluated for one host.
    Rendered,
}

/// A cache of computed parameters, for the many hosts that give none of their own.
#[derive(Debug, Default)]
pub(crate) struct ParamsCache(RwLock<HashMap<ParamsKey, CachedParams>>);

/// Computed parameters, and the maps that they were computed from.
type CachedParams = (Vec<Arc<Map>>, Params);

/// A profile, and the memory addresses of the maps that give it parameters. The cache keeps those maps, so
/// that no other map can get the same address.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ParamsKey {
    profile: Arc<str>,
    given: Vec<(From, usize)>,
}

impl ParamsCache {
    /// Returns the same as the function [`settle`], but calls it only once for the same maps.
    pub(super) fn settle(
        &self,
        profile: &Profile,
        given: &[RenderedParams],
        used: &Span,
    ) -> Result<Params, Vec<Diagnostic>> {
        let given: Vec<RenderedParams> = given
            .iter()
            .filter(|one| !one.params.is_empty())
            .cloned()
            .collect();
        let shared =
            |one: &RenderedParams| one.from != From::Host && one.form == ParamForm::Written;
        if !given.iter().all(shared) {
            return settle(profile, &given, used);
        }
        let key = ParamsKey {
            profile: profile.name.clone(),
            given: given
                .iter()
                .map(|one| (one.from, Arc::as_ptr(&one.params) as usize))
                .collect(),
        };
        if let Some((_, params)) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(params.clone());
        }
        let params = settle(profile, &given, used)?;
        let kept = given.into_iter().map(|one| one.params).collect();
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_insert((kept, params.clone()));
        Ok(params)
    }
}

/// The source of parameters, in ascending precedence: a host's parameters override those of an including
/// profile, which override those of the fleet's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum From {
    Defaults,
    Include,
    Host,
}

impl std::convert::From<Layer> for From {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Defaults => Self::Defaults,
            Layer::Host => Self::Host,
        }
    }
}

/// A profile's parameters as its templates see them.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    pub(crate) map: Arc<Map>,
    pub(crate) value: Jinja,
    /// The parameters as JSON: equal parameters have equal texts.
    pub(crate) text: Arc<str>,
}

/// Combines the parameters that all sources give to one instance, and checks them. `used` is the position of
/// the first request for the instance.
pub(super) fn settle(
    profile: &Profile,
    given: &[RenderedParams],
    used: &Span,
) -> Result<Params, Vec<Diagnostic>> {
    let mut diagnostics = unknown(profile, given);
    let mut map = Map::default();
    for (name, param) in &profile.params {
        match choose(name, given) {
            Err(diagnostic) => diagnostics.push(*diagnostic),
            Ok(Some(entry)) => {
                if let Some(diagnostic) = check(name, param, &entry.value) {
                    diagnostics.push(diagnostic);
                }
                map.insert(entry.key.clone(), entry.value.clone());
            }
            Ok(None) => {
                let declared = profile.declared.entry(name);
                let default = declared.and_then(|entry| entry.value.get("default"));
                if let (Some(declared), Some(default)) = (declared, default) {
                    if let Some(diagnostic) = check(name, param, default) {
                        diagnostics.push(diagnostic);
                    }
                    map.insert(declared.key.clone(), default.clone());
                } else {
                    let diagnostic = Diagnostic::error(
                        code::PARAMETER,
                        used,
                        format!(
                            "the profile `{}` requires the parameter `{name}`",
                            profile.name
                        ),
                    )
                    .related(
                        declared.map_or(&profile.span, |entry| &entry.key.span),
                        "declared here without a default",
                    );
                    diagnostics.push(match &param.description {
                        Some(description) => diagnostic
                            .hint(format!("set it: `params: {{{name}: …}}` ({description})")),
                        None => diagnostic.hint(format!("set it: `params: {{{name}: …}}`")),
                    });
                }
            }
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let node = Node::map(map, used.clone());
    let value = from_node(&node);
    let Value::Map(map) = node.value else {
        return Err(diagnostics);
    };
    Ok(Params {
        text: text_of(&map).into(),
        map,
        value,
    })
}

fn text_of(map: &Map) -> String {
    // Parameters are sorted by name, so equal parameters have equal texts.
    serde_json::to_string(
        &map.iter()
            .map(|entry| (&*entry.key.text, &entry.value))
            .collect::<Vec<_>>(),
    )
    .unwrap_or_default()
}

fn unknown(profile: &Profile, given: &[RenderedParams]) -> Vec<Diagnostic> {
    let all = given.iter().flat_map(|given| given.params.iter());
    let unknown = all.filter(|entry| !profile.params.contains_key(&*entry.key.text));
    unknown
        .map(|entry| {
            let diagnostic = Diagnostic::error(
                code::PARAMETER,
                &entry.key.span,
                format!(
                    "the profile `{}` has no parameter `{}`",
                    profile.name, entry.key.text
                ),
            );
            let names: Vec<_> = profile.params.keys().map(String::as_str).collect();
            diagnostic.hint(match closest(&entry.key.text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "remove it: the profile takes no parameters".to_owned(),
                None => format!("use one of: {}", names.join(", ")),
            })
        })
        .collect()
}

/// Returns a parameter's value from the source with the highest precedence. Two sources of the same
/// precedence must give equal values.
fn choose<'a>(
    name: &str,
    given: &'a [RenderedParams],
) -> Result<Option<&'a Entry>, Box<Diagnostic>> {
    let giving = || {
        given
            .iter()
            .filter_map(|one| Some((one.from, one.params.entry(name)?)))
    };
    let Some(worth) = giving().map(|(from, _)| from).max() else {
        return Ok(None);
    };
    let mut decisive = giving()
        .filter(|(from, _)| *from == worth)
        .map(|(_, entry)| entry);
    let Some(first) = decisive.next() else {
        return Ok(None);
    };
    match decisive.find(|entry| entry.value != first.value) {
        Some(other) => Err(Box::new(disagree(name, first, other))),
        None => Ok(Some(first)),
    }
}

fn disagree(name: &str, first: &Entry, second: &Entry) -> Diagnostic {
    Diagnostic::error(
        code::CONFLICT,
        &second.key.span,
        format!("two includes give the parameter `{name}` different values: {} and {}", first.value.describe(), second.value.describe()),
    )
    .related(&first.key.span, "the other one")
    .hint("set the parameter where the host names the profile, or give one of the includes a key of its own with `of`")
}

/// Returns the errors of a profile's parameter declarations.
pub(crate) fn check_declarations(profile: &Profile) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (name, param) in &profile.params {
        let Some(declared) = profile.declared.get(name) else {
            continue;
        };
        let place = |field: &str| {
            declared
                .get(field)
                .map_or(&declared.span, |node| &node.span)
        };
        if let Some(Err(error)) = param
            .pattern
            .as_ref()
            .map(|pattern| regex::Regex::new(pattern))
        {
            let text = error.to_string();
            let last = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            diagnostics.push(Diagnostic::error(
                code::PARAMETER,
                place("pattern"),
                format!("the pattern of `{name}` isn't a valid regular expression: {last}"),
            ));
        }
        if let Some(default) = declared
            .get("default")
            .filter(|default| !has_expression(default))
        {
            diagnostics.extend(check(name, param, default));
        }
    }
    diagnostics
}

/// Returns an error if the value doesn't match the parameter's declaration.
fn check(name: &str, param: &Param, node: &Node) -> Option<Diagnostic> {
    let wrong = |message: String| Some(Diagnostic::error(code::PARAMETER, &node.span, message));
    let fits = match param.param_type {
        ParamType::String => matches!(node.value, Value::String(_)),
        ParamType::Integer => matches!(node.value, Value::Int(..)),
        ParamType::Boolean => matches!(node.value, Value::Bool(_)),
        ParamType::Array => matches!(node.value, Value::Seq(_)),
        ParamType::Object => matches!(node.value, Value::Map(_)),
    };
    if !fits {
        let what = match param.param_type {
            ParamType::String => "text",
            ParamType::Integer => "a whole number",
            ParamType::Boolean => "true or false",
            ParamType::Array => "a list",
            ParamType::Object => "a mapping",
        };
        let diagnostic = wrong(format!(
            "the parameter `{name}` must be {what}, not {}",
            node.describe()
        ))?;
        return Some(match (&node.value, param.param_type) {
            (Value::Int(_, raw) | Value::Float(_, raw), ParamType::String) => {
                diagnostic.hint(format!("put it in quotes: \"{raw}\""))
            }
            (Value::Bool(value), ParamType::String) => {
                diagnostic.hint(format!("put it in quotes: \"{value}\""))
            }
            _ => diagnostic,
        });
    }
    if !param.one_of.is_empty() {
        let value = serde_json::to_value(node).unwrap_or_default();
        if !param.one_of.contains(&value) {
            let all: Vec<_> = param.one_of.iter().map(ToString::to_string).collect();
            let near = node.as_str().and_then(|text| {
                let known = param.one_of.iter().filter_map(serde_json::Value::as_str);
                plumb_document::closest(text, known)
            });
            let diagnostic = wrong(format!(
                "the parameter `{name}` must be one of {}, not {}",
                all.join(", "),
                node.describe()
            ));
            return match near {
                Some(near) => diagnostic.map(|one| one.hint(format!("did you mean `{near}`?"))),
                None => diagnostic,
            };
        }
    }
    match &node.value {
        Value::Int(number, _) => {
            let (least, most) = (
                param.minimum.unwrap_or(i64::MIN),
                param.maximum.unwrap_or(i64::MAX),
            );
            if !(least..=most).contains(number) {
                return wrong(match (param.minimum, param.maximum) {
                    (Some(least), Some(most)) => {
                        format!(
                            "the parameter `{name}` must be from {least} to {most}, not {number}"
                        )
                    }
                    (Some(least), None) => {
                        format!("the parameter `{name}` must be at least {least}, not {number}")
                    }
                    _ => format!("the parameter `{name}` must be at most {most}, not {number}"),
                });
            }
            None
        }
        Value::String(text) => {
            let pattern = param.pattern.as_ref()?;
            // An invalid pattern is an error of the profile and is reported there.
            let expression = regex::Regex::new(&format!("^(?:{pattern})$")).ok()?;
            if expression.is_match(text) {
                None
            } else {
                wrong(format!(
                    "the parameter `{name}` must match {pattern}, and \"{text}\" doesn't"
                ))
            }
        }
        Value::Seq(items) => {
            let of = param.items.as_ref()?;
            items
                .iter()
                .find_map(|item| check(&format!("{name}[]"), of, item))
        }
        _ => None,
    }
}
