//! Hosts in memory, each with an agent that keeps a ledger as the real one does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use plumb_api::frame::{
    Adopt, Adopted, Apply, Attendance, Confirm, Departure, Difference, DifferenceState, Facts,
    LedgerState, LedgerSummary, Lineage, Nonce, Observe, ObserveReport, Progress, Purpose, Report,
    RevisionMark, TakeOver,
};
use plumb_api::plan::Change;
use plumb_api::report::{AgentError, ChangeResult, ErrorCode, Outcome};
use plumb_api::resource::{Content, FileObserved, FileType, Logins};
use plumb_api::{Address, ControllerId, Digest, Epoch, HostName, Observed, Spec};
use plumb_core::ports::{
    Connecting, HostError, HostTarget, Hosts, Observation, Session, SudoRefusal,
};

/// What a host does next instead of what it should.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a mishap of its own
pub(super) struct Mood {
    /// It can't be reached.
    pub(super) off: bool,
    /// Its next run crashes.
    pub(super) panics: bool,
    /// It shows another key.
    pub(super) wrong_key: bool,
    /// Every change fails with this.
    pub(super) fails: Option<AgentError>,
    /// Changes of these resources fail with these errors.
    pub(super) refuses: BTreeMap<Address, AgentError>,
    /// It breaks off while it is being changed.
    pub(super) breaks: bool,
    /// It breaks off when all changes are made, before its report.
    pub(super) unheard: bool,
    /// It waits for something.
    pub(super) waits: Option<String>,
    /// Nobody can log in to it after a change that could cut the controller off.
    pub(super) cuts_off: bool,
    /// How long an apply takes.
    pub(super) slow: Duration,
}

/// A host.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) mood: Mood,
    pub(super) has: BTreeMap<Address, Vec<u8>>,
    pub(super) ledger: BTreeMap<Address, Spec>,
    pub(super) held: Option<(Digest, BTreeMap<Address, Spec>)>,
    pub(super) sequence: u64,
    pub(super) holder: Option<(ControllerId, Epoch)>,
    pub(super) revision: Option<RevisionMark>,
    pub(super) confirmed: Option<Digest>,
    pub(super) lost: Option<String>,
    pub(super) exchanges: usize,
    pub(super) whole_states: usize,
    pub(super) applies: usize,
    pub(super) looks: usize,
    pub(super) rolled_back: usize,
    /// The change that waits for its confirmation.
    pub(super) armed: Option<ArmedChange>,
    /// The nonce, the addresses and the digests of the changes that it put back.
    pub(super) reverted: Option<(Nonce, BTreeMap<Address, Spec>)>,
    /// True if its agent removed its folder.
    pub(super) left: bool,
}

/// A change that waits for its confirmation.
#[derive(Debug)]
pub(super) struct ArmedChange {
    nonce: Nonce,
    until: tokio::time::Instant,
    has: BTreeMap<Address, Vec<u8>>,
    ledger: BTreeMap<Address, Spec>,
    changed: BTreeMap<Address, Spec>,
}

