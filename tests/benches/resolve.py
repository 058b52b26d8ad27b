"""Loading and resolving a fleet of three sizes in memory, beside ansible-core; needs neither hosts nor root.

Each host has 100 resources: 40 files are rendered for it, and ten hosts list the whole fleet. The peer reads an
inventory of the same hosts and renders the same 40 templates for each host of a small fleet, as its time for each host
is the same in a large one; it resolves nothing else."""

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from measure import Figures, busy

SIZES = (100, 1_000, 10_000)
PEER_HOSTS = 50
PROCESSOR, MEMORY, FLAT = 6, 450, 1.5


def measured(program: Path, hosts: int) -> dict:
    done = subprocess.run([str(program), str(hosts)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def ansible(peers: Path) -> float:
    """Seconds of processor that ansible-core takes for each host."""
    with tempfile.TemporaryDirectory(prefix="plumb-bench-") as name:
        folder = Path(name)
        for number in range(40):
            template = f"host = {{{{ inventory_hostname }}}}\naddress = {{{{ address }}}}\nrole = {{{{ role }}}}\nnumber = {number}\n"
            (folder / f"rendered-{number}.j2").write_text(template)
        rendered = " ".join(f"{{{{ lookup('template', 'rendered-{number}.j2') }}}}" for number in range(40))
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": {"rendered": rendered}}]}]
        (folder / "play.yml").write_text(json.dumps(play))
        env = {**os.environ, "HOME": name, "ANSIBLE_LOCALHOST_WARNING": "0"}
        spent = []
        for hosts in (1, PEER_HOSTS + 1):
            lines = [f"h{number} ansible_connection=local address=10.0.0.{number} role=web\n" for number in range(1, hosts + 1)]
            (folder / "hosts.ini").write_text("".join(lines))
            spent.append(busy([peers / "bin/ansible-playbook", "-i", "hosts.ini", "play.yml"], cwd=folder, env=env))
        return (spent[1] - spent[0]) / PEER_HOSTS


def run(program: Path, peers: Path, runs: int) -> bool:
    figures = Figures()
    samples = {hosts: [measured(program, hosts) for _ in range(max(3, runs // 3))] for hosts in SIZES}
    each = {}
    for hosts, all in samples.items():
        median = lambda of: statistics.median(of(sample) for sample in all)
        processor, clock = median(lambda one: one["all"]["processor"]), median(lambda one: one["all"]["clock"])
        load, memory = median(lambda one: one["load"]["processor"]), median(lambda one: one["bytes"]) / 1e6
        each[hosts] = processor / hosts * 1e6
        print(
            f"{hosts:>6} hosts  processor {processor:7.2f} s (load {load:6.2f})  clock {clock:6.2f} s  memory {memory:6.1f} MB"
            f"  each host {each[hosts]:6.1f} µs",
            flush=True,
        )
    largest = SIZES[-1]
    figures.bound(f"{largest} hosts, processor", each[largest] * largest / 1e6, "s", PROCESSOR)
    figures.bound(f"{largest} hosts, memory", memory, "MB", MEMORY)
    figures.bound("each host, largest ÷ smallest fleet", each[largest] / each[SIZES[0]], "×", FLAT)
    peer = ansible(peers) * 1e6
    print(f"ansible-core 2.19, the 40 templates  each host {peer:9.1f} µs", flush=True)
    figures.ratio("ansible ÷ plumb, each host", peer / each[largest], None)
    return figures.met
