"""A rehearsal in containers: a real engine, a real Letta and PostgreSQL in it; the images are made here, nothing can be fetched."""
from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import time
from contextlib import closing

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.releases import head_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import boxes, folder
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse.containers import ContainerStand
from tests.lab.engine import PYTHON
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import migrate_by_steps
from tests.lab.letta_image import LETTA, REDIS, import_letta, import_redis
from tests.lab.old import make_old_database
from tests.lab.postgres_image import import_postgres
from tests.lab.seed import SAMPLE_KEY

pytestmark = pytest.mark.slow
OLDER = "0.16.4"
POSTGRES = "postgres-of-the-lab:18"
OLD, ALIEN = "rh-20200101T000000Z-0ddba1-1", "rh-20200101T000000Z-a11e57-1"
CONNECT = "import socket, sys; s = socket.socket(); s.settimeout(3); print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
UNREACHABLE = b"101"


@pytest.fixture(scope="module")
def images(engine):
    import_postgres(engine, POSTGRES)
    import_redis(engine)
    import_letta(engine)


def a_stand(base, address, **changes):
    """A system that is not there yet."""
    name = "rh-%s-%s-1" % (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), secrets.token_hex(3))
    return ContainerStand(str(base), name, None, address, {"postgres": POSTGRES, "redis": "", "letta": LETTA, **changes})


@pytest.fixture
def made(engine, images, tmp_path):
    """A system without anything in it, and its facts."""
    stand = a_stand(tmp_path, engine.address)
    facts = stand.make()
    yield stand, facts
    stand.remove()


@pytest.fixture(scope="module")
def leftovers(engine):
    """What a killed rehearsal left long ago, and what only looks like it."""
    old = {boxes.LABEL: OLD, boxes.MADE: "1577836800"}
    engine.create(boxes.named(OLD, "db"), [PYTHON, "-c", "import time; time.sleep(3600)"], labels=old, network_mode="none").start()
    engine.client.networks.create(folder.PREFIX + OLD, internal=True, labels=old)
    engine.create("precious", ["true"], labels={boxes.LABEL: ALIEN, boxes.MADE: "1577836800"})
    engine.create(boxes.named(ALIEN, "db"), ["true"])
    engine.create(boxes.named(ALIEN, "redis"), ["true"], labels={boxes.LABEL: OLD, boxes.MADE: "1577836800"})
    foreign = {"precious", boxes.named(ALIEN, "db"), boxes.named(ALIEN, "redis")}
    yield foreign
    for name in foreign:
        engine.client.containers.get(name).remove(force=True)


@pytest.fixture(scope="module")
def stage(make_module_world, pg, engine, images):
    """A production with a set of an older release, whose database host has a Docker engine."""
    world = make_module_world()
    empty = pg.create_letta_database("rehearsed_schema", password=LETTA_PASSWORD, schema="letta")
    with tempfile.TemporaryDirectory() as home:
        list(migrate_by_steps(empty, home, SAMPLE_KEY, [head_of(OLDER)]))
    old = make_old_database(pg, "rehearsed_old", OLDER, {OLDER: empty.dbname}, LETTA_PASSWORD)
    memory = world.folder / "memory"
    memory.mkdir()
    (memory / "human.md").write_text("remembers")
    take.take_backup(take.BackupOptions(server=world.admin.database(old.dbname), root=world.root, bin_dir=world.bin_dir, jobs=1,
                                        volumes=({"name": "memory", "path": str(memory)},)))  # fmt: skip
    for server in (empty, old):
        pg.drop_database(server.dbname)
    base = world.folder / "stands"
    base.mkdir(mode=0o700)
    world.variables = {
        "letta_rehearse_place": "containers", "letta_rehearse_docker_host": engine.address, "letta_rehearse_dir": str(base),
        "letta_rehearse_postgres_image": POSTGRES, "letta_rehearse_redis_image": REDIS, "letta_rehearse_letta_image": LETTA,
        "letta_rehearse_sets": ["latest"], "letta_rehearse_agents": 2, "letta_rehearse_repeats": 2,
        "letta_rehearse_environment": {"LETTA_USE_UVLOOP": "true"}, "letta_encryption_key": SAMPLE_KEY,
    }  # fmt: skip
    return world


@pytest.fixture(scope="module")
def rehearsed(stage, engine, leftovers):
    before = stage.fingerprint(), everything(engine)
    played = stage.play("rehearse.yml", "-vv", timeout=600)
    played.before = before
    return played


def everything(engine):
    """What there is in the engine: containers, networks, volumes."""
    client = engine.client
    return ({container.name for container in client.containers.list(all=True)}, {network.name for network in client.networks.list()},
            {volume.name for volume in client.volumes.list()})  # fmt: skip


def test_an_older_set_is_migrated_by_the_image_served_by_it_and_passes_with_agents_brought_back_and_figures(rehearsed, stage):
    assert rehearsed.report, rehearsed.output[-8000:]
    (record,) = rehearsed.report["sets"]
    assert (rehearsed.rc, record["verdict"], record["reason"]) == (0, "passed", ""), rehearsed.output[-8000:]
    assert record["place"] == "containers" and record["letta"]["to"] == "0.16.8"
    assert record["revision"] == {"from": head_of(OLDER), "to": head_of("0.16.8")} and record["seconds"]["phases"]["migrate"] > 0
    assert record["tables"]["differ"] == 0 and record["tables"]["equal"] > 30 and record["checks"]["fail"] == 0
    assert record["volumes"] == {"equal": 1, "counted": 0, "missing": 0}
    assert len(record["agents"]["restored"]) == 2 and record["agents"]["failed"] == []
    for name in ("page_of_messages", "api_list_agents", "api_page_of_messages", "api_vector_search", "api_send_message"):
        assert 0 < record["figures"][name]["median_ms"] <= record["figures"][name]["p95_ms"]


