//! Addresses of Alertmanagers.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::LoginUrl;

/// The address of an Alertmanager. Its path may contain a token, as the addresses of webhooks do, so its
/// `Display`, `Debug` and `Serialize` forms show only the scheme, the host and the port. Only
/// [`AlertmanagerUrl::reveal`] returns the whole address, for the client that posts the alerts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(from = "String")]
pub struct AlertmanagerUrl(LoginUrl);

impl AlertmanagerUrl {
    /// Wraps an address. A slash at its end makes no difference.
    pub fn new(address: impl AsRef<str>) -> Self {
        Self(LoginUrl::new(address.as_ref().trim_end_matches('/')))
    }

    /// True if both addresses are of one Alertmanager, whatever login they contain.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |url: &Self| url.0.to_string().trim_end_matches('/').to_owned();
        place(self) == place(other)
    }

    /// Removes this address's path from a text, such as a page about an error that quotes the request.
    pub fn mask_path_in(&self, text: &str) -> String {
        let shown = self.0.to_string();
        let path = shown.strip_prefix(&self.to_string()).unwrap_or_default();
        match path.trim_matches('/') {
            "" => text.to_owned(),
            secret => text.replace(secret, "…"),
        }
    }

    /// Returns the whole address. It must not be printed, logged or stored.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl From<String> for AlertmanagerUrl {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

impl fmt::Display for AlertmanagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.to_string();
        let start = shown.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = shown.split_at(start);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // Without a scheme, `LoginUrl` can't tell a login from a user name.
        let host = rest[..end].rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}{host}")
    }
}

impl fmt::Debug for AlertmanagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for AlertmanagerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_host_and_port_alone() {
        for (address, shown) in [
            (
                "https://hooks.example/services/T0K/EN",
                "https://hooks.example",
            ),
            (
                "http://bob:pw@am.example:9093/T0KEN/?k=T0KEN#T0KEN",
                "http://am.example:9093",
            ),
            ("http://[::1]:9093/T0KEN", "http://[::1]:9093"),
            ("http://am.example:9093", "http://am.example:9093"),
            ("bob:pw@am.example:9093/T0KEN", "am.example:9093"),
        ] {
            let url = AlertmanagerUrl::new(address);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }

    #[test]
    fn paths_tell_alertmanagers_apart_and_logins_do_not() {
        let one = AlertmanagerUrl::new("http://am.example/one/");
        assert!(one.is_same(&AlertmanagerUrl::new("http://bob:pw@am.example/one")));
        assert!(!one.is_same(&AlertmanagerUrl::new("http://am.example/two")));
    }

    #[test]
    fn masks_its_path_in_an_answer_that_quotes_it() {
        let url = AlertmanagerUrl::new("http://am.example/hook/T0KEN");
        let answer = url.mask_path_in("Cannot POST /hook/T0KEN/api/v2/alerts");
        assert_eq!(answer, "Cannot POST /…/api/v2/alerts");
        let plain = AlertmanagerUrl::new("http://am.example");
        assert_eq!(plain.mask_path_in("/api"), "/api");
    }
}
