//! The template variable `fleet`: the static facts of all hosts, read-only.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, from_args};
use minijinja::{Error, ErrorKind, State, Value as Jinja};
use plumb_api::kind::HostState;
use plumb_api::selector::Selector;
use serde::Serialize;

use super::BrokenReads;
use crate::manifest::{Consumer, EndpointFact, Facts, HostFacts, ObjectId, ObjectIdSet};

/// The arguments of `fleet.endpoints`.
const ENDPOINT_FILTERS: [&str; 4] = ["job", "name", "network", "hosts"];

/// The value of `fleet`. It records which objects with errors a rendering reads. The rendered host is then
/// held, instead of rendered without their facts.
#[derive(Debug)]
struct View {
    facts: Arc<Facts>,
    reads: Arc<BrokenReads>,
    /// The host that is rendered; `None` if several hosts share the result.
    host: Option<Arc<HostFacts>>,
}

/// Creates the value `fleet` for one rendering. `host` is the host that is rendered; addresses of endpoints
/// are those at which it reaches them. Without one, no text that reads endpoints may be rendered.
pub(crate) fn view(
    facts: &Arc<Facts>,
    reads: &Arc<BrokenReads>,
    host: Option<&Arc<HostFacts>>,
) -> Jinja {
    Jinja::from_object(View {
        facts: facts.clone(),
        reads: reads.clone(),
        host: host.cloned(),
    })
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

impl View {
    /// Records that the rendering read these objects with errors, and returns the error that ends it.
    fn hold(&self, ids: ObjectIdSet) -> Error {
        let names: Vec<_> = ids
            .iter()
            .map(|id| match id {
                ObjectId::Fleet => "fleet.yaml".to_owned(),
                ObjectId::Host(name) => format!("host {name}"),
                ObjectId::Profile(name) => format!("profile {name}"),
                ObjectId::Network(name) => format!("network {name}"),
                ObjectId::Secret(name) => format!("secret {name}"),
            })
            .collect();
        self.reads.hold(ids);
        wrong(format!(
            "this reads {}, whose manifest has errors",
            names.join(", ")
        ))
    }

    /// Returns the hosts that match a selector, except retired hosts, in order of name. Returns an error if a
    /// host whose facts are unknown may match.
    fn select(&self, selector: &Selector) -> Result<Vec<&Arc<HostFacts>>, Error> {
        let mut hosts = Vec::new();
        let mut unknown = ObjectIdSet::new();
        for (name, known) in &self.facts.hosts {
            match known {
                Ok(host) if selector.matches(name.as_str(), &host.labels) => {
                    if host.state != HostState::Retired {
                        hosts.push(host);
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    let meant = selector.matches_name(name.as_str()).unwrap_or_else(|| {
                        self.facts
                            .labels
                            .get(name)
                            .is_none_or(|labels| selector.matches(name.as_str(), labels))
                    });
                    if meant {
                        unknown.insert(ObjectId::Host(name.clone()));
                    }
                }
            }
        }
        if unknown.is_empty() {
            Ok(hosts)
        } else {
            Err(self.hold(unknown))
        }
    }

    fn host(&self, name: &str) -> Result<Jinja, Error> {
        let Some((name, known)) = self
            .facts
            .hosts
            .iter()
            .find(|(host, _)| host.as_str() == name)
        else {
            let near = plumb_document::closest(
                name,
                self.facts.hosts.keys().map(plumb_api::HostName::as_str),
            );
            return Err(wrong(match near {
                Some(near) => format!("unknown host `{name}`; did you mean `{near}`?"),
                None => format!("unknown host `{name}`"),
            }));
        };
        match known {
            Ok(host) => Ok(host.value.clone()),
            Err(_) => Err(self.hold([ObjectId::Host(name.clone())].into())),
        }
    }

    fn network(&self, name: &str) -> Result<Jinja, Error> {
        let network = match self.facts.networks.get(name) {
            Some(Ok(network)) => network,
            Some(Err(_)) => return Err(self.hold([ObjectId::Network(name.into())].into())),
            None => {
                let near =
                    plumb_document::closest(name, self.facts.networks.keys().map(|name| &**name));
                return Err(wrong(match near {
                    Some(near) => format!("unknown network `{name}`; did you mean `{near}`?"),
                    None => format!("unknown network `{name}`; add networks/{name}.yaml"),
                }));
            }
        };
        // A host whose facts are unknown may be a member of the network.
        let unknown: ObjectIdSet = self.facts.unknown().collect();
        if unknown.is_empty() {
            Ok(network.value.clone())
        } else {
            Err(self.hold(unknown))
        }
    }

    fn endpoints(&self, args: &Kwargs) -> Result<Jinja, Error> {
        let job: Option<String> = args.get("job")?;
        let name: Option<String> = args.get("name")?;
        let network: Option<String> = args.get("network")?;
        let hosts: Option<Jinja> = args.get("hosts")?;
        if let Some(unknown) = args.args().find(|name| !ENDPOINT_FILTERS.contains(name)) {
            let near = plumb_document::closest(unknown, ENDPOINT_FILTERS);
            let near = near.map(|near| format!("; did you mean `{near}`?"));
            return Err(wrong(format!(
                "unknown argument `{unknown}`{}",
                near.unwrap_or_default()
            )));
        }
        let selector = hosts.map_or(Ok(Selector::All), |hosts| selector(&hosts))?;
        let mut found = Vec::new();
        for host in self.select(&selector)? {
            if host.state != HostState::Active {
                continue;
            }
            for endpoint in &host.endpoints {
                let is_job = job.as_ref().is_none_or(|job| {
                    endpoint
                        .spec
                        .scrape
                        .as_ref()
                        .is_some_and(|scrape| scrape.job == *job)
                });
                let is_name = name.as_ref().is_none_or(|name| *name == *endpoint.name);
                let is_there = network.as_ref().is_none_or(|network| {
                    host.networks.contains_key(network.as_str())
                        && endpoint.spec.on.includes(network)
                });
                if is_job && is_name && is_there {
                    let consumer = match (&network, &self.host) {
                        (Some(network), _) => Consumer::Network(network),
                        (None, Some(host)) => Consumer::Host { host, on: None },
                        (None, None) => Consumer::Controller,
                    };
                    found.push(crate::render::serialized(TemplateEndpoint::of(
                        host, endpoint, consumer,
                    )));
                }
            }
        }
        Ok(Jinja::from(found))
    }
}

fn selector(value: &Jinja) -> Result<Selector, Error> {
    if let Some(text) = value.as_str() {
        return Selector::parse(text).map_err(|error| wrong(error.to_string()));
    }
    let mut names = Vec::new();
    for item in value.try_iter()? {
        match item.as_str() {
            Some(name) => names.push(name.to_owned()),
            None => return Err(wrong("a selector must be text or a list of host names")),
        }
    }
    Ok(Selector::names(names))
}

impl Object for View {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        (key == "domain").then(|| {
            self.facts
                .domain
                .as_deref()
                .map_or(Jinja::from(()), Jinja::from)
        })
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Jinja],
    ) -> Result<Jinja, Error> {
        match method {
            "hosts" => {
                let (wanted,): (Option<Jinja>,) = from_args(args)?;
                let selector = wanted.map_or(Ok(Selector::All), |wanted| selector(&wanted))?;
                let hosts = self.select(&selector)?;
                Ok(Jinja::from(
                    hosts
                        .into_iter()
                        .map(|host| host.value.clone())
                        .collect::<Vec<_>>(),
                ))
            }
            "host" => {
                let (name,): (&str,) = from_args(args)?;
                self.host(name)
            }
            "network" => {
                let (name,): (&str,) = from_args(args)?;
                self.network(name)
            }
            "endpoints" => {
                let (args,): (Kwargs,) = from_args(args)?;
                self.endpoints(&args)
            }
            _ => Err(Error::new(
                ErrorKind::UnknownMethod,
                format!("`fleet` has no `{method}`"),
            )),
        }
    }
}