def test_nothing_of_it_is_left_and_production_is_as_it_was(rehearsed, stage, engine):
    production, (containers, networks, volumes) = rehearsed.before
    left = everything(engine)
    assert left[0] == containers - {boxes.named(OLD, "db")} and left[1] == networks - {folder.PREFIX + OLD} and left[2] == volumes
    assert os.listdir(stage.folder / "stands") == [] and stage.fingerprint() == production


def test_what_a_killed_rehearsal_left_goes_by_age_and_what_is_not_a_rehearsals_by_name_and_label_stays(rehearsed, engine, leftovers):
    assert "removed what killed rehearsals left: %s%s" % (folder.PREFIX, OLD) in rehearsed.output
    assert leftovers <= everything(engine)[0]


def test_no_secret_is_printed_or_kept_in_a_report(rehearsed, stage):
    kept = b"".join(path.read_bytes() for path in stage.reports.rglob("*") if path.is_file())
    assert SAMPLE_KEY not in rehearsed.output and SAMPLE_KEY.encode() not in kept


def test_from_inside_neither_the_host_nor_anything_else_can_be_reached(engine, made):
    stand, facts = made
    inside = engine.client.containers.get(boxes.named(stand.name, "model"))
    (network,) = (one for one in engine.client.networks.list() if one.name == folder.PREFIX + stand.name)
    network.reload()
    with closing(socket.socket()) as production:
        production.bind(("0.0.0.0", 0))
        production.listen()
        places = [(network.attrs["IPAM"]["Config"][0]["Gateway"], production.getsockname()[1]), ("192.0.2.1", 80), ("192.0.2.2", 22)]
        for address, port in places:
            assert inside.exec_run(["python3", "-c", CONNECT, address, str(port)]).output.strip() == UNREACHABLE
    assert inside.exec_run(["python3", "-c", "import socket; socket.getaddrinfo('example.com', 80)"]).exit_code == 1
    assert network.attrs["Internal"] is True and not inside.attrs["HostConfig"]["PortBindings"]
    assert inside.exec_run(["python3", "-c", CONNECT, "127.0.0.1", str(stand.ports["model"])]).output.strip() == b"0"
    # Nor may anybody in it open what was closed.
    assert "NET_ADMIN" not in str(inside.attrs["HostConfig"]) and facts["letta_version"] == "0.16.8"


def test_the_database_answers_the_host_is_marked_and_no_password_is_in_a_containers_configuration(engine, made):
    stand, facts = made
    assert stand.start({"postgres": "hush-super", "letta": "hush-letta"})["postgresql"] == "18.6"
    server = Server(facts["address"], 5432, "letta", "hush-letta", "letta", sslmode="disable")
    assert query(server, "SELECT current_setting('letta_ops.rehearsal'), current_schema()") == [(folder.PREFIX + stand.name, "letta")]
    mine = [one for one in engine.client.containers.list(all=True) if one.labels.get(boxes.LABEL) == stand.name]
    assert {one.name for one in mine} == {boxes.named(stand.name, part) for part in ("model", "db")}
    assert all("hush-" not in str(engine.client.api.inspect_container(one.id)) for one in mine)
    assert all(one.attrs["HostConfig"]["Memory"] > 0 for one in mine)
    # A rehearsal that is still young is nobody's leftover.
    assert stand.reap(3600) == [] and stand.remove() == 2
    assert not any(folder.PREFIX + stand.name in name for kind in everything(engine) for name in kind)


@pytest.mark.parametrize(
    ("image", "failure_class", "said"),
    [
        ("sha256:" + "0" * 64, "preflight", "has no image sha256:000"),
        ("letta/letta:latest", "usage", "names no certain image"),
        ("letta/letta", "usage", "names no certain image"),
        ("machine:1", "preflight", "python3"),
    ],
)
def test_an_image_that_will_not_do_is_named_and_nothing_is_left(engine, images, tmp_path, image, failure_class, said):
    before = everything(engine)
    with pytest.raises(RecoveryError, match=said) as caught:
        a_stand(tmp_path, engine.address, letta=image).make()
    assert caught.value.failure_class == failure_class and caught.value.next_step
    assert everything(engine) == before and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"letta_version": "0.16.7"}, "holds Letta, which is 0.16.8; the rehearsal is for 0.16.7"),
        ({"letta_rehearse_docker_host": "unix:///nowhere/docker.sock"}, "or set letta_rehearse_docker_host"),
    ],
)
def test_another_release_or_no_engine_is_no_verdict_and_says_what_to_do(stage, engine, changes, said):
    before = everything(engine)
    played = stage.play("rehearse.yml", "-e", json.dumps(changes))
    assert played.rc == 4 and said in " ".join(played.output.split()), played.output[-3000:]
    assert played.report["verdict"] == "error" and everything(engine) == before and os.listdir(stage.folder / "stands") == []
