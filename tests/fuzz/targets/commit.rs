//! Splitting never panics, and what is taken apart is the whole: payload and signature together are
//! never longer than the commit, and the payload begins and ends as the commit does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::ObjectFormat;
use plumb_trust::object::Commit;

fuzz_target!(|data: &[u8]| {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        if let Ok(commit) = Commit::parse(data, format) {
            let payload = commit.payload().to_vec();
            assert!(data.ends_with(commit.message) && payload.ends_with(commit.message));
            match &commit.signature {
                None => assert_eq!(payload, data),
                Some(block) => assert!(payload.len() + block.len() < data.len()),
            }
            let _ = commit.subject();
        }
    }
});
