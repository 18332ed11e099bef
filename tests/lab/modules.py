"""A module run in this process, through its own main(), as Ansible would call it."""
from __future__ import annotations

import json

import pytest
from ansible.module_utils import _internal, basic


def run_main(monkeypatch, module, arguments, check=False, verbosity=0):
    """Run ``module.main()`` with ``arguments`` (a dict); what it prints is the caller's to read.

    Tests that load Ansible's controller code make this process a controller for good, and warnings of modules
    would then be shown instead of returned.
    """
    given = dict(arguments, _ansible_check_mode=check, _ansible_verbosity=verbosity, _ansible_remote_tmp="/tmp",
                 _ansible_keep_remote_files=False)
    monkeypatch.setattr(_internal, "is_controller", False)
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        module.main()
