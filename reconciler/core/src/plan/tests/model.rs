//! A host as a model: what it has, what its ledger says, and an agent that does as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::frame::{
    Difference, DifferenceState, Facts, LedgerState, LedgerSummary, ObserveReport,
};
use plumb_api::plan::{Change, ChangeId, Op, Plan};
use plumb_api::resource::{
    BootLoading, CheckObserved, CommandObserved, ComposeObserved, DatabaseObserved,
    DirectoryObserved, FileObserved, FileType, FirewallObserved, GroupObserved,
    KernelModuleObserved, KernelParameterObserved, KeypairObserved, LinkObserved, Manage,
    MountObserved, PackageObserved, Presence, RunState, SecretObserved, ServiceObserved,
    ServiceSpec, ServiceState, Stale, SwapObserved, SysctlObserved, TreeObserved, UnitObserved,
    UserObserved,
};
use plumb_api::{Address, Kind, Observed, Spec};
use serde_json::Value;

use crate::desired::{DesiredResource, DesiredState, HostIntent};

pub(super) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub(super) fn state(resources: &[(&str, Value)]) -> DesiredState {
    let all = resources.iter().map(|(name, spec)| {
        let address = address(name);
        let spec = address.kind().decode(spec.clone()).unwrap();
        (address, Arc::new(DesiredResource::new(spec).unwrap()))
    });
    DesiredState::new(all.collect())
}

pub(super) fn intent(resources: &[(&str, Value)]) -> HostIntent {
    HostIntent {
        name: "linda".parse().unwrap(),
        uid: None,
        labels: BTreeMap::new(),
        formerly: Vec::new(),
        lifecycle: crate::desired::Lifecycle::Active,
        arch: None,
        connect: Vec::new(),
        host_keys: Vec::new(),
        drift: crate::desired::DriftPolicy::default(),
        existing: crate::desired::Existing::Keep,
        suspend: None,
        desired: state(resources),
    }
}

/// A host.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelHost {
    pub(super) has: BTreeMap<Address, Observed>,
    pub(super) ledger: BTreeMap<Address, Spec>,
    pub(super) originals: BTreeSet<Address>,
    pub(super) restarts: Vec<Address>,
}

pub(super) fn nothing(kind: Kind) -> Observed {
    match kind {
        Kind::File => Observed::File(FileObserved::default()),
        Kind::Directory => Observed::Directory(DirectoryObserved::default()),
        Kind::Link => Observed::Link(LinkObserved::default()),
        Kind::Archive => Observed::Archive(TreeObserved::default()),
        Kind::Git => Observed::Git(TreeObserved::default()),
        Kind::Keypair => Observed::Keypair(KeypairObserved::default()),
        Kind::Secret => Observed::Secret(SecretObserved::default()),
        Kind::Package => Observed::Package(PackageObserved::default()),
        Kind::Unit => Observed::Unit(UnitObserved::default()),
        Kind::Service => Observed::Service(ServiceObserved::default()),
        Kind::User => Observed::User(UserObserved::default()),
        Kind::Group => Observed::Group(GroupObserved::default()),
        Kind::Sysctl => Observed::Sysctl(SysctlObserved::default()),
        Kind::KernelModule => Observed::KernelModule(KernelModuleObserved::default()),
        Kind::KernelParameter => Observed::KernelParameter(KernelParameterObserved::default()),
        Kind::Mount => Observed::Mount(MountObserved::default()),
        Kind::Swap => Observed::Swap(SwapObserved::default()),
        Kind::Firewall => Observed::Firewall(FirewallObserved::default()),
        Kind::Database => Observed::Database(DatabaseObserved::default()),
        Kind::Command => Observed::Command(CommandObserved::default()),
        Kind::Compose => Observed::Compose(ComposeObserved::default()),
        Kind::Check => Observed::Check(CheckObserved::default()),
    }
}

impl ModelHost {
    pub(super) fn get(&self, address: &Address) -> Observed {
        let found = self.has.get(address).cloned();
        found.unwrap_or_else(|| nothing(address.kind()))
    }

