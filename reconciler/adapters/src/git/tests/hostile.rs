//! Servers that send what they shouldn't.

use std::io::{Read, Write};
use std::time::Duration;

use gix::zlib::stream::deflate;
use plumb_core::ports::SourceError;
use plumb_trust::ObjectFormat;
use plumb_trust::source::Source;

use super::super::GitSource;
use super::super::fetch::FetchLimits;
use super::super::write::Writer;
use super::{Place, commit, fetch};

fn size(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        out.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return;
        }
    }
}

fn entry(kind: u8, inflated: &[u8], base: Option<u64>, out: &mut Vec<u8>) {
    let length = inflated.len() as u64;
    let mut rest = length >> 4;
    let first = (kind << 4) | u8::try_from(length & 15).unwrap();
    out.push(if rest == 0 { first } else { first | 0x80 });
    while rest != 0 {
        let byte = u8::try_from(rest & 0x7f).unwrap();
        rest >>= 7;
        out.push(if rest == 0 { byte } else { byte | 0x80 });
    }
    if let Some(mut distance) = base {
        let mut bytes = vec![u8::try_from(distance & 0x7f).unwrap()];
        while distance > 127 {
            distance = (distance >> 7) - 1;
            bytes.push(u8::try_from(distance & 0x7f).unwrap() | 0x80);
        }
        bytes.reverse();
        out.extend_from_slice(&bytes);
    }
    let mut deflated = deflate::Write::new(Vec::new(), gix::zlib::Compression::BEST);
    deflated.write_all(inflated).unwrap();
    deflated.flush().unwrap();
    out.extend_from_slice(&deflated.into_inner());
}

/// A blob of a few kilobytes, and deltas that each double the one before, all of a few bytes.
fn bomb(doublings: u32) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&(1 + doublings).to_be_bytes());
    let mut begin = pack.len() as u64;
    let mut length: u64 = 4096;
    entry(3, &vec![b'x'; 4096], None, &mut pack);
    for _ in 0..doublings {
        let mut delta = Vec::new();
        size(length, &mut delta);
        size(length * 2, &mut delta);
        for _ in 0..2 {
            let mut copied = 0;
            while copied < length {
                let step = (length - copied).min(0x00ff_ffff);
                let mut operation = 0x80_u8;
                let mut bytes = Vec::new();
                for (bit, shift) in [0, 8, 16, 24].into_iter().enumerate() {
                    let byte = u8::try_from((copied >> shift) & 0xff).unwrap();
                    if byte != 0 {
                        operation |= 1 << bit;
                        bytes.push(byte);
                    }
                }
                for (bit, shift) in [0, 8, 16].into_iter().enumerate() {
                    let byte = u8::try_from((step >> shift) & 0xff).unwrap();
                    if byte != 0 {
                        operation |= 0x10 << bit;
                        bytes.push(byte);
                    }
                }
                delta.push(operation);
                delta.extend_from_slice(&bytes);
                copied += step;
            }
        }
        let here = pack.len() as u64;
        entry(6, &delta, Some(here - begin), &mut pack);
        begin = here;
        length *= 2;
    }
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&pack);
    let sum = hasher.try_finalize().unwrap();
    pack.extend_from_slice(sum.as_bytes());
    pack
}

fn scanned(pack: &[u8], limits: &FetchLimits) -> Result<(), String> {
    super::super::fetch::scan(pack, pack.len() as u64, gix::hash::Kind::Sha1, limits)
        .map_err(|error| error.to_string())
}

#[test]
fn a_small_pack_that_stands_for_a_large_one_is_refused() {
    let limits = FetchLimits {
        object: u64::MAX,
        chain: u64::MAX,
        ..FetchLimits::default()
    };
    // 4 KiB, doubled 24 times: the last object alone has 64 GiB.
    let pack = bomb(24);
    assert!(pack.len() < 40_000, "{}", pack.len());
    assert!(scanned(&bomb(8), &limits).is_ok());
    let error = scanned(&pack, &limits).unwrap_err();
    assert!(
        error.contains("inflates to more than 1073741824 bytes"),
        "{error}"
    );
    let error = scanned(&pack, &FetchLimits::default()).unwrap_err();
    assert!(
        error.contains("an object of its pack is larger than 268435456 bytes"),
        "{error}"
    );
    let error = scanned(
        &pack,
        &FetchLimits {
            chain: 100_000,
            ..FetchLimits::default()
        },
    )
    .unwrap_err();
    assert!(error.contains("a chain of deltas"), "{error}");
    let error = scanned(
        &pack,
        &FetchLimits {
            objects: 10,
            ..FetchLimits::default()
        },
    )
    .unwrap_err();
    assert!(error.contains("more than 10 objects"), "{error}");
}

