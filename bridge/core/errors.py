"""The errors of the bridge, named for what the caller can do.

BridgeError
├── MalformedError          this record or frame can never be used: set it aside as a dead letter
├── StartError              something outside is not as it must be: tell the operator, exit 1
│   └── WrongSetupError     … and no wait will mend it: tell the operator, exit 78
├── UnavailableError        something outside does not answer now: try again with backoff
└── TransactionError        a transaction did not commit: drop the producer and restore the number
    ├── FencedError         … because another process owns the number: park it first
    └── BudgetError         … because it would set too much aside: park the number, and look again later
"""


class BridgeError(Exception):
    """Everything that the bridge itself raises."""


class MalformedError(BridgeError):
    """A record or frame that can never be used.

    `dlq_class` is one of the classes of `x-dlq-class`; `reason` is one sentence without personal data.
    """

    def __init__(self, dlq_class: str, reason: str) -> None:
        super().__init__(f"{dlq_class}: {reason}")
        self.dlq_class = dlq_class
        self.reason = reason


class StartError(BridgeError):
    """Something outside is not as it must be; `remedy` says what an operator can do about it."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class WrongSetupError(StartError):
    """The set-up is wrong (topics missing, options that contradict the cluster): waiting does not help."""


class UnavailableError(BridgeError):
    """Something outside does not answer now.

    `retry_after_s` is what it asked for, if it did; `remedy` what an operator can do, empty where nobody knows.
    """

    def __init__(self, what: str, reason: str, *, retry_after_s: float | None = None, remedy: str = "") -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.remedy = remedy


class TransactionError(BridgeError):
    """A transaction did not commit, or nobody knows whether it did; the number must be restored."""


class FencedError(TransactionError):
    """Another process has started the producer of this number, or the transaction timed out."""


class BudgetError(TransactionError):
    """A batch would set aside more than the dead-letter budget allows: nothing of it was written."""
