//! Unit files that other types than `unit` write: `mount` and `swap`.

use std::fmt::Write as _;

/// First line of these unit files.
pub(super) const HEADER: &str = "# Written by plumb.";

/// The [key](super::Resource::input_key) of `/etc/fstab`.
pub(super) const FSTAB_KEY: &str = "fstab";

/// Path of the table of mounts and swaps.
pub(super) const FSTAB: &str = "/etc/fstab";

/// Returns the name of the unit for a path, escaped as by `systemd-escape --path`.
pub(super) fn name_of_path(path: &str, suffix: &str) -> String {
    let mut name = String::new();
    for (at, byte) in path.trim_matches('/').bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b":_.".contains(&byte);
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            _ if plain => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name + suffix
}

/// Returns a line that sets a value, or an empty text for an empty value.
pub(super) fn setting(name: &str, value: &str) -> String {
    match value {
        "" => String::new(),
        // A `%` starts a specifier in a unit file.
        value => format!("{name}={}\n", value.replace('%', "%%")),
    }
}

/// Returns the value of a setting of a unit file.
pub(super) fn value_of(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    text.lines()
        .find_map(value)
        .map(|value| value.replace("%%", "%"))
}

/// Returns the path of the device that a tag such as `UUID=…` names, or of the device itself. Returns `None` if
/// the source is no device.
pub(super) fn device_path(source: &str) -> Option<String> {
    let tags = [
        ("UUID=", "uuid"),
        ("LABEL=", "label"),
        ("PARTUUID=", "partuuid"),
        ("PARTLABEL=", "partlabel"),
    ];
    for (tag, folder) in tags {
        if let Some(value) = source.strip_prefix(tag) {
            return Some(format!("/dev/disk/by-{folder}/{}", udev_name(value)));
        }
    }
    source.starts_with("/dev/").then(|| source.to_owned())
}

/// Returns a label as udev writes it in the name of a link: other characters are `\x` and their code.
fn udev_name(value: &str) -> String {
    let mut name = String::new();
    for character in value.chars() {
        let plain = character.is_ascii_alphanumeric() || "#+-.:=@_".contains(character);
        if plain || !character.is_ascii() {
            name.push(character);
        } else {
            let _ = write!(name, "\\x{:02x}", u32::from(character));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_units_like_systemd_escape() {
        assert_eq!(name_of_path("/srv/data", ".mount"), "srv-data.mount");
        assert_eq!(
            name_of_path("/srv/my-data", ".mount"),
            "srv-my\\x2ddata.mount"
        );
        assert_eq!(
            name_of_path("/.snap/ä", ".mount"),
            "\\x2esnap-\\xc3\\xa4.mount"
        );
    }

    #[test]
    fn finds_devices_where_udev_links_them() {
        assert_eq!(device_path("UUID=1-2").unwrap(), "/dev/disk/by-uuid/1-2");
        assert_eq!(
            device_path("LABEL=my disk").unwrap(),
            "/dev/disk/by-label/my\\x20disk"
        );
        assert_eq!(device_path("/dev/sda1").unwrap(), "/dev/sda1");
        assert_eq!(device_path("nas:/export"), None);
    }
}
