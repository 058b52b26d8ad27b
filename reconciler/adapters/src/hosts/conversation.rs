//! Exchanges requests and responses with an agent, and handles agents that don't respond.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use plumb_api::frame::{
    Adopt, Adopted, Apply, Confirm, Facts, FrameError, Observe, ObserveReport, Progress, Report,
    Request, Response,
};
use plumb_api::{Digest, HostName};
use plumb_core::ports::{HostError, Observation, Session};
use tokio::time::{Instant, sleep_until};

use super::frames::{EncodedRequest, Inbox};
use super::line::{ExitInfo, Line};
use super::untrusted::{self, Refusal};

/// The time limits for a silent agent.
#[derive(Debug, Clone, Copy)]
pub struct AgentTimeouts {
    /// Maximum time until the response to a request other than an apply. For an observation, the agent may
    /// have to read the whole machine.
    pub answer: Duration,
    /// Maximum time without a message during an apply. In long steps, the agent sends progress every ten
    /// seconds.
    pub sign_of_life: Duration,
}

impl Default for AgentTimeouts {
    fn default() -> Self {
        Self {
            answer: Duration::from_mins(2),
            sign_of_life: Duration::from_secs(30),
        }
    }
}

/// An agent that ended before it sent a response.
#[derive(Debug)]
pub(super) struct FailedStart {
    /// How the agent ended, as far as known.
    pub(super) exit_info: ExitInfo,
    /// The output that came instead of a frame, if any.
    pub(super) said: Option<String>,
    /// The rule for sending the request again on another connection.
    pub(super) again: ResendRule,
}

/// The rule for sending a request again when it is unknown whether the agent received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResendRule {
    /// The request may be sent again, because it only reads.
    May,
    /// The request must not be sent again, because it changes the host.
    MayNot,
}

/// The source of a line. It handles an agent that ends before its first response.
pub(super) trait Origin: Send {
    /// Repairs the cause of the failed start and returns a new line, or returns the error.
    fn revive(&mut self, end: FailedStart) -> BoxFuture<'_, Result<Line, HostError>>;

    /// Takes back a line that is still usable when the conversation ends.
    fn park(self: Box<Self>, line: Line);
}

/// The state of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// No response has arrived on it yet.
    New,
    /// A response has arrived, and no request is open.
    Proven,
    /// A request is open or was abandoned. The line can't be used again: a late response would be taken for
    /// that of the next request.
    Open,
    /// The line can't be used any more.
    Over,
}

/// A session over a line.
pub(super) struct Conversation {
    host: HostName,
    agent_timeouts: AgentTimeouts,
    line: Option<Line>,
    inbox: Inbox,
    standing: LineState,
    origin: Option<Box<dyn Origin>>,
}

/// The reason why a request has no answer.
enum RequestFailure {
    /// The line ended before any response on it.
    FailedStart(ExitInfo, Option<String>),
    /// Any other failure, which is final.
    Final(HostError),
}

impl Conversation {
    /// Starts a session over a line.
    pub(super) fn new(
        host: HostName,
        agent_timeouts: AgentTimeouts,
        line: Line,
        origin: Box<dyn Origin>,
    ) -> Self {
        Self {
            host,
            agent_timeouts,
            line: Some(line),
            inbox: Inbox::default(),
            standing: LineState::New,
            origin: Some(origin),
        }
    }

    fn broken(&self, reason: impl Into<String>) -> HostError {
        HostError::Broken {
            host: self.host.clone(),
            reason: reason.into(),
        }
    }

    /// Sends a request and passes its responses to `take`, until `take` returns an answer.
    async fn ask<T: Send>(
        &mut self,
        sending: &EncodedRequest,
        agent_timeouts: Duration,
        again: ResendRule,
        mut take: impl FnMut(Response) -> Result<Option<T>, Refusal> + Send,
    ) -> Result<T, HostError> {
        if matches!(self.standing, LineState::Open | LineState::Over) {
            return Err(self.broken("an earlier request was cancelled before its answer"));
        }
        loop {
            let new = self.standing == LineState::New;
            self.standing = LineState::Open;
            let trouble = match self.attempt(sending, agent_timeouts, new, &mut take).await {
                Ok(answer) => return answer,
                Err(trouble) => trouble,
            };
            self.standing = LineState::Over;
            let (exit_info, said) = match trouble {
                RequestFailure::Final(error) => return Err(error),
                RequestFailure::FailedStart(exit_info, said) => (exit_info, said),
            };
            let Some(origin) = &mut self.origin else {
                return Err(self.broken(exit_info.to_string()));
            };
            let end = FailedStart {
                exit_info,
                said,
                again,
            };
            self.line = Some(origin.revive(end).await?);
            self.inbox = Inbox::default();
            self.standing = LineState::New;
        }
    }

