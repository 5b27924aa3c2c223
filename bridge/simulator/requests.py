"""What a client may say on the simulated Genesys socket, taken to the letter, and the answers."""

import msgspec

from bridge.core.times import from_rfc3339


class ContextWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the conversation to look at; RFC 3339 times."""

    start: str
    end: str

    def __post_init__(self) -> None:
        if from_rfc3339(self.start) > from_rfc3339(self.end):
            raise ValueError("the context window ends before it starts")


class Subscribe(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="subscribe",
    forbid_unknown_fields=True,
):
    """Asks for an interaction's suggestions."""

    interaction_id: str
    context_window: ContextWindow
    suggestion_types: tuple[str, ...]
    request_id: str


class Unsubscribe(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag_field="type",
    tag="unsubscribe",
    forbid_unknown_fields=True,
):
    """Asks for them no longer."""

    interaction_id: str
    request_id: str


class ErrorFrame(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="error", omit_defaults=True
):
    """The answer to what cannot be taken."""

    code: str
    message: str
    request_id: str | None = None
    interaction_id: str | None = None


class _Names(msgspec.Struct, frozen=True, rename="camel"):
    interaction_id: str | None = None
    request_id: str | None = None


_requests: msgspec.json.Decoder[Subscribe | Unsubscribe] = msgspec.json.Decoder(Subscribe | Unsubscribe)
_names = msgspec.json.Decoder(_Names)


def decode_request(text: bytes) -> Subscribe | Unsubscribe | ErrorFrame:
    """The request, or the error that answers it: `invalid_json`, or `invalid_request` with what is wrong."""
    try:
        return _requests.decode(text)
    except msgspec.ValidationError as error:
        names = _names_in(text)
        return ErrorFrame(
            code="invalid_request",
            message=str(error),
            request_id=names.request_id,
            interaction_id=names.interaction_id,
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorFrame(code="invalid_json", message="the message is no JSON in UTF-8")


def _names_in(text: bytes) -> _Names:
    try:
        return _names.decode(text)
    except msgspec.ValidationError:
        return _Names()


def subscribed(request: Subscribe) -> bytes:
    """Says that a subscription was taken."""
    return _reply("subscribed", request)


def unsubscribed(request: Unsubscribe) -> bytes:
    """Says that a subscription has ended."""
    return _reply("unsubscribed", request)


def _reply(kind: str, request: Subscribe | Unsubscribe) -> bytes:
    return msgspec.json.encode({"type": kind, "interactionId": request.interaction_id, "requestId": request.request_id})
