//! Reasons why the controller can't log in to a host, or can't become root there.

/// The cause of a rejected login. It determines the hint that the controller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// The controller has no key, or can't use its key.
    NoUsableKey,
    /// The server closed the connection, or the login failed in another way.
    LoginFailed,
    /// The server accepted a key and requires a second factor.
    SecondFactor,
    /// The server rejected every key that was offered.
    KeysRejected,
}

/// The reason why sudo didn't start the agent as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SudoRefusal {
    /// The sudoers file doesn't allow the user to run the agent.
    NotAllowed,
    /// The user must enter a password.
    PasswordRequired,
    /// sudo requires a terminal (`requiretty`).
    TtyRequired,
    /// sudo isn't installed.
    NotInstalled,
    /// Any other reason.
    Other,
}

impl Denial {
    /// Returns advice for a rejected login as `user`; `None` if the error message already says what to do.
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
    /// Returns advice for a session in which sudo refused `user`.
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
