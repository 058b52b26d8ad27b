//! Bytes as a key's file, as a list of revocations, and as the certificate of a policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_trust::Revocations;
use plumb_trust::policy::KeyFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = KeyFile::parse(data) {
        let name = key.name();
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert_eq!(plumb_trust::KeyName::from_hex(&name.to_hex()), Ok(name));
        let _ = key.owner();
    }
    let _ = Revocations::default().read(data);
});
