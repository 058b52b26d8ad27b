//! Reads the files of `trust/keys/`, within limits on the work that they cause.

use std::collections::HashMap;

use plumb_document::{Diagnostic, Span};
use sequoia_openpgp::Packet;
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse as _};

use super::{KeyFile, KeyFileError, codes};
use crate::key_name::KeyName;
use crate::object::limits;
use crate::work::WorkCounter;

/// The keys of a folder by fingerprint, and the diagnostics about the files.
pub(super) struct KeyFiles<'w> {
    pub(super) work: &'w WorkCounter,
    /// Total size of the certificates that were read so far.
    size: CertificateSize,
    pub(super) found: HashMap<KeyName, KeyFile>,
    /// Path and fingerprint of each file that holds a key.
    pub(super) files: Vec<(String, KeyName)>,
    pub(super) wrong: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// The result of reading a file, kept for other files with the same content.
#[derive(Debug, Clone)]
pub(super) enum KeyContent {
    /// The file holds the key with this fingerprint.
    Key(KeyName),
    /// The file doesn't hold a key.
    Neither,
    /// The file is refused.
    Refused,
}

impl<'w> KeyFiles<'w> {
    pub(super) fn new(work: &'w WorkCounter) -> Self {
        Self {
            work,
            size: CertificateSize::default(),
            found: HashMap::new(),
            files: Vec::new(),
            wrong: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reads a file and adds its key or a diagnostic.
    pub(super) fn add(&mut self, path: &str, bytes: &[u8]) -> KeyContent {
        let span = Span::of_file(path);
        let content = match self.read(bytes) {
            Ok(file) => {
                let name = file.name();
                self.name(path, &name);
                self.found.insert(name.clone(), file);
                return KeyContent::Key(name);
            }
            Err(KeyFileError::Neither) => KeyContent::Neither,
            Err(error) => {
                self.wrong.push(unusable_file(&error, &span));
                KeyContent::Refused
            }
        };
        self.add_again(path, &content);
        content
    }

    /// Adds another file whose content was read before.
    pub(super) fn add_again(&mut self, path: &str, content: &KeyContent) {
        match content {
            KeyContent::Key(name) => self.name(path, name),
            KeyContent::Neither => {
                let message = format!("it is {}, and isn't used", KeyFileError::Neither);
                self.warnings.push(Diagnostic::warning(
                    codes::KEY_FILE,
                    &Span::of_file(path),
                    message,
                ));
            }
            KeyContent::Refused => {}
        }
    }

    fn name(&mut self, path: &str, name: &KeyName) {
        self.files.push((path.to_owned(), name.clone()));
        if self.found.contains_key(name) {
            self.wrong.push(Diagnostic::error(
                codes::KEY_FILE,
                &Span::of_file(path),
                format!("the key {name} has another file already"),
            ));
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<KeyFile, KeyFileError> {
        // The library processes a certificate as a whole, so its size is checked before.
        if KeyFile::is_certificate(bytes) {
            self.size.add(bytes, self.work)?;
        }
        KeyFile::parse(bytes)
    }
}

/// The size of certificates, in units that the work of the `OpenPGP` library depends on.
#[derive(Debug, Clone, Copy, Default)]
struct CertificateSize {
    packets: usize,
    pairs: u64,
}

impl CertificateSize {
    /// Adds the packets of a file. Fails if the sum exceeds a limit.
    fn add(&mut self, bytes: &[u8], work: &WorkCounter) -> Result<(), KeyFileError> {
        let (mut parts, mut signatures) = (0_u64, 0_u64);
        // Bytes that aren't packets fail in `KeyFile::parse`, which gives the reason.
        let mut next = PacketParser::from_bytes(bytes).ok();
        while let Some(PacketParserResult::Some(parser)) = next {
            match parser.packet {
                Packet::Signature(_) => signatures += 1,
                _ => parts += 1,
            }
            self.packets += 1;
            let pairs = self.pairs + parts * (signatures + 1);
            if self.packets > limits::CERTIFICATE_PACKETS || pairs > limits::CERTIFICATE_PAIRS {
                return Err(KeyFileError::Large);
            }
            next = parser.next().ok().map(|(_, next)| next);
        }
        self.pairs += parts * (signatures + 1);
        work.add(|work| work.certificate_pairs += parts * (signatures + 1));
        Ok(())
    }
}

/// Returns the diagnostic about a file of `trust/keys/` that holds no usable key.
fn unusable_file(error: &KeyFileError, span: &Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(codes::KEY_FILE, span, format!("it is {error}"));
    match error {
        KeyFileError::Secret => diagnostic.hint(
            "take it out of the repository, and don't use it any more: whoever can read the repository has it",
        ),
        KeyFileError::Large => diagnostic.hint(
            "take out what others have certified: `gpg --export-options export-minimal --armor --export KEY`",
        ),
        _ => diagnostic,
    }
}
