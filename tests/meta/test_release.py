"""A bill of materials leaves no pinned package out, and an audit that learns nothing never reads like one that found nothing."""
from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest

from tests.meta.collection import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # where the scripts find each other
release: Any = importlib.import_module("release")
sys.path.remove(str(ROOT / "tools"))
GALAXY = {"namespace": "letta_ops", "name": "recovery", "version": "9.9.9", "description": "It restores."}
HASHES = [{"alg": "SHA-256", "content": "0" * 64}]


def part(name, version="1.0", **more):
    return {"bom-ref": name, "name": name, "version": version, "externalReferences": [{"hashes": HASHES}], **more}


def bill(*parts):
    return {"metadata": {"tools": {}}, "components": list(parts), "dependencies": [{"ref": item["bom-ref"]} for item in parts]}


def test_pins_are_read_without_markers_and_hashes():
    text = "# a note\none==1.0 ; python_version < '3.12'\ntwo==2.0 \\\n    --hash=sha256:00\n"
    assert release.pins(text) == {"one": "1.0", "two": "2.0"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([part("one"), part("Two")], []),
        ([part("one")], ["two 1.0 is not in the bill"]),
        ([part("one", "0.9"), part("two")], ["one 1.0 is not in the bill"]),
        ([part("one"), part("two", externalReferences=[])], ["two 1.0 has no SHA-256 in the bill"]),
        ([part("one"), part("two", externalReferences=[], hashes=HASHES)], []),
    ],
)
def test_a_pinned_package_that_is_missing_old_or_without_its_hash_is_told(parts, said):
    assert release.gaps(bill(*parts), {"one": "1.0", "two": "1.0"}) == said


def test_the_bill_is_about_the_collection_which_needs_everything_in_it():
    made = release.described(bill(part("one"), part("two")), GALAXY)
    assert (made["metadata"]["component"]["name"], made["metadata"]["component"]["version"]) == ("letta_ops.recovery", "9.9.9")
    assert made["dependencies"][0] == {"ref": "collection", "dependsOn": ["one", "two"]}
    assert {entry["ref"] for entry in made["dependencies"]} == {"collection", "one", "two"}


def audited(*packages):
    return json.dumps({"dependencies": list(packages)})


CLEAN, BAD, UNASKED = (
    {"name": "one", "version": "1.0", "vulns": []},
    {"name": "two", "version": "1.0", "vulns": [{"id": "CVE-1"}]},
    {"name": "two", "skip_reason": "not found"},
)


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        (audited(CLEAN, dict(CLEAN, name="two")), 0, "nothing known against 2 packages"),
        (audited(CLEAN, BAD), 1, "two 1.0: CVE-1"),
        (audited(CLEAN, UNASKED), 2, "no verdict, only 1 of 2"),
        (audited(), 2, "no verdict, only 0 of 2"),
        ("", 2, "no verdict, the advisories cannot be read: no route to host"),
        ("[]", 2, "no verdict"),
    ],
)
def test_an_audit_has_a_verdict_only_where_every_package_was_looked_up(output, code, said):
    found, text = release.verdict(1, output, "Traceback\nno route to host\n", 2)
    assert (found, said in text) == (code, True), text
