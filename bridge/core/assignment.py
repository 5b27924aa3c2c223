"""Which partition numbers of an assignment can be worked: those whose topics all came together."""

from collections.abc import Collection, Mapping


def workable_numbers(
    assigned: Collection[tuple[str, int]], counts: Mapping[str, int], *, expected: int | None = None
) -> tuple[set[int], dict[int, str]]:
    """The numbers that can be worked, and for each of the others why it is parked.

    `assigned` are pairs of topic and partition; `counts` tells how many partitions each topic of the hop has,
    `expected` how many all topics should have, those that the hop writes to among them.
    """
    numbers = {number for _, number in assigned}
    known = set(counts.values()) if expected is None else {expected, *counts.values()}
    if len(known) > 1:
        told = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
        told += "" if expected is None else f"; topics.partitions is {expected}"
        return set(), dict.fromkeys(numbers, f"the topics differ in partitions ({told})")
    whole = {number for number in numbers if all((topic, number) in assigned for topic in counts)}
    return whole, dict.fromkeys(numbers - whole, "another member of the group holds one of its topics")
