"""A certificate authority that speaks ACME, and the DNS server that it asks: Debian's pebble, for tests.

It resolves `h1.rig.example` to h1 and so on, and looks for challenges on ports 80 and 443 as a real one does.
More records, of TXT too, are set at `challenges` by HTTP: `set-txt`, `add-a`, `set-default-ipv4`."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import place, process

# pebble rejects one nonce in twenty and waits before it validates, unless told not to.
CALM = {"PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_VA_NOSLEEP": "1"}


def start() -> None:
    """Starts both, with a certificate of their own for the directory's address."""
    here = place.state() / "acme"
    if not here.exists():
        here.mkdir()
        _certify(here)
    config = {
        "listenAddress": place.ACME_DIRECTORY.split("/")[2], "managementListenAddress": f"{place.BRIDGE}:15000",
        "certificate": f"{here}/tls.pem", "privateKey": f"{here}/tls.key",
        "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": False,
    }  # fmt: skip
    (here / "pebble.json").write_text(json.dumps({"pebble": config}))
    process.start("challenges", ["pebble-challtestsrv", "-dns01", place.ACME_DNS, "-http01", "", "-https01", "", "-tlsalpn01", "",
                                 "-defaultIPv4", "", "-defaultIPv6", "", "-management", place.ACME_CHALLENGES.split("/")[2]])  # fmt: skip
    process.start("acme", ["pebble", "-config", f"{here}/pebble.json", "-dnsserver", place.ACME_DNS], env=CALM)
    for name in {**place.describe().get("hosts", {}), **place.describe().get("machines", {})}:
        _resolve(f"{name}.rig.example", place.address(name))


def stop() -> None:
    process.stop("acme")
    process.stop("challenges")


def _certify(here: Path) -> None:
    names = f"subjectAltName=IP:{place.BRIDGE}"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
            "-subj", "/CN=rig", "-addext", names, "-keyout", f"{here}/tls.key", "-out", f"{here}/tls.pem"]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _resolve(name: str, address: str) -> None:
    body = json.dumps({"host": f"{name}.", "addresses": [address]}).encode()
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{place.ACME_CHALLENGES}/add-a", body, timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"rig: {place.ACME_CHALLENGES} doesn't answer; see {place.state()}/logs/challenges.log")
