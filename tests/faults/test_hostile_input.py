"""Names are data: whatever stands in them, nothing of it is run by a shell, by SQL, by a template or by a browser.

Each name would leave a file behind (a canary) or change a number if anything on the way took it for code.
"""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import conninfo
from tests.faults import kit
from tests.integration.restore_kit import World, add_writes, content

pytestmark = pytest.mark.slow


@pytest.fixture
def nest(tmp_path):
    """A folder that canaries would appear in, short enough to be named inside a database's name."""
    folder = Path("/tmp") / ("n%s" % os.urandom(2).hex())
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def sang(nest):
    return [path.name for path in nest.rglob("*")]


def nasty(nest):
    """Return names that a shell, Jinja, SQL, libpq or a format string would each take for its own."""
    return {
        "shell": "a`touch %s/b`$(touch %s/s);touch %s/c" % (nest, nest, nest),
        "jinja": "{{ lookup('pipe', 'touch %s/j') }}" % nest,
        "sql": "x'; DROP TABLE \"agents\" --\\",
        "libpq": "host=127.0.0.1 port=1 a=b",
        "uri": "postgresql://nobody@127.0.0.1:1/x",
        "format": "%s %(x)d {0} {x} %%",
        "option": "-rf --help",
    }


@pytest.mark.fault(12, "database")
@pytest.mark.parametrize("kind", ["shell", "jinja", "sql", "libpq", "uri", "format", "option"])
def test_a_database_with_a_nasty_name_is_restored_and_taken_back(make_world, shape_set, nest, kind):
    world = make_world(database=nasty(nest)[kind])
    world.copy_set(shape_set)
    add_writes(world.live)
    before = world.fingerprint()
    played = world.play("restore-full.yml").ok()
    assert played.report["target"]["database"] == world.database
    assert played.report["status"] == "succeeded"
    assert len(world.sql("SELECT 1 FROM letta.agents")) == 3
    if kind in ("shell", "libpq"):  # the way back goes through the same code
        world.play("rollback.yml").ok()
        assert kit.latest_report(world)["status"] == "rolled_back"
        assert world.fingerprint() == before
    assert world.leftovers(world.kept_names()) == []
    assert sang(nest) == []


@pytest.mark.fault(12, "database")
def test_a_connection_string_means_one_database_whatever_its_name():
    from psycopg2.extensions import parse_dsn

    for name in ("plain", "a=b", "it's", "back\\slash", "postgresql://x/y", "host=evil port=1", "  "):
        assert parse_dsn(conninfo(name))["dbname"] == name


@pytest.mark.fault(12, "path")
@pytest.mark.parametrize("kind", ["shell", "jinja", "format"])
def test_a_store_and_a_folder_of_reports_with_nasty_names_work(make_world, shape_set, nest, kind):
    made = make_world()
    name = nasty(nest)[kind].replace("/", "_")
    folder = made.folder / ("store of " + name)
    os.makedirs(folder / "store", 0o700)
    world = World(made.pg, made.database, folder)
    world.copy_set(shape_set)
    add_writes(world.live)
    played = world.play("restore-full.yml").ok()
    assert played.report["status"] == "succeeded"
    assert (world.reports / "latest" / "report.html").is_file()
    assert world.leftovers(world.kept_names()) == []
    assert sang(nest) == []



@pytest.mark.fault(12, "agent")
def test_agent_names_reach_plan_report_and_page_as_they_are(world, nest):
    names = [nasty(nest)["jinja"], nasty(nest)["shell"], "<script>alert(1)</script>", "{{ 6 * 7 }}", "{% raw %}", "a\x1b[31mred\x1b[0m\x07"]
    for name in names:
        add_writes(world.live, name=name, messages=1)
    checked = world.play("restore-full.yml", "--check")
    assert checked.rc == 0, checked.output[-3000:]
    plan = kit.said(checked.output, "PLAN") + checked.output
    played = world.play("restore-full.yml").ok()
    report = json.dumps(played.report, ensure_ascii=False)
    page = (world.reports / "latest" / "report.html").read_text(encoding="utf-8")
    for text in (plan, played.output, report, page):
        assert "\x1b[31m" not in text
        assert "\x07" not in text
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 6 * 7 }}" in checked.output
    assert "{{ 6 * 7 }}" in page
    assert "loses" in checked.output
    assert sang(nest) == []


