"""The one error of pg_restore that is forgiven on a server older than itself, and none beside it."""
from __future__ import annotations

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.olderserver import only_the_setting, without_the_setting

SETTING = (
    'pg_restore: error: could not execute query: FEHLER:  nicht erkannter Konfigurationsparameter »transaction_timeout«\n'
    "Command was: SET transaction_timeout = 0;\n\n"
)
OTHER = 'pg_restore: error: could not execute query: ERROR:  type "mood" does not exist\nCommand was: CREATE TABLE t (m mood);\n\n'
COUNT = "pg_restore: warning: errors ignored on restore: 1\n"


def test_the_setting_alone_is_forgiven_however_many_connections_set_it_and_whatever_language_the_server_speaks():
    assert only_the_setting("pg_restore: while INITIALIZING:\n" + SETTING + COUNT)
    assert only_the_setting(SETTING + SETTING + COUNT)


def test_another_error_beside_it_is_not_nor_one_that_ended_pg_restore():
    for said in (SETTING + OTHER + COUNT, OTHER + SETTING + COUNT, OTHER + COUNT, SETTING, "", "pg_restore: error: connection lost\n"):
        assert not only_the_setting(said)


def test_a_person_reads_the_error_that_counts():
    assert without_the_setting(SETTING + OTHER + COUNT) == OTHER
    assert load.first_error(SETTING + OTHER + COUNT) == 'pg_restore: error: could not execute query: ERROR:  type "mood" does not exist'
    assert without_the_setting(OTHER) == OTHER