    pub(super) fn observe(&self, goal: &DesiredState) -> ObserveReport {
        let mut differences = Vec::new();
        let mut unconfirmed = Vec::new();
        let mut gone = Vec::new();
        let mut in_sync = 0;
        for (address, resource) in goal.resources() {
            let observed = self.get(address);
            let fields = resource.spec().compare(&observed);
            let made = self.ledger.contains_key(address) || address.kind().made(&fields);
            let left_alone = resource.spec().manage() == Manage::Once && made;
            if !fields.is_empty() && !left_alone {
                differences.push(Difference {
                    address: address.clone(),
                    state: DifferenceState::Differs,
                    observed: Some(observed),
                    fields,
                    confirmed: self.ledger.get(address).cloned(),
                    read_back: plumb_api::read_back::ReadBacks::default(),
                    original: None,
                    losses: Vec::new(),
                    refusal: None,
                    text: None,
                });
                continue;
            }
            in_sync += 1;
            if self.ledger.get(address) != Some(resource.spec()) {
                unconfirmed.push(address.clone());
            }
        }
        for (address, spec) in &self.ledger {
            if goal.get(address).is_some() {
                continue;
            }
            let observed = self.get(address);
            if observed.exists() {
                differences.push(Difference {
                    address: address.clone(),
                    state: DifferenceState::Undesired,
                    observed: Some(observed),
                    fields: Vec::new(),
                    confirmed: Some(spec.clone()),
                    read_back: plumb_api::read_back::ReadBacks::default(),
                    original: self
                        .originals
                        .contains(address)
                        .then(|| "something else".to_owned()),
                    losses: Vec::new(),
                    refusal: None,
                    text: None,
                });
            } else {
                gone.push(address.clone());
            }
        }
        ObserveReport {
            target: goal.digest(),
            ledger: LedgerSummary {
                state: LedgerState::Sound,
                sequence: 1,
                epoch: None,
                controller: None,
                revision: None,
                confirmed: None,
                resources: u32::try_from(self.ledger.len()).unwrap(),
            },
            facts: Facts::default(),
            clock: None,
            in_sync,
            differences,
            unconfirmed,
            gone,
            aliases: BTreeMap::new(),
            waiting: None,
            reboot: Vec::new(),
        }
    }

    /// Carries a plan out, and checks all that an agent would check.
    pub(super) fn apply(&mut self, plan: &Plan, goal: &DesiredState) {
        let mut done: BTreeSet<ChangeId> = BTreeSet::new();
        for (at, change) in plan.changes.iter().enumerate() {
            assert_eq!(change.id, ChangeId(u32::try_from(at).unwrap()));
            assert!(
                change.after.iter().all(|id| done.contains(id)),
                "{} comes before what it comes after",
                change.address
            );
            if let Some(precondition) = change.precondition {
                assert_eq!(
                    self.get(&change.address).digest().unwrap(),
                    precondition,
                    "{} isn't as it was observed",
                    change.address
                );
            }
            self.carry_out(change, goal);
            done.insert(change.id);
        }
        for address in &plan.confirm {
            self.ledger
                .insert(address.clone(), goal.get(address).unwrap().clone());
        }
        for address in &plan.forget {
            self.ledger.remove(address);
        }
    }

    fn carry_out(&mut self, change: &Change, goal: &DesiredState) {
        let address = &change.address;
        let Some(spec) = goal.get(address) else {
            assert_eq!(change.op, Op::Delete);
            self.has.remove(address);
            self.ledger.remove(address);
            self.input_moved(address, goal);
            return;
        };
        // What isn't among the planned fields stays, unless the thing wasn't there to be observed.
        let planned: BTreeSet<_> = change.fields.iter().map(|f| f.field.as_str()).collect();
        let fresh = spec.compare(&self.get(address));
        let all = matches!(change.op, Op::Create | Op::Replace | Op::Delete);
        let fields: BTreeSet<_> = fresh
            .iter()
            .map(|f| f.field.as_str())
            .filter(|f| all || change.precondition.is_none() || planned.contains(f))
            .collect();
        if !fields.is_empty() {
            let next = self.made(address, spec, &fields);
            self.has.insert(address.clone(), next);
            if spec.wants_absent() {
                self.has.remove(address);
            }
            if address.kind() == Kind::Package {
                self.side_effects(address);
            }
            self.input_moved(address, goal);
        }
        self.ledger.insert(address.clone(), spec.clone());
    }

    /// What a package brings: a file and a group of its name.
    fn side_effects(&mut self, package: &Address) {
        let file = address(&format!("file:/etc/{}", package.name()));
        self.has.entry(file).or_insert_with(|| {
            Observed::File(FileObserved {
                file_type: FileType::File,
                ..FileObserved::default()
            })
        });
        let group = address(&format!("group:{}", package.name()));
        self.has.entry(group).or_insert_with(|| {
            Observed::Group(GroupObserved {
                state: Some(Presence::Present),
                ..GroupObserved::default()
            })
        });
    }