@pytest.mark.fault(12, "path")
def test_folders_with_nasty_names_in_the_store_are_no_sets_and_do_no_harm(world, nest):
    found = kit.only_set(world)
    for kind, name in nasty(nest).items():
        shutil.copytree(found, Path(world.root) / ("lb-%s-%s" % (kind, name.replace("/", "_"))))
    (Path(world.root) / "lb-20260101T000000Z-aaaaaa").symlink_to("/")
    played = world.play("restore-full.yml", "--check")
    assert played.rc == 0, played.output[-3000:]
    assert "restore %s" % found.name in played.output
    listed = world.play("catalog.yml")
    assert listed.rc == 0, listed.output[-3000:]
    assert " ".join(listed.output.split()).count("NOT USABLE") == len(nasty(nest)) + 1
    assert sang(nest) == []


@pytest.mark.fault(12, "path")
@pytest.mark.parametrize(
    "wanted", ["../../../../etc", "/etc", "lb-20260101T000000Z-aaaaaa; touch %(nest)s/i", "{{ lookup('pipe', 'touch %(nest)s/j') }}", "-x"]
)
def test_a_nasty_set_id_is_an_unknown_id(world, nest, wanted):
    before = world.fingerprint()
    world.variables["letta_backup_id"] = wanted.replace("%(nest)s", str(nest))
    played = world.play("restore-full.yml").refused("no_usable_backup")
    assert world.variables["letta_backup_id"] in played.report["message"]
    assert world.fingerprint() == before
    assert world.leftovers() == []
    assert sang(nest) == []


@pytest.mark.fault(12, "manifest")
def test_hostile_names_inside_a_manifest_stay_names(world, nest):
    # What a manifest says about the database goes into SQL: settings, privileges, comment, schemas of extensions.
    names, before = nasty(nest), world.fingerprint()
    facts = {
        "comment": names["sql"] + names["jinja"],
        "acl": ["\"%s\"=CTc/letta" % names["sql"].replace('"', '""'), "=Tc/letta", "letta=CTc/letta"],
        "settings": [
            {"role": None, "name": "search_path", "value": 'letta, "%s"' % names["sql"].replace('"', '""')},
            {"role": names["sql"], "name": "work_mem", "value": "4MB"},
        ],
    }
    kit.reseal(kit.only_set(world), database=facts)
    played = world.play("restore-full.yml").ok()
    assert played.report["status"] == "succeeded"
    assert world.fingerprint()["facts"]["comment"] == facts["comment"]
    (setting,) = [item for item in world.fingerprint()["facts"]["settings"] if item["name"] == "search_path"]
    assert names["sql"].replace('"', '""') in setting["value"]
    assert content(world.fingerprint())["tables"].keys() == before["tables"].keys()
    assert any("no such role here" in warning for warning in played.report["warnings"])
    assert sang(nest) == []


@pytest.mark.fault(12, "manifest")
def test_a_setting_whose_name_is_sql_is_refused_by_postgresql_and_nothing_stays(world):
    before = world.fingerprint()
    # Nothing in it is refused where it runs: only as a name it is.
    settings = [{"role": None, "name": "work_mem = '1MB'; DROP TABLE IF EXISTS x; --", "value": "1"}]
    kit.reseal(kit.only_set(world), database={"settings": settings})
    played = world.play("restore-full.yml").refused("load_failed")
    assert world.fingerprint() == before
    assert kit.untrue_claims(world, before, played.report["now"]) == []
    assert world.leftovers() == []
