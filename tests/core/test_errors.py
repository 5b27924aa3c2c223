"""What errors carry."""

from bridge.core.errors import (
    BridgeError,
    BudgetError,
    FencedError,
    MalformedError,
    StartError,
    UnavailableError,
    WrongSetupError,
)


def test_malformed_says_class_and_reason() -> None:
    error = MalformedError("schema", "the value is null")
    assert (error.dlq_class, error.reason, str(error)) == ("schema", "the value is null", "schema: the value is null")


def test_a_start_error_carries_its_remedy() -> None:
    error = WrongSetupError("topics are missing", remedy="run bridge topics apply")
    assert isinstance(error, StartError)
    assert (error.problem, error.remedy) == ("topics are missing", "run bridge topics apply")
    assert str(error) == "topics are missing; run bridge topics apply"


def test_unavailable_says_what_and_until_when() -> None:
    error = UnavailableError("Genesys", "429", retry_after_s=3)
    assert (error.what, error.reason, error.retry_after_s, str(error)) == ("Genesys", "429", 3, "Genesys: 429")


def test_all_are_of_one_tree() -> None:
    assert issubclass(FencedError, BridgeError)
    assert issubclass(BudgetError, BridgeError)
