//! The accounts that the controller logs in with.

use std::collections::BTreeSet;

/// The accounts that the controller logs in with, as the host knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logins {
    /// The users.
    pub users: BTreeSet<String>,
    /// The groups that they are in, which sudo and sshd may refer to.
    pub groups: BTreeSet<String>,
    /// Their home directories, which hold their SSH keys.
    pub homes: BTreeSet<String>,
}

impl Logins {
    /// True if sshd needs this path to accept the users' keys: their homes, and everything in their `.ssh`.
    pub(super) fn need(&self, path: &str) -> bool {
        self.homes.iter().any(|home| {
            let rest = path.strip_prefix(home.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest == "/.ssh" || rest.starts_with("/.ssh/")
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn only_keys_and_homes_of_logins_cut_off() {
        let logins = Logins {
            users: ["deploy".to_owned()].into(),
            groups: ["sudo".to_owned()].into(),
            homes: ["/home/deploy".to_owned()].into(),
        };
        for (kind, name, cuts_off) in [
            (Kind::File, "/home/deploy/.ssh/authorized_keys", true),
            (Kind::File, "/home/deploy/.sshrc", false),
            (Kind::File, "/home/deploy2/.ssh/authorized_keys", false),
            (Kind::Directory, "/home/deploy", true),
            (Kind::Directory, "/etc/ssh/sshd_config.d", true),
            (Kind::File, "/etc/sudoers.d/deploy", true),
            (Kind::Link, "/etc/pam.d/common-auth", true),
            (Kind::File, "/etc/motd", false),
            (Kind::User, "deploy", true),
            (Kind::User, "john", false),
            (Kind::Group, "sudo", true),
            (Kind::Group, "www-data", false),
            (Kind::Service, "ssh", true),
            (Kind::Service, "nginx", false),
            (Kind::Service, "wg-quick@wg0", true),
            (Kind::File, "/etc/wireguard/wg0.conf", true),
            (
                Kind::File,
                "/etc/systemd/network/50-plumb-eth0.network",
                true,
            ),
            (Kind::Unit, "ssh.socket.d/ports.conf", true),
            (Kind::Package, "openssh-server", false),
        ] {
            assert_eq!(kind.cuts_off(name, &logins), cuts_off, "{kind}:{name}");
        }
    }
}
