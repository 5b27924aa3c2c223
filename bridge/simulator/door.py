"""The door of a simulated server: which requests are slowed down, answered by script, or turned away."""

import asyncio
from collections import Counter
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from bridge.simulator.faults import FaultsInForce
from bridge.simulator.serving import json_response
from bridge.simulator.times import Elapsed
from bridge.simulator.tokens import Tokens


class TurnedAway(NamedTuple):
    """The status that a request gets instead of being taken, and its `Retry-After`."""

    status: int
    retry_after: str | None = None

    def response(self) -> Response:
        """As an HTTP answer."""
        return json_response({"error": self.status}, status=self.status, retry_after=self.retry_after)


class Door:
    """`answers` counts what was answered, by request and status: `handshake 401`."""

    def __init__(self, *, in_force: FaultsInForce, elapsed: Elapsed, tokens: Tokens | None = None) -> None:
        self.answers: Counter[str] = Counter()
        self._in_force = in_force
        self._elapsed = elapsed
        self._tokens = tokens

    async def slow_down(self) -> None:
        """Waits as long as faults in force say."""
        delay_s = self._in_force.delay_s(now_s=self._elapsed())
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def scripted(self, operation: str, path: str) -> TurnedAway | None:
        """The answer that the script has for this request, if it has one."""
        answer = self._in_force.take_answer(operation, path, now_s=self._elapsed())
        return None if answer is None else TurnedAway(answer.status, answer.retry_after)

    def unauthorized(self, authorization: str) -> TurnedAway | None:
        """401 where the token is no good, or where the script says so."""
        if self._in_force.take_rejection():
            return TurnedAway(401)
        if self._tokens is not None and not self._tokens.is_good(authorization):
            return TurnedAway(401)
        return None

    def note(self, operation: str, status: int) -> None:
        """Counts an answer."""
        self.answers[f"{operation} {status}"] += 1

    def noted(self, operation: str, response: Response) -> Response:
        """Counts an answer and returns it."""
        self.note(operation, response.status_code)
        return response

    async def turned_away(self, operation: str, request: Request) -> Response | None:
        """Slows a REST request down; its answer where it is not taken, counted."""
        await self.slow_down()
        refusal = self.scripted(operation, request.url.path)
        if refusal is None and operation != "token":
            refusal = self.unauthorized(request.headers.get("authorization", ""))
        return None if refusal is None else self.noted(operation, refusal.response())
