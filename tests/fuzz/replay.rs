//! The corpus of the fuzz targets and what they found, through the same entry points, with the
//! compiler that everything else is built with.

mod entry;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plumb_trust::{ObjectFormat, ObjectKind};
use tests::objects::{Store, dump_corpus};

/// Far more than any input takes when built without optimisation.
const MOST: Duration = Duration::from_secs(5);

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = found.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_corpus_of_every_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut objects = Store::new(ObjectFormat::Sha1);
    for (name, run) in entry::ENTRIES {
        let seeds = files(&fuzz.join("corpus").join(name));
        assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
        for file in seeds
            .into_iter()
            .chain(files(&fuzz.join("found").join(name)))
        {
            let bytes = std::fs::read(&file).unwrap();
            let begun = Instant::now();
            if let Err(panic) = std::panic::catch_unwind(|| run(&bytes)) {
                eprintln!("{}", file.display());
                std::panic::resume_unwind(panic);
            }
            assert!(begun.elapsed() < MOST, "{} is slow", file.display());
            match name {
                "commit" => _ = objects.write(ObjectKind::Commit, bytes),
                "tag" => _ = objects.write(ObjectKind::Tag, bytes),
                _ => {}
            }
        }
    }
    dump_corpus(&objects);
}

/// The fixtures are worth something: what their keys made is accepted, and no bit of what is signed can change.
#[test]
fn a_genuine_signature_and_every_bit_of_it() {
    for genuine in [
        &include_bytes!("fixture/openpgp/genuine-ed25519")[..],
        include_bytes!("fixture/ssh/genuine-ed25519"),
        include_bytes!("fixture/ssh/genuine-security-key"),
    ] {
        assert!(entry::is_accepted(genuine));
        for bit in 0..genuine.len() * 8 {
            let mut changed = genuine.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            entry::signature(&changed);
        }
        entry::signature(&[genuine, b"\0"].concat());
    }
}
