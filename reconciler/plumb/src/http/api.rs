//! The routes and their handlers.

use std::sync::Arc;

use askama::Template as _;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use plumb_api::HostName;
use serde::Deserialize;

use super::metrics;
use super::view::{
    CommandRefusal, ControllerApi, ControllerCommand, Event, Fleet, HostObject, Items, Revision,
};
use crate::ui::{HostFilter, HostPage, Page};

type ApiState = State<Arc<dyn ControllerApi>>;

/// The read-only routes for anyone on the network: health, metrics, the page.
pub(super) fn public(view: Arc<dyn ControllerApi>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/hosts/{name}", get(host_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(view)
        .layer(axum::middleware::map_response(add_security_headers))
}

/// The routes for everyone who may open the socket: the public ones and the API, with commands.
pub(super) fn private(view: Arc<dyn ControllerApi>) -> Router {
    Router::new()
        .route("/api/v1/fleet", get(fleet))
        .route("/api/v1/hosts", get(hosts))
        .route("/api/v1/hosts/{name}", get(host))
        .route("/api/v1/revisions", get(revisions))
        .route("/api/v1/events", get(events))
        .route("/api/v1/commands", post(commands))
        .with_state(view.clone())
        .merge(public(view))
}

/// Adds headers that forbid the page to load anything, to run scripts or to be framed, whatever text a
/// manifest puts into a name.
async fn add_security_headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(view): ApiState, Query(filter): Query<HostFilter>) -> Response {
    let fleet = view.fleet().await;
    let events = view.events(None).await;
    html(Page::new(&fleet, &events, &filter).render())
}

async fn host_page(
    State(view): ApiState,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Response {
    let fleet = view.fleet().await;
    let name: Option<HostName> = name.parse().ok();
    let Some(host) = name.as_ref().and_then(|name| fleet.host(name)) else {
        return (StatusCode::NOT_FOUND, "the fleet has no such host\n").into_response();
    };
    let events = view.events(name.clone()).await;
    html(HostPage::new(&fleet, host, &events).render())
}

fn html(rendered: askama::Result<String>) -> Response {
    match rendered {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render the page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(view): ApiState) -> (StatusCode, &'static str) {
    if view.ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the source hasn't been read yet\n",
        )
    }
}

async fn show_metrics(State(view): ApiState) -> Response {
    match metrics::render(view.metrics()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn fleet(State(view): ApiState) -> axum::Json<Fleet> {
    axum::Json(view.fleet().await)
}

async fn hosts(State(view): ApiState) -> Response {
    let fleet = view.fleet().await;
    let items = fleet.hosts.iter().map(AsRef::as_ref).collect();
    axum::Json(Items::<&HostObject> { items }).into_response()
}

async fn host(
    State(view): ApiState,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Response {
    let fleet = view.fleet().await;
    let found = name.parse().ok().and_then(|name| fleet.host(&name));
    if let Some(host) = found {
        return axum::Json(host.as_ref()).into_response();
    }
    let refused = CommandRefusal {
        message: format!("the fleet has no host {name}"),
        hint: Some("run `plumb get hosts` to list them".to_owned()),
    };
    (StatusCode::NOT_FOUND, axum::Json(refused)).into_response()
}

async fn revisions(State(view): ApiState) -> axum::Json<Items<Revision>> {
    axum::Json(Items {
        items: view.fleet().await.revisions,
    })
}

#[derive(Deserialize)]
struct EventQuery {
    host: Option<HostName>,
}

async fn events(State(view): ApiState, Query(query): Query<EventQuery>) -> axum::Json<Vec<Event>> {
    axum::Json(view.events(query.host).await)
}

async fn commands(
    State(view): ApiState,
    axum::Json(command): axum::Json<ControllerCommand>,
) -> Response {
    match view.execute(command).await {
        Ok(done) => (StatusCode::ACCEPTED, axum::Json(done)).into_response(),
        Err(refused) => (StatusCode::CONFLICT, axum::Json(refused)).into_response(),
    }
}

#[cfg(test)]
pub(super) mod tests;