    /// Sends the request once. The outer result is an error if the line failed; the inner result is the
    /// agent's answer.
    async fn attempt<T: Send>(
        &mut self,
        sending: &EncodedRequest,
        agent_timeouts: Duration,
        mut new: bool,
        take: &mut (impl FnMut(Response) -> Result<Option<T>, Refusal> + Send),
    ) -> Result<Result<T, HostError>, RequestFailure> {
        let Some(Line { to, from }) = &mut self.line else {
            return Err(RequestFailure::Final(self.broken("the session has ended")));
        };
        let host = &self.host;
        let broken = |reason: String| HostError::Broken {
            host: host.clone(),
            reason,
        };
        let pieces = AtomicU64::new(0);
        let mut whole = false;
        let mut send = pin!(async {
            for piece in sending.pieces() {
                to.send(piece).await?;
                pieces.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), std::io::Error>(())
        });
        let mut seen = 0;
        let mut alive = Instant::now();
        loop {
            match self.inbox.next() {
                Ok(Some(response)) => {
                    new = false;
                    alive = Instant::now();
                    let answer = match response {
                        Response::Error(error) => Err(HostError::Agent {
                            host: host.clone(),
                            error: untrusted::error(error),
                        }),
                        response => match take(response) {
                            Ok(Some(answer)) => Ok(answer),
                            Ok(None) => continue,
                            Err(refusal) => return Err(RequestFailure::Final(broken(refusal))),
                        },
                    };
                    // If the agent answered before it received the whole request, it would take the rest for
                    // the next request.
                    self.standing = if whole {
                        LineState::Proven
                    } else {
                        LineState::Over
                    };
                    return Ok(answer);
                }
                Ok(None) => {}
                Err(FrameError::Io(_) | FrameError::Closed) if new => {
                    let said = self.inbox.preview();
                    return Err(RequestFailure::FailedStart(from.exit_info().await, said));
                }
                Err(error) => {
                    let said = self.inbox.preview().filter(|_| new);
                    if said.is_some() {
                        return Err(RequestFailure::FailedStart(from.exit_info().await, said));
                    }
                    return Err(RequestFailure::Final(broken(error.to_string())));
                }
            }
            tokio::select! {
                done = &mut send, if !whole => {
                    // If sending failed, receiving fails too and gives the reason.
                    whole = true;
                    seen = pieces.load(Ordering::Relaxed);
                    if done.is_ok() {
                        alive = Instant::now();
                    }
                }
                count = from.receive(self.inbox.buffer()) => {
                    if !matches!(count, Ok(0) | Err(_)) {
                        alive = Instant::now();
                        continue;
                    }
                    let mut exit_info = from.exit_info().await;
                    if let Err(error) = count {
                        exit_info.cause.get_or_insert_with(|| error.to_string());
                    }
                    let said = self.inbox.preview().filter(|_| new);
                    return Err(if new {
                        RequestFailure::FailedStart(exit_info, said)
                    } else {
                        RequestFailure::Final(broken(format!("the agent is gone: {exit_info}")))
                    });
                }
                () = sleep_until(alive + agent_timeouts) => {
                    let now = pieces.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(RequestFailure::Final(HostError::Silent {
                            host: host.clone(),
                            seconds: agent_timeouts.as_secs(),
                        }));
                    }
                    seen = now;
                    alive = Instant::now();
                }
            }
        }
    }

    fn prepare(
        &self,
        request: &Request,
        contents: Vec<(Digest, Arc<[u8]>)>,
    ) -> Result<EncodedRequest, HostError> {
        EncodedRequest::new(request, contents).map_err(|error| self.broken(error.to_string()))
    }

    async fn observe_(&mut self, asked: Observe) -> Result<Observation, HostError> {
        let request = Request::Observe(asked);
        let sending = self.prepare(&request, Vec::new())?;
        let Request::Observe(asked) = request else {
            return Err(self.broken("it can't be asked"));
        };
        let told = self
            .ask(
                &sending,
                self.agent_timeouts.answer,
                ResendRule::May,
                |response| {
                    match response {
                        Response::Observed(report) => untrusted::observed(&asked, *report)
                            .map(|report: ObserveReport| Observation::Report(Box::new(report))),
                        Response::NeedState if asked.base.is_some() => Ok(Observation::NeedState),
                        other => Err(unasked(&other)),
                    }
                    .map(Some)
                },
            )
            .await?;
        Ok(told)
    }

    async fn apply_(
        &mut self,
        asked: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Report, HostError> {
        let request = Request::Apply(asked);
        let sending = self.prepare(&request, contents)?;
        let Request::Apply(asked) = request else {
            return Err(self.broken("it can't be asked"));
        };
        self.ask(
            &sending,
            self.agent_timeouts.sign_of_life,
            ResendRule::MayNot,
            |response| match response {
                Response::Progress(told) => {
                    on_progress(untrusted::progress(&asked, told)?);
                    Ok(None)
                }
                Response::Report(told) => untrusted::report(&asked, told).map(Some),
                other => Err(unasked(&other)),
            },
        )
        .await
    }

    async fn adopt_(&mut self, request: Adopt) -> Result<Vec<Adopted>, HostError> {
        let scope = request.scope.clone();
        let sending = self.prepare(&Request::Adopt(request), Vec::new())?;
        self.ask(
            &sending,
            self.agent_timeouts.answer,
            ResendRule::May,
            |response| match response {
                Response::Adopted(told) => untrusted::adopted(&scope, told).map(Some),
                other => Err(unasked(&other)),
            },
        )
        .await
    }

    async fn confirm_(&mut self, asked: Confirm) -> Result<(), HostError> {
        let sending = self.prepare(&Request::Confirm(asked), Vec::new())?;
        self.ask(
            &sending,
            self.agent_timeouts.answer,
            ResendRule::May,
            |response| match response {
                Response::Confirmed => Ok(Some(())),
                other => Err(unasked(&other)),
            },
        )
        .await
    }

    async fn facts_(&mut self) -> Result<Facts, HostError> {
        let sending = self.prepare(&Request::Facts, Vec::new())?;
        self.ask(
            &sending,
            self.agent_timeouts.answer,
            ResendRule::May,
            |response| match response {
                Response::Facts(told) => Ok(Some(untrusted::facts(told))),
                other => Err(unasked(&other)),
            },
        )
        .await
    }
}

