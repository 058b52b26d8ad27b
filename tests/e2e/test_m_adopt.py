"""`plumb adopt` writes what a live host has, so that the next plan is empty and nothing on the host changes."""

import json

import yaml

MADE = """set -e
useradd --create-home --uid 1777 --groups adm --comment 'Made by hand' adopted
printf 'by hand {{ braces }}\\n' >/etc/profile.d/adopted.sh
printf '# nothing\\n' >/etc/sudoers.d/adopted-secret; chmod 440 /etc/sudoers.d/adopted-secret
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/adopted.service
systemctl daemon-reload
systemctl enable --quiet --now adopted.service
"""

UNMADE = """systemctl disable --quiet --now adopted.service
userdel --remove adopted 2>/dev/null
rm /etc/profile.d/adopted.sh /etc/sudoers.d/adopted-secret /etc/systemd/system/adopted.service
systemctl daemon-reload
"""

LISTING = "stat -c '%n %U %G %a %Y' /etc/profile.d/adopted.sh /etc/sudoers.d/adopted-secret /etc/systemd/system/adopted.service; getent passwd adopted; id adopted; systemctl show -p ActiveState,UnitFileState,ExecMainPID adopted"


def test_a_host_that_was_made_by_hand_is_adopted_as_it_is(fleet, on):
    name = fleet.names[0]
    host = on(name)
    host.check_output(MADE)
    before = host.check_output(LISTING)
    config = str(fleet.controller.folder / "controller.yaml")
    adopt = lambda *words: fleet.controller.run("adopt", name, *words, "-C", str(fleet.tree), "--config", config, "-o", "json")

    # One by one: what isn't there and what can't be known is told, and the rest is shown.
    some = adopt("file:/etc/profile.d/adopted.sh", "user:nobody-has-this", "sysctl:vm.swappiness", "--print")
    assert some.returncode == 1, some.stderr
    shown = json.loads(some.stdout)
    assert shown["leftOut"] == {"user:nobody-has-this": "the host doesn't have it"}
    resources = shown["profile"]["spec"]["resources"]
    assert resources["file"]["/etc/profile.d/adopted.sh"]["content"] == "by hand {{ braces }}\n"
    assert resources["sysctl"]["vm.swappiness"]["value"] == host.check_output("cat /proc/sys/vm/swappiness")

    everything = adopt("--all")
    assert everything.returncode == 0, everything.stdout + everything.stderr
    result = json.loads(everything.stdout)
    resources = result["profile"]["spec"]["resources"]
    assert resources["user"]["adopted"]["uid"] == 1777
    assert resources["user"]["adopted"]["groups"] == ["adm"]
    assert resources["service"]["adopted"]["enabled"] is True
    assert "adopted.service" in resources["unit"]
    assert "content" not in resources["file"]["/etc/sudoers.d/adopted-secret"]
    assert "file:/etc/sudoers.d/adopted-secret" in result["withoutContent"]
    assert f"adopted-{name}" in yaml.safe_load((fleet.tree / f"hosts/{name}.yaml").read_text())["spec"]["profiles"]
    again = adopt("--all")
    assert again.returncode != 0 and "exists" in again.stderr

    assert fleet.plan(name)["hosts"][name]["changes"] == []
    fleet.deploy("What it has", names=[name])
    assert host.check_output(LISTING) == before

    # Dropped from git, everything stays: it was there before.
    fleet.remove(f"profiles/adopted-{name}.yaml")
    fleet.host(name)
    fleet.deploy("Nothing of it", names=[name])
    assert host.check_output(LISTING) == before
    host.check_output(UNMADE)
