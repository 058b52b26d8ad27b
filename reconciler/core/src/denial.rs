//! The reasons why nobody can log in to a host as the controller's user.

/// The cause of a rejected login. It decides the words, the hint and the condition together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// The controller has no key to offer, or can't use the one that it has.
    NoUsableKey,
    /// The server closed the connection, or the login failed in another way.
    LoginFailed,
    /// The server accepted a key and requires a second factor.
    SecondFactor,
    /// The server rejected every key that was offered.
    KeysRejected,
}

/// The reason why sudo runs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SudoRefusal {
    /// The user may not run the agent.
    NotAllowed,
    /// The user must enter a password.
    PasswordRequired,
    /// sudo requires a terminal (`requiretty`).
    TtyRequired,
    /// sudo isn't installed.
    NotInstalled,
    /// Another reason, in sudo's own words.
    Other,
}

impl Denial {
    /// Returns advice for this cause on a login of `user`; `None` if the message itself names the remedy.
    pub fn hint(self, user: &str) -> Option<String> {
        Some(match self {
            Self::NoUsableKey => return None,
            Self::LoginFailed => {
                format!(
                    "log in by hand with the same key, and see the host's journal of sshd: `ssh {user}@HOST`"
                )
            }
            Self::SecondFactor => format!(
                "let the key be enough: write `AuthenticationMethods publickey` into a `Match User {user}` of its sshd_config"
            ),
            Self::KeysRejected => {
                format!("add the controller's public key to the authorized_keys of {user}")
            }
        })
    }
}

impl SudoRefusal {
    /// Returns advice for this refusal of `user`.
    pub fn hint(self, user: &str) -> String {
        match self {
            Self::NotAllowed => {
                format!("add a line to its sudoers: `{user} ALL=(root) NOPASSWD: ALL`")
            }
            Self::PasswordRequired => format!(
                "add a line to its sudoers, as the last one for {user}: `{user} ALL=(root) NOPASSWD: ALL`"
            ),
            Self::TtyRequired => {
                format!("add a line to its sudoers: `Defaults:{user} !requiretty`")
            }
            Self::NotInstalled => "install sudo on the host, or log in as root".to_owned(),
            Self::Other => format!("log in as {user} and run `sudo -n true` until it succeeds"),
        }
    }
}
