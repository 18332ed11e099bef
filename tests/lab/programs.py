"""Running the programs that install and build what the tests need."""
from __future__ import annotations

import os
import subprocess


def run(argv):
    """Run an installer.

    :raises RuntimeError: when it fails, with the end of what it said.
    """
    # As pip does: trust whom the machine trusts, or a company's own authority is a stranger.
    env = dict({"UV_SYSTEM_CERTS": "1"}, **os.environ)
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=900, env=env)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(argv[:4]), (done.stderr or done.stdout)[-3000:]))
