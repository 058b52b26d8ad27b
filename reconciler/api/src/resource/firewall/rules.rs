//! The rules of a firewall, as objects of libnftables-json(5).
//!
//! Kernel and `nft` print rules in their own form, and the order of a set's elements isn't defined. So Plumb
//! writes rules in the form in which they are listed, and compares a [`RulesReading`], which doesn't depend on
//! handles and orders.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{FirewallSpec, Masquerade, Opening, Ping, Policy, ReversePath, Subnet, Zone};
use crate::canonical;
use crate::digest::Digest;
use crate::kind::Port;

/// The family of the table.
const FAMILY: &str = "inet";

/// The name of the table.
const TABLE: &str = "plumb";

/// The messages of `ICMPv6` without which a host loses its neighbours, routes and path MTU (RFC 4890, 4.4).
const ICMPV6: [&str; 9] = [
    "destination-unreachable",
    "packet-too-big",
    "time-exceeded",
    "parameter-problem",
    "mld-listener-query",
    "nd-router-solicit",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
];

/// Identifies the rules of a table: their number and a digest. Two tables with the same chains, rules and sets
/// have the same reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RulesReading(String);

impl fmt::Display for RulesReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RulesReading {
    /// Reads the objects of a listing of the table.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut chains: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
        let mut others: Vec<Value> = Vec::new();
        let mut count = 0;
        for (kind, body) in objects.into_iter().filter_map(only_entry) {
            let mut body = plain(body);
            if let Value::Object(fields) = &mut body {
                fields.remove("handle");
            }
            let name = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            match kind {
                "metainfo" => {}
                "rule" => {
                    count += 1;
                    chains.entry(name("chain")).or_default().1.push(body);
                }
                "chain" => chains.entry(name("name")).or_default().0.push(body),
                other => others.push(json!([other, body])),
            }
        }
        others.sort_by_cached_key(Value::to_string);
        let digest = Digest::of("nftables", &(chains, others));
        let digest = digest.map_or_else(|error| error.to_string(), |digest| digest.to_string());
        Self(format!("{count} rules ({digest:.16})"))
    }
}

/// Returns the only entry of an object.
fn only_entry(object: &Value) -> Option<(&str, &Value)> {
    let (kind, body) = object.as_object()?.iter().next()?;
    Some((kind, body))
}

