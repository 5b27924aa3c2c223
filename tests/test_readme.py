"""README.md says what the code does."""

from pathlib import Path

from bridge.core.matrix import as_markdown

_README = Path(__file__).parent.parent / "README.md"
_MARKER = "<!-- reconnect -->\n"
_PRINT = "python -c 'from bridge.core.matrix import as_markdown; print(as_markdown(), end=\"\")'"


def test_the_reconnect_matrix_is_that_of_the_code() -> None:
    parts = _README.read_text(encoding="utf-8").split(_MARKER)
    assert len(parts) == 3, f"README.md: the matrix stands between two lines {_MARKER.strip()}"
    assert parts[1] == as_markdown(), f"README.md: put what `{_PRINT}` prints between the markers"
