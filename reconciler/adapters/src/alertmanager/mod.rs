//! Posts alerts to Alertmanager's API v2.
//!
//! Measured on Alertmanager 0.25: one bad alert makes the whole response a 400, although the good alerts
//! in the same request are accepted. So a rejected batch never keeps later batches from being sent.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use plumb_api::AlertmanagerUrl;
use plumb_core::alert::{Alert, CLOCK_TOLERANCE};
use plumb_core::ports::{AlertError, AlertSink, Posted};
use reqwest::{Client, StatusCode, Url, header};

/// The maximum number of alerts in one request.
const BATCH: usize = 256;

/// The maximum length of an error response that is kept, in bytes.
const BODY: usize = 512;

const TIMEOUT: Duration = Duration::from_secs(5);

/// One Alertmanager. Each member of a cluster needs its own sink: behind a load balancer, alerts get lost.
#[derive(Debug)]
pub struct Alertmanager {
    address: AlertmanagerUrl,
    endpoint: Url,
    client: Client,
    login: Option<Credentials>,
    /// How far the Alertmanager's clock is ahead of this machine's, according to its last response.
    offset: Mutex<SignedDuration>,
}

/// The credentials for an Alertmanager.
#[derive(Clone)]
pub enum Credentials {
    /// HTTP basic authentication.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// An address that can't be used for an Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertmanagerAddressError {
    /// Not a URL.
    #[error("the address of an Alertmanager isn't a URL: {0}; write it like http://127.0.0.1:9093")]
    NotUrl(String),
    /// Neither http nor https.
    #[error("the address of an Alertmanager must begin with http:// or https://, not {0}://")]
    Scheme(String),
    /// The HTTP client can't be created.
    #[error("can't create the HTTP client: {0}")]
    Client(String),
}

impl Alertmanager {
    /// Creates the sink for `http://HOST:PORT`, optionally with a path prefix. `USER:PASSWORD@` in the
    /// address is used to log in.
    pub fn new(address: AlertmanagerUrl) -> Result<Self, AlertmanagerAddressError> {
        let base = Url::parse(address.reveal())
            .map_err(|error| AlertmanagerAddressError::NotUrl(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(AlertmanagerAddressError::Scheme(base.scheme().to_owned()));
        }
        // reqwest sends the user and password of `endpoint` as a header.
        let mut endpoint = base.clone();
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        endpoint.set_path(&format!(
            "{}/api/v2/alerts",
            base.path().trim_end_matches('/')
        ));

        crate::tls::install_provider();
        let client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            // A redirected POST would be repeated as a GET and look like success.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("plumb/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AlertmanagerAddressError::Client(chain(&error)))?;
        Ok(Self {
            address,
            endpoint,
            client,
            login: None,
            offset: Mutex::new(SignedDuration::ZERO),
        })
    }

    /// Logs in with `login` instead of the user and password in the address.
    #[must_use]
    pub fn with_login(mut self, login: Credentials) -> Self {
        // These calls fail only for a URL without a host, and every http URL has one.
        let _ = self.endpoint.set_username("");
        let _ = self.endpoint.set_password(None);
        self.login = Some(login);
        self
    }

    /// Sends alerts whose times were computed at `now`. If the response shows that the Alertmanager's clock
    /// isn't as expected, sends them again with corrected times: with wrong times, the Alertmanager may take
    /// the alerts for resolved.
    async fn send(
        &self,
        batch: &[Alert],
        now: Timestamp,
    ) -> Result<Option<SignedDuration>, AlertError> {
        let begun = Instant::now();
        let expected = self.offset();
        let shown = self.send_once(&shifted(batch, expected)).await?;
        let passed = SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
        let Some(offset) = shown.map(|date| date.duration_since(now) - passed) else {
            return Ok(None);
        };
        if (offset - expected).abs() > CLOCK_TOLERANCE {
            *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = offset;
            self.send_once(&shifted(batch, self.offset())).await?;
        }
        Ok(Some(offset))
    }

    fn offset(&self) -> SignedDuration {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends alerts and returns the `Date` of the response.
    async fn send_once(&self, batch: &[Alert]) -> Result<Option<Timestamp>, AlertError> {
        let body = serde_json::to_vec(batch).map_err(|error| AlertError::Refused {
            status: 0,
            body: format!("can't write the alerts as JSON: {error}"),
        })?;
        let mut request = self
            .client
            .post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        request = match &self.login {
            Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password)),
            Some(Credentials::Bearer(token)) => request.bearer_auth(token),
            None => request,
        };
        let response = request
            .send()
            .await
            .map_err(|error| AlertError::Unreachable(describe(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(date(&response));
        }
        let said = self.address.mask_path_in(&read(response).await);
        if worth_retrying(status) {
            let what = if said.is_empty() {
                format!("it answered {status}")
            } else {
                format!("it answered {status}: {said}")
            };
            return Err(AlertError::Unreachable(what));
        }
        Err(AlertError::Refused {
            status: status.as_u16(),
            body: said,
        })
    }
}

impl AlertSink for Alertmanager {
    fn address(&self) -> &AlertmanagerUrl {
        &self.address
    }

    fn post<'a>(
        &'a self,
        alerts: &'a [Alert],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Posted, AlertError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut refused = None;
            let mut posted = Posted::default();
            for batch in alerts.chunks(BATCH) {
                let sent = (|| async {
                    let now = now.saturating_add(begun.elapsed()).unwrap_or(now);
                    self.send(batch, now).await
                })
                .retry(blips())
                .when(|error| matches!(error, AlertError::Unreachable(_)))
                .sleep(tokio::time::sleep);
                match sent.await {
                    Ok(offset) => posted.clock_offset = offset.or(posted.clock_offset),
                    Err(error @ AlertError::Unreachable(_)) => return Err(error),
                    Err(error @ AlertError::Refused { .. }) => {
                        refused.get_or_insert(error);
                    }
                }
            }
            refused.map_or(Ok(posted), Err)
        })
    }
}

/// Returns the alerts with their times moved by `offset`, unless `offset` is within [`CLOCK_TOLERANCE`].
fn shifted(batch: &[Alert], offset: SignedDuration) -> Cow<'_, [Alert]> {
    if offset.abs() <= CLOCK_TOLERANCE {
        return Cow::Borrowed(batch);
    }
    let moved = |at: Timestamp| at.saturating_add(offset).unwrap_or(at);
    let alerts = batch.iter().cloned().map(|alert| Alert {
        starts_at: moved(alert.starts_at),
        ends_at: moved(alert.ends_at),
        ..alert
    });
    Cow::Owned(alerts.collect())
}

/// Returns the time of a response: its `Date`, RFC 9110 section 6.6.1.
fn date(response: &reqwest::Response) -> Option<Timestamp> {
    let text = response.headers().get(header::DATE)?.to_str().ok()?;
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp())
}

/// Returns the retries for a short outage. During a longer one, the controller's loop resends all alerts
/// every minute.
fn blips() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_times(2)
        .with_jitter()
}

fn worth_retrying(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS
}

/// Reads an error response as one short line, for logs and the controller's page.
async fn read(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while body.len() <= BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(BODY + 1)]),
            Ok(None) | Err(_) => break,
        }
    }
    let whole = body.len() <= BODY;
    body.truncate(BODY);
    let text: String = String::from_utf8_lossy(&body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let text = text.trim();
    if whole {
        text.to_owned()
    } else {
        format!("{text}…")
    }
}

fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    chain(&error.without_url())
}

/// Returns the innermost cause; the outer layers only repeat that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
