//! `reverseProxy`: a name for which a web server answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::is_certificate_name;
use super::check_path;
use super::composite::{Composite, Named};
use super::contract::Problem;
use super::field::Manage;
use super::firewall::Zone;
use crate::address::{AnyAddress, AnyKind};
use crate::kind::EndpointOn;
use crate::resource::CompositeKind;
use crate::size::Size;

/// A name for which nginx answers on this host. Exactly one of `to`, `root` and `redirect` says how. `publish`
/// of a Host makes the same resource, and gives the name to every `dns` of the fleet.
///
/// It expands to the package `nginx`, a file for each name in `/etc/nginx/sites-enabled`, a file
/// `/etc/nginx/conf.d/plumb.conf` that refuses names which aren't published, and the service, which reloads.
/// The agent accepts new files only if `nginx -t` accepts all of them together. Debian's default site goes.
///
/// An endpoint gets the request with its own path, the headers `Host`, `X-Real-IP`, `X-Forwarded-For`,
/// `X-Forwarded-Host` and `X-Forwarded-Proto`, and may switch to a `WebSocket`. nginx also starts while an
/// address isn't on the host yet, because `net.ipv4.ip_nonlocal_bind` and that of IPv6 are set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReverseProxySpec {
    /// The endpoint that gets the requests: `HOST/INSTANCE.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A folder on this host whose files are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The URL that clients are sent to. One without a path keeps the path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// The networks in which nginx answers, on the host's addresses there. `[]` is the loopback interface
    /// alone, `"*"` every interface.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub on: EndpointOn,
    /// The name of a `certificate` resource of this host. Without one, the name is served without TLS on port
    /// 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// With a certificate, what port 80 does: `redirect` (default) to HTTPS, `serve` the same, or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<PlainHttp>,
    /// Other answers for prefixes of the path: `/api: {to: HOST/INSTANCE.NAME}`, or `root` or `redirect`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, WebTarget>,
    /// `true`: nginx also answers so for names that aren't published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Headers of every response.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The largest body of a request; nginx's own default (1 MiB) when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub max_body: Option<Size>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// What port 80 does for a name with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PlainHttp {
    /// It sends clients to HTTPS.
    #[default]
    Redirect,
    /// It serves the same without TLS.
    Serve,
    /// It doesn't answer.
    Closed,
}

/// The answer to requests: exactly one of `to`, `root` and `redirect`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebTarget {
    /// The endpoint that gets the requests: `HOST/INSTANCE.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A folder on this host whose files are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The URL that clients are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
}

impl WebTarget {
    /// Returns the field with a mistake, the mistake, and the right form.
    fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        let given = [&self.to, &self.root, &self.redirect];
        if given.into_iter().flatten().count() != 1 {
            let message = "exactly one of `to`, `root` and `redirect` is required".to_owned();
            return Some(("to", message, "write to: HOST/INSTANCE.NAME"));
        }
        if let Some(root) = &self.root {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
            let message = check_path(root)
                .err()
                .or_else(|| (!root.chars().all(plain)).then(|| "nginx can't take it".to_owned()));
            if let Some(message) = message {
                let message = format!("`{root}`: {message}");
                return Some(("root", message, "write root: /srv/www"));
            }
        }
        if self.redirect.as_deref().is_some_and(|url| !is_url(url)) {
            let message = "`redirect` must be a URL".to_owned();
            return Some((
                "redirect",
                message,
                "write redirect: https://www.fleet.example",
            ));
        }
        None
    }
}

/// True if a text is a URL that nginx takes as it is.
fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let good = |c: char| c.is_ascii_graphic() && !"\"';{}$\\".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(good))
}

/// True if a text is the prefix of a path that nginx takes as it is.
fn is_prefix(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "/._-~%+@".contains(c);
    text.len() > 1 && text.starts_with('/') && text.chars().all(good) && !text.contains("//")
}

impl ReverseProxySpec {
    /// Returns the answer to requests that no prefix in `paths` matches.
    pub fn target(&self) -> WebTarget {
        WebTarget {
            to: self.to.clone(),
            root: self.root.clone(),
            redirect: self.redirect.clone(),
        }
    }

    /// Returns the certificate's resource.
    pub fn certificate_address(&self) -> Option<AnyAddress> {
        let name = self.certificate.as_ref()?;
        format!("{}:{name}", CompositeKind::Certificate.as_str())
            .parse()
            .ok()
    }
}

impl Composite for ReverseProxySpec {
    const EXAMPLE: &'static str = r"reverseProxy:
  metrics.fleet.example: {to: web/host.prometheus, on: [wg], maxBody: 8MiB}
  www.fleet.example: {root: /srv/www, on: [wg], paths: {/metrics: {to: web/host.prometheus}}}
";

    const SETS: &'static [&'static str] = &["after"];

    fn check_name(name: &str) -> Result<(), String> {
        if is_certificate_name(name) && !name.contains(|c: char| c.is_ascii_uppercase()) {
            Ok(())
        } else {
            Err(
                "a name is a DNS name in lower case, such as www.fleet.example, or one after `*.`"
                    .to_owned(),
            )
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        if let Some((field, message, hint)) = self.target().problem() {
            wrong(field, message, hint);
        }
        for (path, target) in &self.paths {
            if !is_prefix(path) {
                let message = format!("`{path}` isn't the prefix of a path");
                wrong(
                    "paths",
                    message,
                    "write paths: {/api: {to: HOST/INSTANCE.NAME}}",
                );
            }
            if let Some((_, message, _)) = target.problem() {
                let hint = "write paths: {/api: {to: HOST/INSTANCE.NAME}}";
                wrong("paths", format!("`{path}`: {message}"), hint);
            }
        }
        let interface = |zone: &&Zone| matches!(zone, Zone::Interface(_));
        if let Some(zone) = self.on.zones().iter().find(interface) {
            let message = format!("`{zone}` isn't a network, so its addresses aren't known");
            wrong("on", message, "write on: [lan], or on: \"*\"");
        }
        if self.certificate.is_some() && self.certificate_address().is_none() {
            let message = "this isn't the name of a certificate".to_owned();
            wrong("certificate", message, "write certificate: wildcard");
        }
        if self.http.is_some() && self.certificate.is_none() {
            let message = "`http` needs a certificate".to_owned();
            wrong("http", message, "add `certificate`, or remove `http`");
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let header = |(name, value): (&String, &String)| {
            !name.is_empty()
                && name.bytes().all(token)
                && !value.contains(|c: char| c.is_control() || c == '$')
        };
        if !self.headers.iter().all(header) {
            let message =
                "a header is a name of letters, digits and `-`, and a line without `$`".to_owned();
            let hint = "write headers: {Strict-Transport-Security: max-age=31536000}";
            wrong("headers", message, hint);
        }
        problems
    }

    fn names(&self) -> Vec<Named> {
        let named = |address: AnyAddress| Named {
            field: "certificate",
            any_of: vec![address],
        };
        let is_certificate =
            |address: &AnyAddress| address.kind() == AnyKind::Composite(CompositeKind::Certificate);
        self.certificate_address()
            .filter(is_certificate)
            .map(named)
            .into_iter()
            .collect()
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_nginx_would_read_into_are_refused() {
        for good in ["https://www.example", "http://a.example:8080/x?y=1&z"] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "www.example",
            "https://",
            "https:///x",
            "https://a;b",
            "https://a$uri",
            "https://a b",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
        for good in ["/api", "/api/v1/"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["/", "api", "/a b", "/a;b", "/a//b", "/{x}"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
