//! The programs that bring a Compose project up, and the container engines below them.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use serde::{Deserialize, Serialize};

use super::project::Project;
use super::secrets::SecretValues;
use crate::error::{Result, fail};
use crate::sys::{Dir, Output, Program, Sys, last_lines};

/// Time limit of `up`, which may download images.
const UP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Time limit of a call of the engine. Stopping a container may take as long as its file says.
const ENGINE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Paths of Docker's program for Compose projects. Version 1, which had the same name, was never there.
const DOCKER_COMPOSE: &[&str] = &[
    "/usr/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/local/lib/docker/cli-plugins/docker-compose",
];

const PODMAN_COMPOSE: &str = "/usr/bin/podman-compose";

/// Socket of the Docker daemon.
const DOCKER_SOCKET: &str = "/run/docker.sock";

/// Socket at which podman speaks Docker's protocol.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Engine {
    Docker,
    Podman,
}

impl Engine {
    /// Returns the engines that may have containers of a project: the one of its record, or all that are on
    /// the host.
    pub(super) fn of(sys: &Sys, project: Option<&Project>) -> Vec<Self> {
        let all = match project {
            Some(project) => vec![project.tool.engine()],
            None => vec![Self::Docker, Self::Podman],
        };
        let is_there = |engine: &Self| engine.is_there(sys);
        all.into_iter().filter(is_there).collect()
    }

    /// Returns the name of the engine's program.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn is_there(self, sys: &Sys) -> bool {
        match self {
            // `docker` without a daemon has no containers.
            Self::Docker => sys.exists("/usr/bin/docker") && sys.exists(DOCKER_SOCKET),
            Self::Podman => sys.exists("/usr/bin/podman"),
        }
    }

    /// Returns a call of the engine.
    pub(super) fn command(self, args: &[&str]) -> Program<'static> {
        Program::new(self.program(), args.iter().copied()).limit(ENGINE_LIMIT)
    }

    /// Calls the engine. Returns its output; fails unless it succeeds.
    pub(super) fn must(self, sys: &Sys, args: &[&str]) -> Result<String> {
        Ok(self.command(args).check(sys)?.stdout)
    }
}

/// A program that brings Compose projects up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tool {
    /// Docker's program with Docker.
    Docker,
    /// Docker's program with podman's socket.
    DockerOnPodman,
    /// podman-compose.
    PodmanCompose,
}

impl Tool {
    /// All programs, in the order of preference.
    const ALL: [Self; 3] = [Self::Docker, Self::DockerOnPodman, Self::PodmanCompose];

    pub(super) fn engine(self) -> Engine {
        match self {
            Self::Docker => Engine::Docker,
            Self::DockerOnPodman | Self::PodmanCompose => Engine::Podman,
        }
    }

    fn is_there(self, sys: &Sys) -> bool {
        let has_program = match self {
            Self::Docker => docker_compose(sys).is_some(),
            // A socket that systemd stopped leaves its file behind.
            Self::DockerOnPodman => {
                docker_compose(sys).is_some() && UnixStream::connect(PODMAN_SOCKET).is_ok()
            }
            Self::PodmanCompose => sys.exists(PODMAN_COMPOSE),
        };
        has_program && self.engine().is_there(sys)
    }

    /// Returns the program that brought the project up before, or else the best one on the host.
    pub(super) fn choose(sys: &Sys, before: Option<Self>) -> Result<Self> {
        let found = before.into_iter().chain(Self::ALL);
        if let Some(tool) = found.into_iter().find(|tool| tool.is_there(sys)) {
            return Ok(tool);
        }
        let error = |message: &str, hint: &str| {
            Err(AgentError::new(ErrorCode::Unsupported, message).hint(hint))
        };
        if docker_compose(sys).is_some() {
            return error(
                "`docker-compose` has neither a Docker daemon nor podman's socket on this host",
                "add `package: {podman}` and `service: {podman.socket: {state: started, enabled: true}}` to the manifest",
            );
        }
        error(
            "no program for Compose projects is on this host",
            "add `package: {podman, podman-compose}` to the manifest",
        )
    }
}

