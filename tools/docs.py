"""Writes the reference of modules, plugins and roles as HTML pages to `.cache/docs/html`."""
from __future__ import annotations

import shutil
import sys

from common import CACHE, at_home, build, install, run, scratch

SETTINGS = """project = "letta_ops.recovery"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
html_show_sphinx = False
nitpicky = False
"""


def main() -> int:
    """Generates the pages' source from the installed collection, then the pages; returns the exit code."""
    target = CACHE / "docs"
    shutil.rmtree(target, ignore_errors=True)
    source = target / "source"
    source.mkdir(parents=True)
    source.chmod(0o755)
    (source / "conf.py").write_text(SETTINGS, encoding="utf-8")
    with scratch() as folder:
        install(build(folder), folder)
        argv = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--dest-dir", str(source), "letta_ops.recovery"]
        if run(argv, cwd=folder, quiet=True, extra=at_home(folder)):
            return 1
    code = run(["sphinx-build", "-q", "-b", "html", str(source), str(target / "html")], quiet=True)
    if not code:
        print(f"docs: {target / 'html' / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
