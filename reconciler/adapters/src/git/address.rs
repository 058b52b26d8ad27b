//! Parses and shows the addresses of repositories.

use std::fmt;
use std::path::PathBuf;

use gix::bstr::ByteSlice;
use gix::url::Scheme;

/// The address of a repository, in one of the forms that git accepts.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder on this machine.
    Folder(PathBuf),
    /// SSH, through the user's `ssh` program.
    Ssh {
        /// The login name; `None` leaves it to ssh's configuration.
        user: Option<String>,
        /// The host.
        host: String,
        /// The port; `None` leaves it to ssh's configuration.
        port: Option<u16>,
        /// The repository's path on the host.
        path: String,
    },
    /// HTTPS, or HTTP to this machine.
    Http {
        /// The whole URL, which may include a user and password.
        url: Box<gix::Url>,
    },
}

/// A text that isn't a usable address of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address can't be parsed.
    #[error(
        "this isn't the address of a repository; write a folder, file://, ssh://, user@host:path or https://"
    )]
    Unreadable,
    /// The scheme of the address isn't supported.
    #[error("{0}:// isn't supported; use ssh:// or https://")]
    Scheme(String),
    /// The address is `http://` to another machine, which would send the fleet's contents unencrypted.
    #[error("http:// to another machine isn't encrypted; use https:// or ssh://")]
    Clear,
    /// The address is `http://` with a login, which would be sent unencrypted.
    #[error(
        "the address has a login, and http:// would send it unencrypted; use https://, or leave the login out"
    )]
    ClearLogin,
    /// A part begins with a dash, so that ssh or git would take it for an option.
    #[error("{0:?} begins with a dash, which ssh and git would take for an option")]
    Dash(String),
    /// A part isn't UTF-8, or the text has a line break or NUL.
    #[error("the address contains a line break or something that isn't UTF-8")]
    Text,
}

impl Address {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.contains(['\0', '\n', '\r']) {
            return Err(AddressError::Text);
        }
        let url =
            gix::url::parse(text.as_bytes().as_bstr()).map_err(|_| AddressError::Unreadable)?;
        match url.scheme {
            Scheme::File => {
                let path = url.path.to_str().map_err(|_| AddressError::Text)?;
                if url.host().is_some_and(|host| host != "localhost") {
                    return Err(AddressError::Unreadable);
                }
                Ok(Self::Folder(PathBuf::from(path)))
            }
            Scheme::Ssh => {
                let user = url.user().map(str::to_owned);
                let host = url.host().ok_or(AddressError::Unreadable)?.to_owned();
                let path = url.path.to_str().map_err(|_| AddressError::Text)?;
                // `ssh://host/~user/x` means a home directory; the slash before `~` isn't part of the path.
                let path = match path.strip_prefix("/~") {
                    Some(home) => format!("~{home}"),
                    None => path.to_owned(),
                };
                for part in [Some(&host), user.as_ref(), Some(&path)]
                    .into_iter()
                    .flatten()
                {
                    if part.starts_with('-') {
                        return Err(AddressError::Dash(part.clone()));
                    }
                }
                Ok(Self::Ssh {
                    user,
                    host,
                    port: url.port,
                    path,
                })
            }
            Scheme::Https => Ok(Self::Http { url: Box::new(url) }),
            Scheme::Http => {
                let host = url.host().ok_or(AddressError::Unreadable)?;
                if !matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1") {
                    return Err(AddressError::Clear);
                }
                if url.user().is_some() || url.password().is_some() {
                    return Err(AddressError::ClearLogin);
                }
                Ok(Self::Http { url: Box::new(url) })
            }
            other => Err(AddressError::Scheme(other.to_string())),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    /// Writes the address for people, without the user and password of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Ssh {
                user,
                host,
                port,
                path,
            } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(host)?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                if !path.starts_with('/') {
                    f.write_str("/")?;
                }
                f.write_str(path)
            }
            Self::Http { url } => {
                write!(f, "{}://{}", url.scheme, url.host().unwrap_or_default())?;
                if let Some(port) = url.port {
                    write!(f, ":{port}")?;
                }
                write!(f, "{}", url.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_form_is_read_and_shown_without_its_password() {
        assert_eq!(shown("/srv/fleet.git"), "/srv/fleet.git");
        assert_eq!(shown("file:///srv/fleet.git"), "/srv/fleet.git");
        assert_eq!(shown("../fleet.git"), "../fleet.git");
        assert_eq!(
            shown("ssh://git@git.example/fleet.git"),
            "ssh://git@git.example/fleet.git"
        );
        assert_eq!(
            shown("ssh://git.example:2222/~bob/fleet.git"),
            "ssh://git.example:2222/~bob/fleet.git"
        );
        assert_eq!(
            shown("git@git.example:fleet.git"),
            "ssh://git@git.example/fleet.git"
        );
        assert_eq!(
            shown("https://bob:secret@git.example:8443/fleet.git"),
            "https://git.example:8443/fleet.git"
        );
    }

    #[test]
    fn paths_are_kept_as_the_server_must_see_them() {
        let path = |text| match Address::parse(text).unwrap() {
            Address::Ssh { path, .. } => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path("git@git.example:fleet.git"), "fleet.git");
        assert_eq!(path("ssh://git.example/srv/fleet.git"), "/srv/fleet.git");
        assert_eq!(path("ssh://git.example/~bob/fleet.git"), "~bob/fleet.git");
    }

    #[test]
    fn what_would_be_taken_for_an_option_is_refused() {
        for text in [
            "ssh://-oProxyCommand=evil/fleet.git",
            "-oProxyCommand=evil:fleet.git",
            "git@host:-x",
        ] {
            let read = Address::parse(text);
            assert!(!matches!(read, Ok(Address::Ssh { .. })), "{text}: {read:?}");
        }
        assert_eq!(
            Address::parse("http://git.example/fleet.git"),
            Err(AddressError::Clear)
        );
        assert!(matches!(
            Address::parse("git://git.example/x"),
            Err(AddressError::Scheme(_))
        ));
        assert!(matches!(
            Address::parse("ext::sh -c evil"),
            Err(_) | Ok(Address::Folder(_))
        ));
    }
}
