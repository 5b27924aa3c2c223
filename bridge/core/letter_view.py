"""A dead letter for people: where it came from, its headers and its value, with a mark at what failed."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from bridge.core.letters import UNKNOWN, Letter
from bridge.core.records import Header, source_of
from bridge.core.replay import replayed_in
from bridge.core.times import to_rfc3339

_HERE = "  <-- "
_PREVIEW_CHARACTERS = 2_000
_PREVIEW_BYTES = 256
_ROW_BYTES = 16
_INDENT = "  "
# A path as the reasons of the class `schema` spell it: `$.suggestions[3].id`.
_PATH = re.compile(r"`(\$[^`]*)`")


class _Number(str):
    """A number as its digits stand in the value."""

    __slots__ = ()


class _Pairs(list[tuple[str, object]]):
    """An object, in its own order, with a name that stands there twice."""


class _Line(NamedTuple):
    path: str
    text: str


def view_of(letter: Letter) -> Iterator[str]:
    """The lines of a letter; what nobody can see (control characters, other bytes) is spelled out."""
    record = letter.record
    yield f"dead letter  {source_of(record)}, set aside {to_rfc3339(record.timestamp)}"
    yield f"class        {printable(letter.dlq_class)}"
    yield f"reason       {printable(letter.reason)}"
    yield f"came from    {_origin(letter)}, {to_rfc3339(letter.first_at_ms)}"
    yield f"replayed     {letter.replays} times"
    mark = f"{_HERE}{letter.reason}" if letter.dlq_class == "key-mismatch" else ""
    if letter.has_lost_key:
        mark = f"{_HERE}key and headers had no room on the topic"
    yield f"key          {_spelled(record.key)}{printable(mark)}"
    yield from _headers("its headers", letter.headers)
    yield from _headers("what failed", letter.added)
    kept = len(record.value or b"")
    size = kept if letter.dlq_class == UNKNOWN else letter.size
    cut = f", cut to {kept}" if size > kept else ""
    yield f"value        {size} bytes{cut}"
    yield from _value(letter)


def _origin(letter: Letter) -> str:
    if letter.dlq_class == UNKNOWN:
        return "another writer: it is no dead letter" if replayed_in(letter.record) is None else "a replay: its note"
    return "a frame of Genesys" if letter.origin is None else printable(str(letter.origin))


def _headers(title: str, headers: tuple[Header, ...]) -> Iterator[str]:
    yield title
    width = max((len(name) for name, _ in headers), default=0)
    for name, value in headers:
        yield f"{_INDENT}{printable(name):{width}}  {_spelled(value)}"


def _value(letter: Letter) -> Iterator[str]:
    record = letter.record
    if record.value is None:
        yield f"{_INDENT}null"
        return
    try:
        text = record.value.decode()
    except UnicodeDecodeError as error:
        yield from _hex(record.value, stops_at=error.start)
        return
    try:
        lines = _marked(_parsed(text), reason=letter.reason if letter.dlq_class == "schema" else "")
    except json.JSONDecodeError as error:
        yield from _text(text, stops_at=error.pos)
    except (RecursionError, ValueError):
        yield from _text(text, stops_at=None)
    else:
        yield from lines


def _parsed(text: str) -> object:
    return json.loads(
        text, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
    )


def _no_constant(name: str) -> object:
    # NaN and Infinity are Python's, not JSON's.
    raise ValueError(name)


# -- JSON --------------------------------------------------------------------------------------------------------------


def _marked(parsed: object, *, reason: str) -> list[str]:
    """The value, a line for each of its parts, with the mark at the part that the reason names, if there is a reason.

    What is missing is marked where it should stand: at the nearest part around it.
    """
    lines = list(_lines(parsed, path="$", lead="", end=""))
    found = _PATH.search(reason)
    wanted = found[1] if found else f"$.{reason.partition(' ')[0]}"
    around = [at for at, line in enumerate(lines) if _is_around(line.path, wanted)]
    marked_at = max(around, key=lambda at: (len(lines[at].path), -at)) if reason else None
    return [
        f"{_INDENT}{printable(line.text)}{printable(_HERE + reason) if at == marked_at else ''}"
        for at, line in enumerate(lines)
    ]


def _is_around(path: str, wanted: str) -> bool:
    return wanted == path or wanted.startswith((f"{path}.", f"{path}["))


def _lines(part: object, *, path: str, lead: str, end: str) -> Iterator[_Line]:
    match part:
        case _Pairs() if part:
            items = [(f"{path}.{name}", f"{json.dumps(name, ensure_ascii=False)}: ", one) for name, one in part]
            yield from _nested(items, path=path, lead=lead, ends=("{", "}" + end))
        case list() if part:
            items = [(f"{path}[{at}]", "", one) for at, one in enumerate(part)]
            yield from _nested(items, path=path, lead=lead, ends=("[", "]" + end))
        case _Pairs():
            yield _Line(path, lead + "{}" + end)
        case _Number():
            yield _Line(path, lead + part + end)
        case _:
            yield _Line(path, lead + json.dumps(part, ensure_ascii=False) + end)


def _nested(items: list[tuple[str, str, object]], *, path: str, lead: str, ends: tuple[str, str]) -> Iterator[_Line]:
    yield _Line(path, lead + ends[0])
    for at, (inner_path, name, one) in enumerate(items, start=1):
        comma = "" if at == len(items) else ","
        for line in _lines(one, path=inner_path, lead=name, end=comma):
            yield _Line(line.path, _INDENT + line.text)
    yield _Line(path, ends[1])


# -- what is no JSON ---------------------------------------------------------------------------------------------------


def _text(text: str, *, stops_at: int | None) -> Iterator[str]:
    """A part of the text, with a mark where it stops being JSON."""
    start = 0 if stops_at is None else max(0, stops_at - _PREVIEW_CHARACTERS // 2)
    shown = text[start : start + _PREVIEW_CHARACTERS]
    if start:
        yield f"{_INDENT}… {start} characters before"
    if stops_at is None:
        yield f"{_INDENT}{printable(shown)}"
    else:
        yield f"{_INDENT}{printable(shown[: stops_at - start])}"
        yield f"{_INDENT}{printable(shown[stops_at - start :])}{_HERE}here it stops being JSON"
    left = len(text) - start - len(shown)
    if left:
        yield f"{_INDENT}… {left} characters more"


def _hex(value: bytes, *, stops_at: int) -> Iterator[str]:
    """The first bytes around the one that is no UTF-8, 16 a row, with a mark at its row."""
    first = max(0, stops_at - _PREVIEW_BYTES // 2) // _ROW_BYTES * _ROW_BYTES
    if first:
        yield f"{_INDENT}… {first} bytes before"
    last = min(len(value), first + _PREVIEW_BYTES)
    for at in range(first, last, _ROW_BYTES):
        row = value[at : at + _ROW_BYTES]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        mark = f"{_HERE}here it stops being UTF-8" if at <= stops_at < at + _ROW_BYTES else ""
        yield f"{_INDENT}{at:08x}  {row.hex(' '):47}  {seen}{mark}"
    if last < len(value):
        yield f"{_INDENT}… {len(value) - last} bytes more"


def _spelled(value: bytes | None) -> str:
    if value is None:
        return "null"
    try:
        return printable(value.decode())
    except UnicodeDecodeError:
        return f"0x{value.hex()}"


def printable(text: str) -> str:
    """The text with everything that is no visible character spelled out."""
    # A value comes from anywhere: it must not steer the terminal of whoever looks at it.
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
