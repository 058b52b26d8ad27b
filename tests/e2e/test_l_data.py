"""Databases and passwords on Debian 12 and 13, by the server's own catalogs, by shadow and as their users see them."""

import pytest
from waiting import until

SERVER = {"package": {"postgresql": {}}, "service": {"postgresql": {"state": "started", "enabled": True}}}

APP = {
    "owner": "e2e-app",
    "login": ["e2e-app"],
    "extensions": ["pg_trgm"],
    "settings": {"work_mem": "16MB", "timezone": "Europe/London", "search_path": '"$user", public', "e2e.tenant": "it's"},
    "grants": {"public": [], "e2e-report": ["connect"]},
}

# Packages that the server brings stay when `postgresql` leaves git, as Plumb removes nothing that it didn't name.
CLEAN = "export DEBIAN_FRONTEND=noninteractive; apt-get purge -qq -y 'postgresql*' && apt-get autoremove --purge -qq -y; deluser --quiet postgres"


@pytest.fixture
def both(fleet):
    """A host of each release."""
    return [fleet.names[0], fleet.names[-1]]


@pytest.fixture
def servers(on, both):
    """The same hosts, without a server afterwards."""
    yield both
    for name in both:
        on(name).run(CLEAN)


def sql(host, query: str, database: str = "postgres") -> str:
    return host.check_output(f"cd / && runuser -u postgres -- psql -XAtd {database} -c \"{query}\"")


def failing(fleet, name: str) -> dict[str, dict]:
    status = fleet.controller.host(name).status
    return {one["resources"][0]: one for one in status.get("failing", [])}


def in_sync(fleet, both: list[str]) -> None:
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan


def test_database_is_made_changed_and_stays_with_its_data(fleet, on, servers):
    both = servers
    fleet.profile("data", SERVER | {"database": {"e2e": APP, "e2e-empty": {}}}, on=both)
    fleet.deploy("A server with two databases", seconds=180)
    for name, version in zip(both, ["15", "17"], strict=True):
        host = on(name)
        assert sql(host, "show server_version").split(".")[0] == version
        assert sql(host, "select pg_get_userbyid(datdba) from pg_database where datname = 'e2e'") == "e2e-app"
        assert sql(host, "select extname from pg_extension order by 1", "e2e") == "pg_trgm\nplpgsql"
        assert sql(host, "select current_setting('work_mem'), current_setting('e2e.tenant'), current_setting('TimeZone'), current_setting('search_path')", "e2e") == (
            "16MB|it's|Europe/London|\"$user\", public"
        )
        assert sql(host, "select has_database_privilege('e2e-report', 'e2e', 'connect'), has_database_privilege('e2e-report', 'e2e', 'temporary')") == "t|f"
        assert sql(host, "select rolname, rolcanlogin from pg_roles where rolname like 'e2e-%' order by 1") == "e2e-app|t\ne2e-report|f"
        # The owner comes in over the socket, and nobody else does.
        host.check_output("useradd e2e-app; useradd e2e-other; cd / && runuser -u e2e-app -- psql -XAtd e2e -c 'create table kept (a int); insert into kept values (1)'")
        assert host.run("cd / && runuser -u e2e-other -- psql -XAtd e2e -c 'select 1'").rc != 0
        host.check_output("userdel e2e-app; userdel e2e-other")
    in_sync(fleet, both)

    host = on(both[0])
    sql(host, "alter database e2e set work_mem = '1MB'")
    until(lambda: sql(host, "show work_mem", "e2e") == "16MB", "the setting is put back", 60, fleet.controller.state)

    # An extension that isn't there is told, and stops no other field. What the manifest doesn't say any more is given back.
    broken = {"owner": "e2e-report", "extensions": ["e2e_none"], "settings": {"work_mem": "8MB"}, "grants": {"public": ["connect"]}}
    fleet.profile("data", SERVER | {"database": {"e2e": broken, "e2e-empty": {"state": "absent"}}}, on=both)
    fleet.commit("An extension that no package has")
    assert fleet.push().returncode == 0
    until(lambda: "database:e2e" in failing(fleet, both[0]), "it is told", 60, fleet.controller.state)
    told = failing(fleet, both[0])["database:e2e"]["message"]
    assert told.startswith("cannot create extension `e2e_none` in database `e2e`") and 'extension "e2e_none" is not available' in told, told
    assert sql(host, "select unnest(setconfig) from pg_db_role_setting where setrole = 0") == "work_mem=8MB"
    assert sql(host, "select pg_get_userbyid(datdba), (select count(*) from aclexplode(datacl) where grantee = 0) from pg_database where datname = 'e2e'") == "e2e-report|1"
    assert sql(host, "select rolcanlogin from pg_roles where rolname = 'e2e-app'") == "f"
    assert sql(host, "select datname from pg_database where datname like 'e2e%'") == "e2e", "an empty one goes"

    # A database with data is dropped by a confirmation alone.
    fleet.profile("data", SERVER | {"database": {"e2e": {"state": "absent"}}}, on=both)
    fleet.commit("No database")
    assert fleet.push().returncode == 0
    refused = lambda: failing(fleet, both[0]).get("database:e2e", {}).get("message", "").startswith("database `e2e` isn't empty: it isn't dropped")
    until(refused, "it is refused", 60, fleet.controller.state)

    # What leaves git stays with its data; its settings, privileges and logins are given back.
    fleet.profile("data", SERVER, on=both)
    (change,) = fleet.plan(both[0])["hosts"][both[0]]["changes"]
    assert "the database stays with its data" in str(change["consequences"]), change
    fleet.deploy("A server without a database", seconds=120)
    for name in both:
        host = on(name)
        assert sql(host, "select a from kept", "e2e") == "1"
        assert sql(host, "select count(*) from pg_db_role_setting where setrole = 0") == "0"
        assert sql(host, "select has_database_privilege('e2e-app', 'e2e', 'temporary'), (select rolcanlogin from pg_roles where rolname = 'e2e-app')") == "t|f"
    in_sync(fleet, both)
    for name in both:
        fleet.host(name)
    fleet.remove("profiles/data.yaml")
    fleet.deploy("No server any more", seconds=120)
    assert not on(both[0]).package("postgresql").is_installed


