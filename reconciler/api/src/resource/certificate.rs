//! `certificate`: a TLS certificate that an ACME server issues, or that is on the host already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::is_certificate_name;
use super::command::is_variable;
use super::composite::{Composite, Named};
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::credentials::Credentials;
use super::field::{Manage, Principal};
use super::{Kind, check_path};
use crate::address::{AnyAddress, AnyKind};
use crate::period::Period;

/// A TLS certificate. With `acme`, Debian's `lego` gets it from an ACME server and renews it 30 days before it
/// expires. It is in `/var/lib/certificates/NAME/certificate.pem`, with the issuer's certificates after it,
/// and its key is in `key.pem` beside it. With `files`, another program provides both.
///
/// It expands to a check that fails if the certificate isn't for `names` or expires in less than `validFor`.
/// With `acme`, it also expands to the package `lego`, the program `/usr/local/lib/plumb/certificate-NAME`, a
/// command that runs the program after each change of the spec, and the timer `certificate-NAME`, which runs
/// it daily. A service that needs the certificate has `after: [certificate:NAME]`.
///
/// When the resource leaves git, the certificate and the ACME account stay in `/var/lib/certificates/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSpec {
    /// The names that the certificate is for, such as `www.fleet.example` or `*.fleet.example`.
    pub names: Vec<String>,
    /// The ACME server, and the proof of control over the names: `{directory, email, http}`, or `tls` or `dns`
    /// instead of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// Files that another program provides: `{certificate, key}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<CertificateFiles>,
    /// The group that may read the key, with `acme`; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// Services that reload after a renewal, with `acme`. A service that can't reload restarts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload: Vec<AnyAddress>,
    /// How long the certificate must still be valid; 14 days when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Period>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// An ACME server, and the proof of control over the names. Exactly one of `http`, `tls` and `dns` is
/// required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acme {
    /// The URL of the server's directory.
    pub directory: String,
    /// The address that the server writes to.
    pub email: String,
    /// Proof over HTTP: `{}` listens on port 80, `{port}` on another one, `{webroot}` puts files into a web
    /// server's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpChallenge>,
    /// Proof over TLS (TLS-ALPN-01): `{}` listens on port 443, `{port}` on another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsChallenge>,
    /// Proof by DNS records: `{provider, environment, credentials}`. Names with `*` need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsChallenge>,
    /// A PEM file on the host with the certificate authority of the ACME server itself, if it isn't a public
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// Proof of control over names by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpChallenge {
    /// The port on which lego listens; 80 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The folder of a web server that answers for the names on port 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webroot: Option<String>,
}

/// Proof of control over names by TLS-ALPN-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsChallenge {
    /// The port on which lego listens; 443 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Proof of control over names by DNS records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsChallenge {
    /// A DNS provider of lego: `rfc2136`, `gandiv5`, `exec`.
    pub provider: String,
    /// The provider's settings, as environment variables. Credentials don't belong here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The provider's credentials, as lines `NAME='VALUE'` of environment variables: a secret, as
    /// `secret:NAME/KEY`, or a file on the host, as `{file: PATH}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// A certificate and its key on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The PEM file with the certificate.
    pub certificate: String,
    /// The PEM file with its key.
    pub key: String,
}

impl CertificateSpec {
    /// Returns the path of the certificate of this resource on the host.
    pub fn path(&self, name: &str) -> String {
        match &self.files {
            Some(files) => files.certificate.clone(),
            None => format!("/var/lib/certificates/{name}/certificate.pem"),
        }
    }
}

