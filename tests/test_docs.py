"""What the documents promise of themselves."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_MAP = re.compile(r"^## A map of the rooms\n+```\n(?P<tree>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"@[A-Z]+@|\bTODO\b|\bTBD\b", page.read_text(encoding="utf-8")) == []


def test_the_map_has_every_room_and_no_other() -> None:
    folder = ROOT / "bridge"
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    packages = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    assert _rooms_on_the_map() == modules | packages


def _rooms_on_the_map() -> set[str]:
    """The entries that stand one step below `bridge/` in the README's tree, folders with their stroke."""
    found = _MAP.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "README.md: the map is the block of code below its heading"
    _, _, below = found["tree"].partition("\nbridge/\n")
    return set(re.findall(r"^ {2}(\S+)", below, re.MULTILINE))
