"""The schemas of `plumb init` in the real YAML language server: `YAML_LANGUAGE_SERVER` is its node_modules."""

import os
import pathlib
import subprocess

import pytest
from language_server import LanguageServer

HEAD = "# yaml-language-server: $schema=../.plumb/schema/{}.json\n"
HOST = HEAD.format("host") + "kind: Host\nmetadata: {name: new}\n"
PROFILE = HEAD.format("profile") + "kind: Profile\nmetadata: {name: new}\n"


def create(folder, *options):
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    fleet = folder / "fleet"
    subprocess.run([os.environ["PLUMB"], "init", *options, fleet, "--ssh-key", f"me={key}.pub"], check=True)
    return fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return create(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def server(fleet):
    server = LanguageServer(os.environ["YAML_LANGUAGE_SERVER"], fleet)
    yield server
    server.close()


def problems(server, fleet):
    found = {}
    for path in sorted(fleet.rglob("*.yaml")):
        text = path.read_text()
        if text.startswith("# yaml-language-server:"):
            found[str(path.relative_to(fleet))] = server.check(path, text)
    return found


def test_no_manifest_of_the_template_has_a_problem(server, fleet):
    found = problems(server, fleet)
    assert {path: all for path, all in found.items() if all} == {}
    folders = {path.partition("/")[0] for path in found}
    assert {"fleet.yaml", "hosts", "profiles", "networks", "trust"} <= folders


def test_no_manifest_of_the_minimal_template_has_a_problem(server, tmp_path):
    fleet = create(tmp_path, "--minimal")
    found = problems(server, fleet)
    assert len(found) == 15, sorted(found)
    assert {path: all for path, all in found.items() if all} == {}


@pytest.mark.parametrize(
    ("name", "text", "offered"),
    [
        ("hosts/new.yaml", HOST + "spec:\n  |\n", {"networks", "profiles", "resources", "drift", "hostKeys"}),
        ("hosts/new.yaml", HOST + "spec:\n  networks:\n    lan:\n      |\n", {"id", "assign", "aliases", "mac"}),
        ("hosts/new.yaml", HOST + "spec:\n  state: |\n", {"active", "dormant", "unmanaged", "retired"}),
        ("hosts/new.yaml", HOST + "spec:\n  resources:\n    |\n", {"file", "package", "exporter", "sshd", "mount"}),
        ("hosts/new.yaml", HOST + "spec:\n  force:\n    file:\n      /etc/motd:\n        |\n", {"content", "mode", "owner"}),
        (
            "hosts/new.yaml",
            HOST + "spec:\n  resources:\n    file:\n      /etc/motd:\n        content:\n          |\n",
            {"template", "templateFile", "file"},
        ),
        ("profiles/new.yaml", PROFILE + "spec:\n  |\n", {"params", "endpoints", "when", "description", "includes"}),
        ("profiles/new.yaml", PROFILE + "spec:\n  params:\n    port:\n      |\n", {"type", "default", "minimum"}),
        (
            "profiles/new.yaml",
            PROFILE + "spec:\n  endpoints:\n    web:\n      |\n",
            {"ports", "protocol", "on", "scrape"},
        ),
        ("profiles/new.yaml", PROFILE + "spec:\n  resources:\n    service:\n      ssh:\n        state: |\n", {"started"}),
        (
            "trust/policy.yaml",
            HEAD.format("trustpolicy") + "kind: TrustPolicy\nmetadata: {name: main}\nspec:\n  |\n",
            {"identities", "groups", "rules", "bindRef"},
        ),
        (
            "images/new.yaml",
            HEAD.format("image") + "kind: Image\nmetadata: {name: new}\nspec:\n  format: |\n",
            {"sd", "raw", "qcow2", "vdi", "vhdx", "iso"},
        ),
    ],
)
def test_the_fields_of_a_place_are_offered(server, fleet, name, text, offered):
    assert offered <= server.complete(fleet / name, text)


def test_the_meaning_of_a_field_is_shown(server, fleet):
    text = HOST + "spec:\n  ar|ch: x86_64\n"
    assert "processor architecture" in server.hover(fleet / "hosts/new.yaml", text)
    text = HOST + "spec:\n  resources:\n    exporter: {node: {po|rt: 9100}}\n"
    assert "The port on which it listens" in server.hover(fleet / "hosts/new.yaml", text)


@pytest.mark.parametrize(
    "wrong",
    [
        "spec: {arhc: x86_64}\n",
        "spec: {arch: x86}\n",
        "spec: {networks: {lan: {id: [1]}}}\n",
        "spec: {resources: {fiel: {}}}\n",
        "spec: {resources: {file: {/etc/motd: {mode: \"rw\"}}}}\n",
        "spec: {resources: {exporter: {node: {port: web}}}}\n",
    ],
)
def test_a_mistake_is_marked(server, fleet, wrong):
    assert server.check(fleet / "hosts/new.yaml", HOST + wrong)


@pytest.mark.parametrize(
    "right",
    [
        "spec: {resources: {exporter: {node: {port: \"{{ host.networks.lan.id + 9000 }}\"}}}}\n",
        "spec: {resources: {package: {btop, git}, zram: {main: null}}}\n",
        "spec: {resources: {user: {john: {groups: \"{{ ['a', 'b'] }}\"}}}}\n",
        "spec: {resources: {file: {/etc/motd: {content: {template: \"x\"}}}}}\n",
    ],
)
def test_an_expression_and_a_bare_name_are_no_mistakes(server, fleet, right):
    assert server.check(fleet / "hosts/new.yaml", HOST + right) == []
