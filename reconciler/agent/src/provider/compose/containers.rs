//! The containers of Compose projects, as the container engine shows them.

use std::collections::BTreeMap;

use plumb_api::report::ErrorCode;
use plumb_api::resource::ContainerFault;
use serde::Deserialize;

use super::tool::Engine;
use crate::error::{Result, fail};
use crate::sys::Sys;

/// Label that each compose program gives to containers, networks and volumes.
pub(super) const PROJECT: &str = "com.docker.compose.project";

/// Hash that podman-compose 1.0 gives to every configuration.
const NO_HASH: &str = "123";

/// The containers of each project.
pub(super) type ByProject = BTreeMap<String, Vec<Container>>;

/// A container of a Compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub id: String,
    pub name: String,
    pub service: String,
    /// Id of the image.
    pub image: String,
    /// Hash of the configuration, or the container's id if the compose program gives none.
    pub config: String,
    pub(super) status: Status,
}

/// The state of a container, as far as Plumb tells states apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Unstarted,
    /// Running, and its health check hasn't decided yet.
    Starting,
    Running,
    Unhealthy,
    Paused,
    /// Ended, and its restart policy says that it should run.
    Stopped,
    /// Ended with status 0 by itself.
    Finished,
    Failed,
}

impl Container {
    /// True if the container was created and never started.
    pub(super) fn is_unstarted(&self) -> bool {
        self.status == Status::Unstarted
    }

    /// True if the health check hasn't decided yet.
    pub(super) fn is_starting(&self) -> bool {
        self.status == Status::Starting
    }

    /// Returns the fault in the container's state, if there is one.
    pub(super) fn fault(&self) -> Option<ContainerFault> {
        match self.status {
            Status::Starting | Status::Running | Status::Finished => None,
            Status::Unstarted | Status::Stopped => Some(ContainerFault::Stopped),
            Status::Paused => Some(ContainerFault::Paused),
            Status::Unhealthy => Some(ContainerFault::Unhealthy),
            Status::Failed => Some(ContainerFault::Failed),
        }
    }
}

/// Returns the containers of all projects, oldest first.
pub(super) fn all(sys: &Sys, engine: Engine) -> Result<ByProject> {
    let mut all = ByProject::new();
    for (project, container) in list(sys, engine, PROJECT)? {
        all.entry(project).or_default().push(container);
    }
    Ok(all)
}

/// Returns the containers of a project, oldest first.
pub(super) fn of_project(sys: &Sys, engine: Engine, project: &str) -> Result<Vec<Container>> {
    let found = list(sys, engine, &format!("{PROJECT}={project}"))?;
    Ok(found.into_iter().map(|(_, container)| container).collect())
}

