//! A conversation with an agent: one request, its answer, and what becomes of it when there is none.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use plumb_api::frame::{
    Apply, Facts, FrameError, Observe, ObserveReport, Progress, Report, Request, Response,
};
use plumb_api::{Digest, HostName};
use plumb_core::ports::{HostError, Observation, Session};
use tokio::time::{Instant, sleep_until};

use super::frames::{Inbox, Sending};
use super::line::{Epitaph, Line};
use super::untrusted::{self, Refusal};

/// How long an agent may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Before an answer to a question: it looks at a whole machine.
    pub answer: Duration,
    /// During an apply, whose long steps give signs of life every ten seconds.
    pub sign_of_life: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_mins(2),
            sign_of_life: Duration::from_secs(30),
        }
    }
}

/// An agent that ended before its first word.
#[derive(Debug)]
pub(super) struct StillBorn {
    /// What is known of its end.
    pub(super) epitaph: Epitaph,
    /// What came instead of a frame, if anything did.
    pub(super) said: Option<String>,
    /// Whether the request may be asked again on another connection.
    pub(super) again: Again,
}

/// Whether a request may be sent twice, where it can't be known whether the first was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It only looks.
    May,
    /// It changes the host.
    MayNot,
}

/// What stands behind a line: it was made by someone, who knows what to do when it fails at once.
pub(super) trait Origin: Send {
    /// Puts right what kept the agent from starting and gives a new line, or says what is wrong.
    fn revive(&mut self, end: StillBorn) -> BoxFuture<'_, Result<Line, HostError>>;

    /// Takes back a line that is in order, at the end of a conversation.
    fn park(self: Box<Self>, line: Line);
}

/// How a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing was heard on it yet.
    New,
    /// Something was, and no request is open.
    Proven,
    /// A request is open, or was given up: what comes next can't be told apart.
    Open,
    /// It is over.
    Over,
}

/// A session over a line.
pub(super) struct Conversation {
    host: HostName,
    patience: Patience,
    line: Option<Line>,
    inbox: Inbox,
    standing: Standing,
    origin: Option<Box<dyn Origin>>,
}

/// Why a request wasn't answered.
enum Trouble {
    /// The line ended before a word was heard on it.
    StillBorn(Epitaph, Option<String>),
    /// Anything else: it is final.
    Final(HostError),
}

impl Conversation {
    /// A conversation that begins.
    pub(super) fn new(
        host: HostName,
        patience: Patience,
        line: Line,
        origin: Box<dyn Origin>,
    ) -> Self {
        Self {
            host,
            patience,
            line: Some(line),
            inbox: Inbox::default(),
            standing: Standing::New,
            origin: Some(origin),
        }
    }

    fn broken(&self, reason: impl Into<String>) -> HostError {
        HostError::Broken {
            host: self.host.clone(),
            reason: reason.into(),
        }
    }

    /// Sends a request and hands its responses to `take`, until that has what it wants.
    async fn ask<T: Send>(
        &mut self,
        sending: &Sending,
        patience: Duration,
        again: Again,
        mut take: impl FnMut(Response) -> Result<Option<T>, Refusal> + Send,
    ) -> Result<T, HostError> {
        if matches!(self.standing, Standing::Open | Standing::Over) {
            return Err(self.broken("an earlier request on it was left without an answer"));
        }
        loop {
            let new = self.standing == Standing::New;
            self.standing = Standing::Open;
            let trouble = match self.attempt(sending, patience, new, &mut take).await {
                Ok(answer) => return answer,
                Err(trouble) => trouble,
            };
            self.standing = Standing::Over;
            let (epitaph, said) = match trouble {
                Trouble::Final(error) => return Err(error),
                Trouble::StillBorn(epitaph, said) => (epitaph, said),
            };
            let Some(origin) = &mut self.origin else {
                return Err(self.broken(epitaph.to_string()));
            };
            let end = StillBorn {
                epitaph,
                said,
                again,
            };
            self.line = Some(origin.revive(end).await?);
            self.inbox = Inbox::default();
            self.standing = Standing::New;
        }
    }

