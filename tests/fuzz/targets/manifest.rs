#![no_main]
#[path = "../entry.rs"]
#[allow(dead_code, reason = "each target is one of the entries")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::manifest(data));
