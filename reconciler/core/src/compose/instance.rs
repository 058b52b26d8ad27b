//! Profile instances of a host: follows the includes and computes the parameters of each instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value as Jinja;
use plumb_document::{Diagnostic, Entry, Map, Node, Span, Value};

use super::fragment::FragmentResult;
use super::no_profile;
use super::params::{From, ParamForm, Params, RenderedParams, settle};
use crate::manifest::{Host, Layer, Manifests, ObjectId, Problems, Profile, code, include};
use crate::render::{Context, has_expression};

/// A profile with parameters on a host.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// The instance's key on the host.
    pub(crate) key: Arc<str>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) params: Params,
    /// The profile's blocks with these parameters, shared with other hosts.
    pub(crate) fragment: FragmentResult,
    /// True if the host gets the instance's resources: the profile's `when` is true, and the host or an
    /// active instance requests it.
    pub(crate) active: bool,
    /// All requests for the instance, for `plumb explain`.
    pub(crate) reached: Vec<InstanceSource>,
}

/// A request for an instance: from the instance `by`, which includes it, or from the host if `by` is `None`.
#[derive(Debug, Clone)]
pub(crate) struct InstanceSource {
    pub(crate) by: Option<Arc<str>>,
    pub(crate) span: Span,
}

impl Instance {
    /// Creates the context in which the instance's expressions are evaluated.
    pub(crate) fn context(&self, host: &Jinja, fleet: Option<&Jinja>) -> Context {
        Context::new(host, Some((&self.key, &self.params.value)), fleet)
    }
}

/// An instance whose requests aren't all known yet.
struct PartialInstance {
    profile: Arc<Profile>,
    given: Vec<(RenderedParams, bool)>,
    reached: Vec<InstanceSource>,
    active: bool,
}

struct InstanceWalk<'a> {
    manifests: &'a Manifests,
    host: &'a Host,
    value: &'a Jinja,
    /// Keyed by the profile's position in the order of includes, then by instance key. Including profiles are
    /// settled before included profiles.
    pending: BTreeMap<(usize, Arc<str>), PartialInstance>,
    keys: BTreeMap<Arc<str>, (Arc<str>, Span)>,
    /// Profile keys in the host's `remove`. The flag is true once a request for the key was found and
    /// ignored.
    removed: BTreeMap<String, (Span, Layer, bool)>,
    problems: Problems,
}

/// Returns the profile instances of a host. Included profiles precede the profiles that include them.
pub(crate) fn instances(
    manifests: &Manifests,
    host: &Host,
    value: &Jinja,
) -> Result<Vec<Instance>, Problems> {
    let mut walk = InstanceWalk {
        manifests,
        host,
        value,
        pending: BTreeMap::new(),
        keys: BTreeMap::new(),
        removed: removed(host),
        problems: Problems::default(),
    };
    walk.ask_of_host();
    let mut instances = Vec::new();
    while let Some(((_, key), pending)) = walk.pending.pop_first() {
        if let Some(instance) = walk.settle(key, pending) {
            instances.push(instance);
        }
    }
    for (key, (span, layer, found)) in std::mem::take(&mut walk.removed) {
        if !found && layer == Layer::Host {
            walk.problems.diagnostics.push(nothing_to_remove(
                &span,
                &format!("profile:{key}"),
                walk.keys.keys(),
            ));
        }
    }
    instances.reverse();
    walk.problems.or(instances)
}

fn removed(host: &Host) -> BTreeMap<String, (Span, Layer, bool)> {
    let profiles = host.remove.iter().filter_map(|(layer, node)| {
        let key = node.as_str()?.strip_prefix("profile:")?;
        Some((key.to_owned(), (node.span.clone(), *layer, false)))
    });
    profiles.collect()
}

fn nothing_to_remove<'a>(
    span: &Span,
    what: &str,
    keys: impl Iterator<Item = &'a Arc<str>>,
) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_REFERENCE,
        span,
        format!("`{what}` isn't among the host's resources, so it can't be removed"),
    );
    let keys: Vec<String> = keys.map(|key| format!("profile:{key}")).collect();
    match plumb_document::closest(what, keys.iter().map(String::as_str)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("remove the line"),
    }
}

