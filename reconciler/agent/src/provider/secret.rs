//! `secret`: a value that only the host decrypts, and the files that it is delivered in.
//!
//! The value exists in this module and in the files. Errors, observations and the ledger have names, versions
//! and paths alone.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    Content, FileType, Presence, Principal, SecretContent, SecretFile, SecretFileObserved,
    SecretObserved, SecretSpec,
};
use plumb_api::secret::SecretEnvelope;
use plumb_api::{Address, Observed, Spec};
use rustix::fs::fstatfs;
use zeroize::Zeroizing;

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::{
    ApplyContext, Effect, GiveBack, Item, ItemChange, ObserveContext, Provider, Sandbox, each,
    wrong_type,
};
use crate::age::{self, AgeError};
use crate::book::Home;
use crate::error::{At, Result, fail};
use crate::host_key;
use crate::sys::{FileKind, Sys, split};

/// The folder that Plumb makes for secrets, and removes with the last of them.
const FOLDER: &str = "/run/plumb";

/// The types of file systems that are in memory, as `statfs(2)` has them.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

pub(crate) struct Secrets;

impl Provider for Secrets {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, change: &ItemChange<'_>) -> Option<String> {
        match change.spec {
            Spec::Secret(spec) => spec.deliver.first().map(|file| file.path.clone()),
            _ => None,
        }
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Secret(spec) = item.spec else {
                return wrong_type(item.address);
            };
            observe(cx, item.address, spec).map(Observed::Secret)
        };
        items.iter().map(one).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Secret(spec), Observed::Secret(found)) = (change.spec, change.observed) else {
            return wrong_type(change.address);
        };
        let is_known = cx.inputs.ledger.entry(change.address).is_some();
        for (file, found) in spec.deliver.iter().zip(&found.files) {
            let owner = |owner: &Option<Principal>| owner.clone().or_else(|| ROOT.parse().ok());
            let (user, group) = (owner(&file.owner), owner(&file.group));
            let path = &file.path;
            at_path::ids(
                cx.sys,
                &cx.accounts,
                user.as_ref(),
                group.as_ref(),
                None,
                path,
            )?;
            if !is_known && found.content == SecretContent::Other {
                return Err(AgentError::new(
                    ErrorCode::Refused,
                    format!("{path} is there already, and Plumb didn't make it: it isn't replaced"),
                )
                .hint("remove it on the host, or deliver the secret to another path"));
            }
            check_memory(cx.sys, path)?;
        }
        Ok(())
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Secrets {
    fn full_spec(&self) -> Spec {
        Spec::Secret(SecretSpec::absent())
    }

    /// Nothing that was there before is ever replaced, so the files are only removed.
    fn restore_spec(&self, _original: &Observed, managed: Option<&Spec>) -> Spec {
        let deliver = match managed {
            Some(Spec::Secret(spec)) => spec.deliver.clone(),
            _ => Vec::new(),
        };
        Spec::Secret(SecretSpec {
            deliver,
            ..SecretSpec::absent()
        })
    }

    fn describe(&self, _original: &Observed) -> Option<String> {
        None
    }
}

/// Decrypts a secret, and checks that the ciphertext is what it came as and no older than what the host had.
pub(super) fn open(
    sys: &Sys,
    address: &Address,
    spec: &SecretSpec,
    known: Option<&Spec>,
) -> Result<Zeroizing<Vec<u8>>> {
    let refuse = |message: String, hint: String| {
        Err(AgentError::new(ErrorCode::SecretRefused, message).hint(hint))
    };
    let object = address.name().split('/').next().unwrap_or_default();
    let home = Home::open(sys)?;
    let Some(key) = home.as_ref().map(host_key::load).transpose()?.flatten() else {
        return refuse(
            "this host has no key to decrypt secrets with".to_owned(),
            format!(
                "run `plumb enroll` for the host, which makes and pins its key, then `plumb secret rekey {object}`"
            ),
        );
    };
    let plaintext = match age::decrypt(&spec.ciphertext, &key) {
        Ok(plaintext) => plaintext,
        Err(AgeError::NotARecipient) => {
            return refuse(
                format!("it isn't encrypted to this host's key {}", key.recipient()),
                format!(
                    "run `plumb enroll` to pin the key if the host was reinstalled, then `plumb secret rekey {object}`"
                ),
            );
        }
        Err(error) => {
            return refuse(
                error.to_string(),
                format!(
                    "find out who changed secrets/{object}.yaml, and run `plumb secret set {}`",
                    address.name()
                ),
            );
        }
    };
    let envelope = SecretEnvelope::parse(&plaintext).map_err(|error| {
        AgentError::new(ErrorCode::SecretRefused, error.to_string()).hint(format!(
            "run `plumb secret set {}`, which wraps the value",
            address.name()
        ))
    })?;
    let Some(expected) = spec.binding(address.name()) else {
        return fail(
            ErrorCode::Protocol,
            format!("{address} came without its binding"),
        );
    };
    if let Err(mismatch) = envelope.binding.check(&expected) {
        return refuse(
            mismatch.to_string(),
            format!(
                "if secrets/{object}.yaml was edited on purpose, run `plumb secret rekey {object}`; if not, find out who moved the ciphertext"
            ),
        );
    }
    if let Some(Spec::Secret(known)) = known {
        if known.version > spec.version {
            return refuse(
                format!(
                    "it is version {}, and this host has had version {}",
                    spec.version, known.version
                ),
                format!(
                    "run `plumb secret set {}` with the value that you want, which makes a new version",
                    address.name()
                ),
            );
        }
    }
    Ok(Zeroizing::new(envelope.value.to_vec()))
}