    /// One try: the outer error is the line's, the inner one the agent's answer.
    async fn attempt<T: Send>(
        &mut self,
        sending: &Sending,
        patience: Duration,
        mut new: bool,
        take: &mut (impl FnMut(Response) -> Result<Option<T>, Refusal> + Send),
    ) -> Result<Result<T, HostError>, Trouble> {
        let Some(Line { to, from }) = &mut self.line else {
            return Err(Trouble::Final(self.broken("it is over")));
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
                            Err(refusal) => return Err(Trouble::Final(broken(refusal))),
                        },
                    };
                    // An answer to half a request: the other half would be taken for the next one.
                    self.standing = if whole {
                        Standing::Proven
                    } else {
                        Standing::Over
                    };
                    return Ok(answer);
                }
                Ok(None) => {}
                Err(FrameError::Io(_) | FrameError::Closed) if new => {
                    let said = self.inbox.preview();
                    return Err(Trouble::StillBorn(from.epitaph().await, said));
                }
                Err(error) => {
                    let said = self.inbox.preview().filter(|_| new);
                    if said.is_some() {
                        return Err(Trouble::StillBorn(from.epitaph().await, said));
                    }
                    return Err(Trouble::Final(broken(error.to_string())));
                }
            }
            tokio::select! {
                done = &mut send, if !whole => {
                    // Where sending failed, receiving says why: the end comes there too.
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
                    let mut epitaph = from.epitaph().await;
                    if let Err(error) = count {
                        epitaph.cause.get_or_insert_with(|| error.to_string());
                    }
                    let said = self.inbox.preview().filter(|_| new);
                    return Err(if new {
                        Trouble::StillBorn(epitaph, said)
                    } else {
                        Trouble::Final(broken(format!("the agent is gone: {epitaph}")))
                    });
                }
                () = sleep_until(alive + patience) => {
                    let now = pieces.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Trouble::Final(HostError::Silent {
                            host: host.clone(),
                            seconds: patience.as_secs(),
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
    ) -> Result<Sending, HostError> {
        Sending::new(request, contents).map_err(|error| self.broken(error.to_string()))
    }

    async fn observe_(&mut self, asked: Observe) -> Result<Observation, HostError> {
        let request = Request::Observe(asked);
        let sending = self.prepare(&request, Vec::new())?;
        let Request::Observe(asked) = request else {
            return Err(self.broken("it can't be asked"));
        };
        let told = self
            .ask(&sending, self.patience.answer, Again::May, |response| {
                match response {
                    Response::Observed(report) => untrusted::observed(&asked, report)
                        .map(|report: ObserveReport| Observation::Report(Box::new(report))),
                    Response::NeedState if asked.base.is_some() => Ok(Observation::NeedState),
                    other => Err(unasked(&other)),
                }
                .map(Some)
            })
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
            self.patience.sign_of_life,
            Again::MayNot,
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

    async fn facts_(&mut self) -> Result<Facts, HostError> {
        let sending = self.prepare(&Request::Facts, Vec::new())?;
        self.ask(
            &sending,
            self.patience.answer,
            Again::May,
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
        Response::Observed(_) => "an observation",
        Response::NeedState => "a wish for the whole state",
        Response::Progress(_) => "progress",
        Response::Report(_) => "a report",
        Response::Facts(_) => "facts",
        Response::Error(_) => "an error",
    };
    format!("the agent answered with {what}, which wasn't asked for")
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

    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>> {
        boxed(self.facts_())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // A line on which nothing was asked is as good as new.
        if matches!(self.standing, Standing::Proven | Standing::New)
            && let (Some(line), Some(origin)) = (self.line.take(), self.origin.take())
        {
            origin.park(line);
        }
    }
}

#[cfg(test)]
#[path = "conversation/tests.rs"]
mod tests;