/// Returns the containers with a label, each with its project.
fn list(sys: &Sys, engine: Engine, label: &str) -> Result<Vec<(String, Container)>> {
    let filter = format!("label={label}");
    let ids = engine.must(
        sys,
        &["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter],
    )?;
    let ids: Vec<&str> = ids.lines().filter(|line| !line.is_empty()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // A container that ended since is left out, with an exit status that isn't 0.
    let args: Vec<&str> = ["container", "inspect"].into_iter().chain(ids).collect();
    let output = engine.command(&args).run(sys)?;
    match read(&output.stdout) {
        Some(found) => Ok(found),
        None => fail(
            ErrorCode::CommandFailed,
            format!(
                "cannot read the containers that `{} inspect` shows: {}",
                engine.program(),
                output.complaint()
            ),
        ),
    }
}

/// A container in the form of `inspect`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    created: String,
    name: String,
    image: String,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    exit_code: i64,
    #[serde(default)]
    health: Option<Health>,
    /// podman's word for a container that somebody stopped.
    #[serde(default)]
    stopped_by_user: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    restart_policy: RestartPolicy,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    name: String,
}

/// Reads the output of `inspect`. Containers of `compose run` are left out.
fn read(text: &str) -> Option<Vec<(String, Container)>> {
    let mut all: Vec<Inspected> = serde_json::from_str(text).ok()?;
    all.sort_by(|a, b| a.created.cmp(&b.created));
    let one = |found: Inspected| {
        let status = status(&found);
        let mut labels = found.config.labels.unwrap_or_default();
        if labels
            .get("com.docker.compose.oneoff")
            .is_some_and(|oneoff| oneoff.eq_ignore_ascii_case("true"))
        {
            return None;
        }
        let project = labels.remove(PROJECT)?;
        let hash = ["com.docker.compose", "io.podman.compose"]
            .iter()
            .find_map(|of| labels.remove(&format!("{of}.config-hash")))
            .filter(|hash| hash != NO_HASH);
        let container = Container {
            config: hash.unwrap_or_else(|| found.id.clone()),
            id: found.id,
            name: found.name.trim_start_matches('/').to_owned(),
            service: labels
                .remove("com.docker.compose.service")
                .unwrap_or_default(),
            image: found.image,
            status,
        };
        Some((project, container))
    };
    Some(all.into_iter().filter_map(one).collect())
}

fn status(found: &Inspected) -> Status {
    let state = &found.state;
    let health = state.health.as_ref().map(|health| health.status.as_str());
    match (state.status.as_str(), health) {
        ("created" | "initialized" | "configured", _) => Status::Unstarted,
        ("running", Some("starting")) => Status::Starting,
        ("running", Some("unhealthy")) => Status::Unhealthy,
        ("running", _) => Status::Running,
        ("paused", _) => Status::Paused,
        ("restarting", _) => Status::Failed,
        _ => ended(found),
    }
}

/// Returns the status of a container that ended. `docker stop` ends a program by SIGTERM or SIGKILL; Docker
/// doesn't show by itself that somebody stopped a container.
fn ended(found: &Inspected) -> Status {
    let should_run = matches!(
        found.host_config.restart_policy.name.as_str(),
        "always" | "unless-stopped"
    );
    match found.state.exit_code {
        _ if found.state.stopped_by_user => Status::Stopped,
        0 if !should_run => Status::Finished,
        0 | 137 | 143 => Status::Stopped,
        _ => Status::Failed,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns a container of the project `p`.
    pub(in super::super) fn container(name: &str, status: &str) -> Container {
        let found = inspected(name, &json!({"Status": status, "ExitCode": 0}), "always");
        read(&json!([found]).to_string()).unwrap().remove(0).1
    }

    fn inspected(name: &str, state: &Value, restart: &str) -> Value {
        json!({
            "Id": format!("id of {name}"),
            "Created": "2026-11-30T08:36:54Z",
            "Name": format!("/{name}"),
            "Image": "image",
            "State": state,
            "Config": {"Labels": {
                "com.docker.compose.project": "p",
                "com.docker.compose.service": "web",
                "com.docker.compose.config-hash": "f8dd",
            }},
            "HostConfig": {"RestartPolicy": {"Name": restart, "MaximumRetryCount": 0}},
        })
    }

    fn fault(state: &Value, restart: &str) -> Option<ContainerFault> {
        let found = json!([inspected("p-web-1", state, restart)]);
        read(&found.to_string()).unwrap()[0].1.fault()
    }

    #[test]
    fn container_is_read_from_inspect() {
        let web = container("p-web-1", "running");
        assert_eq!(
            (web.name.as_str(), web.service.as_str()),
            ("p-web-1", "web")
        );
        assert_eq!(web.config, "f8dd");
        let mut old = inspected("p_web_1", &json!({"Status": "running", "ExitCode": 0}), "");
        old["Config"]["Labels"] = json!({
            "com.docker.compose.project": "p",
            "io.podman.compose.config-hash": "123",
        });
        let mut once = old.clone();
        once["Config"]["Labels"]["com.docker.compose.oneoff"] = "True".into();
        let found = read(&json!([old, once]).to_string()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.config, "id of p_web_1");
        assert!(read("no containers").is_none());
    }

    #[test]
    fn container_that_finished_has_no_fault_and_one_that_should_run_has() {
        let exited = |code: i64| json!({"Status": "exited", "ExitCode": code});
        assert_eq!(fault(&exited(0), "no"), None);
        assert_eq!(fault(&exited(0), "always"), Some(ContainerFault::Stopped));
        assert_eq!(fault(&exited(143), "no"), Some(ContainerFault::Stopped));
        assert_eq!(fault(&exited(1), "no"), Some(ContainerFault::Failed));
        let by_hand = json!({"Status": "exited", "ExitCode": 0, "StoppedByUser": true});
        assert_eq!(fault(&by_hand, "no"), Some(ContainerFault::Stopped));
    }

    #[test]
    fn container_shows_its_health() {
        let running = |health: &str| json!({"Status": "running", "ExitCode": 0, "Health": {"Status": health}});
        assert_eq!(fault(&running("healthy"), ""), None);
        assert_eq!(fault(&running(""), ""), None);
        assert_eq!(fault(&running("starting"), ""), None);
        assert_eq!(
            fault(&running("unhealthy"), ""),
            Some(ContainerFault::Unhealthy)
        );
        assert_eq!(
            container("p-web-1", "created").fault(),
            Some(ContainerFault::Stopped)
        );
        assert_eq!(
            container("p-web-1", "paused").fault(),
            Some(ContainerFault::Paused)
        );
    }
}
