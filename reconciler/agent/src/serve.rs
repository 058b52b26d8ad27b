//! A session: the agent answers requests until the controller closes the connection.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use plumb_api::frame::{
    Adopt, Apply, Attendance, Confirm, FrameError, Incoming, Observe, Purpose, Request, Response,
};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Digest};

use crate::blobs::Blobs;
use crate::book::{self, Desired, Holder, Home};
use crate::boot;
use crate::dead_man::{self, Armed, Reverted};
use crate::error::{Result, fail};
use crate::host_key;
use crate::observe;
use crate::recover::{locked, recover};
use crate::sys::Sys;
use crate::wire::Wire;
use crate::{adopt, apply};

/// The way in which a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The controller closed the session.
    Closed,
    /// The agent received an invalid frame, or reading failed.
    Broken,
}

/// Answers requests until the controller closes the connection or sends an invalid frame.
pub fn serve(
    sys: &Sys,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> End {
    let (wire, requests) = Wire::new(input, output);
    let mut session = Session {
        sys,
        wire: &wire,
        state: None,
        differing: BTreeSet::new(),
        blobs: Blobs::default(),
        blob_failure: None,
    };
    for incoming in requests {
        let response = match incoming {
            Ok(Incoming::Message(request)) => session.answer(request),
            Ok(Incoming::Blob(digest, bytes)) => {
                session.keep(digest, bytes);
                continue;
            }
            Err(FrameError::Closed) => return End::Closed,
            Err(error) => {
                wire.send(&Response::Error(AgentError::new(
                    ErrorCode::Protocol,
                    error.to_string(),
                )));
                return End::Broken;
            }
        };
        wire.send(&response);
    }
    End::Closed
}

struct Session<'a> {
    sys: &'a Sys,
    wire: &'a Wire,
    /// The desired state in the last `observe` request, with its digest.
    state: Option<(Digest, Desired)>,
    /// The resources that differed from `state` in that observation.
    differing: BTreeSet<Address>,
    blobs: Blobs,
    /// First error while storing received contents. The next `apply` request fails with it.
    blob_failure: Option<AgentError>,
}

