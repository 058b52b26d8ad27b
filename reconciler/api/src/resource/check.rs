//! `check`: a condition that must hold after all changes.

use serde::{Deserialize, Serialize};

use super::command::check_plain_name;
use super::field::{Manage, Principal};
use super::program::check_program;
use super::service::unit_name;
use super::unit::is_unit_name;
use super::{Problem, Resource, check_path, differs};
use crate::name::Address;
use crate::period::Period;
use crate::plan::{Consequence, FieldChange};

/// A condition that must hold on the host. A check changes nothing. Any name may be chosen.
///
/// Give exactly one of `http`, `tcp`, `run`, `unit`, `certificate` and `program`. The agent tests the condition at every observation,
/// and again after all changes of a run; then it waits for the condition for up to `within`. While the check
/// fails, the host isn't Ready, with the reason `CheckFailed`, and resources whose `after` names the check
/// aren't changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckSpec {
    /// An HTTP request that must be answered with the expected status: `{url, status}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A TCP connection that must succeed, to `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A program with its arguments that must exit with status 0. It must not change anything; each try may
    /// take 10 seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// A systemd unit that must be active; leave out `.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// A certificate in a PEM file that must be valid: `{path, names, validFor}`. The host needs the program
    /// `openssl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateCheck>,
    /// A program that must be there and executable, and the user that runs it: `{path, user}`. Only existence is
    /// tested: the program isn't run. In a sandbox, which has no programs, this check passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramCheck>,
    /// How long the agent waits for the check to pass after changes, such as `30s` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Period>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
}

/// An HTTP request that must be answered with the expected status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// The URL, `http` only. Redirects aren't followed.
    pub url: String,
    /// The expected HTTP status; 200 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A certificate that must be for these names and stay valid for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateCheck {
    /// The PEM file. Its first certificate counts.
    pub path: String,
    /// The names that the certificate must be for, such as `www.fleet.example` or `*.fleet.example`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How long the certificate must still be valid, such as `14d`; when left out, it must be valid now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Period>,
}

/// A program that must be there, and the user that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramCheck {
    /// The absolute path of the program.
    pub path: String,
    /// The user that runs it, who must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Principal>,
}

/// Checks a DNS name, whose first label may be `*`.
pub(super) fn is_certificate_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(good)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 250 && name.split('.').all(label)
}

/// The observed state of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckObserved {
    /// The result. The error text is only in the run's report, so that two observations don't differ because
    /// an error is worded differently.
    pub result: CheckResult,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckResult {
    /// The condition holds.
    #[default]
    Passed,
    /// The condition doesn't hold.
    Failed,
}

/// The parts of an `http` URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpUrl<'a> {
    /// Host name or IP address, without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The path and the query, beginning with `/`.
    pub path: &'a str,
}

/// Splits `HOST:PORT` or `[ADDRESS]:PORT`.
pub fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && host.bytes().all(good)).then_some((host, port))
}

impl HttpCheck {
    /// Splits the URL. Returns `None` if it isn't `http://HOST[:PORT][/PATH]`.
    pub fn parts(&self) -> Option<HttpUrl<'_>> {
        let rest = self.url.strip_prefix("http://")?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let clean = |b: u8| b.is_ascii_graphic() && b != b'#';
        if !path.bytes().all(clean) {
            return None;
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        let (host, port) = if has_port {
            host_and_port(authority)?
        } else {
            let host = authority.trim_start_matches('[').trim_end_matches(']');
            let good = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
            if host.is_empty() || !host.bytes().all(good) {
                return None;
            }
            (host, 80)
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(HttpUrl { host, port, path })
    }
}

impl Resource for CheckSpec {
    type Observed = CheckObserved;

    const EXAMPLE: &'static str = r#"check:
  web: {http: {url: "http://127.0.0.1:8080/healthz", status: 200}, within: 30s}
"#;

    const RANK: u8 = 95;

    const REACTIONS: &'static [&'static str] = &["result"];

