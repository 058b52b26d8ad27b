//! Checks of certificates, by the host's `openssl`.

use std::time::Duration;

use plumb_api::period::Period;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::CertificateCheck;

use crate::error::{Result, fail};
use crate::sys::{Output, Program, Sys};

/// Time limit of one call of `openssl`, which reads one small file.
const LIMIT: Duration = Duration::from_secs(10);

/// The program, as Debian's package installs it.
const OPENSSL: &str = "/usr/bin/openssl";

/// Fails unless the first certificate of a file is for all of the names and stays valid for long enough.
pub(super) fn verify(sys: &Sys, check: &CertificateCheck) -> Result<()> {
    let path = check.path.as_str();
    if !sys.exists(path) {
        return failed(format!("there is no certificate at {path}"));
    }
    if !sys.exists(OPENSSL) {
        let error = AgentError::new(ErrorCode::NotFound, "the host has no program `openssl`");
        return Err(error.hint("add `package: {openssl: {}}` to the host"));
    }
    // Only exit statuses decide; what openssl prints differs between its versions.
    if openssl(sys, &["x509", "-noout", "-in", path])?.status != 0 {
        return failed(format!("{path} isn't a certificate in PEM form"));
    }
    for name in &check.names {
        if !is_for(sys, path, name)? {
            return failed(format!("the certificate {path} isn't for `{name}`"));
        }
    }
    let span = check.valid_for.map_or(Duration::ZERO, Period::duration);
    let seconds = span.as_secs().to_string();
    if openssl(sys, &["x509", "-noout", "-checkend", &seconds, "-in", path])?.status == 0 {
        return Ok(());
    }
    match check.valid_for {
        Some(period) => failed(format!(
            "the certificate {path} expires in less than {period}"
        )),
        None => failed(format!("the certificate {path} has expired")),
    }
}

/// True if the certificate is for a name. Its dates and its issuer don't matter here, so it is its own trust
/// anchor.
fn is_for(sys: &Sys, path: &str, name: &str) -> Result<bool> {
    // A name that only the wildcard covers stands for the wildcard.
    let name = match name.strip_prefix("*.") {
        Some(domain) => format!("plumb-wildcard-check.{domain}"),
        None => name.to_owned(),
    };
    let verified = openssl(
        sys,
        &[
            "verify",
            "-partial_chain",
            "-no_check_time",
            "-trusted",
            path,
            "-verify_hostname",
            &name,
            path,
        ],
    )?;
    Ok(verified.status == 0)
}

fn openssl(sys: &Sys, arguments: &[&str]) -> Result<Output> {
    Program::new(OPENSSL, arguments.iter().copied())
        .limit(LIMIT)
        .run(sys)
}

fn failed<T>(message: String) -> Result<T> {
    fail(ErrorCode::CheckFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a certificate that is valid for ten days.
    fn certificate(sys: &Sys, folder: &str) -> String {
        let path = format!("{folder}/certificate.pem");
        let key = format!("{folder}/key.pem");
        let made = openssl(
            sys,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "10",
                "-subj",
                "/CN=x",
                "-addext",
                "subjectAltName=DNS:a.example,DNS:*.b.example",
                "-keyout",
                &key,
                "-out",
                &path,
            ],
        )
        .unwrap();
        assert_eq!(made.status, 0, "{}", made.stderr);
        path
    }

    #[test]
    fn certificate_must_be_for_the_names_and_stay_valid() {
        let sys = Sys::host().unwrap();
        let folder = std::env::temp_dir().join(format!("plumb-certificate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = certificate(&sys, folder.to_str().unwrap());
        let verify = |path: &str, names: &[&str], valid_for: Option<&str>| {
            let check = CertificateCheck {
                path: path.to_owned(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                valid_for: valid_for.map(|text| text.parse().unwrap()),
            };
            super::verify(&sys, &check).map_err(|error| error.message)
        };
        assert_eq!(
            verify(&path, &["a.example", "*.b.example"], Some("9d")),
            Ok(())
        );
        assert_eq!(verify(&path, &[], None), Ok(()));
        let wrong = verify(&path, &["b.example"], None).unwrap_err();
        assert!(wrong.ends_with("isn't for `b.example`"), "{wrong}");
        let wrong = verify(&path, &["a.example"], Some("14d")).unwrap_err();
        assert!(wrong.ends_with("expires in less than 14d"), "{wrong}");
        let key = path.replace("certificate.pem", "key.pem");
        let wrong = verify(&key, &[], None).unwrap_err();
        assert!(
            wrong.ends_with("isn't a certificate in PEM form"),
            "{wrong}"
        );
        let wrong = verify("/nonexistent.pem", &[], None).unwrap_err();
        assert_eq!(wrong, "there is no certificate at /nonexistent.pem");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
