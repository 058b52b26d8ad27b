//! Sysctl keys: their paths in the kernel, keys that set the same value, and keys that reset others.

use super::SysctlSpec;
use super::value::fold;
use crate::name::Address;
use crate::resource::Kind;

/// Pairs of keys that the kernel has for the same value. Plumb uses the second one to identify the value.
const ALIASES: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"),
    ("net/nf_conntrack_max", "net/netfilter/nf_conntrack_max"),
    ("vm/nr_hugepages_mempolicy", "vm/nr_hugepages"),
];

/// Pairs of keys that set the same limit in two units: setting one of them sets the other to zero.
const UNITS: &[(&str, &str)] = &[
    ("vm/dirty_bytes", "vm/dirty_ratio"),
    ("vm/dirty_background_bytes", "vm/dirty_background_ratio"),
    ("vm/overcommit_kbytes", "vm/overcommit_ratio"),
];

/// A key of one interface: `net/FAMILY/conf/INTERFACE/FIELD`.
struct InterfaceKey {
    /// The part before the interface, such as `net/ipv4/conf`.
    table: String,
    /// The interface, `all` or `default`. It has several parts if dots of the interface's name were written
    /// as separators.
    interface: Vec<String>,
    field: String,
}

impl InterfaceKey {
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        let [net, family, table, interface @ .., field] = parts.as_slice() else {
            return None;
        };
        let tables = ["conf", "neigh"].contains(table) && !interface.is_empty();
        let known = *net == "net" && ["ipv4", "ipv6", "mpls"].contains(family) && tables;
        known.then(|| Self {
            table: format!("{net}/{family}/{table}"),
            interface: interface.iter().map(|part| (*part).to_owned()).collect(),
            field: (*field).to_owned(),
        })
    }
}

impl SysctlSpec {
    /// Returns the key's path below `/proc/sys`. A key whose first separator is a `/` is that path already;
    /// otherwise `.` and `/` change places, as in sysctl.d(5).
    pub fn kernel_name(key: &str) -> String {
        if key.find('/').unwrap_or(key.len()) < key.find('.').unwrap_or(key.len()) {
            return key.to_owned();
        }
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    }