/// Returns a value in which sets are sorted, and a set of one element is the element.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            if let (1, Some(Value::Array(items))) = (fields.len(), fields.get("set")) {
                return set(items.iter().map(plain).collect());
            }
            let plain = |(key, value): (&String, &Value)| (key.clone(), plain(value));
            Value::Object(fields.iter().map(plain).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// Returns a set of these elements, or the only element.
fn set(mut items: Vec<Value>) -> Value {
    items.sort_by_cached_key(|item| canonical::to_vec(item).unwrap_or_default());
    match items.as_slice() {
        [only] => only.clone(),
        _ => json!({ "set": items }),
    }
}

impl FirewallSpec {
    /// Returns the commands that replace the table in one transaction, in the form of `nft --json`.
    pub fn transaction(&self) -> Vec<Value> {
        let mut commands = Self::removal();
        let add = |object: Value| json!({ "add": object });
        commands.extend(self.objects().into_iter().map(add));
        commands
    }

    /// Returns the commands that delete the table, whether there is one or not.
    pub fn removal() -> Vec<Value> {
        vec![json!({"add": table()}), json!({"delete": table()})]
    }

    /// Returns the reading that a table with exactly the rules of this spec has.
    pub fn reading(&self) -> RulesReading {
        RulesReading::of(&self.objects())
    }

    /// True if this object of a listing is Plumb's table.
    pub fn is_table(object: &Value) -> bool {
        let body = &object["table"];
        body["family"] == FAMILY && body["name"] == TABLE
    }

    /// Returns the arguments of `nft` that list the table.
    pub fn listing() -> [&'static str; 5] {
        ["--json", "list", "table", FAMILY, TABLE]
    }

    /// Returns the table with its chains and rules.
    fn objects(&self) -> Vec<Value> {
        let mut objects = vec![table()];
        let mut rules = Vec::new();
        for chain in [
            self.reverse_path(),
            self.destination(),
            Some(self.input()),
            Some(self.forward()),
            self.postrouting(),
        ]
        .into_iter()
        .flatten()
        {
            objects.push(chain.head());
            rules.extend(chain.rules());
        }
        objects.extend(rules);
        objects
    }

    /// Returns the check of source addresses. Link-local and unspecified addresses have no route of their own.
    fn reverse_path(&self) -> Option<Chain> {
        let flags = match self.reverse_path {
            ReversePath::Strict => json!(["saddr", "mark", "iif"]),
            ReversePath::Loose => json!(["saddr", "mark"]),
            ReversePath::Off => return None,
        };
        let mut chain = Chain::new("reverse-path", Hook::Prerouting, Policy::Accept);
        let link_local = json!({"prefix": {"addr": "fe80::", "len": 10}});
        let ours = payload("ip6", "saddr", set(vec![json!("::"), link_local]));
        chain.rule([ours, accept()]);
        let missing = equal(&json!({"fib": {"result": "oif", "flags": flags}}), false);
        chain.rule([missing, drop_packet()]);
        Some(chain)
    }

    /// Returns the chain that sends connections to the machines that they are forwarded to.
    fn destination(&self) -> Option<Chain> {
        if self.forwards.is_empty() {
            return None;
        }
        let mut chain = Chain::new("destination", Hook::Destination, Policy::Accept);
        for forward in &self.forwards {
            let family = if forward.to.is_ipv4() { "ip" } else { "ip6" };
            for protocol in &forward.protocol {
                chain.rule([
                    interfaces("iifname", std::slice::from_ref(&forward.from)),
                    payload(protocol.as_str(), "dport", forward.port),
                    json!({"dnat": {"family": family, "addr": forward.to, "port": forward.to_port}}),
                ]);
            }
        }
        Some(chain)
    }

    fn input(&self) -> Chain {
        let mut chain = Chain::new("input", Hook::Input, self.input);
        chain.rule([meta("iifname", "lo"), accept()]);
        chain.rule([established(), accept()]);
        if self.ping == Ping::Drop {
            for protocol in ["icmp", "icmpv6"] {
                chain.rule([payload(protocol, "type", "echo-request"), drop_packet()]);
            }
        }
        if !self.trusted.is_empty() {
            chain.rule([interfaces("iifname", &self.trusted), accept()]);
        }
        if self.input == Policy::Accept {
            return chain;
        }
        let needed = set(ICMPV6.iter().map(|name| json!(name)).collect());
        chain.rule([payload("icmpv6", "type", needed), accept()]);
        let client = json!({"prefix": {"addr": "fe80::", "len": 64}});
        chain.rule([
            payload("ip6", "daddr", client),
            payload("udp", "dport", 546),
            accept(),
        ]);
        if self.ping == Ping::Answer {
            for protocol in ["icmp", "icmpv6"] {
                chain.rule([payload(protocol, "type", "echo-request"), accept()]);
            }
        }
        for opening in &self.open {
            opening
                .rules()
                .into_iter()
                .for_each(|rule| chain.rule(rule));
        }
        chain
    }

    fn forward(&self) -> Chain {
        let mut chain = Chain::new("forward", Hook::Forward, self.forward);
        if self.forward == Policy::Accept {
            return chain;
        }
        chain.rule([established(), accept()]);
        let status = json!({"ct": {"key": "status"}});
        let published = json!({"match": {"op": "in", "left": status, "right": "dnat"}});
        chain.rule([published, accept()]);
        if !self.trusted.is_empty() {
            chain.rule([interfaces("iifname", &self.trusted), accept()]);
        }
        for pair in &self.masquerade {
            let [from, to] = pair.interfaces();
            chain.rule([from, to, accept()]);
        }
        chain
    }

    fn postrouting(&self) -> Option<Chain> {
        if self.masquerade.is_empty() {
            return None;
        }
        let mut chain = Chain::new("postrouting", Hook::Postrouting, Policy::Accept);
        for pair in &self.masquerade {
            let [from, to] = pair.interfaces();
            let ipv4 = meta("nfproto", "ipv4");
            chain.rule([ipv4, from, to, json!({"masquerade": null})]);
        }
        Some(chain)
    }
}

impl Opening {
    /// Returns its rules: one for each protocol and each family of the sources.
    fn rules(&self) -> Vec<Vec<Value>> {
        let (v4, v6): (Vec<Subnet>, Vec<Subnet>) = self
            .from
            .iter()
            .partition(|subnet| subnet.address().is_ipv4());
        let sources = [("ip", v4), ("ip6", v6)];
        let mut sources: Vec<Option<Value>> = sources
            .into_iter()
            .filter(|(_, subnets)| !subnets.is_empty())
            .map(|(family, subnets)| Some(payload(family, "saddr", outermost(&subnets))))
            .collect();
        if sources.is_empty() {
            sources.push(None);
        }
        let mut rules = Vec::new();
        for source in sources {
            for protocol in &self.protocol {
                let mut rule = Vec::new();
                if !self.on.is_empty() {
                    rule.push(interfaces("iifname", &self.on));
                }
                rule.extend(source.clone());
                rule.push(payload(protocol.as_str(), "dport", merged(&self.ports)));
                rule.push(accept());
                rules.push(rule);
            }
        }
        rules
    }
}

impl Masquerade {
    fn interfaces(&self) -> [Value; 2] {
        [
            interfaces("iifname", std::slice::from_ref(&self.from)),
            interfaces("oifname", std::slice::from_ref(&self.to)),
        ]
    }
}

/// The place of a chain in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Prerouting,
    Destination,
    Input,
    Forward,
    Postrouting,
}

