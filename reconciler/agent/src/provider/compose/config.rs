//! Checks a Compose file before anything is changed.
//!
//! The compose program judges the file. The agent judges only what Plumb demands: images with digests, and no
//! paths relative to the file, which lies in Plumb's folder.

use std::collections::BTreeSet;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::ImagePolicy;
use serde_json::{Map, Value};

use super::tool::{Run, Tool};
use crate::error::Result;
use crate::sys::Program;

/// Reads YAML and writes JSON. podman-compose needs Python's YAML, so it is there.
const TO_JSON: &str =
    "import json, sys, yaml\njson.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)";

/// Checks a Compose file. Returns the services that `up` starts.
pub(super) fn check(run: &Run<'_>, file: &str, images: ImagePolicy) -> Result<BTreeSet<String>> {
    let refused = |complaint: &str| {
        AgentError::new(
            ErrorCode::ValidateFailed,
            format!(
                "the compose program rejects the Compose file of {}: {complaint}",
                run.project
            ),
        )
        .hint("correct the file; nothing was changed")
    };
    // `ps` is the call of podman-compose that reads the whole file and changes nothing; version 1.0 has no
    // `config`.
    let args: &[&str] = match run.tool {
        Tool::Docker | Tool::DockerOnPodman => &["config", "--format", "json"],
        Tool::PodmanCompose => &["ps"],
    };
    let mut output = run.call(file, args)?;
    if output.status != 0 {
        return Err(refused(&run.complaint(&output)));
    }
    if run.tool == Tool::PodmanCompose {
        let path = run.folder.path_of(file);
        output = Program::new("/usr/bin/python3", ["-I", "-c", TO_JSON, &path]).check(run.sys)?;
    }
    let config: Value = serde_json::from_str(&output.stdout)
        .map_err(|error| refused(&format!("its configuration isn't JSON: {error}")))?;
    let folder = run.folder.path_of("");
    judge(&config, images, folder.trim_end_matches('/')).map_err(|problem| {
        AgentError::new(
            ErrorCode::Refused,
            format!(
                "the Compose file of {} is refused: {}",
                run.project, problem.message
            ),
        )
        .hint(problem.hint)
    })
}

/// A part of a Compose file that Plumb doesn't accept.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    message: String,
    hint: &'static str,
}

/// Returns the services that `up` starts, or the first problem. `folder` is the project's folder, which
/// Docker's program puts before relative paths.
fn judge(config: &Value, images: ImagePolicy, folder: &str) -> Result<BTreeSet<String>, Problem> {
    let empty = Map::new();
    let services = config.get("services").and_then(Value::as_object);
    let mut started = BTreeSet::new();
    for (name, service) in services.unwrap_or(&empty) {
        if service.get("build").is_some() {
            return Err(Problem {
                message: format!("the service {name} builds its image"),
                hint: "build the image elsewhere, and write `image`",
            });
        }
        let image = service.get("image").and_then(Value::as_str);
        if images == ImagePolicy::Digest && !image.is_some_and(has_digest) {
            return Err(Problem {
                message: format!(
                    "the image of the service {name} has no digest: {}",
                    image.unwrap_or("none")
                ),
                hint: "write `image: NAME@sha256:…`; `skopeo inspect` shows the digest of a tag; or set `images: tag`",
            });
        }
        let mounts = service.get("volumes").and_then(Value::as_array);
        let relative = mounts
            .into_iter()
            .flatten()
            .filter_map(source)
            .find(|source| is_relative(source, folder));
        if let Some(source) = relative {
            let source = source
                .strip_prefix(folder)
                .map_or_else(|| source.to_owned(), |rest| format!(".{rest}"));
            return Err(Problem {
                message: format!("the service {name} mounts {source}, a path relative to the file"),
                hint: "write an absolute path, or name a volume",
            });
        }
        if is_started(service) {
            started.insert(name.clone());
        }
    }
    if started.is_empty() {
        return Err(Problem {
            message: "it has no service to start".to_owned(),
            hint: "write `services` with at least one service",
        });
    }
    Ok(started)
}

/// True if an image's name ends with a digest.
fn has_digest(image: &str) -> bool {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Returns the source of a mount, in the short or the long form.
fn source(mount: &Value) -> Option<&str> {
    match mount {
        Value::String(short) => short.split(':').next(),
        long => long.get("source").and_then(Value::as_str),
    }
}

fn is_relative(source: &str, folder: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    source == "."
        || source == ".."
        || source.starts_with("./")
        || source.starts_with("../")
        || source.strip_prefix(folder).is_some_and(below)
}

/// True if `up` starts the service: it needs no profile, and has containers.
fn is_started(service: &Value) -> bool {
    let profiles = service.get("profiles").and_then(Value::as_array);
    let replicas = service
        .pointer("/deploy/replicas")
        .or_else(|| service.get("scale"))
        .and_then(Value::as_u64);
    profiles.is_none_or(Vec::is_empty) && replicas != Some(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FOLDER: &str = "/var/lib/plumb/compose/p";

    fn image() -> String {
        format!("registry.example/web@sha256:{}", "0a".repeat(32))
    }

    fn problem(service: &Value) -> String {
        let config = json!({"services": {"web": service}});
        judge(&config, ImagePolicy::Digest, FOLDER)
            .unwrap_err()
            .message
    }

    #[test]
    fn services_that_up_starts_are_known() {
        let config = json!({"services": {
            "web": {"image": image(), "volumes": ["data:/data", {"type": "bind", "source": "/srv", "target": "/srv"}]},
            "debug": {"image": image(), "profiles": ["debug"]},
            "none": {"image": image(), "deploy": {"replicas": 0}},
        }});
        let started = judge(&config, ImagePolicy::Digest, FOLDER).unwrap();
        assert_eq!(started.into_iter().collect::<Vec<_>>(), ["web"]);
        assert!(judge(&json!({}), ImagePolicy::Tag, FOLDER).is_err());
    }

    #[test]
    fn an_image_needs_a_digest_unless_a_tag_is_enough() {
        let tag = json!({"services": {"web": {"image": "web:1"}}});
        assert_eq!(
            problem(&tag["services"]["web"]),
            "the image of the service web has no digest: web:1"
        );
        assert!(judge(&tag, ImagePolicy::Tag, FOLDER).is_ok());
        assert_eq!(
            problem(&json!({"image": "web@sha256:12"})),
            "the image of the service web has no digest: web@sha256:12"
        );
        assert_eq!(
            problem(&json!({"image": image(), "build": "."})),
            "the service web builds its image"
        );
    }

    #[test]
    fn a_path_relative_to_the_file_is_refused() {
        for mount in [
            json!("./data:/data"),
            json!({"type": "bind", "source": format!("{FOLDER}/data"), "target": "/data"}),
        ] {
            assert_eq!(
                problem(&json!({"image": image(), "volumes": [mount]})),
                "the service web mounts ./data, a path relative to the file"
            );
        }
    }
}
