//! `compose`: a Compose project, brought up by the host's own compose program.
//!
//! The compose program makes the containers. The agent keeps the Compose file and a record of the containers
//! that it got, and compares them with those that the engine shows. `up --wait` isn't used, because it fails
//! for a container that has done its work and ended.

mod config;
mod containers;
mod project;
mod remove;
mod secrets;
mod settle;
mod tool;

use std::collections::BTreeMap;
use std::io::Read;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ComposeObserved, ComposeSpec, ContainerFault, Presence, Resource};
use plumb_api::{Observed, Spec};

use self::containers::Container;
use self::project::{FILE, Known, Project};
use self::tool::{Engine, Run, Tool};
use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, Lane, ObserveContext, Provider,
    Settling, each, wrong_type,
};
use crate::book::{Durable, Home, write_whole};
use crate::error::{At, Result, fail};

/// Maximum size of a Compose file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Name of the file in which a Compose file is checked before it replaces the current one.
const CANDIDATE: &str = "candidate.yaml";

pub(crate) struct Projects;

impl Provider for Projects {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("containers")
    }

    /// Containers read files and need sockets, so they start when those are in place.
    fn lane(&self) -> Lane {
        Lane::Last(0)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let home = match Home::open(cx.sys) {
            Ok(home) => home,
            Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut engines: BTreeMap<Engine, Result<containers::ByProject>> = BTreeMap::new();
        let mut one = |item: &Item<'_>| {
            let name = item.address.name();
            let project = match &home {
                Some(home) => Project::load(home, name)?,
                None => None,
            };
            let mut found = Vec::new();
            for engine in Engine::of(cx.sys, project.as_ref()) {
                let all = engines
                    .entry(engine)
                    .or_insert_with(|| containers::all(cx.sys, engine));
                found.extend(all.as_ref().map_err(Clone::clone)?.get(name).cloned());
            }
            let found: Vec<Container> = found.into_iter().flatten().collect();
            let mut observed = observed(project.as_ref(), &found);
            if let Some(project) = &project {
                observed.secrets = secrets::current(cx.inputs.desired, project);
            }
            if item.spec.wants_absent() && observed.exists {
                observed.volumes = remove::volumes(cx.sys, name)?;
            }
            Ok(Observed::Compose(observed))
        };
        items.iter().map(&mut one).collect()
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn settling(&self) -> Option<&dyn Settling> {
        Some(self)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Projects {
    fn full_spec(&self) -> Spec {
        Spec::Compose(ComposeSpec::default())
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        Spec::Compose(ComposeSpec {
            state: if original.exists() {
                Presence::Present
            } else {
                Presence::Absent
            },
            ..ComposeSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        original
            .exists()
            .then(|| "the containers of the project".to_owned())
    }
}

/// Returns the observation of a project by its record and its containers.
fn observed(project: Option<&Project>, found: &[Container]) -> ComposeObserved {
    let Some(project) = project else {
        return ComposeObserved {
            exists: !found.is_empty(),
            ..ComposeObserved::default()
        };
    };
    ComposeObserved {
        exists: true,
        file: Some(project.file),
        environment: project.environment.clone(),
        secrets: BTreeMap::new(),
        images: project.images,
        faults: project.faults(found),
        volumes: Vec::new(),
    }
}

fn one(cx: &mut ApplyContext<'_>, change: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Compose(spec) = change.spec else {
        return wrong_type(change.address);
    };
    let name = change.address.name();
    let before = Project::load(cx.home, name)?;
    if spec.wants_absent() {
        remove::remove(cx, name, before.as_ref())?;
        return Ok(Effect::Done);
    }
    let Some(content) = spec.file else {
        return fail(
            ErrorCode::Protocol,
            format!("{} came without a Compose file", change.address),
        );
    };
    let mut bytes = Vec::new();
    cx.content(&content, name)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .at("read the Compose file of", name)?;
    if bytes.len() as u64 > MAX_FILE {
        return fail(
            ErrorCode::Refused,
            format!("the Compose file of {name} is longer than {MAX_FILE} bytes"),
        );
    }
    let tool = Tool::choose(cx.sys, before.as_ref().map(|project| project.tool))?;
    let (versions, values) = secrets::open_all(cx, spec, tool)?;
    let folder = Project::folder(cx.home, name)?;
    write_whole(&folder, CANDIDATE, &bytes, Durable::No)?;
    let run = Run {
        sys: cx.sys,
        tool,
        project: name,
        folder: &folder,
        environment: &spec.environment,
        secrets: &values,
    };
    let services = config::check(&run, CANDIDATE, spec.images);
    folder.unlink(CANDIDATE)?;
    let services = services?;
    write_whole(&folder, FILE, &bytes, Durable::Yes)?;

    let mut project = Project {
        tool,
        file: content.sha256,
        environment: spec.environment.clone(),
        secrets: versions,
        images: spec.images,
        containers: BTreeMap::new(),
    };
    let found = containers::of_project(cx.sys, tool.engine(), name)?;
    make_way(&run, before.as_ref(), &project, &found)?;
    let complaint = run.up(FILE)?;
    let now = containers::of_project(cx.sys, tool.engine(), name)?;
    for service in services {
        let started = |one: &&Container| one.service == service && !one.is_unstarted();
        if !now.iter().any(|one| started(&one)) {
            return Err(AgentError::new(
                ErrorCode::CommandFailed,
                format!("cannot start the service {service} of the project {name}: {complaint}"),
            )
            .hint(format!(
                "run `{} ps --all` on the host",
                tool.engine().program()
            )));
        }
    }
    project.containers = now
        .iter()
        .map(|one| (one.name.clone(), Known::of(one)))
        .collect();
    project.write(cx.home, name)?;
    Ok(Effect::Done)
}

/// Removes the containers that `up` would leave although they aren't the project's, newest first, and wakes
/// those that are paused.
fn make_way(
    run: &Run<'_>,
    before: Option<&Project>,
    project: &Project,
    found: &[Container],
) -> Result<()> {
    let is_same = before.is_some_and(|before| before.is_brought_up_as(project));
    let other_tool = before.is_some_and(|before| before.tool != project.tool);
    let faults = before
        .map(|before| before.faults(found))
        .unwrap_or_default();
    let engine = run.tool.engine();
    for container in found.iter().rev() {
        let fault = faults.get(&container.name);
        let wrong = matches!(
            fault,
            Some(ContainerFault::Replaced | ContainerFault::Foreign)
        );
        // Docker's program finds out itself which containers a new file concerns.
        let outdated = !is_same && run.tool == Tool::PodmanCompose;
        if other_tool || outdated || (is_same && wrong) {
            remove::container(run.sys, engine, container)?;
        } else if fault == Some(&ContainerFault::Paused) {
            engine.must(run.sys, &["unpause", &container.id])?;
        }
    }
    Ok(())
}