impl Session<'_> {
    fn answer(&mut self, request: Request) -> Response {
        let outcome = match request {
            Request::Facts => self.facts(),
            Request::Observe(observe) => self.observe(observe),
            Request::Apply(apply) => self.apply(&apply),
            Request::Adopt(request) => self.adopt(&request),
            Request::Confirm(confirm) => self.confirm(&confirm),
        };
        outcome.unwrap_or_else(Response::Error)
    }

    /// Returns the machine's facts. Makes the host's key for secrets if it has none: enrolment asks for facts.
    fn facts(&self) -> Result<Response> {
        let mut facts = self.sys.facts();
        facts.age_key = Some(host_key::make(self.sys)?);
        Ok(Response::Facts(facts))
    }

    fn keep(&mut self, digest: Digest, bytes: Vec<u8>) {
        let kept = Home::make(self.sys).and_then(|home| self.blobs.add(&home, digest, bytes));
        if let Err(error) = kept {
            self.blob_failure.get_or_insert(error);
        }
    }

    fn observe(&mut self, observe: Observe) -> Result<Response> {
        let fence = &observe.fence;
        let (home, holder) = match observe.purpose {
            Purpose::Look => {
                let home = Home::open(self.sys)?;
                let holder = match &home {
                    Some(home) => Holder::load(home)?,
                    None => None,
                };
                Holder::check_name(holder.as_ref(), fence)?;
                (home, holder)
            }
            Purpose::Drive => {
                let home = Home::make(self.sys)?;
                let holder = Holder::claim(&home, fence)?;
                (Some(home), Some(holder))
            }
        };
        let Some(base) = self.base(home.as_ref(), observe.base)? else {
            return Ok(Response::NeedState);
        };
        let desired = base.with(observe.delta)?;
        let digest = desired.digest();
        if digest != observe.target {
            return fail(
                ErrorCode::Protocol,
                format!(
                    "the desired state comes to {digest}, the controller says {}",
                    observe.target
                ),
            );
        }
        let mut loaded = book::load(self.sys, home.as_ref())?;
        if let (Purpose::Drive, Some(home)) = (observe.purpose, &home) {
            recover(self.sys, home, &mut loaded)?;
            keep_state(home, &desired, observe.base)?;
            boot::keep_program(self.sys, home, &desired)?;
        }
        let mut held = None;
        let mut is_armed = false;
        if let Some(home) = &home {
            is_armed = Armed::load(home)?.is_some();
            held = Reverted::load(home)?.filter(|held| {
                observe.attendance == Attendance::Unattended && held.is_desired(&desired)
            });
        }
        let mut report = observe::report(
            self.sys,
            digest,
            &desired,
            &loaded,
            holder.as_ref(),
            observe.reveal,
            held.as_ref(),
        );
        if is_armed {
            report.waiting = Some(
                "Changes that could cut the controller off wait for their confirmation.".to_owned(),
            );
        }
        self.state = Some((digest, desired));
        let differing = report.differences.iter();
        self.differing = differing.map(|one| one.address.clone()).collect();
        Ok(Response::Observed(Box::new(report)))
    }

    fn adopt(&self, request: &Adopt) -> Result<Response> {
        let home = Home::open(self.sys)?;
        let holder = match &home {
            Some(home) => Holder::load(home)?,
            None => None,
        };
        Holder::check_name(holder.as_ref(), &request.fence)?;
        let loaded = book::load(self.sys, home.as_ref())?;
        Ok(Response::Adopted(adopt::adopted(
            self.sys,
            &loaded.ledger,
            &request.scope,
        )))
    }

    /// Returns the state to which the controller's delta applies, or `None` if the host doesn't have it.
    fn base(&mut self, home: Option<&Home>, base: Option<Digest>) -> Result<Option<Desired>> {
        let Some(base) = base else {
            return Ok(Some(Desired::default()));
        };
        match self.state.take() {
            Some((digest, desired)) if digest == base => Ok(Some(desired)),
            _ => match home {
                Some(home) => Desired::load(home, base),
                None => Ok(None),
            },
        }
    }

    fn confirm(&self, request: &Confirm) -> Result<Response> {
        let home = Home::make(self.sys)?;
        Holder::claim(&home, &request.fence)?;
        let Some(_lock) = home.lock("lock", apply::PATIENCE)? else {
            return Err(locked());
        };
        dead_man::confirm(self.sys, &home, &request.nonce, &request.fence.host)?;
        Ok(Response::Confirmed)
    }

    fn apply(&mut self, request: &Apply) -> Result<Response> {
        if let Some(error) = self.blob_failure.take() {
            self.blobs.clear();
            return Err(error);
        }
        let home = Home::make(self.sys)?;
        let target = request.plan.target;
        let held = self.state.as_ref().filter(|(digest, _)| *digest == target);
        let loaded;
        let desired = if let Some((_, desired)) = held {
            desired
        } else {
            loaded = Desired::load(&home, target)?;
            let Some(desired) = &loaded else {
                return fail(
                    ErrorCode::Protocol,
                    format!(
                        "this host doesn't hold the desired state {target}: observe before you apply"
                    ),
                );
            };
            desired
        };
        let outcome = apply::run(
            self.sys,
            &home,
            request,
            desired,
            &self.blobs,
            &self.differing,
            self.wire,
        );
        self.blobs.clear();
        outcome.map(Response::Report)
    }
}

/// Saves the desired state as the base of a later delta. A full or read-only disk is no error here, so that the
/// host can still be observed; the agent then answers the next delta with [`Response::NeedState`].
fn keep_state(home: &Home, desired: &Desired, base: Option<Digest>) -> Result<()> {
    match desired.save(home, base) {
        Err(error) if matches!(error.code, ErrorCode::NoSpace | ErrorCode::ReadOnly) => Ok(()),
        outcome => outcome,
    }
}
