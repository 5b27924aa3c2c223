"""A coordinator that has no answer yet is asked again; one that refuses is not."""

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError

from bridge.adapters.kafka.coordinators import patiently
from bridge.core.errors import UnavailableError


async def test_an_error_that_passes_is_asked_away() -> None:
    answers = iter([GroupLoadInProgressError(), GroupLoadInProgressError(), None])

    async def ask() -> str:
        if error := next(answers):
            raise error
        return "answer"

    assert await patiently(ask, about="positions", timeout_s=3600) == "answer"


async def test_an_error_that_does_not_pass_is_raised_at_once() -> None:
    async def ask() -> None:
        raise GroupAuthorizationFailedError

    with pytest.raises(UnavailableError, match="no positions: GroupAuthorizationFailedError"):
        await patiently(ask, about="positions", timeout_s=3600)


async def test_a_coordinator_that_loads_for_too_long_is_named() -> None:
    async def ask() -> None:
        raise GroupLoadInProgressError

    with pytest.raises(UnavailableError, match="no positions: GroupLoadInProgressError"):
        await patiently(ask, about="positions", timeout_s=0.2)
