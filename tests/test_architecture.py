"""The rules of the house that the import contracts cannot see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_BRIDGE = _ROOT / "bridge"
_MODULES = sorted(_BRIDGE.rglob("*.py"))
_CORE = [module for module in _MODULES if module.is_relative_to(_BRIDGE / "core")]
_EVENTS = sorted((_BRIDGE / "core" / "events").glob("*.py"))

# Words that say nothing about what a class is.
_EMPTY_WORDS = ("Manager", "Helper", "Util", "Utils", "Handler", "Processor", "Service", "Data", "Info")


def _name(module: Path) -> str:
    return str(module.relative_to(_ROOT))


def _nodes(module: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(module.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", _CORE, ids=_name)
def test_nothing_in_the_core_waits(module: Path) -> None:
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert [node.lineno for node in _nodes(module) if isinstance(node, waiting)] == []


@pytest.mark.parametrize("module", _CORE, ids=_name)
def test_time_and_chance_come_into_the_core_as_arguments(module: Path) -> None:
    """No clock, no random number and no I/O is within its reach."""
    forbidden = {"time", "random", "secrets", "os", "io", "pathlib", "socket", "subprocess", "threading", "logging"}
    imported = {name.split(".")[0] for node in _nodes(module) for name in _imported(node)}
    assert imported.isdisjoint(forbidden)
    clocks = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("uuid", "uuid4")}
    read = {
        (node.value.id, node.attr)
        for node in _nodes(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert read.isdisjoint(clocks)


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []


@pytest.mark.parametrize(
    "module", [one for one in _MODULES if one.name == "__init__.py" and one != _BRIDGE / "__init__.py"], ids=_name
)
def test_packages_are_empty_but_the_first(module: Path) -> None:
    assert module.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("module", [one for one in _MODULES if one.read_text(encoding="utf-8")], ids=_name)
def test_every_module_opens_with_its_purpose(module: Path) -> None:
    purpose = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert purpose
    first_line = purpose.splitlines()[0]
    assert first_line.rstrip().endswith((".", ":", "?")) or "->" in first_line


@pytest.mark.parametrize("module", _EVENTS, ids=_name)
def test_every_event_says_when_it_is_told(module: Path) -> None:
    """A dataclass without a docstring gets one made of its fields, so the source is asked."""
    silent = [
        node.name for node in _nodes(module) if isinstance(node, ast.ClassDef) and ast.get_docstring(node) is None
    ]
    assert silent == []


@pytest.mark.parametrize("module", _MODULES, ids=_name)
def test_names_of_classes_say_what_they_are(module: Path) -> None:
    names = [node.name for node in _nodes(module) if isinstance(node, ast.ClassDef)]
    assert [name for name in names if name.endswith(_EMPTY_WORDS)] == []
