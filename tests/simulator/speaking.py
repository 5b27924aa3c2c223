"""A plain client of the simulated Genesys: httpx and websockets, nothing of the bridge."""

import asyncio
import json
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bridge.simulator.genesys import CLIENT, GenesysSimulator

WINDOW = {"start": "2026-01-05T10:00:00.000Z", "end": "2026-01-05T10:05:00.000Z"}
SOCKET = "/api/v2/agentassist/websocket"


def credentials(**changed: str) -> dict[str, str]:
    """The body of a token request."""
    return {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": CLIENT, "scope": "x"} | changed


async def token_of(genesys: GenesysSimulator) -> str:
    """A fresh token."""
    async with httpx.AsyncClient(base_url=genesys.base_url) as http:
        answer = await http.post("/api/v2/oauth/token", json=credentials())
    return str(answer.json()["access_token"])


async def get(genesys: GenesysSimulator, path: str, *, token: str = "") -> httpx.Response:
    """One GET, with a token if there is one."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=genesys.base_url, headers=headers) as http:
        return await http.get(path)


async def post(base_url: str, path: str, body: object = None) -> httpx.Response:
    """One POST of JSON."""
    async with httpx.AsyncClient(base_url=base_url) as http:
        return await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def socket_to(genesys: GenesysSimulator, token: str, *, path: str = SOCKET) -> connect:
    """A socket, to be entered; without keepalive of its own."""
    url = genesys.base_url.replace("http", "ws", 1) + path
    return connect(url, additional_headers={"Authorization": f"Bearer {token}"}, ping_interval=None, close_timeout=0.2)


async def subscribe(socket: ClientConnection, *interaction_ids: str) -> None:
    """Subscribes to interactions."""
    for interaction_id in interaction_ids:
        await socket.send(
            json.dumps(
                {
                    "type": "subscribe",
                    "interactionId": interaction_id,
                    "contextWindow": WINDOW,
                    "suggestionTypes": ["knowledge", "process"],
                    "requestId": f"request-{interaction_id}",
                }
            )
        )


async def hear(socket: ClientConnection) -> bytes:
    """The next frame's bytes."""
    async with asyncio.timeout(10):
        return await socket.recv(decode=False)


async def hear_json(socket: ClientConnection, *, type: str) -> dict[str, Any]:  # noqa: A002 - the field's name
    """The next frame of a type; others before it are passed over."""
    while True:
        frame: dict[str, Any] = json.loads(await hear(socket))
        if frame["type"] == type:
            return frame
