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
    """The status that a request gets instead of being taken, and its `Retry-After`, `Location` and body."""

    status: int
    retry_after: str | None = None
    location: str | None = None
    body: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        named = {"Retry-After": self.retry_after, "Location": self.location}
        return {name: value for name, value in named.items() if value is not None}

    def response(self) -> Response:
        """As an HTTP answer."""
        if self.body is not None:
            return Response(self.body, self.status, self.headers(), "application/json")
        response = json_response({"error": self.status}, status=self.status)
        response.headers.update(self.headers())
        return response


class Door:
    """`answers` counts what was answered, by request and status: `handshake 401`."""

    def __init__(self, *, in_force: FaultsInForce, elapsed: Elapsed, tokens: Tokens | None = None) -> None:
        self.answers: Counter[str] = Counter()
        self._in_force = in_force
        self._elapsed = elapsed
        self._tokens = tokens

    def delay_s(self, operation: str, path: str) -> float:
        """How long faults in force hold up this request."""
        return self._in_force.delay_s(operation, path, now_s=self._elapsed())

    async def slow_down(self, operation: str, path: str) -> None:
        """Waits as long as faults in force say for this request."""
        delay_s = self.delay_s(operation, path)
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def scripted(self, operation: str, path: str) -> TurnedAway | None:
        """The answer that the script has for this request, if it has one."""
        answer = self._in_force.take_answer(operation, path, now_s=self._elapsed())
        return None if answer is None else TurnedAway(answer.status, answer.retry_after, answer.location, answer.body)

    def aborts(self) -> bool:
        """Whether this handshake is to be reset."""
        return self._in_force.take_abort()

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
        await self.slow_down(operation, request.url.path)
        refusal = self.scripted(operation, request.url.path)
        if refusal is None and operation != "token":
            refusal = self.unauthorized(request.headers.get("authorization", ""))
        return None if refusal is None else self.noted(operation, refusal.response())
