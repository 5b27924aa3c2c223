"""Which connections of a client are closed because nothing is answered on them, without Kafka."""

from time import monotonic

from aiokafka.conn import CloseReason

from bridge.adapters.kafka.silence import end_silent_connections


class Connection:
    """Of which it is known since when nothing has come, and what was asked there."""

    def __init__(self, *, silent_s: float, asked: int, is_connected: bool = True) -> None:
        self._last_action = monotonic() - silent_s
        self._requests = [object()] * asked
        self._is_connected = is_connected
        self.closed_for: CloseReason | None = None

    def connected(self) -> bool:
        return self._is_connected

    def close(self, *, reason: CloseReason) -> None:
        self.closed_for = reason


class Client:
    """With these connections, by whatever they go to."""

    def __init__(self, **connections: Connection) -> None:
        self._conns = connections


def test_a_connection_that_has_not_answered_for_long_is_closed_as_after_a_timeout() -> None:
    silent = Connection(silent_s=5, asked=2)
    end_silent_connections(Client(to_1=silent))
    assert silent.closed_for is CloseReason.CONNECTION_TIMEOUT, "the client looks up its leaders anew, too"


def test_one_that_has_answered_lately_or_was_asked_nothing_or_is_closed_stays() -> None:
    connections = {
        "busy": Connection(silent_s=1, asked=2),
        "idle": Connection(silent_s=3_600, asked=0),
        "gone": Connection(silent_s=5, asked=2, is_connected=False),
    }
    end_silent_connections(Client(**connections))
    assert [connection.closed_for for connection in connections.values()] == [None, None, None]
