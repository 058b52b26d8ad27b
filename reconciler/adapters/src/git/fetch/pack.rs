//! Receives a pack: writes it to a bounded file, measures it, and only then indexes it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use gix::odb::pack::{Bundle, bundle, data};

use super::super::error::innermost;
use super::super::mirror::{IncomingPack, MirrorError, MirrorStore};
use super::Failure;
use super::limits::{FetchLimits, LimitExceeded};
use super::scan::{PackScanError, scan};

/// Receives a pack into the mirror. On failure it leaves nothing behind.
pub(super) fn receive(
    from: &mut dyn BufRead,
    store: &MirrorStore,
    hash: gix::hash::Kind,
    limits: &FetchLimits,
    interrupt: &AtomicBool,
) -> Result<(), Failure> {
    let mut incoming = store.incoming()?;
    let length = copy(from, &mut incoming, limits, interrupt)?;
    let file = |error| Failure::Mirror(MirrorError::Io(error));
    let again = |incoming: &mut IncomingPack| -> io::Result<File> {
        let file = incoming.file_mut();
        file.flush()?;
        file.rewind()?;
        file.try_clone()
    };
    scan(again(&mut incoming).map_err(file)?, length, hash, limits).map_err(
        |error| match error {
            PackScanError::Exceeded(exceeded) => Failure::Exceeded(exceeded),
            PackScanError::Corrupt(reason) => Failure::Garbled(reason),
            PackScanError::Io(error) => file(error),
        },
    )?;

    let mut pack = BufReader::with_capacity(64 << 10, again(&mut incoming).map_err(file)?);
    let outcome = Bundle::write_to_directory(
        &mut pack,
        Some(&store.packs()),
        &mut gix::progress::Discard,
        interrupt,
        Some(store.handle().clone()),
        hash,
        bundle::write::Options {
            thread_limit: None,
            iteration_mode: data::input::Mode::Verify,
            alloc_limit_bytes: usize::try_from(limits.object).ok(),
            ..Default::default()
        },
    )
    .map_err(|error| Failure::Garbled(innermost(&error)))?;
    // The `.keep` file protects against a concurrent gc, which a mirror never runs.
    if let Some(keep) = outcome.keep_path {
        std::fs::remove_file(keep).map_err(file)?;
    }
    Ok(())
}

fn copy(
    from: &mut dyn BufRead,
    to: &mut IncomingPack,
    limits: &FetchLimits,
    interrupt: &AtomicBool,
) -> Result<u64, Failure> {
    let mut from = from.take(limits.pack + 1);
    let mut buffer = vec![0; 64 << 10];
    let mut length: u64 = 0;
    loop {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Failure::Garbled("the fetch was cancelled".to_owned()));
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Gix(gix::Error::from_error(error))),
        };
        length += read as u64;
        if length > limits.pack {
            return Err(LimitExceeded::Pack(limits.pack).into());
        }
        to.file_mut()
            .write_all(&buffer[..read])
            .map_err(|error| Failure::Mirror(MirrorError::Io(error)))?;
    }
    Ok(length)
}
