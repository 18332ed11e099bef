"""What goes with a release: its software bill of materials, and an audit of the packages that are pinned.

Usage: release.py sbom     writes `.cache/package/<collection>-<version>.cdx.json` (CycloneDX, checked against its schema)
       release.py audit    looks every pinned package up in the advisories for Python packages

Both use programs of requirements/release.txt, in an environment of their own below `.cache`, made when it is missing or outdated.
"""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from common import CACHE, ROOT

PINS = ROOT / "requirements" / "runtime.txt"
LISTS = ("runtime", "lint", "test", "fuzz", "release")
TOOLS = ROOT / "requirements" / "release.txt"
HOME = CACHE / "release"
SPECIFICATION = "1.6"
LICENCE = "GPL-3.0-or-later"  # of the file that galaxy.yml names
FOUND, NO_VERDICT = 1, 2
# Checks with the library's own schema; run by the interpreter that has it.
CHECK = (
    "import sys; from cyclonedx.validation.json import JsonStrictValidator; from cyclonedx.schema import SchemaVersion;"
    " wrong = JsonStrictValidator(SchemaVersion.from_version(sys.argv[1])).validate_str(sys.stdin.read());"
    " sys.exit(str(wrong) if wrong else 0)"
)


def program(name: str) -> str:
    """Path of a program of the tools' own environment, which is made first where it has to be."""
    stamp, wanted = HOME / "installed", hashlib.sha256(TOOLS.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"release: installing {TOOLS.relative_to(ROOT)} into {HOME.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        subprocess.run([HOME / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", TOOLS], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(HOME / "bin" / name)


def pins(text: str) -> dict[str, str]:
    """{package: version} of a pinned list, markers and hashes left out."""
    found = [line.split(";")[0].split("==") for line in text.splitlines() if "==" in line.split(";")[0]]
    return {name.strip(): version.strip(" \\") for name, version in found}


def described(document: dict[str, Any], galaxy: dict[str, Any]) -> dict[str, Any]:
    """The bill with the collection itself as what it is about. ``galaxy``: content of galaxy.yml."""
    name, version = f"{galaxy['namespace']}.{galaxy['name']}", galaxy["version"]
    itself = {"bom-ref": "collection", "type": "library", "name": name, "version": version, "description": galaxy["description"]}
    itself["licenses"] = [{"license": {"id": LICENCE}}]
    root = document["metadata"].get("component", {}).get("bom-ref")
    needs = sorted(part["bom-ref"] for part in document["components"])
    rest = [entry for entry in document.get("dependencies", []) if entry["ref"] not in (root, "collection")]
    metadata = {**document["metadata"], "component": itself}
    return {**document, "metadata": metadata, "dependencies": [{"ref": "collection", "dependsOn": needs}, *rest]}


def gaps(document: dict[str, Any], wanted: dict[str, str]) -> list[str]:
    """What a bill lacks of the pinned packages, their versions and the SHA-256 of their files; one sentence each."""
    known = {part["name"].lower(): part for part in document["components"]}
    said = []
    for name, version in wanted.items():
        part = known.get(name.lower(), {})
        hashes = part.get("hashes", []) + [value for each in part.get("externalReferences", []) for value in each.get("hashes", [])]
        if part.get("version") != version:
            said.append(f"{name} {version} is not in the bill")
        elif not any(value["alg"] == "SHA-256" for value in hashes):
            said.append(f"{name} {version} has no SHA-256 in the bill")
    return said


def sbom() -> int:
    """Writes the bill; returns 0, or 1 after a sentence for each thing that is wrong with it."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    target = CACHE / "package" / f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.cdx.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    maker, hashed = program("cyclonedx-py"), HOME / "runtime.txt"
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    subprocess.run([*uv, "--no-emit-index-url", "--python-version", "3.11", "-qo", hashed, PINS], check=True)
    made = subprocess.run(
        [maker, "requirements", "--spec-version", SPECIFICATION, "--output-reproducible", "--output-format", "JSON", hashed],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    document = described(json.loads(made.stdout), galaxy)
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    checked = subprocess.run([program("python"), "-c", CHECK, SPECIFICATION], input=text, text=True, stderr=subprocess.PIPE, check=False)
    wrong = gaps(document, pins(PINS.read_text(encoding="utf-8"))) + ([checked.stderr.strip()] if checked.returncode else [])
    for sentence in wrong:
        print(f"sbom: {sentence}")
    if not wrong:
        target.write_text(text, encoding="utf-8")
        print(f"sbom: {len(document['components'])} packages in {target.relative_to(ROOT)}")
    return int(bool(wrong))


def verdict(code: int, output: str, errors: str, packages: int) -> tuple[int, str]:
    """What an audit found, as (exit code, sentences): 0 nothing known, 1 advisories, 2 no verdict.

    :param code: pip-audit's. :param output: its JSON, or nothing when it could not ask. :param packages: how many were to be looked up.
    """
    try:
        found = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or [f"pip-audit ended with {code}"])[-1].strip()
        return NO_VERDICT, f"audit: no verdict, the advisories cannot be read: {last[:200]}"
    asked = [entry for entry in found if "vulns" in entry]
    if len(asked) < packages:
        return NO_VERDICT, f"audit: no verdict, only {len(asked)} of {packages} packages could be looked up"
    told = [f"audit: {entry['name']} {entry['version']}: {vuln['id']}" for entry in asked for vuln in entry["vulns"]]
    return (FOUND, "\n".join(told)) if told else (0, f"audit: nothing known against {packages} packages")


def audit() -> int:
    """Prints what the advisories say of all pinned lists; returns :func:`verdict`'s code."""
    wanted = {}
    for name in LISTS:
        wanted.update(pins((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")))
    auditor, together = program("pip-audit"), HOME / "pinned.txt"
    together.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()), encoding="utf-8")
    argv = [auditor, "--requirement", str(together), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    code, text = verdict(done.returncode, done.stdout, done.stderr, len(wanted))
    print(text)
    return code


if __name__ == "__main__":
    commands = {"sbom": sbom, "audit": audit}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]]())
