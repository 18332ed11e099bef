"""The files of a report on disk."""
from __future__ import annotations

import json
import os
import stat

import pytest
from report_samples import SUCCESS, success

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.collect import build_report
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.write import write_report

FILES = ["junit.xml", "letta_restore.prom", "report.html", "report.json"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_four_files_are_written_and_latest_points_at_them(tmp_path):
    paths = write_report(build_report(SUCCESS), str(tmp_path / "reports"))
    folder = tmp_path / "reports" / "r-7f3c"
    assert sorted(os.listdir(folder)) == FILES
    assert os.readlink(tmp_path / "reports" / "latest") == "r-7f3c"
    assert json.loads((tmp_path / "reports" / "latest" / "report.json").read_text()) == build_report(SUCCESS)
    assert set(paths) == {"folder", "json", "html", "junit", "prometheus", "latest"}


def test_node_exporter_may_read_the_metrics_and_nobody_else_the_rest(tmp_path):
    old = os.umask(0o077)
    try:
        write_report(build_report(SUCCESS), str(tmp_path / "reports"))
    finally:
        os.umask(old)
    folder = tmp_path / "reports" / "r-7f3c"
    assert mode(folder) == mode(tmp_path / "reports") == 0o755
    assert mode(folder / "letta_restore.prom") == 0o644
    assert {mode(folder / name) for name in FILES if not name.endswith(".prom")} == {0o640}


def test_a_second_run_moves_latest_and_keeps_the_first(tmp_path):
    write_report(build_report(SUCCESS), str(tmp_path))
    write_report(build_report(success(run_id="r-8000")), str(tmp_path))
    assert os.readlink(tmp_path / "latest") == "r-8000"
    assert sorted(os.listdir(tmp_path)) == ["latest", "r-7f3c", "r-8000"]


def test_a_folder_named_latest_is_left_alone(tmp_path):
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("x")
    assert write_report(build_report(SUCCESS), str(tmp_path))["latest"] is None
    assert (tmp_path / "latest" / "mine").exists()
    assert sorted(os.listdir(tmp_path)) == ["latest", "r-7f3c"]


@pytest.mark.parametrize("run_id", ["../out", "latest", "", ".hidden", "a/b", "x" * 200, "{{ x }}", "a b", "r-1\n"])
def test_a_run_id_that_is_no_folder_name_is_refused_and_nothing_written(tmp_path, run_id):
    with pytest.raises(RecoveryError) as caught:
        write_report(dict(build_report(SUCCESS), run_id=run_id), str(tmp_path / "reports"))
    assert caught.value.failure_class == "usage"
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_made_is_told_with_what_to_type(tmp_path):
    (tmp_path / "reports").write_text("a file is in the way")
    with pytest.raises(RecoveryError) as caught:
        write_report(build_report(SUCCESS), str(tmp_path / "reports"))
    assert "letta_report_dir" in caught.value.next_step
    assert caught.value.now == "the run itself is not affected"
