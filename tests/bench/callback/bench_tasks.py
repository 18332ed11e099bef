"""Callback that writes when every task ran, and what its module said of time and memory, to the file named in LETTA_BENCH_TASKS."""
from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_tasks
type: notification
short_description: Times of tasks as JSON lines
description: Appends one JSON object for each task that ended to the file named in the environment variable LETTA_BENCH_TASKS.
requirements: []
"""


class CallbackModule(CallbackBase):
    """One line per ended task: its module, when it began and ended (epoch seconds), its own seconds and peak memory if it told."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._started = time.time()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._started = time.time()

    def v2_runner_on_ok(self, result):
        self._write(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write(result)

    def _write(self, result):
        line = {
            "module": result._task.action,
            "task": result._task.get_name(),
            "rehearsed": bool(result._task.check_mode),
            "began": self._started,
            "ended": time.time(),
            "seconds": result._result.get("seconds"),
            "peak_memory_bytes": result._result.get("peak_memory_bytes"),
        }
        with open(os.environ["LETTA_BENCH_TASKS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
