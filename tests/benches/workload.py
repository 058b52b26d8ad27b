"""The work that is measured: 55 resources a host, said once and written for each peer.

10 directories, 20 files of which 5 templates, 5 groups, 5 users, 5 sysctls, 5 units, 5 services.
"""

import json
from pathlib import Path

DIRECTORIES = [f"/srv/bench/d{i}" for i in range(10)]
FILES = {f"/srv/bench/d{i % 10}/f{i}": f"# file {i}\n" + f"line of file {i}\n" * 40 for i in range(15)}
TEMPLATES = {f"/srv/bench/d{i}/t{i}": f"host = {{HOST}}\nnumber = {i}\n" for i in range(5)}
GROUPS = [f"benchg{i}" for i in range(5)]
USERS = {f"benchu{i}": f"benchg{i}" for i in range(5)}
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.log_martians": "1",
    "net.ipv4.conf.default.log_martians": "1",
    "net.ipv4.tcp_keepalive_time": "600",
    "net.ipv4.ip_default_ttl": "63",
}
UNITS = {
    f"bench{i}": f"[Unit]\nDescription=bench {i}\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    for i in range(5)
}

RESOURCES = sum(len(x) for x in (DIRECTORIES, FILES, TEMPLATES, GROUPS, USERS, SYSCTLS, UNITS, UNITS))
assert RESOURCES == 55


def _yaml(value) -> str:
    # JSON is YAML, and needs no writer.
    return json.dumps(value, indent=1) + "\n"


def plumb_profile() -> dict:
    """The profile `bench`: everything that a host of the benchmark has."""
    files = {path: {"content": text, "mode": "0644"} for path, text in FILES.items()}
    for path, text in TEMPLATES.items():
        template = text.replace("{HOST}", "{{ host.name }}")
        files[path] = {"content": {"template": template}, "mode": "0644"}
    return {
        "kind": "Profile",
        "metadata": {"name": "bench"},
        "spec": {
            "description": "55 resources.",
            "resources": {
                "directory": {path: {"mode": "0755", "owner": "root", "group": "root"} for path in DIRECTORIES},
                "file": files,
                "group": {name: {} for name in GROUPS},
                "user": {
                    name: {"group": group, "shell": "/usr/sbin/nologin", "home": "/nonexistent", "createHome": False}
                    for name, group in USERS.items()
                },
                "sysctl": {key: {"value": value} for key, value in SYSCTLS.items()},
                "unit": {f"{name}.service": {"content": text} for name, text in UNITS.items()},
                "service": {name: {"state": "started", "enabled": True} for name in UNITS},
            },
        },
    }


def write_plumb(folder: Path, hosts: dict) -> None:
    """A fleet repository for these hosts (name → address, hostKey); trust/ is the caller's."""
    for sub in ("hosts", "profiles"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    fleet = {"kind": "Fleet", "metadata": {"name": "bench"}, "spec": {"hostDefaults": {"profiles": {"bench": {}}}}}
    (folder / "fleet.yaml").write_text(_yaml(fleet))
    (folder / "profiles/bench.yaml").write_text(_yaml(plumb_profile()))
    for name, host in hosts.items():
        spec = {
            "arch": "x86_64",
            "hostKeys": [host["hostKey"]],
            "connect": [{"user": "root", "address": host["address"], "port": 22}],
        }
        (folder / f"hosts/{name}.yaml").write_text(_yaml({"kind": "Host", "metadata": {"name": name}, "spec": spec}))


def write_ansible(folder: Path, hosts: dict, key: str, known_hosts: Path) -> None:
    """An inventory, a configuration and a play: pipelining, 20 forks, multiplexed connections."""
    folder.mkdir(parents=True, exist_ok=True)
    inventory = "".join(f"{name} ansible_host={host['address']}\n" for name, host in hosts.items())
    (folder / "hosts.ini").write_text(inventory)
    (folder / "ansible.cfg").write_text(
        "[defaults]\ninventory = hosts.ini\nforks = 20\ngathering = explicit\ninterpreter_python = /usr/bin/python3\n"
        f"remote_user = root\nprivate_key_file = {key}\nhost_key_checking = true\nretry_files_enabled = false\n"
        "[ssh_connection]\npipelining = true\n"
        f"ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known_hosts}\n"
        f"control_path_dir = {folder}/cp\n"
    )
    for path, text in TEMPLATES.items():
        (folder / (Path(path).name + ".j2")).write_text(text.replace("{HOST}", "{{ inventory_hostname }}"))
    tasks = []
    task = lambda module, **arguments: tasks.append({f"ansible.builtin.{module}": arguments})
    for path in DIRECTORIES:
        task("file", path=path, state="directory", mode="0755", owner="root", group="root")
    for path, text in FILES.items():
        task("copy", dest=path, content=text, mode="0644")
    for path in TEMPLATES:
        task("template", dest=path, src=Path(path).name + ".j2", mode="0644")
    for name in GROUPS:
        task("group", name=name)
    for name, group in USERS.items():
        task("user", name=name, group=group, shell="/usr/sbin/nologin", home="/nonexistent", create_home=False)
    # ansible-core has no sysctl module: the file alone is kept, which is less than the others do.
    for key_, value in SYSCTLS.items():
        task("copy", dest=f"/etc/sysctl.d/80-bench-{key_}.conf", content=f"{key_} = {value}\n", mode="0644")
    for name, text in UNITS.items():
        task("copy", dest=f"/etc/systemd/system/{name}.service", content=text, mode="0644")
    for name in UNITS:
        task("systemd_service", name=name, state="started", enabled=True)
    for index, item in enumerate(tasks):
        item["name"] = f"resource {index}"
    assert len(tasks) == RESOURCES
    (folder / "play.yml").write_text(_yaml([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))


PYINFRA = '''
import sys
from io import StringIO

from pyinfra.operations import files, server, systemd

sys.path.insert(0, "HERE")
import workload as w

for path in w.DIRECTORIES:
    files.directory(path=path, mode="755", user="root", group="root")
for path, text in w.FILES.items():
    files.put(src=StringIO(text), dest=path, mode="644")
for path, text in w.TEMPLATES.items():
    files.template(src=StringIO(text.replace("{HOST}", "{{ host.data.host_name }}")), dest=path, mode="644")
for name in w.GROUPS:
    server.group(group=name)
for name, group in w.USERS.items():
    server.user(user=name, group=group, shell="/usr/sbin/nologin", home="/nonexistent", create_home=False, ensure_home=False)
for key, value in w.SYSCTLS.items():
    server.sysctl(key=key, value=int(value), persist=True, persist_file="/etc/sysctl.d/80-bench.conf")
for name, text in w.UNITS.items():
    files.put(src=StringIO(text), dest=f"/etc/systemd/system/{name}.service", mode="644")
for name in w.UNITS:
    systemd.service(service=f"{name}.service", running=True, enabled=True)
'''


def write_pyinfra(folder: Path, hosts: dict, key: str, known_hosts: Path) -> None:
    """An inventory and a deploy."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"ssh_user": "root", "ssh_key": key, "ssh_known_hosts_file": str(known_hosts)}
    all_hosts = [(host["address"], {**data, "host_name": name}) for name, host in hosts.items()]
    (folder / "inventory.py").write_text(f"hosts = {all_hosts!r}\n")
    (folder / "deploy.py").write_text(PYINFRA.replace("HERE", str(Path(__file__).resolve().parent), 1))
