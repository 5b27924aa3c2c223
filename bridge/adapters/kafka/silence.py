"""Connections on which nothing is answered any more."""

from time import monotonic
from typing import Any

from aiokafka.conn import CloseReason

# An election, or a broker that is busy, is over sooner; whoever asks once a second has asked several times by then.
_SILENT_S = 4.0


def end_silent_connections(client: Any) -> None:
    """Closes those connections of a client on which something was asked and nothing has come for 4 s.

    The next question opens another one. aiokafka closes a connection itself once an answer is overdue by its own
    timeout, 40 s and more; but not where whoever asked has called the question off before. One that a firewall has
    dropped without a word would then stay until TCP gives it up, which may take 15 minutes. For clients that ask often.
    """
    # aiokafka has no call for this. It is pinned exactly.
    for connection in list(client._conns.values()):  # noqa: SLF001
        is_asked = connection.connected() and connection._requests  # noqa: SLF001
        if is_asked and monotonic() - connection._last_action >= _SILENT_S:  # noqa: SLF001
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
