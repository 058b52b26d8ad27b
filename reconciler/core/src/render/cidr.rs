//! Subnets in templates: `cidr('192.0.2.0/24').host(5)`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use minijinja::value::{Object, from_args};
use minijinja::{Error, ErrorKind, State, Value as Jinja};

/// A subnet as templates see it.
#[derive(Debug)]
struct Cidr(IpNet);

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Returns the subnet that a text names. Bits after the prefix are cleared; an address alone is a subnet of one.
pub(super) fn cidr(text: &str) -> Result<Jinja, Error> {
    let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
    match text.parse::<IpNet>().ok().or_else(address) {
        Some(net) => Ok(Jinja::from_object(Cidr(net.trunc()))),
        None => Err(wrong(format!(
            "`{text}` isn't a subnet such as 192.0.2.0/24 or 2001:db8::/64"
        ))),
    }
}

/// Returns the number of addresses less one, and the first address as a number.
fn bounds(net: IpNet) -> (u128, u128) {
    let free = u32::from(net.max_prefix_len() - net.prefix_len());
    let last = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    (number(net.network()), last)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(net: IpNet, number: u128) -> Option<IpAddr> {
    match net {
        IpNet::V4(_) => u32::try_from(number).ok().map(|v4| IpAddr::V4(v4.into())),
        IpNet::V6(_) => Some(IpAddr::V6(number.into())),
    }
}

impl Cidr {
    /// Returns the address of this number in the subnet; negative ones count from its end.
    fn host(&self, index: i64) -> Result<String, Error> {
        let (first, last) = bounds(self.0);
        let steps = u128::from(index.unsigned_abs());
        let offset = if index < 0 {
            last.checked_sub(steps - 1)
        } else {
            Some(steps).filter(|steps| *steps <= last)
        };
        offset
            .and_then(|offset| address(self.0, first.checked_add(offset)?))
            .map(|address| address.to_string())
            .ok_or_else(|| wrong(format!("{} has no address {index}", self.0)))
    }

    /// Returns the subnet of this number among those with a longer prefix.
    fn subnet(&self, prefix: u8, index: u32) -> Result<Jinja, Error> {
        let none = || {
            wrong(format!(
                "{} has no subnet {index} with the prefix {prefix}",
                self.0
            ))
        };
        if prefix < self.0.prefix_len() || prefix > self.0.max_prefix_len() {
            return Err(none());
        }
        let (first, last) = bounds(self.0);
        let free = u32::from(self.0.max_prefix_len() - prefix);
        let size = 1_u128.checked_shl(free);
        let offset = match (index, size) {
            (0, _) => Some(0),
            (_, None) => None,
            (index, Some(size)) => size.checked_mul(u128::from(index)),
        };
        let start = offset.filter(|offset| *offset <= last).ok_or_else(none)?;
        let start = first
            .checked_add(start)
            .and_then(|one| address(self.0, one));
        let net = start.and_then(|start| IpNet::new(start, prefix).ok());
        net.map(|net| Jinja::from_object(Self(net)))
            .ok_or_else(none)
    }

    fn contains(&self, text: &str) -> Result<bool, Error> {
        let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
        let other = text.parse::<IpNet>().ok().or_else(address);
        other
            .map(|other| self.0.contains(&other))
            .ok_or_else(|| wrong(format!("`{text}` isn't an address or a subnet")))
    }
}

impl Object for Cidr {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let net = self.0;
        let text = |address: IpAddr| Jinja::from(address.to_string());
        Some(match key.as_str()? {
            "network" => text(net.network()),
            "netmask" => text(net.netmask()),
            "broadcast" => text(net.broadcast()),
            "prefix" => Jinja::from(net.prefix_len()),
            "family" => Jinja::from(if net.network().is_ipv4() { 4 } else { 6 }),
            _ => return None,
        })
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Jinja],
    ) -> Result<Jinja, Error> {
        match method {
            "host" => {
                let (index,): (i64,) = from_args(args)?;
                self.host(index).map(Jinja::from)
            }
            "subnet" => {
                let (prefix, index): (u8, u32) = from_args(args)?;
                self.subnet(prefix, index)
            }
            "contains" => {
                let (text,): (&str,) = from_args(args)?;
                self.contains(text).map(Jinja::from)
            }
            _ => Err(Error::new(
                ErrorKind::UnknownMethod,
                format!("a subnet has no `{method}`"),
            )),
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}
