"""Fuzz targets in small: every kept input, what was ever found, and new input from a fixed seed (scripts/fuzz.sh)."""

from __future__ import annotations

import random

import fuzz_corpus
import fuzz_targets
import pytest

from fastcore import implementation

# Of random patterns
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

INPUTS = {
    "connection": 8000,
    "params": 4000,
    "answer": 1500,
    "router": 3000,
    "client": 4000,
    "forms": 2500,
    "site": 1500,
}
LARGEST = 300_000  # bytes of kept inputs, all targets together


@pytest.fixture(autouse=True)
def compiled():
    if not implementation.accelerated and not implementation._compiled_modules_exist():
        pytest.skip("the compiled modules are not built (make build)")
    if implementation.chosen == "pure":
        pytest.skip("FASTCORE_PURE is set: the compiled twin is left out")


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_kept_inputs_find_nothing(target):
    inputs = fuzz_corpus.read(target)
    assert inputs
    for name, data in inputs.items():
        try:
            fuzz_targets.check(target, data)
        except Exception as error:
            raise AssertionError(f"{target}, {name}: {data!r}") from error


def test_what_was_found_once_is_mended():
    for path in fuzz_corpus.CRASHES.glob("*-*"):
        fuzz_targets.check(path.name.partition("-")[0], path.read_bytes())


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_new_inputs_from_a_fixed_seed_find_nothing(target):
    rng = random.Random(target)
    pool = [*fuzz_corpus.read(target).values()]
    for _ in range(INPUTS[target]):
        data = fuzz_targets.mutate(target, rng.choice(pool), 2048, rng.randrange(2**32))
        try:
            fuzz_targets.check(target, data)
        except Exception as error:
            raise AssertionError(f"{target}: {data!r}") from error
        if rng.random() < 0.05:
            pool.append(data)


def test_corpus_stays_small():
    assert sum(path.stat().st_size for path in fuzz_corpus.CORPUS.iterdir()) < LARGEST
