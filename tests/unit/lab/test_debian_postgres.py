"""PostgreSQL 15 is made of Debian's packages in a folder of its own, or one sentence says why it cannot be."""
from __future__ import annotations

import pytest

from tests.lab import debian_postgres, servers

PACKAGES = servers.OTHERS[servers.POSTGRES]["15"]
MIRROR = "http://mirror.invalid/debian"


def test_packages_come_of_one_suite_and_the_extensions_source_of_a_newer_one(tmp_path):
    keyring = tmp_path / "keys.gpg"
    plain = "deb %s bookworm main\ndeb-src %s trixie main\n" % (MIRROR, MIRROR)
    assert debian_postgres.sources(PACKAGES, MIRROR, keyring) == plain
    keyring.touch()
    signed = debian_postgres.sources(PACKAGES, MIRROR, keyring)
    assert signed.splitlines()[1] == "deb-src [signed-by=%s] %s trixie main" % (keyring, MIRROR)


def test_a_machine_that_takes_no_packages_of_debian_is_told_so():
    with pytest.raises(RuntimeError, match="PostgreSQL 15 is made of Debian's packages, and /etc/apt has no source of them"):
        debian_postgres.sources(PACKAGES, "")


def test_a_machine_without_a_compiler_is_told_so_and_nothing_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(debian_postgres.shutil, "which", lambda name: None if name in ("gcc", "make") else "/usr/bin/" + name)
    with pytest.raises(RuntimeError, match="PostgreSQL 15 is made of Debian's packages, and there is no gcc, make here"):
        debian_postgres.built(PACKAGES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_built_once_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(debian_postgres.shutil, "which", lambda name: None)
    (tmp_path / "debian-15-bookworm").mkdir()
    assert debian_postgres.built(PACKAGES, tmp_path) == tmp_path / "debian-15-bookworm"


def test_apt_works_on_its_own_lists_and_takes_nothing_unsigned():
    settings = debian_postgres.APT.format("/folder")
    assert settings.count('"/folder/') == 4
    assert 'AllowInsecureRepositories "false"' in settings and 'AllowUnauthenticated "false"' in settings
    assert "{" not in settings
