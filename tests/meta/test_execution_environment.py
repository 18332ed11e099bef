"""The files of the execution environment and of AWX agree with the collection."""
from __future__ import annotations

import re

import yaml

from tests.meta.collection import ROOT


def load(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_every_file_that_the_execution_environment_names_is_there():
    named = load("meta/execution-environment.yml")["dependencies"]
    assert set(named) == {"python", "system"} and all((ROOT / path).is_file() for path in named.values())


def test_every_python_package_of_it_is_one_that_a_module_imports():
    listed = {line for line in (ROOT / "meta" / "ee-requirements.txt").read_text().splitlines() if line and not line.startswith("#")}
    names = {"psycopg2-binary": "psycopg2", "pyyaml": "yaml", "isal": "isal", "docker": "docker", "redis": "redis"}
    assert listed == set(names)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py"))
    assert [name for name in listed if not re.search(r"\b(import|from) %s\b|import_module\(.%s" % (names[name], names[name]), code)] == []


def test_every_job_template_starts_a_playbook_of_ours_with_variables_that_roles_know():
    (play,) = load("docs/awx/job-templates.yml")
    specs = [yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    known = {name for spec in specs for entry in spec.values() for name in entry["options"]}
    shared = {key: value for key, value in play["vars"].items() if key.startswith("_awx")}
    for template in play["vars"]["awx_templates"]:
        assert (ROOT / template["playbook"]).is_file(), template
        asked = [shared[re.search(r"\w+", item).group()] if isinstance(item, str) else item for item in template.get("survey", [])]
        used = {item["variable"] for item in asked} - {"letta_agents_text"} | set(template.get("extra_vars", ()))
        assert used <= known, template