fn observe(
    cx: &ObserveContext<'_>,
    address: &Address,
    spec: &SecretSpec,
) -> Result<SecretObserved> {
    let entry = cx.inputs.ledger.entry(address);
    let value = if spec.state == Presence::Absent {
        None
    } else {
        let known = entry.and_then(|entry| entry.spec.as_ref());
        Some(open(cx.sys, address, spec, known)?)
    };
    let mut files = Vec::new();
    for file in &spec.deliver {
        files.push(look(
            cx,
            file,
            value.as_ref().map(|value| value.as_slice()),
        )?);
    }
    // What an earlier spec delivered elsewhere is still there until it is removed.
    if let Some(Spec::Secret(managed)) = entry.and_then(|entry| entry.managed()) {
        for file in &managed.deliver {
            if !files.iter().any(|found| found.path == file.path) {
                let found = look(cx, file, None)?;
                files.extend((found.content != SecretContent::Missing).then_some(found));
            }
        }
    }
    Ok(SecretObserved { files })
}

/// Observes a file, and compares its content with the value.
fn look(
    cx: &ObserveContext<'_>,
    file: &SecretFile,
    value: Option<&[u8]>,
) -> Result<SecretFileObserved> {
    let root = ROOT.parse().ok();
    let wish = Wish {
        content: false,
        owner: file.owner.as_ref().or(root.as_ref()),
        group: file.group.as_ref().or(root.as_ref()),
        mode: true,
    };
    let path = &file.path;
    let found = at_path::observe(cx, path, wish)?;
    let content = match found.file_type {
        FileType::Absent => SecretContent::Missing,
        FileType::File => {
            let limit = u64::try_from(age::MAX_PLAINTEXT).unwrap_or(u64::MAX);
            let has = cx.sys.root().read(path, limit).ok().flatten();
            match has.map(Zeroizing::new) {
                Some(has) if Some(has.as_slice()) == value => SecretContent::Current,
                _ => SecretContent::Other,
            }
        }
        FileType::Directory | FileType::Link | FileType::Other => {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!("{path} is no regular file: it isn't replaced"),
            )
            .hint("remove it on the host, or deliver the secret to another path"));
        }
    };
    Ok(SecretFileObserved {
        path: path.clone(),
        content,
        owner: found.owner,
        group: found.group,
        mode: found.mode,
    })
}

/// Fails unless a path is on a file system in memory. A sandbox has none of its own.
fn check_memory(sys: &Sys, path: &str) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    let mut folder = path;
    while folder != "/" {
        folder = split(folder).0;
        let Some(dir) = sys.root().directory(folder)? else {
            continue;
        };
        let kind = fstatfs(dir.fd())
            .at("look at the file system of", folder)?
            .f_type;
        if IN_MEMORY
            .iter()
            .any(|memory| i128::from(*memory) == i128::from(kind))
        {
            return Ok(());
        }
        break;
    }
    Err(AgentError::new(
        ErrorCode::Refused,
        format!("{path} isn't on a file system in memory, so the secret would be on a disk"),
    )
    .hint("mount a tmpfs there, or deliver the secret below another folder of /run"))
}

fn one(cx: &mut ApplyContext<'_>, change: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Secret(spec), Observed::Secret(found)) = (change.spec, change.observed) else {
        return wrong_type(change.address);
    };
    let stays = |path: &str| {
        spec.state == Presence::Present && spec.deliver.iter().any(|file| file.path == path)
    };
    for file in found.files.iter().filter(|file| !stays(&file.path)) {
        at_path::remove(cx, &file.path, FileKind::File)?;
        remove_folders(cx, &file.path)?;
    }
    if spec.state == Presence::Absent {
        return Ok(Effect::Done);
    }
    // The observation has checked the version against the ledger.
    deliver(cx, change.address, spec)?;
    Ok(Effect::Done)
}

/// Delivers a secret whose files aren't all there, as after a boot.
pub(crate) fn restore(
    cx: &mut ApplyContext<'_>,
    address: &Address,
    spec: &SecretSpec,
) -> Result<()> {
    let mut files = spec.deliver.iter();
    if spec.state == Presence::Absent
        || files.all(|file| matches!(cx.sys.root().look(&file.path), Ok(Some(_))))
    {
        return Ok(());
    }
    deliver(cx, address, spec)
}

/// Writes a secret into its files.
fn deliver(cx: &mut ApplyContext<'_>, address: &Address, spec: &SecretSpec) -> Result<()> {
    let value = open(cx.sys, address, spec, None)?;
    let root = ROOT.parse().ok();
    for file in &spec.deliver {
        check_memory(cx.sys, &file.path)?;
        let put = Put {
            bytes: Bytes::New(Content::of(&value)),
            owner: file.owner.as_ref().or(root.as_ref()),
            group: file.group.as_ref().or(root.as_ref()),
            mode: Some(file.mode()),
            validate: &[],
            attributes: None,
        };
        at_path::put_bytes(cx, &file.path, &put, &value)?;
    }
    Ok(())
}

/// Removes the folders of Plumb above a path, if they are empty.
fn remove_folders(cx: &mut ApplyContext<'_>, path: &str) -> Result<()> {
    let mut folder = split(path).0;
    while folder.starts_with(FOLDER) {
        let Some((dir, leaf)) = cx.sys.root().parent(folder)? else {
            break;
        };
        if !dir.remove_directory(leaf)? {
            break;
        }
        folder = split(folder).0;
    }
    Ok(())
}
