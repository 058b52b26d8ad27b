//! Negotiates a fetch and receives the missing objects.

use std::sync::atomic::AtomicBool;

use gix::error::Result;
use gix::negotiate::{Algorithm, Flags, Graph, Negotiator};
use gix::odb::store::RefreshMode;
use gix::protocol::fetch::{self, Arguments, Negotiate, Response, Shallow, Tags, negotiate};
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::Capabilities;
use gix::protocol::transport::client::blocking_io::Transport;
use plumb_trust::source::Fetched;

use super::super::mirror::MirrorStore;
use super::super::objects;
use super::Failure;
use super::limits::FetchLimits;
use super::pack;

/// A connection to a server that has sent its capabilities and refs.
pub(super) struct ServerConnection<'a, T> {
    pub(super) handshake: &'a mut gix::protocol::Handshake,
    pub(super) transport: &'a mut T,
    pub(super) agent: gix::protocol::command::Feature,
    pub(super) hash: gix::hash::Kind,
}

/// Returns the server's object format. A server that doesn't name one predates SHA-256.
pub(super) fn object_hash(
    capabilities: &Capabilities,
) -> std::result::Result<gix::hash::Kind, Failure> {
    let Some(name) = capabilities
        .capability("object-format")
        .and_then(|told| told.value().map(ToOwned::to_owned))
    else {
        return Ok(gix::hash::Kind::Sha1);
    };
    match name.as_slice() {
        b"sha1" => Ok(gix::hash::Kind::Sha1),
        b"sha256" => Ok(gix::hash::Kind::Sha256),
        other => Err(Failure::Garbled(format!(
            "it uses the object format {}, which Plumb doesn't support",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// Receives the objects of a fetch that the mirror lacks.
pub(super) fn receive<T: Transport>(
    store: &MirrorStore,
    mut conversation: ServerConnection<'_, T>,
    fetched: &Fetched,
    limits: &FetchLimits,
    interrupt: &AtomicBool,
) -> std::result::Result<(), Failure> {
    let recorded = store.recorded()?;
    let wanted: Vec<_> = std::iter::once(&fetched.head)
        .chain(fetched.tags.iter().map(|tag| &tag.target))
        .filter(|id| !recorded.targets.contains(*id))
        .filter_map(objects::name)
        .collect();
    if wanted.is_empty() {
        end(&mut conversation);
        return Ok(());
    }

    let mut handle = store.handle().clone();
    handle.refresh = RefreshMode::Never;
    let mut told = NegotiationState {
        graph: Graph::new(handle, None),
        negotiator: Algorithm::Consecutive.into_negotiator(),
        tips: recorded.branches.iter().filter_map(objects::name).collect(),
        wanted: wanted.clone(),
    };
    let mut failure = None;
    let hash = conversation.hash;
    let outcome = gix::protocol::fetch(
        &mut told,
        |reader, _, interrupt| match pack::receive(reader, store, hash, limits, interrupt) {
            Ok(()) => Ok(true),
            Err(error) => {
                failure = Some(error);
                Ok(false)
            }
        },
        gix::progress::Discard,
        interrupt,
        fetch::Context {
            handshake: conversation.handshake,
            transport: conversation.transport,
            user_agent: conversation.agent.clone(),
            trace_packetlines: false,
        },
        fetch::Options {
            // Never written: `reject_shallow_remote` refuses a server with a partial history.
            shallow_file: store.path().join("shallow"),
            shallow: &Shallow::NoChange,
            tags: Tags::None,
            reject_shallow_remote: true,
        },
    );
    if let Some(failure) = failure {
        return Err(failure);
    }
    outcome?;
    end(&mut conversation);
    // A valid pack may still lack the objects that were requested.
    if wanted
        .iter()
        .all(|id| gix::objs::Exists::exists(store.handle(), id))
    {
        Ok(())
    } else {
        Err(Failure::Garbled(
            "it didn't send the requested objects".to_owned(),
        ))
    }
}

fn end<T: Transport>(conversation: &mut ServerConnection<'_, T>) {
    if conversation.handshake.server_protocol_version != Protocol::V2 {
        return;
    }
    // A courtesy: the server may have closed the connection already.
    let _ = gix::protocol::indicate_end_of_interaction(&mut *conversation.transport, false);
}

/// The negotiation's state: the wanted objects and the commits that the mirror has.
struct NegotiationState<'find> {
    graph: Graph<'find, 'static>,
    negotiator: Box<dyn Negotiator>,
    tips: Vec<gix::ObjectId>,
    wanted: Vec<gix::ObjectId>,
}

impl Negotiate for NegotiationState<'_> {
    fn mark_complete_and_common_ref(&mut self) -> Result<negotiate::Action> {
        for tip in std::mem::take(&mut self.tips) {
            // An unreadable tip is skipped; the server then sends more than needed.
            if let Ok(Some(_)) = self
                .graph
                .get_or_insert_commit(tip, |data| data.flags |= Flags::COMPLETE)
            {
                self.negotiator.add_tip(tip, &mut self.graph)?;
            }
        }
        Ok(negotiate::Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        for id in &self.wanted {
            arguments.want(id);
        }
        true
    }

    fn one_round(
        &mut self,
        state: &mut negotiate::one_round::State,
        arguments: &mut Arguments,
        previous_response: Option<&Response>,
    ) -> Result<(negotiate::Round, bool)> {
        negotiate::one_round(
            &mut *self.negotiator,
            &mut self.graph,
            state,
            arguments,
            previous_response,
        )
    }
}
