//! Checks the host names in requests for the page.
//!
//! A malicious website can make its own host name resolve to this machine (DNS rebinding). The browser then
//! lets the website read the controller's page, and only the `Host` header of the requests shows it. So the
//! server refuses requests for unknown host names. An IP address can't be rebound, so the listening address
//! and the loopback addresses are always accepted.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// The accepted host names.
#[derive(Debug, Clone)]
pub(super) struct AllowedHosts {
    listen: IpAddr,
    /// The host in the page's configured address.
    configured: Option<String>,
}

impl AllowedHosts {
    /// Collects the host names of a listener. `url` is the page's configured address, if there is one.
    pub(super) fn new(listen: SocketAddr, url: Option<&str>) -> Self {
        let uri: Option<Uri> = url.and_then(|url| url.parse().ok());
        Self {
            listen: listen.ip(),
            configured: uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase)),
        }
    }

    /// True if a request for this host, given without its port, is accepted.
    fn answers(&self, asked: &str) -> bool {
        let asked = asked
            .strip_suffix('.')
            .unwrap_or(asked)
            .to_ascii_lowercase();
        if asked == "localhost" || self.configured.as_deref() == Some(asked.as_str()) {
            return true;
        }
        let literal = asked
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&asked);
        literal.parse::<IpAddr>().is_ok_and(|address| {
            // A listener on the unspecified address is reached at every address of this machine.
            self.listen.is_unspecified() || address == self.listen || address.is_loopback()
        })
    }

    fn refusal(&self, asked: &str) -> Response {
        let known = match &self.configured {
            Some(name) => format!("{name}, localhost and the address that it listens on"),
            None => "localhost and the address that it listens on".to_owned(),
        };
        let text = format!(
            "this Plumb controller answers to {known}, not to \"{}\"; set `url` in its configuration to add a name\n",
            asked.escape_default()
        );
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// Returns the host name that a request is for, without the port. Returns `None` if the request doesn't name
/// exactly one host.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::HOST).iter();
    let (first, more) = (all.next(), all.next());
    if more.is_some() {
        return None;
    }
    let header = match first {
        Some(value) => Some(
            value
                .to_str()
                .ok()?
                .parse::<axum::http::uri::Authority>()
                .ok()?,
        ),
        None => None,
    };
    match (uri.host(), header) {
        (None, Some(header)) => Some(header.host().to_owned()),
        (Some(host), None) => Some(host.to_owned()),
        // Proxies send both the URI's host and the header; the two must agree.
        (Some(host), Some(header)) => {
            (header.host().eq_ignore_ascii_case(host)).then(|| host.to_owned())
        }
        (None, None) => None,
    }
}

/// Refuses requests for host names that aren't accepted.
pub(super) async fn check(
    State(names): State<AllowedHosts>,
    request: Request,
    next: Next,
) -> Response {
    match host_of(request.uri(), request.headers()) {
        Some(host) if names.answers(&host) => next.run(request).await,
        host => names.refusal(&host.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listen: &str, url: Option<&str>) -> AllowedHosts {
        AllowedHosts::new(listen.parse().unwrap(), url)
    }

    #[test]
    fn addresses_and_the_configured_name_are_answered_and_no_others() {
        let here = names("127.0.0.1:9180", Some("https://Plumb.example:8443/fleet"));
        for asked in [
            "127.0.0.1",
            "127.0.0.2",
            "[::1]",
            "localhost",
            "LocalHost",
            "localhost.",
            "plumb.example",
        ] {
            assert!(here.answers(asked), "{asked}");
        }
        for asked in [
            "",
            "evil.example",
            "plumb.example.evil.example",
            "192.0.2.1",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[::2]",
            "0x7f000001",
        ] {
            assert!(!here.answers(asked), "{asked}");
        }
        let lan = names("192.0.2.7:9180", None);
        assert!(lan.answers("192.0.2.7") && lan.answers("127.0.0.1"));
        assert!(!lan.answers("192.0.2.8") && !lan.answers("plumb.example"));
        let all = names("[::]:9180", None);
        assert!(all.answers("192.0.2.8") && all.answers("[2001:db8::1]"));
        assert!(
            !all.answers("evil.example"),
            "a name can be pointed here, an address can't"
        );
    }

    #[test]
    fn exactly_one_host_is_read() {
        let host = |uri: &str, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::HOST, value.parse().unwrap());
            }
            host_of(&uri.parse().unwrap(), &headers)
        };
        assert_eq!(host("/", &["localhost:9180"]).as_deref(), Some("localhost"));
        assert_eq!(host("/", &["[::1]:9180"]).as_deref(), Some("[::1]"));
        assert_eq!(
            host("http://a.example/", &["a.example:80"]).as_deref(),
            Some("a.example")
        );
        assert_eq!(host("/", &[]), None);
        assert_eq!(host("/", &["localhost", "evil.example"]), None);
        assert_eq!(host("http://evil.example/", &["localhost"]), None);
        assert_eq!(host("/", &["a b"]), None);
    }
}
