//! Splitting never panics; payload and signature together are the tag.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::object::Tag;
use plumb_trust::{ObjectFormat, Trailers};

fuzz_target!(|data: &[u8]| {
    if let Ok(tag) = Tag::parse(data, ObjectFormat::Sha1) {
        let mut whole = tag.payload().to_vec();
        whole.extend_from_slice(tag.signature.unwrap_or_default());
        assert_eq!(whole, data);
        let _ = Trailers::parse(tag.message);
    }
    let _ = Trailers::parse(data);
});