impl Acme {
    fn problem(&self, names: &[String]) -> Option<(String, &'static str)> {
        let forms = [self.http.is_some(), self.tls.is_some(), self.dns.is_some()];
        let word = |text: &str| {
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace())
        };
        let http = self.http.as_ref();
        let paths = [
            self.authority.as_ref(),
            http.and_then(|http| http.webroot.as_ref()),
        ];
        let dns = self.dns.as_ref();
        let variable = |(name, value): (&String, &String)| {
            is_variable(name) && !value.contains(char::is_control)
        };
        let provider = |dns: &DnsChallenge| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !dns.provider.is_empty() && dns.provider.bytes().all(good)
        };
        if forms.into_iter().filter(|there| *there).count() != 1 {
            let message = "`acme` must have exactly one of `http`, `tls` and `dns`";
            return Some((message.to_owned(), "write http: {} to listen on port 80"));
        }
        if !self.directory.starts_with("https://") || !word(&self.directory) {
            let message = "`directory` must be an https URL".to_owned();
            return Some((
                message,
                "write directory: https://acme-v02.api.letsencrypt.org/directory",
            ));
        }
        if !self.email.contains('@') || !word(&self.email) || self.email.starts_with('-') {
            let message = "`email` isn't an address".to_owned();
            return Some((message, "write email: ops@fleet.example"));
        }
        if let Some(message) = paths
            .into_iter()
            .flatten()
            .find_map(|one| check_path(one).err())
        {
            return Some((message, "write authority: /etc/ssl/acme.pem"));
        }
        if http.is_some_and(|http| http.port.is_some() && http.webroot.is_some()) {
            let message = "`port` has no effect with `webroot`".to_owned();
            return Some((message, "remove one of the two"));
        }
        if dns.is_none() && names.iter().any(|name| name.starts_with("*.")) {
            let message = "a name with `*` needs the proof `dns`".to_owned();
            return Some((message, "add dns: {provider: rfc2136}"));
        }
        if !dns.is_none_or(|dns| provider(dns) && dns.environment.iter().all(variable)) {
            let message =
                "`dns` needs a provider of lego, and variables with values of one line".to_owned();
            return Some((
                message,
                "run `lego dnshelp` for the providers and their variables",
            ));
        }
        None
    }
}

impl Composite for CertificateSpec {
    const EXAMPLE: &'static str = r"certificate:
  www:
    names: [www.fleet.example, fleet.example]
    acme: {directory: https://acme-v02.api.letsencrypt.org/directory, email: ops@fleet.example, http: {}}
";

    const SETS: &'static [&'static str] = &["after", "reload"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        let name = |name: &String| {
            is_certificate_name(name) && !name.contains(|c: char| c.is_ascii_uppercase())
        };
        if self.names.is_empty() || !self.names.iter().all(name) {
            wrong(
                "names",
                "`names` must be DNS names in lower case, or such names after `*.`".to_owned(),
                "write names: [www.fleet.example]",
            );
        }
        match (&self.acme, &self.files) {
            (Some(acme), None) => {
                if let Some((message, hint)) = acme.problem(&self.names) {
                    wrong("acme", message, hint);
                }
            }
            (None, Some(files)) => {
                let paths = [&files.certificate, &files.key];
                if let Some(message) = paths.into_iter().find_map(|path| check_path(path).err()) {
                    wrong(
                        "files",
                        message,
                        "write files: {certificate: PATH, key: PATH}",
                    );
                }
                if self.group.is_some() || !self.reload.is_empty() {
                    wrong(
                        "files",
                        "`group` and `reload` need `acme`, because another program owns `files`"
                            .to_owned(),
                        "remove `group` and `reload`",
                    );
                }
            }
            _ => wrong(
                "acme",
                "a certificate must have exactly one of `acme` and `files`".to_owned(),
                "add acme: {directory: …, email: …, http: {}}",
            ),
        }
        let service = |one: &AnyAddress| one.kind() == AnyKind::Primitive(Kind::Service);
        if !self.reload.iter().all(service) {
            wrong(
                "reload",
                "only services reload".to_owned(),
                "write reload: [service:nginx]",
            );
        }
        let credentials = self.acme.as_ref().and_then(|acme| acme.dns.as_ref());
        let credentials = credentials.and_then(|dns| dns.credentials.as_ref());
        problems.extend(credentials.and_then(|one| one.problem("acme")));
        problems
    }

    fn names(&self) -> Vec<Named> {
        let named = |address: &AnyAddress| Named {
            field: "reload",
            any_of: vec![address.clone()],
        };
        self.reload.iter().map(named).collect()
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