/// All hosts.
#[derive(Clone, Default)]
pub(super) struct Machines {
    all: Arc<Mutex<BTreeMap<HostName, Arc<Mutex<Host>>>>>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Machines {
    pub(super) fn host(&self, name: &str) -> Arc<Mutex<Host>> {
        let mut all = self.all.lock().unwrap();
        all.entry(name.parse().unwrap()).or_default().clone()
    }

    pub(super) fn mood(&self, name: &str, change: impl FnOnce(&mut Mood)) {
        change(&mut self.host(name).lock().unwrap().mood);
    }

    /// The text of a file on a host.
    pub(super) fn file(&self, name: &str, path: &str) -> Option<String> {
        let host = self.host(name);
        let host = host.lock().unwrap();
        let bytes = host.has.get(&format!("file:{path}").parse().unwrap())?;
        Some(String::from_utf8(bytes.clone()).unwrap())
    }

    /// Somebody changes a file by hand.
    pub(super) fn meddle(&self, name: &str, path: &str, text: &str) {
        let host = self.host(name);
        let mut host = host.lock().unwrap();
        host.has.insert(
            format!("file:{path}").parse().unwrap(),
            text.as_bytes().to_vec(),
        );
    }

    /// Changes of a file fail with this from now on.
    pub(super) fn refuse(&self, name: &str, path: &str, error: AgentError) {
        let address = format!("file:{path}").parse().unwrap();
        self.mood(name, |mood| {
            mood.refuses.insert(address, error);
        });
    }

    /// Every change succeeds again.
    pub(super) fn give_in(&self, name: &str) {
        self.mood(name, |mood| mood.refuses.clear());
    }

    /// The most runs that there were at the same time.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Hosts for Machines {
    fn connect<'a>(
        &'a self,
        target: &'a HostTarget,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, HostError>> {
        let host = self.host(target.name.as_str());
        let mood = host.lock().unwrap().mood.clone();
        let is_armed = host.lock().unwrap().expire();
        let name = target.name.clone();
        Box::pin(async move {
            assert!(!mood.panics, "this run crashes, as the story wants");
            if mood.cuts_off && is_armed {
                return Err(HostError::SudoDenied {
                    host: name,
                    user: "deploy".to_owned(),
                    cause: SudoRefusal::NotAllowed,
                    reason: "deploy is not in the sudoers file".to_owned(),
                });
            }
            if mood.off {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Err(HostError::Unreachable {
                    host: name,
                    reason: "10.0.0.1:22: no route to host".to_owned(),
                });
            }
            if mood.wrong_key {
                return Err(HostError::HostKeyMismatch {
                    host: name,
                    shown: "ssh-ed25519 SHA256:other at 10.0.0.1:22".to_owned(),
                });
            }
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let session: Box<dyn Session> = Box::new(Talk {
                name,
                host,
                now: self.now.clone(),
            });
            Ok(session)
        })
    }

    fn connect_anew<'a>(&'a self, target: &'a HostTarget) -> Connecting<'a> {
        self.connect(target)
    }
}

struct Talk {
    name: HostName,
    host: Arc<Mutex<Host>>,
    now: Arc<AtomicUsize>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn observed(host: &Host, address: &Address) -> Observed {
    Observed::File(match host.has.get(address) {
        Some(bytes) => FileObserved {
            file_type: FileType::File,
            content: Some(Content::of(bytes)),
            ..FileObserved::default()
        },
        None => FileObserved::default(),
    })
}

impl Host {
    fn summary(&self) -> LedgerSummary {
        LedgerSummary {
            state: match (&self.lost, self.sequence) {
                (Some(why), _) => LedgerState::Lost(why.clone()),
                (None, 0) => LedgerState::Fresh,
                (None, _) => LedgerState::Sound,
            },
            sequence: self.sequence,
            epoch: self.holder.as_ref().map(|(_, epoch)| *epoch),
            controller: self.holder.as_ref().map(|(id, _)| id.clone()),
            revision: self.revision.clone(),
            confirmed: self.confirmed,
            resources: u32::try_from(self.ledger.len()).unwrap(),
        }
    }

    fn claim(&mut self, fence: &plumb_api::frame::Fence) -> Result<(), AgentError> {
        let superseded = || AgentError::new(ErrorCode::Superseded, "another controller drives it");
        if let Some((id, epoch)) = &self.holder {
            let fits = if *id == fence.controller {
                fence.epoch >= *epoch
            } else {
                fence.take_over == TakeOver::Yes && fence.epoch > *epoch
            };
            if !fits {
                return Err(superseded());
            }
        }
        self.holder = Some((fence.controller.clone(), fence.epoch));
        Ok(())
    }

    /// Puts the change back whose time is over. Returns true if one still waits for its confirmation.
    fn expire(&mut self) -> bool {
        let over = |armed: &ArmedChange| armed.until <= tokio::time::Instant::now();
        if self.armed.as_ref().is_some_and(over)
            && let Some(armed) = self.armed.take()
        {
            (self.has, self.ledger) = (armed.has, armed.ledger);
            self.confirmed = None;
            self.sequence += 1;
            self.reverted = Some((armed.nonce, armed.changed));
        }
        self.armed.is_some()
    }

    fn confirm(&mut self, request: &Confirm) -> Result<(), AgentError> {
        self.claim(&request.fence)?;
        let reverted = |(nonce, _): &(Nonce, _)| *nonce == request.nonce;
        if self.reverted.as_ref().is_some_and(reverted) {
            return Err(AgentError::new(ErrorCode::Reverted, "put back by the host"));
        }
        self.armed = None;
        Ok(())
    }