/// A chain and the expressions of its rules.
struct Chain {
    name: &'static str,
    hook: Hook,
    policy: Policy,
    rules: Vec<Vec<Value>>,
}

impl Chain {
    fn new(name: &'static str, hook: Hook, policy: Policy) -> Self {
        Self {
            name,
            hook,
            policy,
            rules: Vec::new(),
        }
    }

    fn rule(&mut self, expressions: impl IntoIterator<Item = Value>) {
        self.rules.push(expressions.into_iter().collect());
    }

    fn head(&self) -> Value {
        let (kind, hook, priority) = match self.hook {
            Hook::Prerouting => ("filter", "prerouting", -140),
            Hook::Destination => ("nat", "prerouting", -100),
            Hook::Input => ("filter", "input", 0),
            Hook::Forward => ("filter", "forward", 0),
            Hook::Postrouting => ("nat", "postrouting", 100),
        };
        let policy = match self.policy {
            Policy::Drop => "drop",
            Policy::Accept => "accept",
        };
        json!({"chain": {
            "family": FAMILY, "table": TABLE, "name": self.name,
            "type": kind, "hook": hook, "prio": priority, "policy": policy,
        }})
    }

    fn rules(self) -> impl Iterator<Item = Value> {
        let name = self.name;
        let rule = move |expressions: Vec<Value>| json!({"rule": {"family": FAMILY, "table": TABLE, "chain": name, "expr": expressions}});
        self.rules.into_iter().map(rule)
    }
}

fn table() -> Value {
    json!({"table": {"family": FAMILY, "name": TABLE}})
}

fn accept() -> Value {
    json!({"accept": null})
}

fn drop_packet() -> Value {
    json!({"drop": null})
}

fn equal(left: &Value, right: impl Into<Value>) -> Value {
    let right = right.into();
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn meta(key: &str, value: impl Into<Value>) -> Value {
    equal(&json!({"meta": {"key": key}}), value)
}

fn payload(protocol: &str, field: &str, value: impl Into<Value>) -> Value {
    equal(
        &json!({"payload": {"protocol": protocol, "field": field}}),
        value,
    )
}

fn established() -> Value {
    let states = set(vec![json!("established"), json!("related")]);
    equal(&json!({"ct": {"key": "state"}}), states)
}

fn interfaces(key: &str, zones: &[Zone]) -> Value {
    let names = zones.iter().map(|zone| json!(zone.interface())).collect();
    meta(key, set(names))
}

/// Returns the set of these ports. The kernel takes no ranges that overlap.
fn merged(ports: &[Port]) -> Value {
    let mut ranges: Vec<Port> = Vec::new();
    let mut sorted = ports.to_vec();
    sorted.sort();
    for port in sorted {
        match ranges.last_mut() {
            Some(last) if u32::from(port.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(port.last);
            }
            _ => ranges.push(port),
        }
    }
    let element = |port: &Port| {
        if port.first == port.last {
            json!(port.first)
        } else {
            json!({"range": [port.first, port.last]})
        }
    };
    set(ranges.iter().map(element).collect())
}

/// Returns the set of these subnets without those that lie in another one: the kernel takes none that overlap.
fn outermost(subnets: &[Subnet]) -> Value {
    let is_inner = |inner: &&Subnet| {
        subnets
            .iter()
            .any(|outer| outer != *inner && outer.contains(inner))
    };
    let element = |subnet: &Subnet| match subnet.prefix() {
        Some(prefix) => json!({"prefix": {"addr": subnet.address(), "len": prefix}}),
        None => json!(subnet.address()),
    };
    let outer = subnets.iter().filter(|subnet| !is_inner(subnet));
    set(outer.map(element).collect())
}
