"""The tokens of the simulated Genesys: issued for client credentials, worth something until they expire."""

from collections.abc import Callable
from random import Random

import msgspec


class TokenRequest(msgspec.Struct, frozen=True):
    """The body of a token request."""

    grant_type: str
    client_id: str
    client_secret: str
    scope: str = ""


class Tokens:
    """Issues tokens and knows which ones are good."""

    def __init__(
        self, *, client_id: str, client_secret: str, lifetime_s: int, chance: Random, elapsed: Callable[[], float]
    ) -> None:
        self.issued = 0
        self._client_id = client_id
        self._client_secret = client_secret
        self._lifetime_s = lifetime_s
        self._chance = chance
        self._elapsed = elapsed
        self._good_until_s: dict[str, float] = {}

    def answer(self, body: bytes) -> tuple[int, dict[str, object]]:
        """Status and body of the answer to a token request: 200, 400 for a strange client, 401 for a wrong secret."""
        try:
            request = msgspec.json.decode(body, type=TokenRequest)
        except msgspec.DecodeError:
            return 400, {"error": "invalid_request"}
        if request.grant_type != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        if request.client_id != self._client_id:
            return 400, {"error": "invalid_client"}
        if request.client_secret != self._client_secret:
            return 401, {"error": "invalid_client"}
        return 200, self._issue()

    def _issue(self) -> dict[str, object]:
        now_s = self._elapsed()
        self._good_until_s = {token: until_s for token, until_s in self._good_until_s.items() if now_s < until_s}
        self.issued += 1
        token = f"{self.issued}-{self._chance.getrandbits(128):032x}"
        self._good_until_s[token] = now_s + self._lifetime_s
        return {"access_token": token, "token_type": "bearer", "expires_in": self._lifetime_s}

    def is_good(self, authorization: str) -> bool:
        """True for the header's value `Bearer …` with a token that has not expired (RFC 6750)."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._elapsed() < self._good_until_s.get(token.strip(), 0.0)

    def expire(self) -> None:
        """Makes every token issued so far worth nothing."""
        self._good_until_s.clear()
