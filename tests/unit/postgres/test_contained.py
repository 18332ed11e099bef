"""What a client tool in a container is shown of its host, and how it is started."""
from __future__ import annotations

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.contained import command, mounts

SETTINGS = {"docker": ["/usr/bin/docker"], "image": "sha256:1", "user": "7:7", "options": [], "environment": {}}


def test_a_tool_sees_what_it_reads_and_writes_only_to_what_it_makes(tmp_path):
    archive, listing, authority = tmp_path / "an archive, with=signs", tmp_path / "list", tmp_path / "ca.pem"
    archive.mkdir()
    for file in (listing, authority):
        file.write_text("")
    assert mounts(["--use-list=%s" % listing, "--jobs=2", "--dbname=dbname='/letta'", str(archive)], {}) == {
        str(listing): False,
        str(archive): False,
    }
    assert mounts(["--format=directory", "--file=%s" % (tmp_path / "new")], {}) == {str(tmp_path): True}
    assert mounts(["--file=%s" % listing, str(listing)], {}) == {str(listing): True}
    environment = {"PGSSLROOTCERT": str(authority), "PGHOST": str(tmp_path), "PGUSER": "/etc"}
    assert mounts(["-f", "/dev/null"], environment) == {str(authority): False, str(tmp_path): False}
    assert mounts([], {"PGHOST": "/nonexistent"}) == {}


def test_no_value_of_the_environment_is_an_argument_and_paths_may_hold_commas(tmp_path):
    folder = tmp_path / 'a,"b"'
    folder.mkdir()
    argv = command(SETTINGS, "pg_restore", ["--list", str(folder)], {"PGPASSWORD": "secret", "LANG": "C.UTF-8", "HOME": "/root"})
    assert argv[:3] == ["/usr/bin/docker", "run", "--rm"]
    assert argv[-4:] == ["--entrypoint=pg_restore", "sha256:1", "--list", str(folder)]
    quoted = str(folder).replace('"', '""')
    assert '--mount="type=bind","source=%s","target=%s",readonly' % (quoted, quoted) in argv
    assert [after for before, after in zip(argv, argv[1:]) if before == "--env"] == ["LANG", "PGPASSWORD"]
    assert "secret" not in " ".join(argv)
    assert {"--network=host", "--user=7:7", "--log-driver=none", "--pull=never"} < set(argv)
