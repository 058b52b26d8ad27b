"""Names and sources of packages on a real host: what apt resolves to something else, what can't be had, and
what a broken neighbour may not stop."""

import json

import pytest
from waiting import holds, until

HOST = "h1"

# A flat repository on the host, and a program that adds a package to it.
REPOSITORY = r"""
cat >/usr/local/bin/mkdeb <<'X'
#!/bin/sh
set -e
repo=/srv/repo n=$1 v=$2; shift 2
t=$(mktemp -d); mkdir -p "$repo" "$t/DEBIAN" "$t/usr/share/$n"; echo "$v" >"$t/usr/share/$n/version"
{ printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@x.example>\n' "$n" "$v"
  for f; do echo "$f"; done; echo 'Description: a case'; } >"$t/DEBIAN/control"
[ ! -e /tmp/postinst ] || install -m 755 /tmp/postinst "$t/DEBIAN/postinst"
deb=${n}_${v}_all.deb; dpkg-deb --root-owner-group -b "$t" "$repo/$deb" >/dev/null
{ cat "$t/DEBIAN/control"; echo "Filename: ./$deb"; echo "Size: $(stat -c %s "$repo/$deb")"
  echo "SHA256: $(sha256sum <"$repo/$deb" | cut -d' ' -f1)"; echo; } >>"$repo/Packages"
rm -rf "$t"
X
chmod +x /usr/local/bin/mkdeb
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/case.list
"""

AWAY = "dpkg --purge case-mta case-good case-new case-bad 2>/dev/null; rm -rf /srv/repo /srv/lies /etc/apt/sources.list.d/case.list /etc/apt/sources.list.d/dead.list /usr/local/bin/mkdeb /tmp/postinst; apt-get update -q"


@pytest.fixture
def repository(fleet, on):
    def make(script: str) -> None:
        done = on(HOST).run(REPOSITORY + script)
        assert done.rc == 0, done.stderr

    yield make
    fleet.baseline()
    on(HOST).run(AWAY)


def push(fleet, resources: dict) -> str:
    fleet.profile("cases", resources, on=[HOST])
    revision = fleet.commit("Cases of packages")
    assert fleet.push().returncode == 0
    return revision


def says(fleet, *words: str) -> str:
    def text() -> str:
        view = fleet.controller.host(HOST)
        all_text = " ".join(one["reason"] + " " + one["message"] for one in view.conditions.values())
        return all_text if all(word in all_text for word in words) else ""

    return until(text, f"{HOST} says {words}", 60, fleet.controller.state)


def test_a_virtual_package_is_refused_with_its_provider(fleet, on, repository):
    repository("mkdeb case-mta 1.0 'Provides: case-mail'; apt-get update -q")
    push(fleet, {"package": {"case-mail": {}}, "file": {"/etc/plumb-case": {"content": "x\n"}}})
    says(fleet, "Refused", "case-mail is a virtual package; it is provided by case-mta", "package:case-mta")
    until(lambda: on(HOST).file("/etc/plumb-case").exists, "the file beside it is made", 30)
    assert not on(HOST).package("case-mta").is_installed, "nothing is installed by surprise"
    holds(lambda: fleet.controller.host(HOST).is_("Drifted") is not True, "a refusal is no drift", 6)


def test_the_absence_of_a_virtual_package_is_refused_while_a_provider_is_there(fleet, on, repository):
    repository("mkdeb case-mta 1.0 'Provides: case-mail'; apt-get update -q; apt-get install -yq case-mta")
    push(fleet, {"package": {"case-mail": {"state": "absent"}}})
    says(fleet, "Refused", "case-mta provides it on this host")
    assert on(HOST).package("case-mta").is_installed


def test_a_dead_source_and_a_misspelt_name_stop_nothing_else(fleet, on, repository):
    repository("""mkdeb case-good 1.0; apt-get update -q
        echo 'deb file:/srv/none-such ./' >/etc/apt/sources.list.d/dead.list; mkdeb case-new 1.0""")
    push(fleet, {"package": {"case-good": {}, "case-new": {}, "case-misspelt": {}}})
    until(lambda: on(HOST).package("case-new").is_installed, "case-new is installed", 60, fleet.controller.state)
    assert on(HOST).package("case-good").is_installed
    says(fleet, "NotFound", "case-misspelt")
    events = lambda: [one for one in fleet.controller.ask("events", HOST)["items"] if one["reason"] == "HostTrouble"]
    until(events, "an event names the source", 30, lambda: json.dumps(fleet.controller.ask("events", HOST)))
    assert all("file:/srv/none-such" in one["message"] for one in events())


def test_a_source_without_dns_and_one_with_a_bad_signature_are_told_and_stop_nothing_else(fleet, on, repository):
    # The second one is a mirror that changed what its key had signed.
    repository(f"""rm -rf /srv/lies; . /etc/os-release; at=dists/$VERSION_CODENAME; mkdir -p /srv/lies/$at
        mkdeb case-good 1.0; apt-get update -q
        python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())' \
            {fleet.rig["apt"]}/$VERSION_CODENAME/$at/InRelease | sed 's/^Suite: .*/Suite: lies/' >/srv/lies/$at/InRelease
        grep -q '^Suite: lies' /srv/lies/$at/InRelease
        printf 'deb http://none-such.invalid/debian ./\ndeb [signed-by=/etc/apt/keyrings/rig.gpg] file:/srv/lies %s main\n' \
            $VERSION_CODENAME >/etc/apt/sources.list.d/dead.list; mkdeb case-new 1.0""")
    away = {"url": "http://none-such.invalid/app.tar", "sha256": "0" * 64}
    push(fleet, {"package": {"case-good": {}, "case-new": {}}, "archive": {"/opt/e2e-away": away}, "file": {"/etc/plumb-case": {"content": "x\n"}}})
    until(lambda: on(HOST).package("case-new").is_installed, "case-new is installed", 90, fleet.controller.state)
    until(lambda: on(HOST).file("/etc/plumb-case").exists, "the file beside it is made", 30)
    assert on(HOST).package("case-good").is_installed
    told = lambda: " ".join(one["message"] for one in fleet.controller.ask("events", HOST)["items"] if one["reason"] == "HostTrouble")
    seen = lambda: json.dumps(fleet.controller.ask("events", HOST))
    until(lambda: "none-such.invalid/debian" in told() and "file:/srv/lies" in told(), "an event names each source", 30, seen)
    assert "signature" in told(), told()
    says(fleet, "archive:/opt/e2e-away", "none-such.invalid")
    assert not on(HOST).file("/opt/e2e-away").exists


def test_a_package_that_cant_be_configured_stops_nothing_else(fleet, on, repository):
    repository("""mkdeb case-good 1.0; printf '#!/bin/sh\\necho no such disk; exit 1\\n' >/tmp/postinst
        mkdeb case-bad 1.0; rm /tmp/postinst; apt-get update -q""")
    push(fleet, {"package": {"case-good": {}, "case-bad": {}}})
    until(lambda: on(HOST).package("case-good").is_installed, "case-good is installed", 60, fleet.controller.state)
    says(fleet, "package:case-bad", "no such disk")
