//! `reverseProxy`: expands into a site of nginx, and what all sites share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plumb_api::kind::EndpointOn;
use plumb_api::resource::{CertificateSpec, PlainHttp, Problem, ReverseProxySpec, WebTarget, Zone};

use super::web_server::{self, Fallback, Listener, Protocol};
use super::{ExpandContext, Outcome, TypedResource};

/// Expands each resource into a site of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, ReverseProxySpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let sites: Vec<Result<Site<'_>, Problem>> =
        all.iter().map(|one| Site::of(one, context)).collect();
    let mut defaults: BTreeMap<&Listener, &str> = BTreeMap::new();
    let mut listeners: BTreeSet<Listener> = BTreeSet::new();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(all.len());
    for site in &sites {
        let site = match site {
            Ok(site) => site,
            Err(problem) => {
                outcomes.push(Err(vec![problem.clone()]));
                continue;
            }
        };
        listeners.extend(site.listeners.iter().cloned());
        let taken = site
            .listeners
            .iter()
            .filter(|_| site.spec.default)
            .find_map(|listener| defaults.insert(listener, site.name));
        outcomes.push(match taken {
            None => Ok(Vec::new()),
            Some(other) => Err(vec![Problem {
                field: "default",
                message: format!("`{other}` is the default at the same address already"),
                hint: "remove `default` from one of the two".to_owned(),
            }]),
        });
    }
    let refusing = listeners
        .iter()
        .filter(|listener| !defaults.contains_key(listener))
        .cloned()
        .collect();
    let shared = web_server::shared(&listeners, &refusing, context);
    for (outcome, site) in outcomes.iter_mut().zip(&sites) {
        if let (Ok(parts), Ok(site)) = (outcome, site) {
            parts.extend(shared.iter().cloned());
            parts.push(web_server::site(
                site.name,
                site.content(context),
                site.spec.certificate.as_deref(),
            ));
            parts.push(web_server::service(
                &web_server::site_path(site.name),
                &listeners,
            ));
        }
    }
    outcomes
}

/// A site with all that its text needs.
struct Site<'a> {
    name: &'a str,
    spec: &'a ReverseProxySpec,
    certificate: Option<(&'a str, &'a CertificateSpec)>,
    listeners: Vec<Listener>,
    target: Answer,
    paths: Vec<(&'a str, Answer)>,
}

/// What nginx does with a request.
enum Answer {
    /// Sends it to this `ADDRESS:PORT`.
    Proxy(String),
    /// Serves files of this folder.
    Files(String),
    /// Sends the client to this URL.
    Redirect(String),
    /// The endpoint's host has errors, so this host is held.
    Unknown,
}

impl<'a> Site<'a> {
    fn of(
        one: &TypedResource<'a, ReverseProxySpec>,
        context: &ExpandContext<'a>,
    ) -> Result<Self, Problem> {
        let spec = one.spec;
        let certificate = spec.certificate.as_deref();
        let certificate = certificate.and_then(|name| Some((name, context.certificate(name)?)));
        let mut listeners = Vec::new();
        for address in addresses(spec, context)? {
            for protocol in protocols(spec) {
                listeners.push(Listener {
                    address: address.clone(),
                    protocol: *protocol,
                });
            }
        }
        let paths = spec
            .paths
            .iter()
            .map(|(path, target)| Ok((path.as_str(), answer("paths", target, context)?)));
        Ok(Self {
            name: one.name,
            spec,
            certificate,
            listeners,
            target: answer("to", &spec.target(), context)?,
            paths: paths.collect::<Result<_, Problem>>()?,
        })
    }

    fn content(&self, context: &ExpandContext<'_>) -> String {
        let mut text = String::from("# Written by plumb.\n");
        let redirects = self.spec.certificate.is_some()
            && self.spec.http.unwrap_or_default() == PlainHttp::Redirect;
        if redirects {
            self.open(&mut text, &[Protocol::Http], context);
            text.push_str(
                "    location / {\n        return 301 https://$host$request_uri;\n    }\n}\n",
            );
            self.open(&mut text, &[Protocol::Https], context);
        } else {
            self.open(&mut text, &[Protocol::Http, Protocol::Https], context);
        }
        self.body(&mut text, context);
        text.push_str("}\n");
        text
    }

