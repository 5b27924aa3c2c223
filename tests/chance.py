"""Chance for tests of faults: another one in each run, and told where a test fails."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Chance from a seed that a failure tells; `BRIDGE_TEST_SEED` brings it back."""
    # Not pytest-randomly's, which is the same for every test of a run.
    seed = int(os.environ.get("BRIDGE_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"BRIDGE_TEST_SEED={seed}")
        raise


def times(default: int, *, variable: str) -> int:
    """How often a fault is repeated: few times in each run, more often where the environment says so."""
    return int(os.environ.get(variable) or default)
