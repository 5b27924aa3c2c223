"""The section `genesys` of the options."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, ClassVar
from urllib.parse import urlsplit, urlunsplit

from bridge.core.options import OneOf, Within


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How Genesys is reached. `settings.py` demands what has no default, and refuses a plaintext `base_url`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    dialect: Annotated[str, OneOf("agentassist")] = "agentassist"
    base_url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    content_library_id: str = ""
    scope: str = "agentassist:view conversation:read"
    allow_plaintext: bool = False
    max_connections: Annotated[int, Within(1, 1_000)] = 5
    max_sockets: Annotated[int, Within(1, 100)] = 1
    on_normal_closure: Annotated[str, OneOf("resume", "finish")] = "resume"
    reconnect_first_s: Annotated[float, Within(0.001, 60)] = 1.0
    reconnect_cap_s: Annotated[float, Within(0.001, 3_600)] = 30.0
    reconnect_jitter_s: Annotated[float, Within(0, 60)] = 1.0
    retry_after_max_s: Annotated[float, Within(0, 3_600)] = 300.0
    max_tries: Annotated[int, Within(0, 1_000_000)] = 0
    idle_timeout_s: Annotated[float, Within(0.1, 3_600)] = 60.0
    quota_poll_s: Annotated[float, Within(0.01, 3_600)] = 5.0
    request_timeout_s: Annotated[float, Within(0.1, 120)] = 10.0
    # A minute: time for a dozen tries where the quota is full or Genesys stumbles, and as early as a token is renewed.
    rotate_before_s: Annotated[float, Within(0, 3_600)] = 60.0
    # As long as readers of the topics drop what has a `ce_id` that they saw before.
    dedup_window_s: Annotated[float, Within(0, 3_600)] = 30.0


def rest_url(options: Options, path: str) -> str:
    """The address of a REST path under `base_url`."""
    return options.base_url.rstrip("/") + path


def socket_url(options: Options) -> str:
    """The address of the socket: `https` becomes `wss`, `http` becomes `ws`."""
    parts = urlsplit(rest_url(options, "/api/v2/agentassist/websocket"))
    return urlunsplit(parts._replace(scheme="ws" if parts.scheme == "http" else "wss"))


def faults_of(options: Options) -> Iterator[str]:
    """What no range tells about the section `genesys`: one line each, with the option's path. Secrets are not in it."""
    for name in ("base_url", "client_id", "client_secret", "content_library_id"):
        if not getattr(options, name):
            yield f"genesys.{name}: must be set"
    if options.base_url:
        yield from _address_faults(options)


def _address_faults(options: Options) -> Iterator[str]:
    try:
        url = urlsplit(options.base_url)
        is_usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # A port that is no number, a bracket without its other half.
        yield "genesys.base_url: must be an http or https address"
        return
    if not is_usable or url.query or url.fragment or url.username is not None:
        yield "genesys.base_url: must be an http or https address without user, query and fragment"
    elif url.scheme == "http" and not (options.allow_plaintext or _is_loopback(url.hostname or "")):
        # It would carry the client's secret and the tokens in the open.
        yield f"genesys.base_url: must be https unless genesys.allow_plaintext is set, got http://{url.hostname}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
