//! `certificate`: expands into lego, a program that gets and renews a certificate, its timer, and a check.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::period::Period;
use plumb_api::resource::{Acme, CertificateSpec, Schedule};
use serde_json::json;

use super::credentials::{credentials_file, credentials_part};
use super::{ExpandContext, Outcome, Part, TypedResource, credentials, each, shell, timer};

/// Random delay of the daily renewal, so that a fleet doesn't ask its server all at once.
const DELAY: Period = Period::minutes(180);

/// How long a certificate must still be valid, unless its spec says otherwise. Renewal begins at 30 days.
const VALID_FOR: &str = "14d";

/// Expands each resource into parts of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, CertificateSpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| {
        let unit = format!("certificate-{}", one.name);
        let Some(acme) = &one.spec.acme else {
            return vec![Part::new(Kind::Package, "openssl"), check(&unit, &one)];
        };
        let program = shell::path(&unit);
        let dns = acme.dns.as_ref();
        let secrets = credentials_part(&unit, dns.and_then(|dns| dns.credentials.as_ref()));
        let after: Vec<String> = ["package:lego".to_owned()]
            .into_iter()
            .chain(secrets.iter().map(|_| credentials::address(&unit)))
            .collect();
        let mut parts = vec![
            Part::new(Kind::Package, "openssl"),
            Part::new(Kind::Package, "lego"),
            shell::program(&unit, script(one.name, one.spec, acme)),
            Part::new(Kind::Command, &*unit)
                .field("run", vec![&*program])
                .field("refreshOn", vec![format!("file:{program}")])
                .field("timeout", "10m")
                .field("after", after),
            check(&unit, &one).field("after", vec![format!("command:{unit}")]),
        ];
        let daily = Schedule {
            calendar: Some("daily".to_owned()),
            persistent: true,
            random_delay: Some(DELAY),
            ..Schedule::default()
        };
        parts.extend(secrets);
        parts.extend(timer::parts(&unit, &timer::job(vec![program], &daily)));
        parts
    })
}

/// Creates the check of the certificate.
fn check(unit: &str, one: &TypedResource<'_, CertificateSpec>) -> Part {
    let valid_for = one
        .spec
        .valid_for
        .map_or_else(|| VALID_FOR.to_owned(), |period| period.to_string());
    Part::new(Kind::Check, unit).field(
        "certificate",
        json!({"path": one.spec.path(one.name), "names": one.spec.names, "validFor": valid_for}),
    )
}

/// Returns the program that gets a certificate, or renews it, and puts it where its users find it.
fn script(name: &str, spec: &CertificateSpec, acme: &Acme) -> String {
    let state = format!("/var/lib/certificates/{name}");
    let group = spec
        .group
        .as_ref()
        .map_or_else(|| "root".to_owned(), ToString::to_string);
    let mut text = String::from(
        "#!/bin/sh\n# Written by plumb. Gets the certificate, or renews it if it expires within 30 days.\nset -eu\n",
    );
    if let Some(authority) = &acme.authority {
        let _ = writeln!(
            text,
            "export LEGO_CA_CERTIFICATES={}",
            shell::quoted(authority)
        );
    }
    if let Some(dns) = &acme.dns {
        for (variable, value) in &dns.environment {
            let _ = writeln!(text, "export {variable}={}", shell::quoted(value));
        }
        if let Some(credentials) = &dns.credentials {
            let _ = writeln!(
                text,
                "set -a\n. {}\nset +a",
                shell::quoted(&credentials_file(
                    &format!("certificate-{name}"),
                    credentials
                ))
            );
        }
    }
    let arguments = shell::words(arguments(&state, spec, acme));
    let request = shell::quoted(&format!("{} {}", acme.directory, spec.names.join(" ")));
    let issued = spec.names.first().map_or_else(String::new, |first| {
        shell::quoted(&format!(
            "{state}/lego/certificates/{}",
            first.replace('*', "_")
        ))
    });
    let reload: Vec<String> = spec
        .reload
        .iter()
        .map(|one| one.name().to_owned())
        .collect();
    let _ = write!(
        text,
        r#"state={state}
install -d -m 0755 /var/lib/certificates
install -d -m 0750 -g {group} "$state"
exec 9>"$state/lock"
flock 9
# Another server or other names need a new certificate.
if [ "$(cat "$state/request" 2>/dev/null)" = {request} ]; then
    /usr/bin/lego {arguments} renew --days 30
else
    /usr/bin/lego {arguments} run
    printf '%s\n' {request} >"$state/request"
fi
issued={issued}
if ! cmp -s "$issued.crt" "$state/certificate.pem" || ! cmp -s "$issued.key" "$state/key.pem"; then
    # It stays until the services have reloaded, also if this program ends before that.
    touch "$state/reload"
    install -m 0600 "$issued.key" "$state/key.pem.new"
    install -m 0644 "$issued.crt" "$state/certificate.pem.new"
    mv "$state/key.pem.new" "$state/key.pem"
    mv "$state/certificate.pem.new" "$state/certificate.pem"
fi
chgrp {group} "$state/key.pem"
chmod 0640 "$state/key.pem"
if [ -e "$state/reload" ]; then
"#,
        group = shell::quoted(&group),
    );
    for service in reload {
        let unit = plumb_api::resource::ServiceSpec::unit(&service);
        let _ = writeln!(
            text,
            "    systemctl try-reload-or-restart {}",
            shell::quoted(&unit)
        );
    }
    text.push_str("    rm \"$state/reload\"\nfi\n");
    text
}

/// Returns lego's arguments, without its command.
fn arguments(state: &str, spec: &CertificateSpec, acme: &Acme) -> Vec<String> {
    let mut all: Vec<String> = ["--accept-tos", "--path"].map(str::to_owned).to_vec();
    all.push(format!("{state}/lego"));
    all.extend(["--server".to_owned(), acme.directory.clone()]);
    all.extend(["--email".to_owned(), acme.email.clone()]);
    if let Some(http) = &acme.http {
        all.push("--http".to_owned());
        if let Some(port) = http.port {
            all.extend(["--http.port".to_owned(), format!(":{port}")]);
        }
        if let Some(webroot) = &http.webroot {
            all.extend(["--http.webroot".to_owned(), webroot.clone()]);
        }
    }
    if let Some(tls) = &acme.tls {
        all.push("--tls".to_owned());
        if let Some(port) = tls.port {
            all.extend(["--tls.port".to_owned(), format!(":{port}")]);
        }
    }
    if let Some(dns) = &acme.dns {
        all.extend(["--dns".to_owned(), dns.provider.clone()]);
    }
    for name in &spec.names {
        all.extend(["--domains".to_owned(), name.clone()]);
    }
    all
}
