//! A strict decoder of armor: one block, with nothing before it and at most white space after it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An error in armor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// The block doesn't begin and end as armor does.
    #[error("the signature isn't one whole block of armor")]
    Block,
    /// A header line isn't `Name: value`.
    #[error("a header line of the armor is garbled")]
    Header,
    /// The data isn't base64.
    #[error("the armor's data isn't base64")]
    Base64,
    /// The checksum doesn't match the data.
    #[error("the armor's checksum is wrong")]
    Checksum,
}

/// The kind of armor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Armor {
    /// `OpenPGP`.
    OpenPgp,
    /// SSHSIG.
    Ssh,
}

impl Armor {
    const fn begin(self) -> &'static [u8] {
        match self {
            Self::OpenPgp => b"-----BEGIN PGP SIGNATURE-----",
            Self::Ssh => b"-----BEGIN SSH SIGNATURE-----",
        }
    }

    const fn end(self) -> &'static [u8] {
        match self {
            Self::OpenPgp => b"-----END PGP SIGNATURE-----",
            Self::Ssh => b"-----END SSH SIGNATURE-----",
        }
    }

    /// Returns the kind of armor that a block begins with.
    pub fn of(block: &[u8]) -> Option<Self> {
        [Self::OpenPgp, Self::Ssh]
            .into_iter()
            .find(|armor| block.starts_with(armor.begin()))
    }

    /// Decodes the bytes within a block.
    pub fn decode(self, block: &[u8]) -> Result<Vec<u8>, ArmorError> {
        let block = block.trim_ascii_end();
        let rest = block.strip_prefix(self.begin()).ok_or(ArmorError::Block)?;
        let rest = rest.strip_suffix(self.end()).ok_or(ArmorError::Block)?;
        let rest = rest.strip_prefix(b"\n").ok_or(ArmorError::Block)?;
        let mut lines = rest
            .strip_suffix(b"\n")
            .ok_or(ArmorError::Block)?
            .split(|b| *b == b'\n')
            .peekable();
        if self == Self::OpenPgp {
            loop {
                let line = lines.next().ok_or(ArmorError::Block)?;
                if line.is_empty() {
                    break;
                }
                header(line)?;
            }
        }
        let (mut text, mut checksum) = (Vec::new(), None);
        for line in lines.by_ref() {
            if let Some(sum) = line.strip_prefix(b"=").filter(|_| self == Self::OpenPgp) {
                checksum = Some(sum);
                break;
            }
            if line.is_empty() {
                return Err(ArmorError::Base64);
            }
            text.extend_from_slice(line);
        }
        if lines.next().is_some() {
            return Err(ArmorError::Block);
        }
        let bytes = base64(&text)?;
        match checksum {
            Some(sum) if base64(sum)? != crc24(&bytes) => Err(ArmorError::Checksum),
            _ => Ok(bytes),
        }
    }
}

/// True if a block is exactly one X.509 signature, as `gpgsm` makes and `git` stores it, and contains nothing
/// that another program could take for a signature of another kind.
pub(super) fn is_x509(block: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN SIGNED MESSAGE-----";
    const END: &[u8] = b"-----END SIGNED MESSAGE-----";
    let mut lines = block.trim_ascii_end().split(|b| *b == b'\n');
    let whole = lines.next() == Some(BEGIN) && lines.next_back() == Some(END);
    let in_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    whole && lines.all(|line| !line.is_empty() && line.iter().all(in_base64))
}

fn header(line: &[u8]) -> Result<(), ArmorError> {
    let colon = line
        .windows(2)
        .position(|pair| pair == b": ")
        .ok_or(ArmorError::Header)?;
    let name = &line[..colon];
    let printable = line.iter().all(|b| (b' '..0x7f).contains(b) || *b >= 0x80);
    if !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric) && printable {
        Ok(())
    } else {
        Err(ArmorError::Header)
    }
}

/// Decodes canonical base64: only characters of its alphabet, padding only at the end, no bits left over.
fn base64(text: &[u8]) -> Result<Vec<u8>, ArmorError> {
    let bytes = STANDARD.decode(text).map_err(|_| ArmorError::Base64)?;
    if bytes.is_empty() {
        Err(ArmorError::Base64)
    } else {
        Ok(bytes)
    }
}

fn crc24(bytes: &[u8]) -> [u8; 3] {
    let crc = bytes.iter().fold(0x00b7_04ce_u32, |mut crc, byte| {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
        crc
    });
    let [_, a, b, c] = crc.to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNATURE-----\nComment: x\n\naGVsbG8gd29y\nbGQ=\n=sDy3\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn a_whole_block_is_read_and_its_checksum_is_checked() {
        assert_eq!(
            Armor::OpenPgp.decode(GOOD.as_bytes()).unwrap(),
            b"hello world"
        );
        assert_eq!(
            Armor::OpenPgp
                .decode(GOOD.replace("=sDy3\n", "").as_bytes())
                .unwrap(),
            b"hello world"
        );
        assert_eq!(
            Armor::OpenPgp.decode(GOOD.replace("sDy3", "sDy4").as_bytes()),
            Err(ArmorError::Checksum)
        );
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for (from, to) in [
            ("bGQ=\n", "bGQ\n"),
            ("bGQ=\n", "bGR=\n"),
            ("bGQ=\n", "bGQ==\n"),
            ("bGQ=\n", "\nbGQ=\n"),
            ("aGVs", "aG Vs"),
            ("aGVs", "aGVs\r"),
            ("Comment: x", "Comment x"),
            ("=sDy3\n", "=sDy3\nbGQ=\n"),
            ("-----END", "----END"),
            ("x\n\n", "x\n"),
            ("SIGNATURE-----\nC", "SIGNATURE----- \nC"),
            ("bGQ=\n", "bG=Q\n"),
            ("aGVsbG8gd29y\nbGQ=\n=sDy3\n", ""),
        ] {
            let wrong = GOOD.replacen(from, to, 1);
            assert_ne!(wrong, GOOD, "{from}");
            assert!(Armor::OpenPgp.decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(
            Armor::OpenPgp
                .decode(format!("{GOOD}{GOOD}").as_bytes())
                .is_err()
        );
        assert!(
            Armor::OpenPgp
                .decode(format!("{GOOD}x").as_bytes())
                .is_err()
        );
    }
}