/// Returns whether the parameters are literal or made of expressions.
fn form_of(params: &Map) -> ParamForm {
    if params.iter().any(|entry| has_expression(&entry.value)) {
        ParamForm::Rendered
    } else {
        ParamForm::Written
    }
}

impl InstanceWalk<'_> {
    fn ask_of_host(&mut self) {
        let context = Context::facts(self.value, None);
        for (layer, profiles) in &self.host.profiles {
            for entry in profiles.iter() {
                let mut diagnostics = Vec::new();
                // If any layer names a profile with `of`, the key means that profile in every layer.
                let of = self.of_any_layer(&entry.key.text);
                let Some(mut wanted) = include(entry, &mut diagnostics) else {
                    self.problems.diagnostics.extend(diagnostics);
                    continue;
                };
                if let (None, Some(of)) = (entry.value.get("of"), of) {
                    wanted.of = of;
                }
                match self.rendered(&wanted.params, &entry.value.span, &context) {
                    Ok(params) => {
                        let given = RenderedParams {
                            from: From::from(*layer),
                            form: form_of(&wanted.params),
                            params,
                        };
                        let reach = InstanceSource {
                            by: None,
                            span: entry.key.span.clone(),
                        };
                        self.ask(
                            entry.key.text.clone(),
                            &wanted.of,
                            &wanted.span,
                            given,
                            reach,
                            true,
                        );
                    }
                    Err(diagnostics) => self.problems.diagnostics.extend(diagnostics),
                }
            }
        }
    }

    fn of_any_layer(&self, key: &str) -> Option<Arc<str>> {
        self.host
            .profiles
            .iter()
            .rev()
            .find_map(|(_, map)| match &map.get(key)?.get("of")?.value {
                Value::String(of) => Some(of.clone()),
                _ => None,
            })
    }

    fn rendered(
        &self,
        params: &Arc<Map>,
        span: &Span,
        context: &Context,
    ) -> Result<Arc<Map>, Vec<Diagnostic>> {
        if !params.iter().any(|entry| has_expression(&entry.value)) {
            return Ok(params.clone());
        }
        let node = Node::new(Value::Map(params.clone()), span.clone());
        match self.manifests.engine.render(&node, context)?.value {
            Value::Map(map) => Ok(map),
            _ => Ok(params.clone()),
        }
    }

    fn ask(
        &mut self,
        key: Arc<str>,
        of: &Arc<str>,
        span: &Span,
        given: RenderedParams,
        reach: InstanceSource,
        active: bool,
    ) {
        if let Some((_, _, found)) = self.removed.get_mut(&*key) {
            *found = true;
            return;
        }
        let profile = match self.manifests.profile(of) {
            None => {
                self.problems.diagnostics.push(no_profile(
                    self.manifests.profiles.keys(),
                    of,
                    span,
                ));
                return;
            }
            Some(Err(_)) => {
                self.problems.because.insert(ObjectId::Profile(of.clone()));
                return;
            }
            Some(Ok(profile)) => profile.clone(),
        };
        match self.keys.get(&key) {
            Some((other, first)) if other != of => {
                let diagnostic = Diagnostic::error(
                    code::CONFLICT,
                    span,
                    format!("the key `{key}` is the profile `{of}` here and `{other}` elsewhere"),
                )
                .related(first, "the other one")
                .hint("give one of them a key of its own, and name its profile with `of`");
                self.problems.diagnostics.push(diagnostic);
                return;
            }
            Some(_) => {}
            None => {
                self.keys.insert(key.clone(), (of.clone(), span.clone()));
            }
        }
        let order = self
            .manifests
            .profile_order
            .get(of)
            .copied()
            .unwrap_or_default();
        let pending = self
            .pending
            .entry((order, key))
            .or_insert_with(|| PartialInstance {
                profile,
                given: Vec::new(),
                reached: Vec::new(),
                active: false,
            });
        pending.given.push((given, active));
        pending.reached.push(reach);
        pending.active |= active;
    }

    /// Computes an instance's parameters once all requests for it are known, and requests the profiles that
    /// it includes.
    fn settle(&mut self, key: Arc<str>, pending: PartialInstance) -> Option<Instance> {
        let PartialInstance {
            profile,
            given,
            reached,
            active,
        } = pending;
        // Parameters from inactive instances count only if no active instance requests this one.
        let given: Vec<RenderedParams> = given
            .into_iter()
            .filter(|(_, counts)| *counts || !active)
            .map(|(given, _)| given)
            .collect();
        let used = reached.first().map_or(&profile.span, |reach| &reach.span);
        let params = match self.with_defaults(&profile, &given, used) {
            Ok(params) => params,
            Err(diagnostics) => {
                self.problems.diagnostics.extend(diagnostics);
                return None;
            }
        };
        let context = Context::new(self.value, Some((&key, &params.value)), None);
        let active = active
            && match &profile.when {
                None => true,
                Some(when) => match self.condition(when, &context) {
                    Ok(holds) => holds,
                    Err(diagnostic) => {
                        self.problems.diagnostics.push(*diagnostic);
                        return None;
                    }
                },
            };
        for wanted in &profile.includes {
            let rendered = self
                .manifests
                .engine
                .render(&wanted.key, &context)
                .and_then(|key| {
                    let params = self.rendered(&wanted.params, &wanted.key.span, &context)?;
                    Ok((key, params))
                });
            match rendered {
                Ok((included, params)) => {
                    let text: Arc<str> = match &included.value {
                        Value::String(text) => text.clone(),
                        _ => included.describe().into(),
                    };
                    let given = RenderedParams {
                        from: From::Include,
                        form: form_of(&wanted.params),
                        params,
                    };
                    let reach = InstanceSource {
                        by: Some(key.clone()),
                        span: wanted.key.span.clone(),
                    };
                    self.ask(text, &wanted.of, &wanted.span, given, reach, active);
                }
                Err(diagnostics) => self.problems.diagnostics.extend(diagnostics),
            }
        }
        // An error in the blocks affects only this host's resources. Other hosts may still read its facts.
        let fragment = self
            .manifests
            .fragments
            .of_profile(self.manifests, &profile, &key, &params);
        // The fragment has equal parameters. Use those, so that all hosts share one copy.
        let shared = fragment
            .as_ref()
            .ok()
            .and_then(|fragment| fragment.params.clone());
        let params = shared.unwrap_or(params);
        Some(Instance {
            key,
            profile,
            params,
            fragment,
            active,
            reached,
        })
    }

    fn condition(&self, when: &Node, context: &Context) -> Result<bool, Box<Diagnostic>> {
        match &when.value {
            Value::Bool(holds) => Ok(*holds),
            Value::String(text) => self.manifests.engine.condition(when, text, context),
            _ => Err(Box::new(Diagnostic::error(
                code::EXPRESSION,
                &when.span,
                "`when` must be an expression",
            ))),
        }
    }

    /// Computes the parameters. Expressions in declared defaults are evaluated for this host.
    fn with_defaults(
        &self,
        profile: &Arc<Profile>,
        given: &[RenderedParams],
        used: &Span,
    ) -> Result<Params, Vec<Diagnostic>> {
        let has = |entry: &Entry| entry.value.get("default").is_some_and(has_expression);
        if !profile.declared.iter().any(has) {
            return self.manifests.settled.settle(profile, given, used);
        }
        let node = Node::new(Value::Map(profile.declared.clone()), profile.span.clone());
        let rendered = self
            .manifests
            .engine
            .render(&node, &Context::facts(self.value, None))?;
        let Value::Map(declared) = rendered.value else {
            return settle(profile, given, used);
        };
        settle(
            &Profile {
                declared,
                ..Profile::clone(profile)
            },
            given,
            used,
        )
    }
}
