"""What the documents promise of themselves."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"@[A-Z]+@|\bTODO\b|\bTBD\b", page.read_text(encoding="utf-8")) == []


def test_every_room_is_on_the_map() -> None:
    rooms = {
        path.name for path in (ROOT / "bridge").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {room for room in rooms - {"__init__.py", "__main__.py"} if room not in text} == set()
