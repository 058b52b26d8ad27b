//! nginx, as every name that it serves on a host needs it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use plumb_api::Kind;

use super::{ExpandContext, Part};

/// The package and the service.
pub(super) const NGINX: &str = "nginx";

/// The file with what all names share.
const SHARED: &str = "/etc/nginx/conf.d/plumb.conf";

/// The folder with a file for each name.
const SITES: &str = "/etc/nginx/sites-enabled";

/// Debian's own site, which would answer for names that aren't published.
const DEBIAN_SITE: &str = "/etc/nginx/sites-enabled/default";

/// The command that takes Debian's own site away from a new nginx.
const CLEAR: &str = "nginx-default-site";

/// The protocol in which nginx answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http,
    Https,
}

impl Protocol {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An address at which nginx listens, in the form of its `listen` directive, such as `192.0.2.1` or `[::]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    pub(super) address: String,
    pub(super) protocol: Protocol,
}

/// The site that answers at a listener for names which no site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// This site.
    ThisSite,
    /// Another site, or the one that refuses.
    OtherSite,
}

impl Listener {
    /// Returns the line for a site.
    pub(super) fn line(&self, fallback: Fallback, context: &ExpandContext<'_>) -> String {
        let mut line = format!("    listen {}:{}", self.address, self.protocol.port());
        if self.protocol == Protocol::Https {
            line.push_str(" ssl");
            // nginx 1.25 made HTTP/2 a directive of its own.
            if !context.is_debian(13) {
                line.push_str(" http2");
            }
        }
        if fallback == Fallback::ThisSite {
            line.push_str(" default_server");
        }
        line.push_str(";\n");
        line
    }
}

/// Returns the path of a name's file. A `*` becomes `_`, which no DNS name has.
pub(super) fn site_path(name: &str) -> String {
    format!("{SITES}/{}", name.replace('*', "_"))
}

/// Returns a site's file, which nginx must accept together with all others.
pub(super) fn site(name: &str, content: String, certificate: Option<&str>) -> Part {
    let mut after = vec![
        "package:nginx".to_owned(),
        format!("file:{SHARED}"),
        format!("command:{CLEAR}"),
    ];
    after.extend(certificate.map(|name| format!("certificate:{name}")));
    Part::root_file(site_path(name))
        .field("content", content)
        .field("validate", vec!["nginx", "-t"])
        .field("after", after)
}

/// Returns the parts that every site shares. `refusing` are those of all listeners at which unknown names are
/// refused.
pub(super) fn shared(
    listeners: &BTreeSet<Listener>,
    refusing: &BTreeSet<Listener>,
    context: &ExpandContext<'_>,
) -> Vec<Part> {
    // Without this, an address that a tunnel brings up later would keep nginx from starting at all.
    let bind = |family: &str| {
        Part::new(Kind::Sysctl, format!("net.{family}.ip_nonlocal_bind")).field("value", "1")
    };
    let mut parts: Vec<Part> = families(listeners).map(bind).collect();
    parts.extend([
        Part::new(Kind::Package, NGINX),
        Part::new(Kind::Link, DEBIAN_SITE)
            .field("state", "absent")
            .field("after", vec!["package:nginx"]),
        // A plan that installs nginx doesn't see the link that the package makes.
        Part::new(Kind::Command, CLEAR)
            .field("run", vec!["/usr/bin/rm", "-f", DEBIAN_SITE])
            .field("refreshOn", vec!["package:nginx"])
            .field("after", vec![format!("link:{DEBIAN_SITE}")]),
        Part::root_file(SHARED)
            .field("content", shared_content(refusing, context))
            .field("after", vec!["package:nginx"]),
    ]);
    parts
}

/// Returns the families of the addresses, as `sysctl` names them.
fn families(listeners: &BTreeSet<Listener>) -> impl Iterator<Item = &'static str> {
    let any = |is_v6: bool| {
        listeners
            .iter()
            .any(|one| one.address.starts_with('[') == is_v6)
    };
    [("ipv4", any(false)), ("ipv6", any(true))]
        .into_iter()
        .filter_map(|(family, is_there)| is_there.then_some(family))
}

fn shared_content(refusing: &BTreeSet<Listener>, context: &ExpandContext<'_>) -> String {
    let mut text = String::from(
        "# Written by plumb.\nserver_names_hash_bucket_size 128;\n# A request that isn't for a WebSocket may keep its connection.\nmap $http_upgrade $plumb_connection {\n    default upgrade;\n    '' '';\n}\n",
    );
    for (protocol, refusal) in [
        (Protocol::Http, "return 404;"),
        (Protocol::Https, "ssl_reject_handshake on;"),
    ] {
        let listeners: Vec<&Listener> = refusing
            .iter()
            .filter(|one| one.protocol == protocol)
            .collect();
        if listeners.is_empty() {
            continue;
        }
        text.push_str("# Names that aren't published.\nserver {\n");
        for one in listeners {
            text.push_str(&one.line(Fallback::ThisSite, context));
        }
        let _ = write!(text, "    server_name _;\n    {refusal}\n}}\n");
    }
    text
}

/// Returns the service, which reloads when the file of a site changes.
pub(super) fn service(path: &str, listeners: &BTreeSet<Listener>) -> Part {
    let inputs = vec![
        format!("file:{SHARED}"),
        format!("link:{DEBIAN_SITE}"),
        format!("file:{path}"),
    ];
    let binds = families(listeners).map(|family| format!("sysctl:net.{family}.ip_nonlocal_bind"));
    let after: Vec<String> = binds.chain(["package:nginx".to_owned()]).collect();
    Part::new(Kind::Service, NGINX)
        .field("state", "started")
        .field("enabled", true)
        .field("reloadOn", inputs)
        .field("after", after)
}
