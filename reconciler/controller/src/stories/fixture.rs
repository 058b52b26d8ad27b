//! A fleet in memory with a controller, and time that is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use plumb_api::AlertmanagerUrl;
use plumb_core::alert::Alert;
use plumb_core::ports::{
    AlertError, AlertSink, Clock, Posted, Records, Store, StoreError, Table, Write,
};
use plumb_core::status::{ConditionStatus, ConditionType, HostStatus};
use plumb_trust::{Oid, Revocations};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::hosts::Machines;
use super::repository::Repository;
use crate::{Controller, Handle, Parts, Settings};

/// Time that goes with tokio's, which is paused and skips ahead.
#[derive(Clone, Copy)]
struct Told(Instant);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_760_000_000).unwrap() + self.0.elapsed()
    }
}

/// A store in memory; it outlives controllers.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Tables>>, Arc<AtomicBool>);

type Tables = BTreeMap<(Table, String), Vec<u8>>;

impl Memory {
    pub(super) fn wipe(&self) {
        self.0.lock().unwrap().clear();
    }

    /// Its disk is full from now on.
    pub(super) fn fill(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    /// There is room again.
    pub(super) fn clear_up(&self) {
        self.1.store(false, Ordering::Relaxed);
    }
}

impl Store for Memory {
    fn get(&self, table: Table, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .get(&(table, key.to_owned()))
            .cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self, table: Table) -> BoxFuture<'_, Result<Records, StoreError>> {
        let all = self.0.lock().unwrap();
        let found = all.iter().filter(|((t, _), _)| *t == table);
        let found = found
            .map(|((_, key), bytes)| (key.clone(), bytes.clone()))
            .collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.1.load(Ordering::Relaxed) {
            let error = StoreError::Failed("no space left on device".to_owned());
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut all = self.0.lock().unwrap();
        for write in writes {
            match write {
                Write::Put(table, key, bytes) => all.insert((table, key), bytes),
                Write::Delete(table, key) => all.remove(&(table, key)),
            };
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An Alertmanager that remembers each post.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    pub(super) posts: Arc<Mutex<Vec<Vec<Alert>>>>,
    pub(super) down: Arc<Mutex<bool>>,
}

impl Receiver {
    /// The last that was said of an alert.
    pub(super) fn last(&self, name: &str) -> Option<Alert> {
        let posts = self.posts.lock().unwrap();
        let mut all = posts.iter().rev().flatten();
        all.find(|alert| alert.labels["alertname"] == name).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.posts.lock().unwrap().len()
    }
}

impl AlertSink for Receiver {
    fn address(&self) -> &AlertmanagerUrl {
        static ADDRESS: LazyLock<AlertmanagerUrl> =
            LazyLock::new(|| AlertmanagerUrl::new("http://alerts.example:9093"));
        &ADDRESS
    }

    fn post<'a>(
        &'a self,
        alerts: &'a [Alert],
        _now: Timestamp,
    ) -> BoxFuture<'a, Result<Posted, AlertError>> {
        let result = if *self.down.lock().unwrap() {
            Err(AlertError::Unreachable("connection refused".to_owned()))
        } else {
            self.posts.lock().unwrap().push(alerts.to_vec());
            Ok(Posted::default())
        };
        Box::pin(std::future::ready(result))
    }
}

/// A fleet in memory.
pub(super) struct Fleet {
    pub(super) repository: Repository,
    pub(super) machines: Machines,
    pub(super) store: Memory,
    pub(super) receiver: Receiver,
    pub(super) settings: Settings,
    /// What the folder of revoked keys comes to.
    pub(super) revoked: Arc<Mutex<Result<Revocations, String>>>,
    clock: Told,
    running: Option<(Handle, JoinHandle<()>)>,
}

/// A host's manifest with one file.
pub(super) fn host(name: &str, text: &str, more: &str) -> String {
    format!(
        "kind: Host\nmetadata: {{name: {name}, labels: {{site: home}}}}\nspec:\n  arch: x86_64\n  hostKeys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMuqvAQa0cgFMT1d4gcAZTkFdv0pEyf7ztceyhK94lbB\"]\n  connect: [{{address: 192.0.2.1, user: root}}]\n  resources:\n    file: {{/etc/motd: {{content: \"{text}\"}}}}\n{more}"
    )
}

impl Fleet {
    /// A fleet of hosts with one file each, not driven yet.
    pub(super) fn new(names: &[&str]) -> Self {
        let manifests: Vec<_> = names
            .iter()
            .map(|name| (format!("hosts/{name}.yaml"), host(name, "one", "")))
            .collect();
        let files: Vec<_> = manifests
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        let (repository, first) = Repository::new(&files);
        Self {
            repository,
            machines: Machines::default(),
            store: Memory::default(),
            receiver: Receiver::default(),
            settings: Settings::new(first),
            revoked: Arc::new(Mutex::new(Ok(Revocations::default()))),
            clock: Told(Instant::now()),
            running: None,
        }
    }

