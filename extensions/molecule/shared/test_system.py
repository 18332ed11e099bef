"""What holds of the system after every scenario."""
from __future__ import annotations

import pytest

from tests.lab.staging import claims

DATABASE, HOSTS, SERVERS = claims.DATABASE, claims.HOSTS, claims.SERVERS


@pytest.mark.parametrize("name", SERVERS)
def test_letta_runs(name):
    assert claims.host(name).service("letta.service").is_running


@pytest.mark.parametrize("name", SERVERS)
def test_letta_starts_with_its_host(name):
    assert claims.host(name).service("letta.service").is_enabled


@pytest.mark.parametrize("name", SERVERS)
def test_letta_is_one_process_of_an_ordinary_user(name):
    assert [process.user for process in claims.host(name).process.filter(comm="letta")] == ["letta"]


@pytest.mark.parametrize("name", SERVERS)
def test_letta_says_that_it_is_healthy(name):
    assert claims.api(name).api("GET", "/v1/health/")["status"] == "ok"


def test_both_servers_tell_of_the_same_agents():
    first, second = map(claims.agents, SERVERS)
    assert first == second


@pytest.mark.writes
def test_a_new_agent_answers():
    assert claims.answers(claims.new_agent())


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_leads_out_of_the_network(name):
    assert claims.host(name).check_output("ip route show default") == ""


def test_only_letta_s_servers_are_connected_to_the_database():
    rows = claims.query(claims.server(user="letta_admin"), "SELECT DISTINCT client_addr::text FROM pg_stat_activity WHERE datname = 'letta'"
                        " AND pid <> pg_backend_pid()")  # fmt: skip
    addresses = {claims.load()["addresses"][name] for name in SERVERS}
    assert {row[0].partition("/")[0] for row in rows} <= addresses


def test_the_database_accepts_connections_of_everybody_again():
    assert claims.query(claims.server(), "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = 'letta'") == [(True, -1)]


def test_the_schema_is_the_one_of_the_release():
    assert claims.query(claims.server(), "SELECT version_num FROM alembic_version") == [(claims.HEAD,)]


def test_new_connections_find_letta_s_schema():
    assert claims.query(claims.server(), "SHOW search_path") == [("letta",)]


def test_no_constraint_waits_to_be_proven():
    assert claims.query(claims.server(), "SELECT conname FROM pg_constraint WHERE NOT convalidated") == []


def test_no_index_is_invalid():
    assert claims.query(claims.server(), "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == []


def test_everything_belongs_to_letta_s_role():
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'letta'::regnamespace"
    assert claims.query(claims.server(), owners) == [("letta",)]


def test_the_folder_of_sets_is_root_s_alone():
    folder = claims.host(DATABASE).file("/var/backups/letta")
    assert (folder.user, folder.mode) == ("root", 0o700)


def test_every_set_is_readable_for_root_alone():
    found = claims.host(DATABASE).check_output("find /var/backups/letta/lb-* '(' -not -user root -o -perm /077 ')'")
    assert found == ""


def test_the_servers_environment_stays_readable_for_root_alone():
    file = claims.host(SERVERS[0]).file("/etc/letta/letta.env")
    assert (file.user, file.mode) == ("root", 0o600)


@pytest.mark.parametrize("name", [*SERVERS, DATABASE])
def test_no_temporary_file_is_left(name):
    found = claims.host(name).check_output("find /tmp /var/tmp /home/ops -mindepth 1 -name '*letta*' -not -path '*/.ansible*'")
    assert found == ""


def test_no_password_is_among_the_files_of_the_report():
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (claims.FOLDER / "reports").rglob("*") if path.is_file()]
    facts = claims.load()
    assert not [key for key in ("db_password", "admin_password", "encryption_key") if any(facts[key] in text for text in texts)]
