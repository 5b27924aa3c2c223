"""The project grew from a tutorial: every row of what it does, and every defect that it has, is named by a test."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent

# What the tutorial does (T), as it must work here.
_DOES = {
    "T1": "a token by client credentials, cached, renewed in time, once for all who wait, at once after a 401",
    "T2": "the content library must be there and enabled; 403 and 429 are told apart",
    "T3": "a socket is opened only below the quota; when it is full, the bridge waits and says so",
    "T4": "subscriptions over the socket with a Bearer token, many on one socket, sent again after a reconnect",
    "T5": "text, gzip and UTF-8 JSON in binary frames; anything else is a dead letter",
    "T6": "a bounded queue, pushback by TCP, the valve on the ranker's lag",
    "T7": "reconnects with growing delays and jitter, without end unless told otherwise",
    "T8": "a normal closure is no failure; 4001 means a new token",
    "T9": "suggestions above the confidence, ordered by weighted relevance and confidence",
    "T10": "the audit tells what was retrieved, how much and how fast",
    "T11": "a click is audited as accepted, with the interaction's acceptance rate",
    "T12": "each click is posted to the KMP, and again until it is delivered or refused",
    "T13": "a stream to iterate over, to click on and to close",
    "T14": "the complete example: validate, stream, take the top suggestion, export, close",
    "T15": "each common error has a message that says what to do",
}
# What the tutorial gets wrong (D), as it must not be here.
_MENDS = {
    "D1": "the backlog was the number of listeners: here it is the lag in records, and it closes the valve",
    "D2": "a pause was for ever: here reading goes on, and every frame arrives",
    "D3": "a closure or ten failures were the end of ingestion: here it comes back",
    "D4": "close() never closed the socket: here a stop closes it with 1000, seen by the server",
    "D5": "the loop over the stream never yielded",
    "D6": "the acceptance was lost on restart: here it is restored, equal to a recount",
    "D7": "malformed frames vanished and inflation had no bound: here they are dead letters, and bombs are refused",
    "D8": "the retry came at once and without a key",
    "D9": "the audit was scanned at each click: here a click costs the same however many came before",
    "D10": "401, 403 and 429 were the end: here they are recovered from, or told",
}
# The tutorial's common errors, and what the line about each in the README must speak of.
_ERRORS = {
    "401 on the WebSocket handshake": r"401.*handshake",
    "403 on the content libraries": r"403.*agentassist:view",
    "429": r"429.*waits",
    "unreadable binary frame": r"dlq\.ingress.*gzip",
    "queue overflow": r"reading_paused.*behind",
}
_ROW = re.compile(r"\b[TD]\d+\b")


def _tests() -> Iterator[tuple[str, str]]:
    """Every test with its docstring."""
    for file in sorted(_TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{file.relative_to(_TESTS)}::{node.name}", ast.get_docstring(node) or ""


@pytest.fixture(scope="module")
def proofs() -> Mapping[str, list[str]]:
    """The tests that name a row, by row."""
    found = defaultdict(list)
    for name, docstring in _tests():
        for row in dict.fromkeys(_ROW.findall(docstring)):
            found[row].append(name)
    return found


@pytest.mark.parametrize("row", [*_DOES, *_MENDS])
def test_every_row_is_named_by_a_test(row: str, proofs: Mapping[str, list[str]]) -> None:
    assert proofs.get(row), f"no test names {row}: {(_DOES | _MENDS)[row]}"


def test_no_test_names_a_row_that_there_is_not(proofs: Mapping[str, list[str]]) -> None:
    assert set(proofs) <= {*_DOES, *_MENDS}


@pytest.mark.parametrize("error", _ERRORS)
def test_the_readme_says_what_to_do_about_each_common_error(error: str) -> None:
    """T15."""
    readme = (_TESTS.parent / "README.md").read_text(encoding="utf-8")
    _, _, troubles = readme.partition("## Troubleshooting")
    found = [line for line in troubles.splitlines() if re.search(_ERRORS[error], line)]
    assert len(found) == 1
    you_see, because, do = (cell.strip() for cell in found[0].strip("| ").split(" | "))
    assert you_see
    assert because
    assert do