    fn refusal(&self, request: &Observe, address: &Address, spec: &Spec) -> Option<AgentError> {
        let (_, changed) = self.reverted.as_ref()?;
        (request.attendance == Attendance::Unattended && changed.get(address) == Some(spec))
            .then(|| AgentError::new(ErrorCode::Reverted, "put back by the host"))
    }

    fn observe(&mut self, request: &Observe) -> Result<Option<ObserveReport>, AgentError> {
        self.exchanges += 1;
        if request.purpose == Purpose::Drive {
            self.claim(&request.fence)?;
        } else {
            self.looks += 1;
        }
        let mut state = match (request.base, &self.held) {
            (None, _) => {
                self.whole_states += 1;
                BTreeMap::new()
            }
            (Some(base), Some((digest, held))) if base == *digest => held.clone(),
            (Some(_), _) => return Ok(None),
        };
        for address in &request.delta.remove {
            assert!(
                state.remove(address).is_some(),
                "a delta removes what isn't there"
            );
        }
        state.extend(request.delta.set.clone());
        let leaves = state
            .iter()
            .map(|(address, spec)| (address, spec.digest().unwrap()));
        assert_eq!(
            plumb_api::frame::Delta::digest_of(leaves.collect::<Vec<_>>()),
            request.target,
            "the delta leads to the target"
        );
        if request.purpose == Purpose::Drive {
            self.held = Some((request.target, state.clone()));
        }
        let mut differences = Vec::new();
        let mut unconfirmed = Vec::new();
        for (address, spec) in &state {
            let found = observed(self, address);
            let fields = spec.compare(&found);
            if fields.is_empty() {
                if self.ledger.get(address) != Some(spec) {
                    unconfirmed.push(address.clone());
                }
                continue;
            }
            differences.push(Difference {
                address: address.clone(),
                state: DifferenceState::Differs,
                observed: Some(found),
                fields,
                confirmed: self.ledger.get(address).cloned(),
                read_back: plumb_api::read_back::ReadBacks::default(),
                original: None,
                losses: Vec::new(),
                refusal: self.refusal(request, address, spec),
                text: None,
            });
        }
        for (address, spec) in self.ledger.iter().filter(|(a, _)| !state.contains_key(*a)) {
            differences.push(Difference {
                address: address.clone(),
                state: DifferenceState::Undesired,
                observed: Some(observed(self, address)),
                fields: Vec::new(),
                confirmed: Some(spec.clone()),
                read_back: plumb_api::read_back::ReadBacks::default(),
                original: None,
                losses: Vec::new(),
                refusal: None,
                text: None,
            });
        }
        Ok(Some(ObserveReport {
            target: request.target,
            ledger: self.summary(),
            facts: Facts::default(),
            clock: None,
            in_sync: u32::try_from(state.len()).unwrap(),
            differences,
            unconfirmed,
            aliases: std::collections::BTreeMap::new(),
            gone: Vec::new(),
            waiting: self.mood.waits.clone(),
        }))
    }

