"""What pytest shows beside a failure: what the bridge told until then."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

_LAST = 200


def show(names: Iterable[str], events: Sequence[object], *more: object) -> None:
    """Prints how often each event was told, the last ones of them, and more lines."""
    lines = [f"{count:6} {name}" for name, count in Counter(names).most_common()]
    lines += map(str, [*events[-_LAST:], *more])
    sys.stdout.write("\n".join(lines) + "\n")
