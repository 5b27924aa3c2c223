from bridge.core.matrix import MATRIX, as_markdown, event_of
from bridge.core.reconnect import RULES, rule_of


def test_every_row_stands_once_and_every_cause_has_a_row() -> None:
    assert len({row.what for row in MATRIX}) == len(MATRIX)
    assert {row.cause for row in MATRIX} == {rule.cause for rule in RULES}


def test_each_cause_is_told_by_one_event() -> None:
    told = {rule.cause: event_of(rule) for rule in RULES}
    assert {cause for cause, event in told.items() if event == "resume_scheduled"} == {"closed"}
    assert {cause for cause, event in told.items() if event == "quota_full"} == {"quota"}
    assert {cause for cause, event in told.items() if event == "reconnect_scheduled"} == told.keys() - {
        "closed",
        "quota",
    }


def test_only_what_has_happened_before_or_what_the_peer_asks_for_departs_from_the_rule() -> None:
    assert {row.what for row in MATRIX if row.is_again} == {"close 4001, again", "handshake: 401, again"}
    assert all(rule_of(row.cause).is_failure for row in MATRIX if row.is_again or row.asks)


def test_the_table_has_a_line_for_each_row() -> None:
    head, rule, *lines = as_markdown().splitlines()
    assert head.count("|") == rule.count("|") == 9
    assert len(lines) == len(MATRIX)
    assert all(line.startswith(f"| {row.what} |") for row, line in zip(MATRIX, lines, strict=True))


def test_a_line_says_what_the_rule_says() -> None:
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in as_markdown().splitlines()}
    assert lines["close 1001 (going away)"] == (
        "| close 1001 (going away) | `resume_scheduled` | `closed` | no | within 1 s | no | again, or `finish` | no |"
    )
    assert lines["close 4001 (token)"] == (
        "| close 4001 (token) | `reconnect_scheduled` | `token` | yes | within 1 s | yes | again | no |"
    )
    assert lines["close 4001, again"] == (
        "| close 4001, again | `reconnect_scheduled` | `token` | yes | backoff | yes | again | no |"
    )
    assert "| as asked, at most `genesys.retry_after_max_s` |" in lines["handshake: 503, Retry-After as a date"]
    assert "| `genesys.reconnect_cap_s` | yes | again | yes |" in lines["content library disabled"]
    assert "| every `genesys.quota_poll_s` | no | again | no |" in lines["quota full, until it is free again"]