# Hashes of `plumb` and of `other`.
HASH = "$y$j9T$6w9iFJbqVXXZ5sGyyfpdd.$FrVDH9SMPwCjRbCwrVE5nyv1nGzs.pMOUCEaOKBs7F2"
BEFORE = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


def test_password_is_set_from_a_hash_that_nothing_shows_and_given_back(fleet, on, both):
    shadow = lambda name, user: on(name).check_output(f"getent shadow {user}").split(":")[1]
    for name in both:
        on(name).check_output(f"useradd e2e-was && echo 'e2e-was:{BEFORE}' | chpasswd -e && useradd e2e-none")
    try:
        password = {"password": {"hash": HASH}}
        users = {"e2e-new": password, "e2e-shut": password | {"locked": True}, "e2e-was": password, "e2e-none": password}
        fleet.profile("people", {"user": users}, on=both)
        fleet.deploy("Passwords", seconds=120)
        for name in both:
            assert [shadow(name, user) for user in users] == [HASH, f"!{HASH}", HASH, HASH]
            assert on(name).check_output("passwd -S e2e-shut").split()[1] == "L"
        in_sync(fleet, both)

        # A password that somebody sets is drift; a lock that git doesn't say stays.
        host = on(both[0])
        host.check_output(f"echo 'e2e-new:!{BEFORE}' | chpasswd -e")
        (change,) = fleet.plan(both[0])["hosts"][both[0]]["changes"]
        assert change["cause"] == "drift", change
        until(lambda: shadow(both[0], "e2e-new") == f"!{HASH}", "the hash is put back", 60, fleet.controller.state)

        users["e2e-new"] = password | {"locked": False}
        users["e2e-shut"] = {"locked": False}
        fleet.profile("people", {"user": users}, on=both)
        fleet.deploy("No locks", seconds=120)
        assert [shadow(both[0], user) for user in users] == [HASH, HASH, HASH, HASH]

        told = fleet.controller.run("events", both[0]).stdout + fleet.controller.run("describe", "host", both[0], "-o", "json").stdout
        told += str(fleet.plan()) + fleet.controller.log.read_text()
        told += fleet.controller.run("explain", both[0], "user:e2e-new", "-C", str(fleet.tree)).stdout
        for hash_ in (HASH, BEFORE):
            assert hash_ not in told
            stored = [path for path in (fleet.controller.folder / "state").rglob("*") if path.is_file() and hash_.encode() in path.read_bytes()]
            assert stored == []
        assert host.run(f"grep -rqF '{HASH}' /var/lib/plumb").rc == 1, "the ledger has the digest alone"

        for name in both:
            fleet.host(name)
        fleet.remove("profiles/people.yaml")
        fleet.deploy("Nobody", seconds=120)
        for name in both:
            assert (shadow(name, "e2e-was"), shadow(name, "e2e-none")) == (BEFORE, "!")
            assert not on(name).user("e2e-new").exists and not on(name).user("e2e-shut").exists
    finally:
        for name in both:
            on(name).run("userdel e2e-was; userdel e2e-none")