    /// Returns the path below `/proc/sys` that identifies the value which a key sets. Some values have two
    /// keys in the kernel, and setting one of them overwrites the other.
    pub fn kernel_value(key: &str, value: &str) -> String {
        let name = Self::kernel_name(key);
        let first = |pairs: &[(&str, &'static str)]| {
            pairs
                .iter()
                .find(|(second, _)| *second == name)
                .map(|(_, first)| (*first).to_owned())
        };
        if let Some(alias) = first(ALIASES) {
            return alias;
        }
        // With zero, the key in the other unit sets the limit.
        if let Some(limit) = first(UNITS).filter(|_| fold(value) != "0") {
            return limit;
        }
        // The neighbour tables have each time under two keys: in seconds or jiffies, and in milliseconds.
        match name.strip_suffix("_ms") {
            Some(short) if name.contains("/neigh/") => short.to_owned(),
            _ => name,
        }
    }

    /// Converts a path to a key: `/` between the parts becomes `.`, and `.` within a part becomes `/`.
    pub fn dotted(path: &str) -> String {
        path.chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect()
    }

    /// Returns the right spelling of a key in which dots of an interface's name were written as separators,
    /// or `None` for any other key.
    pub(super) fn spelling(key: &str) -> Option<String> {
        let one = InterfaceKey::of(&Self::kernel_name(key))?;
        let interface = one.interface.join(".");
        (one.interface.len() > 1)
            .then(|| Self::dotted(&format!("{}/{interface}/{}", one.table, one.field)))
    }

    /// Returns the interface that a key belongs to, or `None` if it isn't a key of one interface.
    pub fn interface(key: &str) -> Option<String> {
        let one = InterfaceKey::of(&Self::kernel_name(key))?;
        let interface = one.interface.join(".");
        let all = ["all", "default"].contains(&interface.as_str());
        (!all).then_some(interface)
    }

    /// Returns the keys that reset this key when they are set.
    pub(super) fn reset_by(key: &str) -> Vec<Address> {
        let path = Self::kernel_name(key);
        let Some(one) = InterfaceKey::of(&path).filter(|one| one.table.ends_with("/conf")) else {
            return Vec::new();
        };
        let interface = one.interface.join(".");
        let forwarding = one.table == "net/ipv4/conf"
            && (one.field == "forwarding" && interface != "all"
                || one.field == "accept_redirects" && interface == "all");
        let mut paths = Vec::new();
        if forwarding {
            paths.push("net/ipv4/ip_forward".to_owned());
            paths.push("net/ipv4/conf/all/forwarding".to_owned());
        }
        if interface != "all" {
            paths.push(format!("{}/all/{}", one.table, one.field));
        }
        if interface != "all" && interface != "default" {
            paths.push(format!("{}/default/{}", one.table, one.field));
        }
        paths
            .iter()
            .flat_map(|path| [path.clone(), Self::dotted(path)])
            .filter_map(|name| Address::new(Kind::Sysctl, &name).ok())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Returns the path of Plumb's own file for a key. systemd reads these files in the order of their names,
    /// so a key that another one resets has a later name.
    pub fn file(key: &str) -> String {
        let rank = if Self::reset_by(key).is_empty() {
            80
        } else {
            81
        };
        // A file's name can't contain `/`, and no key contains `+`.
        format!("/etc/sysctl.d/{rank}-plumb-{}.conf", key.replace('/', "+"))
    }

    /// Returns the path of the file that earlier versions wrote for a key, if it is another path.
    pub fn former_file(key: &str) -> Option<String> {
        let former = format!("/etc/sysctl.d/80-plumb-{}.conf", key.replace('/', "+"));
        (former != Self::file(key)).then_some(former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resets(key: &str) -> Vec<String> {
        let all = SysctlSpec::reset_by(key);
        all.iter()
            .map(|address| address.name().to_owned())
            .filter(|name| name.contains('.'))
            .collect()
    }

    #[test]
    fn paths_follow_the_first_separator() {
        let same = "net/ipv4/conf/ve.100/forwarding";
        assert_eq!(
            SysctlSpec::kernel_name("net.ipv4.conf.ve/100.forwarding"),
            same
        );
        assert_eq!(SysctlSpec::kernel_name(same), same);
        assert_eq!(SysctlSpec::dotted(same), "net.ipv4.conf.ve/100.forwarding");
    }

    #[test]
    fn dots_of_an_interface_are_spelled_right() {
        for (wrong, right) in [
            (
                "net.ipv4.conf.ve.100.forwarding",
                "net.ipv4.conf.ve/100.forwarding",
            ),
            (
                "net.ipv6.neigh.eth0.100.200.retrans_time_ms",
                "net.ipv6.neigh.eth0/100/200.retrans_time_ms",
            ),
        ] {
            assert_eq!(SysctlSpec::spelling(wrong).as_deref(), Some(right));
            assert_eq!(SysctlSpec::spelling(right), None);
        }
        assert_eq!(SysctlSpec::spelling("net.core.somaxconn"), None);
    }

    #[test]
    fn keys_that_others_reset_come_later() {
        assert_eq!(
            resets("net.ipv4.conf.a0.forwarding"),
            [
                "net.ipv4.conf.all.forwarding",
                "net.ipv4.conf.default.forwarding",
                "net.ipv4.ip_forward"
            ]
        );
        assert_eq!(
            resets("net.ipv6.conf.default.disable_ipv6"),
            ["net.ipv6.conf.all.disable_ipv6"]
        );
        for first in ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"] {
            assert!(resets(first).is_empty());
            let later = SysctlSpec::file("net.ipv4.conf.a0.forwarding");
            assert!(
                SysctlSpec::file(first) < later,
                "{later} is read before {first}'s"
            );
        }
    }
}
