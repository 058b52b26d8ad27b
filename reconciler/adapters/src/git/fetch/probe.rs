//! Sends another request to an HTTP server after a failed fetch, to explain the failure.

use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::{StatusCode, Url, header, redirect};

/// The time limit for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of redirects within one server that are followed.
const REDIRECTS: usize = 5;

/// A response that isn't that of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HttpAnswer {
    /// The server redirects to another host, port or scheme, to which no login is sent. The value is the new
    /// address without its query.
    Elsewhere(String),
    /// The server redirects without end.
    Circle,
    /// The server answers with a web page, as a sign-in page is.
    Page(String),
}

/// Requests the refs of a repository as git does, and follows redirects within the server. Returns `None` if
/// the response explains nothing.
pub(super) fn probe(address: &str) -> Option<HttpAnswer> {
    crate::tls::install_provider();
    let client = Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("git/2 plumb/", env!("CARGO_PKG_VERSION")))
        .build()
        .ok()?;
    let base = Url::parse(address).ok()?;
    let mut at = base.clone();
    at.set_path(&format!("{}/info/refs", base.path().trim_end_matches('/')));
    at.set_query(Some("service=git-upload-pack"));
    for _ in 0..REDIRECTS {
        // The user and password of the address are sent as a header; a redirect within the server keeps them.
        let answer = client.get(at.clone()).send().ok()?;
        let to = answer.headers().get(header::LOCATION);
        if answer.status().is_redirection()
            && let Some(to) = to.and_then(|to| to.to_str().ok())
        {
            let mut next = at.join(to).ok()?;
            if next.origin() != base.origin() {
                return Some(HttpAnswer::Elsewhere(shown(next)));
            }
            // These calls fail only for a URL without a host, and every http URL has one.
            let _ = next.set_username(base.username());
            let _ = next.set_password(base.password());
            at = next;
            continue;
        }
        let kind = answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
        let is_page = answer.status() == StatusCode::OK && kind.starts_with("text/html");
        return is_page.then(|| HttpAnswer::Page(shown(at)));
    }
    Some(HttpAnswer::Circle)
}

/// Returns an address in the form for people: without login, query, and the suffix that git adds.
fn shown(mut url: Url) -> String {
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    let text = url.to_string();
    text.strip_suffix("/info/refs").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Serves these answers, one per connection; returns the address and the requests.
    fn server(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 4096];
                let n = stream.read(&mut head).unwrap();
                heads.push(String::from_utf8_lossy(&head[..n]).into_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heads
        });
        (address, serving)
    }

    fn redirect(to: &str) -> String {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    }

    fn page() -> String {
        "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
    }

    #[test]
    fn sign_in_page_is_told_with_its_address() {
        let (address, serving) = server(vec![redirect("/users/sign_in"), page()]);
        let answer = probe(&format!("http://bob:s3cret@{address}/group/fleet.git"));
        assert_eq!(
            answer,
            Some(HttpAnswer::Page(format!("http://{address}/users/sign_in")))
        );
        let heads = serving.join().unwrap();
        assert!(heads[0].starts_with("GET /group/fleet.git/info/refs?service=git-upload-pack "));
        assert!(
            heads
                .iter()
                .all(|head| head.contains("authorization: Basic "))
        );
    }

    #[test]
    fn redirect_to_another_server_is_told_and_not_followed() {
        let to = "https://git.example:8443/group/fleet.git/info/refs?service=git-upload-pack";
        let (address, serving) = server(vec![redirect(to)]);
        let answer = probe(&format!("http://bob:s3cret@{address}/group/fleet"));
        let shown = "https://git.example:8443/group/fleet.git".to_owned();
        assert_eq!(answer, Some(HttpAnswer::Elsewhere(shown)));
        assert_eq!(serving.join().unwrap().len(), 1);
    }

    #[test]
    fn redirects_without_end_are_a_circle() {
        let (address, _) = server(vec![redirect("/x"); REDIRECTS]);
        assert_eq!(
            probe(&format!("http://{address}/x")),
            Some(HttpAnswer::Circle)
        );
    }
}