fn unasked(response: &Response) -> Refusal {
    let what = match response {
        Response::Observed(_) => "an observe report",
        Response::NeedState => "a request for the full state",
        Response::Progress(_) => "progress",
        Response::Report(_) => "a report",
        Response::Confirmed => "a confirmation",
        Response::Facts(_) => "facts",
        Response::Adopted(_) => "specs of what the host has",
        Response::Error(_) => "an error",
    };
    format!("the agent answered with {what}, which wasn't requested")
}

fn boxed<'a, T>(
    future: impl Future<Output = Result<T, HostError>> + Send + 'a,
) -> BoxFuture<'a, Result<T, HostError>> {
    Box::pin(future)
}

impl Session for Conversation {
    fn observe(&mut self, request: Observe) -> BoxFuture<'_, Result<Observation, HostError>> {
        boxed(self.observe_(request))
    }

    fn apply<'a>(
        &'a mut self,
        request: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Report, HostError>> {
        boxed(self.apply_(request, contents, progress))
    }

    fn confirm(&mut self, request: Confirm) -> BoxFuture<'_, Result<(), HostError>> {
        boxed(self.confirm_(request))
    }

    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>> {
        boxed(self.facts_())
    }

    fn adopt(&mut self, request: Adopt) -> BoxFuture<'_, Result<Vec<Adopted>, HostError>> {
        boxed(self.adopt_(request))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Without an open request, the line can be reused.
        if matches!(self.standing, LineState::Proven | LineState::New)
            && let (Some(line), Some(origin)) = (self.line.take(), self.origin.take())
        {
            origin.park(line);
        }
    }
}

#[cfg(test)]
#[path = "conversation/tests.rs"]
mod tests;
