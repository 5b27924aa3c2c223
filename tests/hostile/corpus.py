"""Hostile frames by name, each with what must become of it. What was found once stays here."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bridge.core.dialects.agentassist import MAX_FRAME_BYTES

_GIB = 1024 * 1024 * 1024
_DEEP = 10_000


class Hostile(NamedTuple):
    """A frame. `becomes` is `suggestions`, `notice`, `refusal`, or the class of its dead letter."""

    data: bytes
    becomes: str


def frame(suggestions: bytes = b"[]", *, interaction_id: bytes = b'"interaction-1"', more: bytes = b"") -> bytes:
    """A frame of suggestions with anything in its places."""
    return b'{"interactionId":%b,"suggestions":%b%b}' % (interaction_id, suggestions, more)


def suggestion(**spelled: bytes) -> bytes:
    """A list of one suggestion whose fields are spelled by hand."""
    return b"[{%b}]" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in spelled.items())


def bomb_of_zeros(size: int, *, wbits: int) -> bytes:
    """What inflates to so many zeros: about a thousandth of that."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, wbits)
    piece = bytes(1024 * 1024)
    parts = [deflater.compress(piece) for _ in range(size // len(piece))]
    return b"".join(parts) + deflater.flush()


_GOOD = frame(suggestion(id=b'"s-1"', confidence=b"0.9", relevanceScore=b"0.8"))
_GZIP = gzip.compress(_GOOD, mtime=0)

_COMPRESSION = {
    "a gzip bomb of 1 MB that inflates to 1 GB": Hostile(bomb_of_zeros(_GIB, wbits=31), "inflate"),
    "gzip that inflates to one byte more than the bound": Hostile(
        gzip.compress(b" " * (MAX_FRAME_BYTES + 1), mtime=0), "inflate"
    ),
    "gzip in gzip": Hostile(gzip.compress(_GZIP, mtime=0), "decode"),
    "gzip of a gzip bomb": Hostile(gzip.compress(bomb_of_zeros(_GIB // 8, wbits=31), mtime=0), "decode"),
    "100,000 empty gzip members": Hostile(gzip.compress(b"", mtime=0) * 100_000, "inflate"),
    "a good frame in the last of 17 gzip members": Hostile(gzip.compress(b"", mtime=0) * 16 + _GZIP, "inflate"),
    "a good frame cut into 16 gzip members": Hostile(
        b"".join(gzip.compress(_GOOD[at : at + 6], mtime=0) for at in range(0, 90, 6))
        + gzip.compress(_GOOD[90:], mtime=0),
        "suggestions",
    ),
    "gzip with a megabyte of padding": Hostile(_GZIP + bytes(1024 * 1024), "suggestions"),
    "gzip with a frame behind it": Hostile(_GZIP + _GOOD, "inflate"),
    "gzip without its last byte": Hostile(_GZIP[:-1], "inflate"),
    "gzip with a wrong checksum": Hostile(_GZIP[:-8] + bytes(4) + _GZIP[-4:], "inflate"),
    "gzip with a name of a megabyte": Hostile(_GZIP[:3] + b"\x08" + _GZIP[4:10] + b"n" * (1 << 20), "inflate"),
    "gzip with unknown flags": Hostile(_GZIP[:3] + b"\xff" + _GZIP[4:], "inflate"),
    "the magic of gzip alone": Hostile(b"\x1f\x8b", "inflate"),
    "zlib without gzip": Hostile(zlib.compress(_GOOD), "decode"),
}

_SIZE = {
    "nothing": Hostile(b"", "decode"),
    "a frame of exactly the bound": Hostile(_GOOD + b" " * (MAX_FRAME_BYTES - len(_GOOD)), "suggestions"),
    "a frame of one byte more than the bound": Hostile(_GOOD + b" " * (MAX_FRAME_BYTES - len(_GOOD) + 1), "oversize"),
    "8 MB in one frame": Hostile(_GOOD + b" " * (8_000_000 - len(_GOOD)), "oversize"),
    "100,000 suggestions": Hostile(frame(b"[" + b",".join([b"{}"] * 100_000) + b"]"), "suggestions"),
    "100,000 unknown fields": Hostile(frame(more=b',"x":1' * 80_000), "suggestions"),
    "a type of half a megabyte": Hostile(b'{"type":"%b"}' % (b"t" * 500_000), "notice"),
    "an interaction id of half a megabyte": Hostile(frame(interaction_id=b'"%b"' % (b"i" * 500_000)), "schema"),
    "a code of half a megabyte": Hostile(b'{"type":"error","code":"%b"}' % (b"c" * 500_000), "refusal"),
    "spaces only": Hostile(b" " * MAX_FRAME_BYTES, "decode"),
}

_DEPTH = {
    f"arrays {_DEEP} deep as suggestions": Hostile(frame(b"[" * _DEEP + b"]" * _DEEP), "decode"),
    f"objects {_DEEP} deep beside the suggestions": Hostile(
        frame(more=b',"x":' + b'{"a":' * _DEEP + b"1" + b"}" * _DEEP), "decode"
    ),
    f"arrays {_DEEP} deep as the interaction": Hostile(frame(interaction_id=b"[" * _DEEP + b"]" * _DEEP), "decode"),
    f"arrays {_DEEP} deep as the type": Hostile(b'{"type":%b%b}' % (b"[" * _DEEP, b"]" * _DEEP), "decode"),
    "arrays that never end": Hostile(b"[" * MAX_FRAME_BYTES, "decode"),
    "objects that never end": Hostile(b'{"interactionId":' * 20_000, "decode"),
    "arrays 100 deep, which is no fault": Hostile(frame(b"[" * 100 + b"]" * 100), "suggestions"),
}

_TEXT = {
    "a byte that is no UTF-8 in a title": Hostile(frame(suggestion(title=b'"\xff"')), "decode"),
    "a byte that is no UTF-8 in the interaction": Hostile(frame(interaction_id=b'"\xc3"'), "decode"),
    "a byte that is no UTF-8 in an unknown field's name": Hostile(frame(more=b',"\xfe":1'), "decode"),
    "an overlong slash": Hostile(frame(suggestion(title=b'"\xc0\xaf"')), "decode"),
    "a surrogate in UTF-8": Hostile(frame(suggestion(title=b'"\xed\xa0\x80"')), "decode"),
    "a code point above U+10FFFF": Hostile(frame(suggestion(title=b'"\xf4\x90\x80\x80"')), "decode"),
    "UTF-8 that is cut off": Hostile(b'{"type":"\xe2\x82', "decode"),
    "UTF-16": Hostile(_GOOD.decode().encode("utf-16"), "decode"),
    "a byte order mark": Hostile(b"\xef\xbb\xbf" + _GOOD, "decode"),
    "a lone surrogate, escaped, in a title": Hostile(frame(suggestion(title=b'"\\ud800"')), "decode"),
    "a lone surrogate, escaped, as the interaction": Hostile(frame(interaction_id=b'"\\udfff"'), "decode"),
    "a lone surrogate, escaped, as the type": Hostile(b'{"type":"\\ud800"}', "decode"),
    "a pair of surrogates, escaped": Hostile(frame(suggestion(title=b'"\\ud83d\\ude00"')), "suggestions"),
    "NUL, escaped, as the interaction": Hostile(frame(interaction_id=b'"\\u0000"'), "suggestions"),
    "a line break as the interaction": Hostile(frame(interaction_id=b'"a\\nb: c"'), "suggestions"),
    "NUL between values": Hostile(b'{"type":\0"heartbeat"}', "decode"),
    "a control character in a string": Hostile(frame(suggestion(title=b'"\x07"')), "decode"),
    "an escape that is none": Hostile(frame(suggestion(title=b'"\\x41"')), "decode"),
    "a comment": Hostile(_GOOD + b"// done", "decode"),
    "two frames in one": Hostile(_GOOD + _GOOD, "decode"),
    "single quotes": Hostile(b"{'type':'heartbeat'}", "decode"),
    "a comma too many": Hostile(b'{"type":"heartbeat",}', "decode"),
}

_NUMBERS = {
    "1e999 as a score": Hostile(frame(suggestion(id=b'"s"', confidence=b"1e999")), "suggestions"),
    "-1e999 as a score": Hostile(
        frame(suggestion(id=b'"s"', confidence=b"0.9", relevanceScore=b"-1e999")), "suggestions"
    ),
    "5,000 digits as a score": Hostile(frame(suggestion(id=b'"s"', confidence=b"9" * 5_000)), "suggestions"),
    "5,000 digits after the point": Hostile(frame(suggestion(confidence=b"0." + b"9" * 5_000)), "suggestions"),
    "an exponent of 5,000 digits": Hostile(frame(suggestion(confidence=b"1e" + b"9" * 5_000)), "suggestions"),
    "an exponent of -5,000 digits": Hostile(frame(suggestion(confidence=b"1e-" + b"9" * 5_000)), "suggestions"),
    "1e999 as the latency": Hostile(frame(more=b',"metadata":{"processingLatencyMs":1e999}'), "suggestions"),
    "half a megabyte of digits in an unknown field": Hostile(frame(more=b',"x":' + b"7" * 500_000), "suggestions"),
    "5,000 digits as the interaction": Hostile(frame(interaction_id=b"7" * 5_000), "schema"),
    "5,000 digits as the code": Hostile(b'{"type":"error","code":%b}' % (b"7" * 5_000), "refusal"),
    "1e999 as the code": Hostile(b'{"type":"error","code":1e999}', "refusal"),
    "minus zero": Hostile(frame(suggestion(confidence=b"-0.0")), "suggestions"),
    "NaN as a score": Hostile(frame(suggestion(confidence=b"NaN")), "decode"),
    "Infinity as a score": Hostile(frame(suggestion(confidence=b"Infinity")), "decode"),
    "-Infinity in an unknown field": Hostile(frame(more=b',"x":-Infinity'), "decode"),
    "a number with a leading zero": Hostile(frame(suggestion(confidence=b"01")), "decode"),
    "a number with a plus": Hostile(frame(suggestion(confidence=b"+1")), "decode"),
    "a hexadecimal number": Hostile(frame(suggestion(confidence=b"0x1")), "decode"),
}

_SHAPES = {
    "the interaction twice": Hostile(
        b'{"interactionId":"other","interactionId":"interaction-1","suggestions":[]}', "suggestions"
    ),
    "the interaction twice, first as a number": Hostile(
        b'{"interactionId":7,"interactionId":"interaction-1","suggestions":[]}', "schema"
    ),
    "the suggestions twice, last as an object": Hostile(
        b'{"interactionId":"interaction-1","suggestions":[],"suggestions":{}}', "schema"
    ),
    "the suggestions twice, first as an object": Hostile(
        b'{"interactionId":"interaction-1","suggestions":{},"suggestions":[]}', "suggestions"
    ),
    "a score twice": Hostile(frame(b'[{"id":"s","confidence":0.9,"confidence":"x"}]'), "suggestions"),
    "names that differ in their case": Hostile(b'{"InteractionId":"interaction-1","Suggestions":[]}', "schema"),
    "a name that is escaped": Hostile(b'{"\\u0069nteractionId":"interaction-1","suggestions":[]}', "suggestions"),
    "no interaction": Hostile(b'{"suggestions":[]}', "schema"),
    "an empty interaction": Hostile(frame(interaction_id=b'""'), "schema"),
    "null for everything": Hostile(b'{"type":null,"interactionId":null,"suggestions":null}', "schema"),
    "suggestions that are text": Hostile(frame(b'"[]"'), "schema"),
    "suggestions that are no objects": Hostile(frame(b'[1,"two",null,[],true]'), "suggestions"),
    "metadata that is text": Hostile(frame(more=b',"metadata":"none"'), "suggestions"),
    "an array of frames": Hostile(b"[%b]" % _GOOD, "schema"),
    "a number": Hostile(b"42", "schema"),
    "an empty object": Hostile(b"{}", "schema"),
    "a prototype": Hostile(b'{"__proto__":{"type":"error"}}', "schema"),
    "an unknown type": Hostile(b'{"type":"__class__"}', "notice"),
    "an empty type": Hostile(b'{"type":""}', "notice"),
    "a type that is no text": Hostile(b'{"type":["heartbeat"]}', "schema"),
    "an error about nothing": Hostile(b'{"type":"error"}', "refusal"),
    "an error about a request that was never sent": Hostile(b'{"type":"error","requestId":"r-0"}', "refusal"),
    "an error about an interaction that was never asked for": Hostile(
        b'{"type":"error","interactionId":"never","code":"forbidden"}', "refusal"
    ),
    "an error whose ids are no text": Hostile(b'{"type":"error","requestId":[],"interactionId":{}}', "refusal"),
    "suggestions for an interaction that was never asked for": Hostile(frame(interaction_id=b'"never"'), "suggestions"),
    "subscribed to what was never asked for": Hostile(b'{"type":"subscribed","interactionId":"never"}', "notice"),
    "a subscription, as the client sends it": Hostile(
        b'{"type":"subscribe","interactionId":"interaction-1"}', "notice"
    ),
}

CORPUS: Mapping[str, Hostile] = _COMPRESSION | _SIZE | _DEPTH | _TEXT | _NUMBERS | _SHAPES


def dead_letters() -> Iterator[tuple[str, Hostile]]:
    """Those that are set aside."""
    return ((name, one) for name, one in CORPUS.items() if one.becomes not in {"suggestions", "notice", "refusal"})
