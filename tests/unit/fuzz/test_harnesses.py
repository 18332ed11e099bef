"""Whatever bytes a parser is given, it reads them or refuses them with an error of its own: no traceback, no verdict that cannot be."""
from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import DEEP, changed_bytes, deep
from tests.fuzz.keeping import keeping
from tests.fuzz.targets import CASES, SEEDS, TARGETS, cases

# The same inputs on every run: a test that fails by chance would be mended by running it again. `make fuzz` is for chance.
SLOW = {"report": 8, "rehearsed": 8, "manifest": 25, "volume": 30}  # pages are written and read, archives unpacked
ALWAYS = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
TEXTS = st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))


def quickly(target):
    return settings(ALWAYS, max_examples=SLOW.get(target, 60))


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_harness_begins_with_is_accepted(target):
    assert SEEDS[target]
    for data in SEEDS[target]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_a_document_with_one_changed_place_gets_past_no_harness(target):
    @quickly(target)
    @given(st.sampled_from(SEEDS[target]), st.integers(0, 1 << 32), st.integers(1, 3))
    def check(data, seed, times):
        random = Random(seed)
        for _time in range(times):
            data = changed_bytes(data, random)
        TARGETS[target](data)

    check()


@pytest.mark.parametrize("target", TARGETS)
def test_good_bytes_that_were_cut_flipped_or_continued_get_past_no_harness(target):
    @quickly(target)
    @given(st.sampled_from(SEEDS[target]), st.data())
    def check(data, drawn):
        at = drawn.draw(st.integers(0, len(data)))
        inserted = drawn.draw(st.one_of(st.binary(max_size=8), TEXTS))
        TARGETS[target](data[:at] + inserted + data[at + drawn.draw(st.sampled_from((0, 1, len(inserted), 1 << 20))) :])

    check()


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_get_past_no_harness(target):
    @quickly(target)
    @given(st.one_of(st.binary(max_size=300), TEXTS))
    def check(data):
        TARGETS[target](data)

    check()


@pytest.mark.parametrize("target", TARGETS)
def test_json_that_is_nested_beyond_reading_gets_past_no_harness(target):
    for data in (deep(), b'{"agents": ' + deep() + b"}", b"[" * DEEP, b'{"a":' * DEEP):
        TARGETS[target](data)


def kept():
    return [pytest.param(target, path, id="%s-%s" % (target, path.name)) for target in TARGETS for path in cases(target)]


@pytest.mark.parametrize(("target", "path"), kept())
def test_what_once_got_past_a_harness_does_so_no_more(target, path):
    TARGETS[target](path.read_bytes())


def test_every_kept_input_belongs_to_a_harness():
    assert {folder.name for folder in CASES.iterdir()} <= set(TARGETS)


def test_what_gets_past_a_harness_is_kept_once_for_each_place_and_the_fuzzer_goes_on(tmp_path, capsys):
    def harness(data):
        if data[:1] == b"a":
            raise KeyError(data)
        if data[:1] == b"b":
            raise TypeError(data)

    run = keeping(harness, tmp_path / "odd")
    for data in (b"fine", b"a1", b"a2", b"b1", b"b2", b"fine"):
        run(data)
    assert sorted(path.read_bytes() for path in (tmp_path / "odd").iterdir()) == [b"a1", b"b1"]
    assert capsys.readouterr().out.count("FOUND odd: ") == 2
