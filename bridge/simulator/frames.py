"""The frames that the simulated Genesys sends, made from a seed: suggestions, and frames that nobody can read."""

import gzip
from random import Random

import msgspec

_WORDS = ("reset", "account", "refund", "invoice", "warranty", "delivery", "address", "billing", "upgrade", "signal")
# One title isn't ASCII, so that lengths in characters and in bytes differ.
_TITLES = ("Refund for a late delivery", "Straßenadresse ändern", "Reset a password", "Move a contract", "Book a visit")
_ARTICLES = 60
_MIN_BYTES, _MAX_BYTES = 1250, 1950
_encode = msgspec.json.encode


def suggestions_frame(*, interaction_id: str, serial: int, at_ms: int, chance: Random) -> bytes:
    """The JSON of a frame with 3 to 6 suggestions (now and then none), 1.2 to 2 KB.

    `serial` and `sentAt` (`at_ms`) stand in the frame and in each suggestion, as fields that no reader knows. Some
    confidences are below 0.75, absent or null; numbers have three digits (`0.850`), which only a reader that carries
    bytes keeps.
    """
    count = 0 if chance.random() < 0.01 else chance.randint(3, 6)
    best = 0.74 if chance.random() < 0.03 else 0.99
    articles = chance.sample(range(_ARTICLES), count)
    suggestions = [_suggestion(article, best=best, serial=serial, at_ms=at_ms, chance=chance) for article in articles]
    frame: dict[str, object] = {
        "type": "suggestions",
        "interactionId": interaction_id,
        "suggestions": suggestions,
        "metadata": {"processingLatencyMs": chance.randint(5, 180)},
        "serial": serial,
        "sentAt": at_ms,
    }
    if suggestions:
        _fill(suggestions, chance.randint(_MIN_BYTES, _MAX_BYTES) - len(_encode(frame)), chance)
    return _encode(frame)


def _suggestion(article: int, *, best: float, serial: int, at_ms: int, chance: Random) -> dict[str, object]:
    suggestion: dict[str, object] = {
        "id": f"suggestion-{article:03d}",
        "title": _TITLES[article % len(_TITLES)],
        "type": "process" if article % 4 == 0 else "knowledge",
    }
    suggestion |= _score("confidence", low=0.5, high=best, chance=chance)
    suggestion |= _score("relevanceScore", low=0.3, high=0.999, chance=chance)
    suggestion["knowledgeArticleId"] = f"article-{article:03d}"
    return suggestion | {"snippet": "", "serial": serial, "sentAt": at_ms}


def _score(name: str, *, low: float, high: float, chance: Random) -> dict[str, object]:
    luck = chance.random()
    if luck < 0.03:
        return {}
    if luck < 0.05:
        return {name: None}
    return {name: msgspec.Raw(f"{chance.uniform(low, high):.3f}".encode())}


def _fill(suggestions: list[dict[str, object]], missing_bytes: int, chance: Random) -> None:
    length = max(0, missing_bytes // len(suggestions))
    for suggestion in suggestions:
        words = " ".join(chance.choices(_WORDS, k=length // 5))
        suggestion["snippet"] = words[:length]


def garbage_frame(*, serial: int, chance: Random) -> tuple[bytes, bool]:
    """A frame that nobody can read, and whether it goes as text; each serial is broken in another way.

    Where it isn't compressed its text names the serial, so that its dead letter can be told from others.
    """
    text = b"garbage %d %08x" % (serial, chance.getrandbits(32))
    quoted = b'"%s"' % text
    ways = (
        (b"{" + text, True),  # Not JSON.
        (text + b" \xff\xfe\xc3\x28", True),  # Not UTF-8.
        (gzip.compress(b"<" + text + b">", mtime=0), False),  # Gzip of what isn't JSON.
        (gzip.compress(quoted, mtime=0)[:-9], False),  # Gzip that ends too early.
        (b"\x00\x01\x02" + text, False),  # Binary that is neither gzip nor UTF-8 JSON.
        (b'{"garbage":' + quoted + b"}", True),  # An object with neither type nor suggestions.
        (b'{"type":"suggestions","suggestions":[],"garbage":' + quoted + b"}", True),  # Whose suggestions?
        (b'{"interactionId":"x","suggestions":' + quoted + b"}", True),  # Suggestions that are no array.
    )
    return ways[serial % len(ways)]
