//! What a Debian system has without any manifest, and what its packages bring.

/// Users and groups of the base system, and of packages that nearly every machine has.
const ACCOUNTS: [&str; 61] = [
    "_apt",
    "_ssh",
    "adm",
    "audio",
    "avahi",
    "backup",
    "bin",
    "bluetooth",
    "cdrom",
    "crontab",
    "daemon",
    "dialout",
    "dip",
    "disk",
    "fax",
    "floppy",
    "games",
    "gnats",
    "gpio",
    "i2c",
    "input",
    "irc",
    "kmem",
    "kvm",
    "list",
    "lp",
    "lpadmin",
    "mail",
    "man",
    "messagebus",
    "netdev",
    "news",
    "nobody",
    "nogroup",
    "operator",
    "plugdev",
    "polkitd",
    "proxy",
    "render",
    "root",
    "sasl",
    "scanner",
    "sgx",
    "shadow",
    "spi",
    "src",
    "ssh",
    "sshd",
    "ssl-cert",
    "staff",
    "sudo",
    "sync",
    "sys",
    "tape",
    "tss",
    "tty",
    "users",
    "utmp",
    "uucp",
    "video",
    "www-data",
];

/// Units of the base system, without `.service`. A `*` at the end stands for any text.
const UNITS: [&str; 30] = [
    "NetworkManager*",
    "apparmor",
    "apt-daily*",
    "atd",
    "autovt@*",
    "console-*",
    "cron",
    "dbus*",
    "dpkg-db-backup*",
    "e2scrub*",
    "fstrim*",
    "getty@*",
    "ifup@*",
    "keyboard-setup*",
    "kmod*",
    "logrotate*",
    "man-db*",
    "networking",
    "nftables",
    "polkit*",
    "rc-local",
    "rescue",
    "rsyslog",
    "serial-getty@*",
    "ssh*",
    "systemd-*",
    "udev*",
    "unattended-upgrades",
    "user@*",
    "wpa_supplicant*",
];

/// Units and accounts whose package has another name: a name, and the beginning of the package's.
const RENAMED: [(&str, &str); 12] = [
    ("bind", "bind9"),
    ("debian-tor", "tor"),
    ("libvirtd", "libvirt-daemon"),
    ("mysql", "mariadb"),
    ("named", "bind9"),
    ("nfs-server", "nfs-kernel-server"),
    ("ntp", "ntpsec"),
    ("ntpd", "ntpsec"),
    ("smartd", "smartmontools"),
    ("vboxadd", "virtualbox"),
    ("xrdp-sesman", "xrdp"),
    ("zed", "zfs"),
];

/// True if every Debian system has a user or a group of this name.
pub(super) fn has_account(name: &str) -> bool {
    name.starts_with("systemd-") || ACCOUNTS.binary_search(&name).is_ok()
}

/// True if every Debian system has this unit. Targets belong to no package.
pub(super) fn has_unit(unit: &str) -> bool {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    UNITS.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => stem.starts_with(start),
        None => stem == *known,
    })
}

/// True if a package of this name probably brings a unit or an account of that name: one name is a part of
/// the other, whatever is left out of both that rarely tells them apart.
pub(super) fn may_bring(package: &str, name: &str) -> bool {
    if RENAMED
        .iter()
        .any(|(known, from)| *known == name && package.starts_with(from))
    {
        return true;
    }
    let (package, name) = (plain(package), plain(name));
    let base = name.strip_suffix('d').filter(|base| base.len() >= 4);
    [Some(name.as_str()), base]
        .into_iter()
        .flatten()
        .filter(|name| name.len() >= 3)
        .any(|name| package.contains(name) || (package.len() >= 3 && name.contains(&package)))
}

/// Returns the letters of a name up to its instance, without a version at the end.
fn plain(name: &str) -> String {
    let name = name.split('@').next().unwrap_or(name);
    let letters: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    letters
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(ACCOUNTS.is_sorted());
        assert!(UNITS.is_sorted());
    }

    #[test]
    fn names_of_packages_are_near_those_of_their_units_and_accounts() {
        for (package, name) in [
            ("nginx", "nginx"),
            ("openssh-server", "ssh"),
            ("docker.io", "docker"),
            ("postgresql-15", "postgresql@15-main"),
            ("postgresql", "postgres"),
            ("chrony", "chronyd"),
            ("chrony", "_chrony"),
            ("mariadb-server", "mysql"),
            ("bind9", "named"),
            ("prometheus-node-exporter", "prometheus"),
            ("php8.2-fpm", "php8.2-fpm"),
            ("network-manager", "NetworkManager"),
        ] {
            assert!(may_bring(package, name), "{package} {name}");
        }
        for (package, name) in [("rsync", "nginx"), ("git", "app"), ("tmux", "worker")] {
            assert!(!may_bring(package, name), "{package} {name}");
        }
    }
}