/// An endpoint, as templates see it.
#[derive(Serialize)]
struct TemplateEndpoint<'a> {
    host: &'a str,
    instance: &'a str,
    name: &'a str,
    ports: Vec<plumb_api::kind::Port>,
    /// The first port, because most endpoints have only one.
    port: Option<u16>,
    protocol: &'a [plumb_api::kind::Protocol],
    address: Option<String>,
    labels: &'a BTreeMap<String, String>,
    scrape: Option<&'a plumb_api::kind::ScrapeSpec>,
}

impl<'a> TemplateEndpoint<'a> {
    fn of(host: &'a HostFacts, endpoint: &'a EndpointFact, consumer: Consumer<'_>) -> Self {
        Self {
            host: host.name.as_str(),
            instance: &endpoint.instance,
            name: &endpoint.name,
            ports: endpoint.spec.ports.clone(),
            port: endpoint.spec.ports.first().map(|port| port.first),
            protocol: &endpoint.spec.protocol,
            address: host.address_for(endpoint, consumer),
            labels: &host.labels,
            scrape: endpoint.spec.scrape.as_ref(),
        }
    }
}

/// Returns endpoints as targets of Prometheus' `file_sd`: one group per endpoint, in the given order.
pub(super) fn targets(endpoints: &Jinja) -> Result<Jinja, Error> {
    let mut groups = Vec::new();
    for endpoint in endpoints.try_iter()? {
        let host = endpoint.get_attr("host")?;
        let address = endpoint.get_attr("address")?;
        let Some(address) = address.as_str() else {
            return Err(wrong(format!(
                "the endpoint of {host} has no address: this host is in none of the endpoint's networks"
            )));
        };
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let mut targets = Vec::new();
        for port in endpoint.get_attr("ports")?.try_iter()? {
            targets.push(format!("{address}:{port}"));
        }
        let mut labels = BTreeMap::from([("host".to_owned(), host.to_string())]);
        let scrape = endpoint.get_attr("scrape")?;
        if !scrape.is_none() {
            labels.insert("job".to_owned(), scrape.get_attr("job")?.to_string());
            labels.insert(
                "__metrics_path__".to_owned(),
                scrape.get_attr("path")?.to_string(),
            );
            let interval = scrape.get_attr("interval")?;
            if let Some(interval) = interval.as_str() {
                labels.insert("__scrape_interval__".to_owned(), interval.to_owned());
            }
            let extra = scrape.get_attr("labels")?;
            if !extra.is_undefined() {
                for key in extra.try_iter()? {
                    labels.insert(key.to_string(), extra.get_item(&key)?.to_string());
                }
            }
        }
        groups.push(Jinja::from_pairs([
            ("targets", Jinja::from(targets)),
            ("labels", crate::render::serialized(&labels)),
        ]));
    }
    Ok(Jinja::from(groups))
}
