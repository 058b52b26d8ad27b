"""What stands around the hosts: apt repository, git server, Alertmanager with a receiver, Prometheus, ACME."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import acme, host, place, process

ALERTMANAGER = """route:
  receiver: record
  group_by: [alertname, host]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: record
    webhook_configs: [{{url: "http://127.0.0.1:{port}/", send_resolved: true, max_alerts: 0}}]
"""

PROMETHEUS = """global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: plumb
    static_configs: [{targets: ["127.0.0.1:9180"]}]
"""

SERVICES = ["apt", "webhook", "alertmanager", "prometheus", "acme"]


def start(name: str) -> None:
    """Starts one of them."""
    here = place.state()
    if name == "apt":
        process.start(name, [sys.executable, "-m", "http.server", str(place.APT_PORT),
                             "--bind", place.BRIDGE, "--directory", str(here / "apt")])  # fmt: skip
    elif name == "webhook":
        process.start(name, [sys.executable, str(place.SOURCE / "webhook"), str(place.WEBHOOK_PORT),
                             str(here / "notifications.jsonl")])  # fmt: skip
    elif name == "alertmanager":
        (here / "alertmanager.yml").write_text(ALERTMANAGER.format(port=place.WEBHOOK_PORT))
        process.start(name, ["prometheus-alertmanager", f"--config.file={here}/alertmanager.yml",
                             f"--storage.path={here}/alertmanager", "--cluster.listen-address=",
                             f"--web.listen-address=127.0.0.1:{place.ALERTMANAGER_PORT}"])  # fmt: skip
        _ready(f"http://127.0.0.1:{place.ALERTMANAGER_PORT}/-/ready")
    elif name == "prometheus":
        (here / "prometheus.yml").write_text(PROMETHEUS)
        process.start(name, ["prometheus", f"--config.file={here}/prometheus.yml",
                             f"--storage.tsdb.path={here}/prometheus",
                             f"--web.listen-address=127.0.0.1:{place.PROMETHEUS_PORT}"])  # fmt: skip
        _ready(f"http://127.0.0.1:{place.PROMETHEUS_PORT}/-/ready")
    elif name == "acme":
        acme.start()
    else:
        raise SystemExit(f"rig: {name} is neither a host nor one of {', '.join(SERVICES)}")


def stop(name: str) -> None:
    """Stops one of them."""
    acme.stop() if name == "acme" else process.stop(name)


def _ready(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"rig: {url} doesn't answer; see {place.state()}/logs")


def git_binds(base: Path) -> list[str]:
    """What the git server shares with the controller's side: programs, and the controller's socket."""
    here = place.state()
    for folder in ("bin", "run"):
        (here / folder).mkdir(exist_ok=True)
    # Sockets made in this folder belong to the git server's group: its hooks may notify the controller.
    groups = (line.split(":") for line in (base / "etc/group").read_text().splitlines())
    os.chown(here / "run", 0, next(int(group[2]) for group in groups if group[0] == "git"))
    (here / "run").chmod(0o2755)
    return [f"{here}/bin:/opt/plumb", f"{here}/run:/run/plumb"]


def make_repository() -> None:
    """An empty bare repository on the git server."""
    script = (
        "test -d /srv/git/fleet.git || "
        "(git init -q --bare --initial-branch=main /srv/git/fleet.git && chown -R git: /srv/git/fleet.git)"
    )
    subprocess.run(host.ssh("git", script), check=True, stdin=subprocess.DEVNULL)