#[test]
fn garbled_packs_are_errors() {
    let good = bomb(3);
    assert!(scanned(&good, &FetchLimits::default()).is_ok());
    // The checksum at the end is gix' to check; everything before it is ours.
    for end in 0..good.len() - 21 {
        assert!(
            scanned(&good[..end], &FetchLimits::default()).is_err(),
            "{end}"
        );
    }
    for at in 0..good.len() - 20 {
        for bit in 0..8 {
            let mut pack = good.clone();
            pack[at] ^= 1 << bit;
            // No panic, and no allocation beyond the bounds; some flips are harmless.
            let _ = scanned(
                &pack,
                &FetchLimits {
                    object: 1 << 20,
                    ..FetchLimits::default()
                },
            );
        }
    }
}

/// A repository that gives this pack for its head, whoever asks: `git upload-pack` with another packer.
fn serving(place: &Place, pack: &[u8]) -> GitSource {
    let (writer, _) = place.fleet();
    let file = place.path("evil.pack");
    std::fs::write(&file, pack).unwrap();
    let hook = place.path("packer");
    std::fs::write(
        &hook,
        format!("#!/bin/sh\ncat >/dev/null\ncat {}\n", file.display()),
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut options = place.options("ssh://git@host.invalid/fleet.git");
    options.ssh.command = Some(format!(
        "git -c uploadpack.packObjectsHook={} upload-pack {} #",
        hook.display(),
        writer.path().display()
    ));
    GitSource::open(options).unwrap()
}

/// Git takes `packObjectsHook` from protected configuration only: `-c` is that.
#[test]
fn a_bomb_that_a_server_sends_leaves_nothing_behind() {
    let place = Place::new();
    let source = serving(&place, &bomb(24));
    let error = fetch(&source).unwrap_err();
    assert!(matches!(error, SourceError::Excessive { .. }), "{error:?}");
    assert_eq!(error.reason().as_str(), "TooLarge");
    let left: Vec<_> = std::fs::read_dir(place.path("state/mirror.git/objects/pack"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_pack_that_is_larger_than_may_be_is_cut_off() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let mut noise = String::new();
    for n in 0..200_000_u32 {
        let _ = std::fmt::Write::write_fmt(
            &mut noise,
            format_args!("{:x}", n.wrapping_mul(2_654_435_761)),
        );
    }
    commit(&writer, &[first], "large", &[("files/noise", &noise)]);
    let mut options = place.options(writer.path().to_str().unwrap());
    options.limits.pack = 100_000;
    let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
    let SourceError::Excessive { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(reason, "its pack is larger than 100000 bytes");

    let mut options = place.options(writer.path().to_str().unwrap());
    options.limits.refs = 0;
    let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
    assert!(matches!(error, SourceError::Excessive { .. }), "{error:?}");
}

#[test]
fn a_pack_without_what_was_asked_for_is_refused() {
    let place = Place::new();
    // A pack that is right in itself and holds nothing of the branch.
    let source = serving(&place, &bomb(2));
    for _ in 0..2 {
        let error = fetch(&source).unwrap_err();
        assert!(
            matches!(&error, SourceError::Garbled { reason, .. } if reason.contains("requested objects")),
            "{error:?}"
        );
    }
    drop(source);
    // When it is right again, all is well.
    let source = place.source(place.path("fleet.git").to_str().unwrap());
    let head = fetch(&source).unwrap().head;
    assert!(futures::executor::block_on(Source::descends(&source, head, head)).unwrap());
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let place = Place::new();
    for talk in [
        "exec sleep 1000",
        "printf 000eversion; exec sleep 1000",
        "while :; do printf 1; sleep 0.1; done",
    ] {
        let mut options = place.options("ssh://git@host.invalid/fleet.git");
        options.ssh.command = Some(format!("sh -c '{talk}' ssh"));
        options.timeouts.idle = Duration::from_millis(700);
        options.timeouts.total = Duration::from_secs(2);
        let began = std::time::Instant::now();
        let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
        assert!(
            matches!(
                error,
                SourceError::Timeout { .. }
                    | SourceError::Unreachable { .. }
                    | SourceError::Garbled { .. }
            ),
            "{talk}: {error:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{talk}");
    }
}

#[test]
fn noise_instead_of_an_answer_is_an_error() {
    let place = Place::new();
    let mut noise = vec![0; 100_000];
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut noise)
        .unwrap();
    let file = place.path("noise");
    std::fs::write(&file, noise).unwrap();
    let mut options = place.options("ssh://git@host.invalid/fleet.git");
    options.ssh.command = Some(format!("cat {} #", file.display()));
    let error = fetch(&GitSource::open(options).unwrap()).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_server_that_offers_a_part_of_the_history_is_refused() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    let second = commit(&writer, &[first], "second", &[("fleet.yaml", "b\n")]);
    let shallow = place.path("shallow.git");
    place.git(
        &place.path("home"),
        &[
            "clone",
            "-q",
            "--bare",
            "--depth",
            "1",
            &format!("file://{}", writer.path().display()),
            shallow.to_str().unwrap(),
        ],
    );
    let source = place.source(shallow.to_str().unwrap());
    let fetched = fetch(&source);
    assert!(fetched.is_err(), "{second}: {fetched:?}");
    assert!(!place.path("state/mirror.git/shallow").exists());
    let _ = Writer::create(
        &place.path("unused.git"),
        ObjectFormat::Sha1,
        "refs/heads/main",
    );
}