    /// The same, driven and settled.
    pub(super) async fn settled(names: &[&str]) -> Self {
        let mut fleet = Self::new(names);
        fleet.start().await;
        for name in names {
            fleet
                .until(name, "ready", |status| is(status, ConditionType::Ready))
                .await;
        }
        fleet
    }

    pub(super) async fn start(&mut self) {
        let parts = Parts {
            source: Arc::new(self.repository.clone()),
            hosts: Arc::new(self.machines.clone()),
            store: Arc::new(self.store.clone()),
            sinks: vec![Arc::new(self.receiver.clone())],
            revoked: Arc::new({
                let revoked = self.revoked.clone();
                move || revoked.lock().unwrap().clone()
            }),
            make_sink: Arc::new(|address: &AlertmanagerUrl| {
                Err(format!("{address} is no Alertmanager here"))
            }),
            clock: Arc::new(self.clock),
        };
        self.running = Some(
            Controller::start(parts, self.settings.clone())
                .await
                .unwrap(),
        );
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.running.as_ref().unwrap().0
    }

    /// Stops the controller after its runs, and waits for that.
    pub(super) async fn stop(&mut self) {
        let (handle, task) = self.running.take().unwrap();
        handle.drain();
        task.await.unwrap();
    }

    /// Kills the controller where it is.
    pub(super) async fn kill(&mut self) {
        let (_handle, task) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// A commit that changes the file of some hosts, accepted and notified.
    pub(super) fn push(&self, names: &[&str], text: &str) -> Oid {
        let manifests: Vec<_> = names
            .iter()
            .map(|name| (format!("hosts/{name}.yaml"), host(name, text, "")))
            .collect();
        let files: Vec<_> = manifests
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        let commit = self.repository.push(&files);
        self.handle().notify().unwrap();
        commit
    }

    pub(super) fn status(&self, name: &str) -> HostStatus {
        let host = self.handle().host(&name.parse().unwrap());
        host.unwrap_or_else(|| panic!("there is no host {name}"))
            .status
            .clone()
    }

    /// Lets time pass until a host's status is so; a story that waits for an hour has failed.
    pub(super) async fn until(&self, name: &str, what: &str, so: impl Fn(&HostStatus) -> bool) {
        let start = Instant::now();
        loop {
            let host = self.handle().host(&name.parse().unwrap());
            if host.as_ref().is_some_and(|host| so(&host.status)) {
                // The published view lags behind what hosts show directly.
                tokio::time::sleep(Duration::from_millis(150)).await;
                return;
            }
            assert!(
                start.elapsed() < Duration::from_hours(1),
                "{name} never was {what}: {:#?}\n{:#?}",
                host,
                self.handle().events(None, 30),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn rest(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The names of the alerts that fire, in order.
    pub(super) fn alerts(&self) -> Vec<String> {
        let all = self.handle().view().alerts.clone();
        let mut names: Vec<_> = all
            .iter()
            .map(|alert| alert.labels["alertname"].clone())
            .collect();
        names.sort();
        names
    }

    pub(super) fn motd(&self, name: &str) -> Option<String> {
        self.machines.file(name, "/etc/motd")
    }

    /// Reconciles now, and waits until that is over.
    pub(super) async fn look(&self, name: &str) {
        let exchanges = self.machines.host(name).lock().unwrap().exchanges;
        self.handle()
            .reconcile(vec![name.parse().unwrap()])
            .await
            .unwrap();
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.machines.host(name).lock().unwrap().exchanges > exchanges {
                tokio::time::sleep(Duration::from_millis(500)).await;
                return;
            }
        }
        panic!("{name} wasn't looked at");
    }
}

pub(super) fn is(status: &HostStatus, kind: ConditionType) -> bool {
    status.conditions.is_true(kind)
}

pub(super) fn reason(status: &HostStatus, kind: ConditionType) -> String {
    let condition = status.conditions.get(kind);
    condition
        .map(|condition| condition.reason.to_string())
        .unwrap_or_default()
}

pub(super) fn not(status: &HostStatus, kind: ConditionType) -> bool {
    let condition = status.conditions.get(kind);
    condition.is_some_and(|condition| condition.status == ConditionStatus::False)
}
