//! `prometheus`: expands into a server that scrapes the fleet's endpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use plumb_api::Kind;
use plumb_api::kind::{EndpointOn, HostState};
use plumb_api::period::Period;
use plumb_api::resource::{Problem, PrometheusSpec};
use serde_json::json;

use super::backup::ALERTS;
use super::context::FleetHost;
use super::exporter::daemon;
use super::{ExpandContext, Outcome, Part, TypedResource};
use crate::manifest::{Consumer, EndpointFact};

const PACKAGE: &str = "prometheus";
const CONFIGURATION: &str = "/etc/prometheus/prometheus.yml";
const BACKUP_RULES: &str = "/etc/prometheus/rules/plumb-backup.yml";

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, PrometheusSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

/// The scrape jobs of the fleet, by name.
pub(super) type Jobs = BTreeMap<String, Job>;

/// A scrape job and the file of its targets.
#[derive(Debug)]
pub(super) struct Job {
    path: String,
    interval: Option<String>,
    targets: Arc<str>,
}

/// A scrape job while its targets are collected.
#[derive(Default)]
struct NewJob {
    path: String,
    interval: Option<String>,
    targets: Vec<serde_json::Value>,
}

fn parts(spec: &PrometheusSpec, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let mut alertmanagers = Vec::new();
    for to in &spec.alertmanagers {
        alertmanagers.extend(context.endpoint("alertmanagers", to)?);
    }
    let jobs = jobs_for(context)?;
    let mut inputs = vec![format!("file:{CONFIGURATION}")];
    let mut files = Vec::new();
    for (path, content) in rules(spec) {
        files.push(
            Part::root_file(&path)
                .field("content", content)
                .field("validate", vec!["promtool", "check", "rules", "%s"])
                .field("after", vec![format!("package:{PACKAGE}")]),
        );
        inputs.push(format!("file:{path}"));
    }
    for (name, job) in &*jobs {
        files.push(Part::root_file(targets(name)).shared("content", &job.targets));
    }
    let after: Vec<String> = inputs
        .iter()
        .skip(1)
        .cloned()
        .chain([format!("package:{PACKAGE}")])
        .collect();
    files.push(
        Part::root_file(CONFIGURATION)
            .field("content", content(spec, &jobs, &alertmanagers))
            .field("validate", vec!["promtool", "check", "config", "%s"])
            .field("after", after),
    );
    let mut arguments = Vec::new();
    if let Some(retention) = spec.retention {
        arguments.push(format!(
            "--storage.tsdb.retention.time={}",
            seconds(retention)
        ));
    }
    let mut parts = daemon(PACKAGE, PACKAGE, &arguments);
    parts.extend(files);
    parts.push(Part::new(Kind::Service, PACKAGE).field("reloadOn", inputs));
    Ok(parts)
}

/// Returns the rule files with their contents: Plumb's own, and those of the repository.
fn rules(spec: &PrometheusSpec) -> Vec<(String, serde_json::Value)> {
    let own = (BACKUP_RULES.to_owned(), json!(ALERTS));
    let given = spec.rules.iter().map(|rule| {
        let name = rule.rsplit('/').next().unwrap_or(rule);
        (
            format!("/etc/prometheus/rules/{name}"),
            json!({"file": rule}),
        )
    });
    [own].into_iter().chain(given).collect()
}

/// Returns the scrape jobs of all active hosts as this host reaches them, with their targets in order of host.
fn jobs_for(context: &ExpandContext<'_>) -> Result<Arc<Jobs>, Problem> {
    let own = context.facts.endpoints.iter();
    let own = own.filter(|endpoint| endpoint.spec.scrape.is_some());
    // Only a host itself reaches its loopback, so the result can't be shared with others.
    let private = own.filter(|endpoint| {
        endpoint.spec.on.is_loopback() || endpoint.spec.on == EndpointOn::Everywhere
    });
    let name = private.map(|_| context.facts.name.to_string()).take(1);
    let networks = context.facts.networks.keys().map(ToString::to_string);
    let key = networks.chain(name).collect();
    context.once_for(&context.manifests.of_fleet.jobs, key, |fleet| {
        jobs(fleet, context).map(Arc::new)
    })
}