    /// Begins a server that answers in these protocols.
    fn open(&self, text: &mut String, protocols: &[Protocol], context: &ExpandContext<'_>) {
        text.push_str("server {\n");
        let fallback = if self.spec.default {
            Fallback::ThisSite
        } else {
            Fallback::OtherSite
        };
        let here = |one: &&Listener| protocols.contains(&one.protocol);
        for one in self.listeners.iter().filter(here) {
            text.push_str(&one.line(fallback, context));
        }
        let _ = writeln!(text, "    server_name {};", self.name);
        let webroot = self
            .certificate
            .and_then(|(_, spec)| spec.acme.as_ref()?.http.as_ref()?.webroot.as_ref());
        if let (Some(folder), true) = (webroot, protocols.contains(&Protocol::Http)) {
            let _ = writeln!(
                text,
                "    location ^~ /.well-known/acme-challenge/ {{\n        root {folder};\n    }}"
            );
        }
    }

    fn body(&self, text: &mut String, context: &ExpandContext<'_>) {
        if let Some((name, certificate)) = self.certificate {
            if context.is_debian(13) {
                text.push_str("    http2 on;\n");
            }
            let _ = write!(
                text,
                "    ssl_certificate {};\n    ssl_certificate_key {};\n",
                certificate.path(name),
                certificate.key_path(name)
            );
        }
        if let Some(size) = self.spec.max_body {
            let _ = writeln!(text, "    client_max_body_size {};", size.bytes());
        }
        for (header, value) in &self.spec.headers {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(text, "    add_header {header} \"{value}\" always;");
        }
        for (path, answer) in &self.paths {
            let prefix = path.strip_suffix('/').unwrap_or(path);
            if let Answer::Files(folder) = answer {
                let _ = write!(
                    text,
                    "    location = {prefix} {{\n        return 301 $uri/;\n    }}\n    location ^~ {prefix}/ {{\n        alias {folder}/;\n    }}\n"
                );
            } else {
                location(text, &format!("= {prefix}"), answer);
                location(text, &format!("^~ {prefix}/"), answer);
            }
        }
        location(text, "/", &self.target);
    }
}

/// Adds a location with its answer.
fn location(text: &mut String, location: &str, answer: &Answer) {
    let _ = writeln!(text, "    location {location} {{");
    match answer {
        Answer::Proxy(address) => {
            let _ = write!(text, "        proxy_pass http://{address};\n{PROXY}");
        }
        Answer::Files(folder) => {
            let _ = write!(text, "        root {folder};\n        index index.html;\n");
        }
        Answer::Redirect(url) => {
            let _ = writeln!(text, "        return 301 {url};");
        }
        Answer::Unknown => {}
    }
    text.push_str("    }\n");
}

/// What an endpoint learns of the client.
const PROXY: &str = "        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $plumb_connection;
";

/// Returns the protocols in which a site answers.
fn protocols(spec: &ReverseProxySpec) -> &'static [Protocol] {
    match (&spec.certificate, spec.http.unwrap_or_default()) {
        (None, _) => &[Protocol::Http],
        (Some(_), PlainHttp::Closed) => &[Protocol::Https],
        (Some(_), PlainHttp::Redirect | PlainHttp::Serve) => &[Protocol::Http, Protocol::Https],
    }
}

/// Returns the addresses at which a site listens, as nginx writes them.
fn addresses(spec: &ReverseProxySpec, context: &ExpandContext<'_>) -> Result<Vec<String>, Problem> {
    let networks: Vec<String> = spec
        .on
        .zones()
        .iter()
        .filter_map(|zone| match zone {
            Zone::Network(name) => Some(name.clone()),
            Zone::Interface(_) => None,
        })
        .collect();
    let all = if spec.on == EndpointOn::Everywhere {
        vec!["0.0.0.0".to_owned(), "::".to_owned()]
    } else if networks.is_empty() {
        vec!["127.0.0.1".to_owned(), "::1".to_owned()]
    } else {
        context.addresses(&networks)?
    };
    let written = |address: String| {
        if address.contains(':') {
            format!("[{address}]")
        } else {
            address
        }
    };
    Ok(all.into_iter().map(written).collect())
}

/// Returns the answer that a target stands for.
fn answer(
    field: &'static str,
    target: &WebTarget,
    context: &ExpandContext<'_>,
) -> Result<Answer, Problem> {
    if let Some(to) = &target.to {
        let address = context.endpoint(field, to)?;
        return Ok(address.map_or(Answer::Unknown, Answer::Proxy));
    }
    if let Some(root) = &target.root {
        return Ok(Answer::Files(root.clone()));
    }
    let url = target.redirect.clone().unwrap_or_default();
    let is_bare = url
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.contains(['/', '?', '#']));
    Ok(Answer::Redirect(if is_bare {
        format!("{url}$request_uri")
    } else {
        url
    }))
}
