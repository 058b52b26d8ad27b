//! Removes a project: its containers and networks, never its volumes.
//!
//! The engine does it, by the labels of the project, so that neither the Compose file nor the program that
//! brought the project up is needed any more.

use super::containers::{self, Container, PROJECT};
use super::project::Project;
use super::tool::{Engine, Tool};
use crate::error::Result;
use crate::provider::ApplyContext;
use crate::sys::Sys;

/// Removes a project.
pub(super) fn remove(cx: &ApplyContext<'_>, name: &str, project: Option<&Project>) -> Result<()> {
    let filter = format!("label={PROJECT}={name}");
    for engine in Engine::of(cx.sys, project) {
        // The newest first: compose programs create a container after those that it needs.
        for one in containers::of_project(cx.sys, engine, name)?.iter().rev() {
            container(cx.sys, engine, one)?;
        }
        if project.is_some_and(|project| project.tool == Tool::PodmanCompose) {
            let pod = format!("pod_{name}");
            engine.must(cx.sys, &["pod", "rm", "--ignore", &pod])?;
        }
        let networks = engine.must(cx.sys, &["network", "ls", "--quiet", "--filter", &filter])?;
        for network in networks.lines().filter(|line| !line.is_empty()) {
            engine.must(cx.sys, &["network", "rm", network])?;
        }
    }
    Project::remove(cx.home, name)
}

/// Stops and removes a container. Its anonymous volumes stay.
pub(super) fn container(sys: &Sys, engine: Engine, container: &Container) -> Result<()> {
    engine.must(sys, &["stop", &container.id])?;
    engine.must(sys, &["rm", &container.id])?;
    Ok(())
}

/// Returns the names of a project's volumes.
pub(super) fn volumes(sys: &Sys, name: &str) -> Result<Vec<String>> {
    let filter = format!("label={PROJECT}={name}");
    let mut all = Vec::new();
    for engine in Engine::of(sys, None) {
        let found = engine.must(sys, &["volume", "ls", "--quiet", "--filter", &filter])?;
        all.extend(
            found
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
    Ok(all)
}
