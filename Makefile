# Every target runs from any directory (`make -C`, `make -f`), as root or not, and keeps to this checkout: .venv, .lab and .cache.
# Settings: PYTHON=/path/to/python3.12  SIZE=750 ROUNDS=5 WRITE=1 (bench)  ARGS='-k name' (unit, pytest), ARGS='-s rollback', '--within 35' (rehearsal)
# Servers of the tests, where not PostgreSQL 18 and Valkey: LETTA_TEST_POSTGRES=15|16|17  LETTA_TEST_REDIS=redis (unit, test, faults)

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The folder of this file; MAKEFILE_LIST begins with a space, and the path may hold some.
HASH := \#
HERE := $(shell list='$(MAKEFILE_LIST)'; cd "$$(dirname "$${list$(HASH) }")" && pwd -P)

ifneq ($(CURDIR),$(HERE))
%:
	@$(MAKE) --no-print-directory -C '$(HERE)' $@
.PHONY: help
help:
	@$(MAKE) --no-print-directory -C '$(HERE)' help
else

PY := .venv/bin/python
LAB := .lab/local
SIZE ?= 750
ROUNDS ?= 5
WRITE ?=
ARGS ?=
export ANSIBLE_CONFIG := $(HERE)/ansible.cfg
# An account may have no home: what Ansible keeps for itself stays in this checkout too.
export ANSIBLE_HOME ?= $(HERE)/.cache/ansible
export ANSIBLE_REMOTE_TMP ?= $(ANSIBLE_HOME)/tmp
export ANSIBLE_ASYNC_DIR ?= $(ANSIBLE_HOME)/async
# A Python of elsewhere must not mix its packages into ours. Without a buffer Python reads a module that Ansible pipes to it by one system
# call per byte: 0.35 s for each of ours (600 kB).
unexport PYTHONPATH PYTHONHOME PYTHONUNBUFFERED
export PYTHONNOUSERSITE := 1

.PHONY: help
help: ## This list
	@echo 'make TARGET, where TARGET is'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-18s%s\n", $$1, $$2}'

.PHONY: venv
venv: ## Make .venv with what a restore needs (test tools: make venv-test)
	@python=$$(tools/find-python.sh) && "$$python" tools/environment.py runtime

.PHONY: venv-test
venv-test:
	@python=$$(tools/find-python.sh) && "$$python" tools/environment.py test

.PHONY: lab
lab: venv ## Start the local PostgreSQL and Redis-compatible server, with the sample backup set beside them
	@$(PY) -m tests.lab up --dir $(LAB)
	@$(PY) tools/sample_sets.py install $(LAB)/backups

.PHONY: lab-down
lab-down: ## Stop the local servers; their data stays
	@if [ -x $(PY) ]; then $(PY) -m tests.lab down --dir $(LAB); else echo 'Nothing runs: there is no .venv.'; fi

.PHONY: restore
restore: lab ## Restore the sample backup set into the local PostgreSQL
	@.venv/bin/ansible-playbook -i inventories/local playbooks/restore-full.yml -e letta_confirm=local/letta $(ARGS)

.PHONY: backup-sample
backup-sample: venv-test ## Make the sample backup set anew from a real Letta server (a few minutes)
	@$(PY) -m tests.lab sample

.PHONY: test
test: venv-test ## Everything: lint, sanity, package, then all tests
	@$(PY) tools/checks.py
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: unit
unit: venv-test ## The quick tests only
	@$(PY) -m pytest -m 'not slow' tests/unit tests/meta $(ARGS)

.PHONY: faults
faults: venv-test ## Every fault that has a test, and docs/faults.md written anew
	@$(PY) tools/faults.py run -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: kills
kills: venv-test ## Every operation killed at 2000 moments, half an hour on a quiet machine (ARGS='--count 100', '--help')
	@$(PY) -m tests.faults.kills $(ARGS)

.PHONY: faults-matrix
faults-matrix: venv-test ## The same tests on PostgreSQL 15, 16 and 17 and on Redis in turn, the table of servers in docs/faults.md written anew
	@$(PY) tools/faults.py matrix -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: mutations
mutations: venv-test ## Guards taken away one by one, each missed by its test (ARGS='-n' for new ones, or names)
	@$(PY) tools/mutations.py $(ARGS)

.PHONY: fuzz
fuzz: venv-test ## Every reader of bytes under a coverage-guided fuzzer, a minute each (ARGS='--seconds 600 manifest', '--help')
	@$(PY) -m tests.fuzz $(ARGS)

.PHONY: lint
lint: venv-test ## Style, types, Ansible rules, documentation
	@$(PY) tools/lint.py $(ARGS)

.PHONY: sanity
sanity: venv-test ## ansible-test sanity on the built collection
	@$(PY) tools/sanity.py $(ARGS)

.PHONY: package
package: venv-test ## Build the tarball, check it as Galaxy does, install it, run a playbook by its full name
	@$(PY) tools/package.py

.PHONY: sbom
sbom: venv-test ## The software bill of materials of a release (CycloneDX), in .cache/package
	@$(PY) tools/release.py sbom

.PHONY: audit
audit: venv-test ## Look every pinned package up in the advisories (exit 2 where they cannot be read)
	@$(PY) tools/release.py audit

.PHONY: bench
bench: venv-test ## Measure beside pg_restore and others, an hour or two (SIZE in MB, ROUNDS; WRITE=1: into docs/performance.md)
	@$(PY) -m tests.bench --size $(SIZE) --rounds $(ROUNDS) $(if $(filter 1,$(WRITE)),--write docs/performance.md) $(ARGS)

.PHONY: bench-fleet
bench-fleet: venv-test ## Measure several systems restored by one run (ARGS for options)
	@$(PY) -m tests.bench.fleet --rounds $(ROUNDS) $(ARGS)

.PHONY: rehearsal
rehearsal: venv-test ## The restore on containers (Molecule, Docker)
	@$(PY) -m tests.lab.staging rehearse $(ARGS)

.PHONY: docs
docs: venv-test ## The reference of modules and roles as pages, in .cache/docs
	@$(PY) tools/docs.py

.PHONY: lock
lock: venv-test ## Resolve requirements/*.in anew and write the pinned lists
	@$(PY) tools/lock.py

.PHONY: clean
clean: lab-down ## Stop the local servers and delete .lab, .cache, reports and .venv
	@rm -rf .lab .cache reports .venv .venv.lock .pytest_cache .mypy_cache .ruff_cache .ansible .hypothesis letta_ops-recovery-*.tar.gz
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

endif