fn jobs(fleet: &[FleetHost<'_>], context: &ExpandContext<'_>) -> Result<Jobs, Problem> {
    let consumer = Consumer::Host {
        host: context.facts,
        on: None,
    };
    let mut jobs: BTreeMap<String, NewJob> = BTreeMap::new();
    for host in fleet {
        if host.facts.state != HostState::Active {
            continue;
        }
        for endpoint in &host.facts.endpoints {
            let Some(scrape) = &endpoint.spec.scrape else {
                continue;
            };
            if endpoint.spec.ports.is_empty() {
                continue;
            }
            let Some(target) = host.facts.target(endpoint, consumer) else {
                return Err(unreachable(host, endpoint));
            };
            let mut labels = scrape.labels.clone();
            labels
                .entry("host".to_owned())
                .or_insert_with(|| host.facts.name.to_string());
            let job = jobs.entry(scrape.job.clone()).or_default();
            job.path.clone_from(&scrape.path);
            job.interval = job.interval.take().or_else(|| scrape.interval.clone());
            job.targets
                .push(json!({"targets": [target.to_string()], "labels": labels}));
        }
    }
    let made = jobs.into_iter().map(|(name, job)| {
        let list = serde_json::to_string_pretty(&job.targets).unwrap_or_default();
        let job = Job {
            path: job.path,
            interval: job.interval,
            targets: format!("{list}\n").into(),
        };
        (name, job)
    });
    Ok(made.collect())
}

/// Creates the problem of an endpoint that is to be scraped, and that the server can't reach.
fn unreachable(host: &FleetHost<'_>, endpoint: &EndpointFact) -> Problem {
    Problem {
        field: "",
        message: format!(
            "the server shares no network with `{}/{}`, which is to be scraped",
            host.facts.name,
            endpoint.local_name()
        ),
        hint: "add a network that both are in to `on` of the endpoint, or remove its `scrape`"
            .to_owned(),
    }
}

fn content(spec: &PrometheusSpec, jobs: &Jobs, alertmanagers: &[String]) -> String {
    let interval = spec.interval.map_or_else(|| "15s".to_owned(), seconds);
    let mut text = format!(
        "# Written by plumb.\nglobal:\n  scrape_interval: {interval}\n  evaluation_interval: {interval}\n"
    );
    text.push_str("rule_files: [/etc/prometheus/rules/*]\n");
    if !alertmanagers.is_empty() {
        text.push_str("alerting:\n  alertmanagers:\n    - static_configs:\n        - targets:\n");
        for address in alertmanagers {
            let _ = writeln!(text, "            - {}", quoted(address));
        }
    }
    text.push_str(if jobs.is_empty() {
        "scrape_configs: []\n"
    } else {
        "scrape_configs:\n"
    });
    for (name, job) in jobs {
        let _ = writeln!(text, "  - job_name: {}", quoted(name));
        let _ = writeln!(text, "    metrics_path: {}", quoted(&job.path));
        if let Some(interval) = &job.interval {
            let _ = writeln!(text, "    scrape_interval: {}", quoted(interval));
        }
        let _ = writeln!(
            text,
            "    file_sd_configs: [{{files: [{}]}}]",
            quoted(&targets(name))
        );
    }
    text
}

/// Returns the path of the file with a job's targets. Characters that file names can't have become `_`.
fn targets(job: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = job.chars().map(|c| if good(c) { c } else { '_' }).collect();
    format!("/etc/prometheus/targets/{name}.json")
}

/// Quotes a text for YAML as a JSON string, which is valid YAML.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn seconds(period: Period) -> String {
    format!(
        "{}s",
        period.duration().max(Duration::from_secs(1)).as_secs()
    )
}
