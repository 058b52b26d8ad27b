//! Measures a received pack before anything is built from it.
//!
//! A pack of a few kilobytes can expand to terabytes, because deltas copy their base repeatedly. So this adds
//! up the declared size of each entry and the declared result size of each delta. It inflates only the
//! streams themselves, into a small buffer that is thrown away.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use gix::odb::pack::data::{self, entry::Header};
use gix::zlib::{Decompress, FlushDecompress, Status};

use super::limits::{FetchLimits, LimitExceeded};

/// A pack that is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackScanError {
    /// The pack exceeds a bound.
    #[error(transparent)]
    Exceeded(#[from] LimitExceeded),
    /// The pack is malformed.
    #[error("{0}")]
    Corrupt(String),
    /// The pack's file can't be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Measures a pack of `length` bytes.
pub(crate) fn scan(
    pack: impl Read,
    length: u64,
    hash: gix::hash::Kind,
    limits: &FetchLimits,
) -> Result<(), PackScanError> {
    let mut pack = CountingReader {
        inner: io::BufReader::with_capacity(64 << 10, pack),
        position: 0,
    };
    let mut header = [0; data::header::SIZE];
    pack.read_exact(&mut header)
        .map_err(|_| PackScanError::Corrupt("the pack ends early".to_owned()))?;
    let (_, objects) = data::header::decode(&header)
        .map_err(|error| PackScanError::Corrupt(super::super::error::innermost(&error)))?;
    if objects > limits.objects {
        return Err(LimitExceeded::Objects(limits.objects).into());
    }
    let most = limits.inflated.max(length.saturating_mul(limits.ratio));
    let inflated = || LimitExceeded::Inflated {
        pack: length,
        limit: most,
    };
    let mut total: u64 = 0;
    // Maps the offset of each entry to the bytes that its delta chain needs. If a delta names its base by
    // hash, the base may be anywhere, so all such deltas are counted as one chain.
    let mut chains: HashMap<u64, u64> = HashMap::new();
    let mut by_name: u64 = 0;
    let mut inflate = Decompress::new();
    for _ in 0..objects {
        let begin = pack.position;
        let entry =
            data::Entry::from_read(&mut pack, begin, hash.len_in_bytes()).map_err(|error| {
                PackScanError::Corrupt(format!("an entry of the pack can't be read: {error}"))
            })?;
        if entry.decompressed_size > limits.object {
            return Err(LimitExceeded::Object(limits.object).into());
        }
        let prefix = measure(&mut pack, &mut inflate, entry.decompressed_size)?;
        let result = match entry.header {
            Header::OfsDelta { .. } | Header::RefDelta { .. } => delta_result(&prefix)?,
            _ => entry.decompressed_size,
        };
        if result > limits.object {
            return Err(LimitExceeded::Object(limits.object).into());
        }
        total = total.saturating_add(result);
        if matches!(
            entry.header,
            Header::OfsDelta { .. } | Header::RefDelta { .. }
        ) {
            total = total.saturating_add(entry.decompressed_size);
        }
        if total > most {
            return Err(inflated().into());
        }
        let base = match entry.header {
            Header::OfsDelta { base_distance } => {
                let at = begin.checked_sub(base_distance).ok_or_else(|| {
                    PackScanError::Corrupt(
                        "a delta's base is before the start of the pack".to_owned(),
                    )
                })?;
                *chains.get(&at).ok_or_else(|| {
                    PackScanError::Corrupt("a delta's base isn't at its offset".to_owned())
                })?
            }
            Header::RefDelta { .. } => by_name,
            _ => 0,
        };
        let chain = base.saturating_add(result);
        if chain > limits.chain {
            return Err(LimitExceeded::Chain(limits.chain).into());
        }
        if matches!(entry.header, Header::RefDelta { .. }) {
            by_name = chain;
        }
        chains.insert(begin, chain);
    }
    Ok(())
}

/// Inflates one stream of `size` bytes and returns its first 20 bytes.
fn measure(
    pack: &mut CountingReader<impl BufRead>,
    inflate: &mut Decompress,
    size: u64,
) -> Result<Vec<u8>, PackScanError> {
    // A delta begins with two sizes of at most ten bytes each.
    const PREFIX: usize = 20;
    let corrupt = |why: &str| PackScanError::Corrupt(why.to_owned());
    let mut prefix = Vec::with_capacity(PREFIX);
    let mut buffer = [0; 16 << 10];
    inflate.reset();
    loop {
        let (read, written, status) = {
            let input = pack.fill_buf()?;
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let flush = if input.is_empty() {
                FlushDecompress::Finish
            } else {
                FlushDecompress::None
            };
            let status = inflate
                .decompress(input, &mut buffer, flush)
                .map_err(|_| corrupt("an entry of the pack doesn't inflate"))?;
            let read = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
            let written = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
            if input.is_empty() && written == 0 && status != Status::StreamEnd {
                return Err(corrupt("the pack ends early"));
            }
            (read, written, status)
        };
        pack.consume(read);
        if prefix.len() < PREFIX {
            let more = written.min(PREFIX - prefix.len());
            prefix.extend_from_slice(&buffer[..more]);
        }
        if inflate.total_out() > size {
            return Err(corrupt(
                "an entry of the pack is longer than its header says",
            ));
        }
        if status == Status::StreamEnd {
            break;
        }
        if read == 0 && written == 0 {
            return Err(corrupt("an entry of the pack doesn't inflate"));
        }
    }
    if inflate.total_out() != size {
        return Err(corrupt(
            "an entry of the pack is shorter than its header says",
        ));
    }
    Ok(prefix)
}

/// Returns the result size of a delta: the second of the two sizes at its beginning.
fn delta_result(prefix: &[u8]) -> Result<u64, PackScanError> {
    let mut bytes = prefix.iter();
    let mut size = || -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    size()
        .and_then(|_| size())
        .ok_or_else(|| PackScanError::Corrupt("a delta of the pack has no sizes".to_owned()))
}

struct CountingReader<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for CountingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount as u64;
        self.inner.consume(amount);
    }
}
