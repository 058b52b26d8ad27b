//! dnsmasq, as `dns` and `dhcp` use it: for each network a service of its own, so that each network has its own
//! view of names.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::Problem;

use super::{ExpandContext, Part};
use crate::manifest::HostNetwork;

const PACKAGE: &str = "dnsmasq-base";
const PROGRAM: &str = "/usr/sbin/dnsmasq";

/// The server of one network on a host.
pub(super) struct Server<'a> {
    pub(super) network: &'a str,
    /// The host's place in the network.
    pub(super) place: &'a HostNetwork,
}

/// A file of names or reservations, which the service reads again when it reloads.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl<'a> Server<'a> {
    /// Returns the server of a network in which the host has an address.
    pub(super) fn of(
        field: &'static str,
        network: &'a str,
        context: &ExpandContext<'a>,
    ) -> Result<Self, Problem> {
        let place = context.facts.networks.get(network);
        match place.filter(|place| place.address().is_some()) {
            Some(place) => Ok(Self { network, place }),
            None => Err(Problem {
                field,
                message: format!("the host has no address in the network `{network}`"),
                hint: "add it under `networks`, with an `id`".to_owned(),
            }),
        }
    }

    fn folder(&self) -> String {
        format!("/etc/dnsmasq-{}.d", self.network)
    }

    /// Returns the path of a file of this server.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }

    /// Returns the parts for one of the server's two purposes: its configuration, and the table that belongs to
    /// it. What both purposes share is the same in both.
    pub(super) fn parts(
        &self,
        purpose: &str,
        text: String,
        table: Table,
        context: &ExpandContext<'_>,
    ) -> Vec<Part> {
        let unit = format!("dnsmasq-{}", self.network);
        let shared = self.path("network.conf");
        let own = self.path(&format!("{purpose}.conf"));
        let listed = self.path(table.name);
        let configuration = |path: &str, text: String| {
            Part::root_file(path)
                .field("content", text)
                .field("validate", vec!["dnsmasq", "--test", "-C", "%s"])
                .field("after", vec![format!("package:{PACKAGE}")])
        };
        let unit_file = format!("unit:{unit}.service");
        vec![
            Part::new(Kind::Package, PACKAGE),
            Part::new(Kind::Directory, self.folder()),
            configuration(&shared, self.content(context)),
            configuration(&own, text),
            Part::root_file(&listed).field("content", table.text),
            Part::new(Kind::Unit, format!("{unit}.service")).field("content", self.unit()),
            Part::new(Kind::Service, &unit)
                .field("state", "started")
                .field("enabled", true)
                .field(
                    "restartOn",
                    vec![format!("file:{shared}"), format!("file:{own}"), unit_file],
                )
                .field("reloadOn", vec![format!("file:{listed}")])
                .field("after", vec![format!("package:{PACKAGE}")]),
        ]
    }

    /// Returns the configuration that both purposes share.
    fn content(&self, context: &ExpandContext<'_>) -> String {
        let mut text = String::from("# Written by plumb.\nbind-dynamic\n");
        match &self.place.interface {
            Some(interface) if context.leases(self.network) => {
                let _ = write!(text, "interface={interface}\nexcept-interface=lo\n");
            }
            _ => {
                for address in [&self.place.ipv4, &self.place.ipv6].into_iter().flatten() {
                    let _ = writeln!(text, "listen-address={address}");
                }
            }
        }
        let _ = writeln!(text, "pid-file=/run/dnsmasq-{}.pid", self.network);
        if let Some(domain) = context.domain() {
            let _ = writeln!(text, "domain={domain}");
        }
        if !context.resolves(self.network) {
            text.push_str("port=0\n");
        }
        text
    }

    fn unit(&self) -> String {
        format!(
            "# Written by plumb.\n[Unit]\nDescription=dnsmasq in the network {}\nAfter=network.target\nBefore=nss-lookup.target\nStartLimitIntervalSec=60\nStartLimitBurst=5\n\n[Service]\nExecStart={PROGRAM} --keep-in-foreground --conf-file=/dev/null --conf-dir={},*.conf\nExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=5\n\n[Install]\nWantedBy=multi-user.target\n",
            self.network,
            self.folder()
        )
    }
}