    fn check_name(name: &str) -> Result<(), String> {
        check_plain_name(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let forms = [
            self.http.is_some(),
            self.tcp.is_some(),
            !self.run.is_empty(),
            self.unit.is_some(),
            self.certificate.is_some(),
            self.program.is_some(),
        ];
        let count = forms.into_iter().filter(|there| *there).count();
        if count != 1 {
            problems.push(Problem {
                field: "run",
                message:
                    "a check must have exactly one of `http`, `tcp`, `run`, `unit`, `certificate` and `program`"
                        .to_owned(),
                hint: match count {
                    0 => "add one of them, such as `unit: nginx`",
                    _ => "split it into several checks",
                }
                .to_owned(),
            });
        }
        if self
            .http
            .as_ref()
            .is_some_and(|http| http.parts().is_none())
        {
            problems.push(Problem {
                field: "http",
                message: "`url` isn't of the form http://HOST[:PORT][/PATH]".to_owned(),
                hint: "for https, run a program: `run: [/usr/bin/curl, -fsS, \"https://…\"]`"
                    .to_owned(),
            });
        }
        if self
            .tcp
            .as_ref()
            .is_some_and(|tcp| host_and_port(tcp).is_none())
        {
            problems.push(Problem {
                field: "tcp",
                message: "`tcp` isn't HOST:PORT".to_owned(),
                hint: "write `tcp: \"127.0.0.1:5432\"`".to_owned(),
            });
        }
        if !self.run.is_empty() {
            problems.extend(check_program("run", &self.run));
        }
        if self
            .unit
            .as_ref()
            .is_some_and(|unit| !is_unit_name(&unit_name(unit)))
        {
            problems.push(Problem {
                field: "unit",
                message: "`unit` names no systemd unit".to_owned(),
                hint: "write it as a service is named: nginx, backup.timer".to_owned(),
            });
        }
        if let Some(certificate) = &self.certificate {
            if let Err(message) = check_path(&certificate.path) {
                problems.push(Problem {
                    field: "certificate",
                    message,
                    hint: "write `path: /etc/ssl/certs/web.pem`".to_owned(),
                });
            }
            if !certificate
                .names
                .iter()
                .all(|name| is_certificate_name(name))
            {
                problems.push(Problem {
                    field: "certificate",
                    message: "a name of a certificate is a DNS name, or one after `*.`".to_owned(),
                    hint: "write `names: [www.fleet.example]`".to_owned(),
                });
            }
        }
        if let Some(Err(message)) = self
            .program
            .as_ref()
            .map(|program| check_path(&program.path))
        {
            problems.push(Problem {
                field: "program",
                message,
                hint: "write `program: {path: /usr/local/bin/report}`".to_owned(),
            });
        }
        problems
    }

    fn unit(&self, _name: &str) -> Option<String> {
        self.unit.as_deref().map(unit_name)
    }

    fn compare(&self, observed: &CheckObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "result",
            Some(&CheckResult::Passed),
            Some(&observed.result),
        );
        changes
    }

    fn exists(_observed: &CheckObserved) -> bool {
        true
    }

    /// A program that is there is still there after other changes, unless one of them removes it; the next
    /// observation shows that.
    fn on_any_change(&self, name: &str) -> Option<Consequence> {
        let is_tested = self.program.is_none();
        is_tested.then(|| Consequence::Runs(format!("check {name}")))
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        Manage::Always
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_http_addresses() {
        let parts = |url: &str| {
            let http = HttpCheck {
                url: url.to_owned(),
                status: None,
            };
            http.parts()
                .map(|url| (url.host.to_owned(), url.port, url.path.to_owned()))
        };
        let made = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(
            parts("http://127.0.0.1:8080/healthz?x=1"),
            made("127.0.0.1", 8080, "/healthz?x=1")
        );
        assert_eq!(parts("http://web.example"), made("web.example", 80, "/"));
        assert_eq!(parts("http://[::1]:90/"), made("::1", 90, "/"));
        assert_eq!(parts("http://[::1]/x"), made("::1", 80, "/x"));
        for wrong in [
            "https://x/",
            "http://",
            "http://x:0/",
            "http://a b/",
            "http://x/a b",
            "x",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rejects_certificate_names_that_no_certificate_has() {
        for good in ["a.example", "*.a.example", "localhost"] {
            assert!(is_certificate_name(good), "{good}");
        }
        for wrong in [
            "",
            "*",
            "a.*.example",
            "-a.example",
            "a..example",
            "a example",
        ] {
            assert!(!is_certificate_name(wrong), "{wrong}");
        }
        let check = CheckSpec {
            certificate: Some(CertificateCheck {
                path: "cert.pem".to_owned(),
                names: vec!["a b".to_owned()],
                valid_for: None,
            }),
            ..CheckSpec::default()
        };
        assert_eq!(check.check("x").len(), 2);
    }

    #[test]
    fn rejects_check_of_no_form_or_of_two() {
        let mut check = CheckSpec::default();
        assert_eq!(check.check("x")[0].field, "run");
        check.unit = Some("nginx".to_owned());
        assert!(check.check("x").is_empty());
        check.tcp = Some("localhost:80".to_owned());
        assert_eq!(check.check("x").len(), 1);
    }
}
