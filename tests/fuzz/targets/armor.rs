//! Decoding never panics, and gives no more than it was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::Armor;

fuzz_target!(|data: &[u8]| {
    for armor in [Armor::OpenPgp, Armor::Ssh] {
        if let Ok(bytes) = armor.decode(data) {
            assert!(!bytes.is_empty() && bytes.len() < data.len());
        }
    }
});