fn docker_compose(sys: &Sys) -> Option<&'static str> {
    DOCKER_COMPOSE.iter().copied().find(|path| sys.exists(path))
}

/// A compose program that works on one project.
pub(super) struct Run<'a> {
    pub sys: &'a Sys,
    pub tool: Tool,
    pub project: &'a str,
    pub folder: &'a Dir,
    pub environment: &'a BTreeMap<String, String>,
    pub secrets: &'a SecretValues,
}

impl Run<'_> {
    /// Calls the compose program for a file of the project's folder. Variables are only in its environment,
    /// because all users can read arguments.
    pub(super) fn call(&self, file: &str, args: &[&str]) -> Result<Output> {
        let program = match self.tool {
            Tool::Docker | Tool::DockerOnPodman => docker_compose(self.sys),
            Tool::PodmanCompose => Some(PODMAN_COMPOSE),
        };
        let Some(program) = program else {
            return fail(ErrorCode::Unsupported, "the compose program is gone");
        };
        let path = self.folder.path_of(file);
        let mut all = vec!["--project-name", self.project, "--file", &path];
        if self.tool != Tool::PodmanCompose {
            all.extend(["--ansi", "never", "--progress", "plain"]);
        }
        all.extend(args);
        let mut program = Program::new(program, all).limit(UP_LIMIT);
        if self.tool == Tool::DockerOnPodman {
            program = program.env("DOCKER_HOST", "unix:///run/podman/podman.sock");
        }
        for (name, value) in self.environment {
            program = program.env(name, value);
        }
        for (name, value) in self.secrets {
            program = program.env(name, value);
        }
        program.run(self.sys)
    }

    /// Starts the project's containers. Returns what the program complained of: podman-compose ends with
    /// status 0 also when it could start nothing.
    pub(super) fn up(&self, file: &str) -> Result<String> {
        let mut args = vec!["up", "--detach", "--remove-orphans", "--no-build"];
        if self.tool != Tool::PodmanCompose {
            args.push("--quiet-pull");
        }
        let output = self.call(file, &args)?;
        let complaint = self.complaint(&output);
        if output.status == 0 {
            return Ok(complaint);
        }
        fail(
            ErrorCode::CommandFailed,
            format!("cannot bring the project {} up: {complaint}", self.project),
        )
    }

    /// Returns the reason of a failure. podman-compose also prints its calls of podman, with all variables;
    /// these lines are left out.
    pub(super) fn complaint(&self, output: &Output) -> String {
        if !self.secrets.is_empty() {
            return "its output isn't shown, because the project has secrets".to_owned();
        }
        match self.tool {
            Tool::Docker | Tool::DockerOnPodman => output.complaint(),
            Tool::PodmanCompose => podman_complaint(&output.stderr),
        }
        .replace(&self.folder.path_of(""), "")
    }
}

/// Returns podman's errors in the output of podman-compose. Without one, returns the end of the output, which
/// has the reason of a Python exception.
fn podman_complaint(stderr: &str) -> String {
    let known = |line: &&str| {
        line.starts_with("Error: ")
            && !line.contains("no such volume")
            && !line.contains("is already in use")
    };
    let errors: Vec<&str> = stderr.lines().filter(known).collect();
    if errors.is_empty() {
        last_lines(stderr, 3)
    } else {
        last_lines(&errors.join("\n"), 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaint_of_podman_compose_has_no_variables() {
        let stderr = "['podman', '--version', '']\nError: inspecting object: no such volume demo_data\npodman run --name=demo_web_1 -e TOKEN=secret x\nError: netavark: No such file or directory\nexit code: 127\n";
        assert_eq!(
            podman_complaint(stderr),
            "Error: netavark: No such file or directory"
        );
        let trace =
            "Traceback (most recent call last):\n  File \"x\", line 1\nRuntimeError: no a\n";
        assert!(podman_complaint(trace).ends_with("RuntimeError: no a"));
    }
}
