//! Checks of names that several composite types share.

/// Checks a name that becomes a file's name without its suffix, and a part of a command's name.
pub(super) fn check_file_stem(name: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if name.len() <= 80 && name.bytes().all(good) {
        Ok(())
    } else {
        Err("a name is letters, digits, `_` and `-`, 80 at most".to_owned())
    }
}

/// Checks the name of a resource of a type that a host can have only once.
pub(super) fn check_only_name(name: &str, only: &str) -> Result<(), String> {
    if name == only {
        Ok(())
    } else {
        Err(format!("a host has one of this type; name it `{only}`"))
    }
}
