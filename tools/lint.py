"""Style, types, Ansible rules and documentation. Runs all checks, names those that failed, exits 1 if any did.

Usage: lint.py [CHECK ...]      only these checks
"""
from __future__ import annotations

import sys
import time

from common import ROOT, at_home, install, run, scratch
from common import build as build_collection

ENGINE = "ansible_collections.letta_ops.recovery.plugins.module_utils._engine"


def ruff() -> int:
    """Python style, bug patterns, complexity."""
    return run(["ruff", "check", "--quiet", "."])


def mypy() -> int:
    """Types of the engine and of these scripts."""
    return run(["mypy", "--no-error-summary", "-p", ENGINE]) | run(["mypy", "--no-error-summary", "tools"])


def yamllint() -> int:
    """YAML style of everything, the playbooks included."""
    return run(["yamllint", "--strict", "--format", "parsable", "."])


def ansible_lint() -> int:
    """Ansible's production rules, without network."""
    return run(["ansible-lint", "--offline", "--profile", "production", "-q", "--nocolor"])


def docs() -> int:
    """Documentation of modules, plugins and roles, as antsibull-docs reads the installed collection."""
    with scratch() as folder:
        install(build_collection(folder), folder)
        argv = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."]
        return run(argv, cwd=folder / "ansible_collections" / "letta_ops" / "recovery", extra=at_home(folder))


def changelog() -> int:
    """The fragments of the changelog."""
    return run(["antsibull-changelog", "lint"])


def readme() -> int:
    """Links of README and docs lead to files and headings that exist."""
    from links import broken_links

    broken = broken_links(ROOT)
    for line in broken:
        print(line)
    return bool(broken)


CHECKS = (ruff, mypy, yamllint, ansible_lint, docs, changelog, readme)


def main() -> int:
    """Runs the wanted checks one after the other."""
    names = {check.__name__: check for check in CHECKS}
    wanted = sys.argv[1:] or list(names)
    if unknown := [name for name in wanted if name not in names]:
        print(f"No such check: {', '.join(unknown)}. There are: {', '.join(names)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted:
        start = time.monotonic()
        code = names[name]()
        print(f"lint: {name:<13}{'FAILED' if code else 'ok':<7}{time.monotonic() - start:5.1f} s", flush=True)
        if code:
            failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
