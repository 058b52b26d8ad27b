//! Puts secrets in place at boot, before the services that read them, and without a controller.
//!
//! The unit `plumb-secrets.service`, which the desired state has, runs a link to the agent. What it delivers is
//! in the ledger: the confirmed specs of secrets, with their ciphertexts. It changes no file of the agent.

use std::path::Path;

use plumb_api::report::AgentError;
use plumb_api::{Kind, Spec};
use rustix::fs::{AtFlags, CWD, linkat, renameat};

use crate::blobs::Blobs;
use crate::book::{self, Desired, Home, Originals};
use crate::error::{At, Result};
use crate::provider::{ApplyContext, restore_secret};
use crate::sys::{Accounts, Sys};

/// The link to the agent, in the agent's folder.
const PROGRAM: &str = "boot-agent";

/// Links the running agent for the next boot, if the host has secrets and the link isn't there or leads to an
/// older agent. An agent on another file system can't be linked: then the next run puts secrets in place.
pub(crate) fn keep_program(sys: &Sys, home: &Home, desired: &Desired) -> Result<()> {
    let is_secret = |(address, _): (&plumb_api::Address, _)| address.kind() == Kind::Secret;
    if sys.is_sandbox() || !desired.iter().any(is_secret) {
        return Ok(());
    }
    let Ok(program) = std::env::current_exe() else {
        return Ok(());
    };
    let linked = Path::new(book::PATH).join(PROGRAM);
    if same_file(&program, &linked) {
        return Ok(());
    }
    let temporary = format!("{PROGRAM}.new");
    let dir = home.dir();
    dir.unlink(&temporary)?;
    if linkat(CWD, &program, dir.fd(), &temporary, AtFlags::empty()).is_err() {
        return Ok(());
    }
    renameat(dir.fd(), &temporary, dir.fd(), PROGRAM).at("replace", &dir.path_of(PROGRAM))
}

fn same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |path: &Path| {
        std::fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()))
    };
    of(one).is_some_and(|found| of(other) == Some(found))
}

/// Delivers every secret of the ledger whose files aren't there. Returns the error of each that can't be.
///
/// # Errors
/// Fails if the ledger can't be read.
pub(crate) fn restore(sys: &Sys) -> Result<Vec<(String, AgentError)>> {
    let Some(home) = Home::open(sys)? else {
        return Ok(Vec::new());
    };
    let loaded = book::load(sys, Some(&home))?;
    book::refuse_lost(&loaded.state)?;
    let (desired, blobs) = (Desired::default(), Blobs::default());
    let originals = Originals::open(&home)?;
    let mut context = ApplyContext {
        sys,
        home: &home,
        accounts: Accounts::load(sys),
        owners: loaded.ledger.owners.clone(),
        desired: &desired,
        blobs: &blobs,
        originals: &originals,
        temporary: ".plumb-boot",
        records: Vec::new(),
        warnings: Vec::new(),
        unsynced: Vec::new(),
    };
    let mut failed = Vec::new();
    for (address, entry) in &loaded.ledger.resources {
        if let Some(Spec::Secret(spec)) = &entry.spec {
            if let Err(error) = restore_secret(&mut context, address, spec) {
                failed.push((address.to_string(), error));
            }
        }
    }
    Ok(failed)
}