    fn input_moved(&mut self, input: &Address, goal: &DesiredState) {
        for (address, resource) in goal.resources() {
            let spec = resource.spec();
            let reacts = spec.triggers(address.name()).iter().any(|t| t.on == *input)
                || plumb_api::resource::reads(address, input);
            if let (true, Some(Observed::Service(service))) = (reacts, self.has.get_mut(address))
                && service.state == Some(RunState::Started)
            {
                service.stale = Stale::Restart;
            }
        }
    }

    fn made(&mut self, address: &Address, spec: &Spec, fields: &BTreeSet<&str>) -> Observed {
        let has = |f: &str| fields.contains(f);
        match (spec, self.get(address)) {
            (Spec::File(s), Observed::File(mut o)) => {
                o.file_type = FileType::File;
                if has("content") {
                    o.content = s.content;
                }
                if has("mode") {
                    o.mode = s.mode;
                }
                if has("owner") {
                    let owner = s.owner.as_ref().and_then(|p| p.name()).unwrap();
                    let user = self.get(&super::model::address(&format!("user:{owner}")));
                    assert!(user.exists(), "{address} is made before its owner");
                    o.owner.clone_from(&s.owner);
                }
                Observed::File(o)
            }
            (Spec::Directory(s), Observed::Directory(mut o)) => {
                o.file_type = FileType::Directory;
                o.mode = s.mode.or(o.mode);
                Observed::Directory(o)
            }
            (Spec::Link(s), Observed::Link(mut o)) => {
                o.file_type = FileType::Link;
                o.target.clone_from(&s.target);
                Observed::Link(o)
            }
            (Spec::Unit(s), Observed::Unit(mut o)) => {
                o.file_type = FileType::File;
                o.content = s.content;
                Observed::Unit(o)
            }
            (Spec::Service(s), Observed::Service(o)) => {
                Observed::Service(self.made_service(address, s, o, fields))
            }
            (Spec::User(s), Observed::User(mut o)) => {
                for group in s.groups.iter().flatten() {
                    let group = self.get(&super::model::address(&format!("group:{group}")));
                    assert!(group.exists(), "{address} is made before its groups");
                }
                o.state = Some(Presence::Present);
                o.groups.clone_from(&s.groups);
                o.shell = s.shell.clone().or(o.shell);
                Observed::User(o)
            }
            (Spec::Group(s), Observed::Group(mut o)) => {
                o.state = Some(Presence::Present);
                if has("members") {
                    o.members.clone_from(&s.members);
                }
                Observed::Group(o)
            }
            (Spec::Package(_), Observed::Package(mut o)) => {
                o.version = Some("1".to_owned());
                Observed::Package(o)
            }
            (Spec::Sysctl(s), Observed::Sysctl(mut o)) => {
                o.running.clone_from(&s.value);
                o.persisted.clone_from(&s.value);
                Observed::Sysctl(o)
            }
            (Spec::Mount(s), Observed::Mount(mut o)) => {
                o.unit = Some(s.unit_text(address.name()));
                o.enabled = true;
                o.mounted.clone_from(&s.source);
                Observed::Mount(o)
            }
            (Spec::Swap(s), Observed::Swap(mut o)) => {
                o.unit = Some(s.unit_text(address.name()));
                o.enabled = true;
                o.active = s.priority.or(Some(-2));
                Observed::Swap(o)
            }
            (Spec::Firewall(s), Observed::Firewall(_)) => Observed::Firewall(FirewallObserved {
                rules: Some(s.reading()),
                saved: Some(Box::new(s.clone())),
                boot: BootLoading::Enabled,
            }),
            (Spec::Command(_), Observed::Command(_)) => {
                Observed::Command(CommandObserved::default())
            }
            (Spec::Check(_), Observed::Check(_)) => Observed::Check(CheckObserved::default()),
            (spec, found) => panic!("{spec:?} on {found:?}"),
        }
    }

    fn made_service(
        &mut self,
        address: &Address,
        s: &ServiceSpec,
        mut o: ServiceObserved,
        fields: &BTreeSet<&str>,
    ) -> ServiceObserved {
        let has = |f: &str| fields.contains(f);
        o.known = true;
        o.state = o.state.or(Some(RunState::Stopped));
        if has("enabled") {
            o.enabled = s.enabled;
        }
        if has("state") {
            o.state = s.state.map(|state| match state {
                ServiceState::Started => RunState::Started,
                ServiceState::Stopped => RunState::Stopped,
            });
            o.stale = Stale::No;
        }
        if has("inputs") {
            assert_eq!(o.stale, Stale::Restart, "{address} restarts for nothing");
            o.stale = Stale::No;
            self.restarts.push(address.clone());
        }
        o
    }
}