    fn apply(
        &mut self,
        request: &Apply,
        contents: &[(Digest, Arc<[u8]>)],
    ) -> Result<Report, AgentError> {
        self.exchanges += 1;
        self.applies += 1;
        self.claim(&request.fence)?;
        if let Some(newest) = &self.revision {
            match &request.lineage {
                Lineage::DescendsFrom(from) if from == newest => {}
                Lineage::RollsBackFrom(from) if from == newest => self.rolled_back += 1,
                other => panic!("a host isn't led back: it ran {newest:?}, and is shown {other:?}"),
            }
        }
        let (has, ledger) = (self.has.clone(), self.ledger.clone());
        let (digest, state) = self.held.clone().expect("observed before it is changed");
        assert_eq!(digest, request.plan.target);
        let mut results = Vec::new();
        let mut failed = false;
        for change in &request.plan.changes {
            let outcome = if let Some(error) = &self.mood.fails {
                failed = true;
                Outcome::Failed(error.clone())
            } else if let Some(error) = self.mood.refuses.get(&change.address) {
                failed |= state.contains_key(&change.address);
                Outcome::Failed(error.clone())
            } else if let Some(spec) = state.get(&change.address) {
                for content in spec.contents() {
                    let sent = contents.iter().find(|(d, _)| *d == content.sha256);
                    let (_, bytes) = sent.expect("what is needed is sent");
                    self.has.insert(change.address.clone(), bytes.to_vec());
                }
                self.ledger.insert(change.address.clone(), spec.clone());
                Outcome::Applied
            } else {
                self.has.remove(&change.address);
                self.ledger.remove(&change.address);
                Outcome::Applied
            };
            results.push(ChangeResult {
                id: change.id,
                address: change.address.clone(),
                outcome,
            });
        }
        for address in &request.plan.confirm {
            self.ledger.insert(address.clone(), state[address].clone());
        }
        for address in &request.plan.forget {
            self.ledger.remove(address);
        }
        self.sequence += 1;
        self.revision = Some(request.revision.clone());
        if !failed {
            self.confirmed = Some(digest);
        }
        let guarded = |change: &&Change| {
            let address = &change.address;
            address.kind().cuts_off(address.name(), &Logins::default())
        };
        let changes = request.plan.changes.iter().filter(guarded);
        let risky: BTreeMap<Address, Spec> = changes
            .filter_map(|change| {
                Some((change.address.clone(), state.get(&change.address)?.clone()))
            })
            .collect();
        let unconfirmed = risky.keys().cloned().collect();
        if let Some(dead_man) = request.dead_man.as_ref().filter(|_| !risky.is_empty()) {
            let confirm = Duration::from_secs(dead_man.confirm.into());
            self.armed = Some(ArmedChange {
                nonce: dead_man.nonce.clone(),
                until: tokio::time::Instant::now() + confirm,
                has,
                ledger,
                changed: risky,
            });
        }
        let report = Report {
            target: digest,
            results,
            ledger: self.summary(),
            settling: 0,
            stopped: None,
            unconfirmed,
            warnings: Vec::new(),
        };
        if request.departure == Departure::Leaves && self.ledger.is_empty() {
            (self.sequence, self.holder, self.revision) = (0, None, None);
            (self.confirmed, self.held) = (None, None);
            self.left = true;
        }
        Ok(report)
    }
}

impl Session for Talk {
    fn observe(&mut self, request: Observe) -> BoxFuture<'_, Result<Observation, HostError>> {
        let result = self.host.lock().unwrap().observe(&request);
        let name = self.name.clone();
        Box::pin(std::future::ready(match result {
            Ok(Some(report)) => Ok(Observation::Report(Box::new(report))),
            Ok(None) => Ok(Observation::NeedState),
            Err(error) => Err(HostError::Agent { host: name, error }),
        }))
    }

    fn apply<'a>(
        &'a mut self,
        request: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Report, HostError>> {
        Box::pin(async move {
            let mood = self.host.lock().unwrap().mood.clone();
            let mut left = mood.slow;
            while left > Duration::ZERO {
                let step = left.min(Duration::from_secs(10));
                tokio::time::sleep(step).await;
                left -= step;
                if let Some(change) = request.plan.changes.first() {
                    progress(Progress {
                        address: change.address.clone(),
                        state: plumb_api::frame::ProgressState::Working,
                    });
                }
            }
            if mood.breaks {
                return Err(HostError::Broken {
                    host: self.name.clone(),
                    reason: "connection reset".to_owned(),
                });
            }
            let result = self.host.lock().unwrap().apply(&request, &contents);
            if mood.unheard {
                return Err(HostError::Broken {
                    host: self.name.clone(),
                    reason: "connection reset".to_owned(),
                });
            }
            result.map_err(|error| HostError::Agent {
                host: self.name.clone(),
                error,
            })
        })
    }

    fn confirm(&mut self, request: Confirm) -> BoxFuture<'_, Result<(), HostError>> {
        let result = self.host.lock().unwrap().confirm(&request);
        let name = self.name.clone();
        Box::pin(std::future::ready(
            result.map_err(|error| HostError::Agent { host: name, error }),
        ))
    }

    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>> {
        Box::pin(std::future::ready(Ok(Facts::default())))
    }

    fn adopt(&mut self, _request: Adopt) -> BoxFuture<'_, Result<Vec<Adopted>, HostError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
