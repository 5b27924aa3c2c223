"""Kafka clients as the bridge uses them: one place for their options, limits and safety settings."""

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.helpers import create_ssl_context

from bridge.adapters.kafka.header_names import tolerate_header_names
from bridge.core.options import OneOf, Within

MAX_BATCH_BYTES = 512 * 1024
# Above the largest topic limit (2 MiB on `dlq.*`): the size of a record is checked by whoever makes it.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
_FOR_EVER_S = float("inf")
_HOST = re.compile(r"([^\s:/]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `kafka`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    bootstrap_servers: str = "localhost:9092"
    prefix: str = ""
    security_protocol: Annotated[str, OneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")] = "PLAINTEXT"
    sasl_mechanism: Annotated[str, OneOf("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")] = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    session_timeout_ms: Annotated[int, Within(1_000, 300_000)] = 30_000
    heartbeat_interval_ms: Annotated[int, Within(100, 60_000)] = 3_000
    rebalance_timeout_ms: Annotated[int, Within(1_000, 300_000)] = 30_000
    transaction_timeout_ms: Annotated[int, Within(1_000, 900_000)] = 15_000
    commit_interval_ms: Annotated[int, Within(0, 10_000)] = 20
    stuck_after_s: Annotated[float, Within(1, 86_400)] = 60.0
    start_from: Annotated[str, OneOf("earliest", "latest", "fail")] = "earliest"
    raw_compression: Annotated[str, OneOf("none", "gzip", "snappy", "zstd")] = "zstd"
    compression: Annotated[str, OneOf("none", "gzip", "snappy", "zstd")] = "none"


class Clients:
    """Makes the Kafka clients of one process from its options. None of them is started."""

    def __init__(self, options: Options, *, client_id: str = "bridge") -> None:
        tolerate_header_names()
        self.options = options
        self._common: dict[str, Any] = {
            "bootstrap_servers": options.bootstrap_servers,
            "client_id": client_id,
            "metadata_max_age_ms": 60_000,
            "request_timeout_ms": max(40_000, options.rebalance_timeout_ms + 10_000),
            **_security(options),
        }

    def group_consumer(self, group: str) -> AIOKafkaConsumer:
        """A member of a consumer group that never commits by itself and never jumps: a lost position is an error.

        Range is the one assignor that gives the same numbers of co-partitioned topics to one member.
        """
        return AIOKafkaConsumer(
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=self.options.session_timeout_ms,
            heartbeat_interval_ms=self.options.heartbeat_interval_ms,
            rebalance_timeout_ms=self.options.rebalance_timeout_ms,
            # The engine's own watch tells a stuck worker; this client-side limit would only leave the group.
            max_poll_interval_ms=24 * 60 * 60 * 1000,
            fetch_max_wait_ms=100,
            retry_backoff_ms=50,
            **self._common,
        )

    def reader(
        self,
        *,
        isolation_level: str = "read_committed",
        start_from: str = "earliest",
        max_partition_fetch_bytes: int = 1024 * 1024,
    ) -> AIOKafkaConsumer:
        """A consumer without a group: for probes, state restores, tables and people."""
        return AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset=start_from,
            isolation_level=isolation_level,
            max_partition_fetch_bytes=max_partition_fetch_bytes,
            fetch_max_wait_ms=50,
            retry_backoff_ms=50,
            **self._common,
        )

    def transactional_producer(self, transactional_id: str) -> AIOKafkaProducer:
        """A producer for one number of one group; its `start()` fences the one before it."""
        producer = AIOKafkaProducer(
            transactional_id=transactional_id,
            transaction_timeout_ms=self.options.transaction_timeout_ms,
            acks="all",
            compression_type=_compression(self.options.compression),
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            retry_backoff_ms=20,
            **self._common,
        )
        producer._message_accumulator._pending_batches = _Pending()  # noqa: SLF001
        return producer

    def idempotent_producer(self, *, compression: str) -> AIOKafkaProducer:
        """A producer that writes each batch once and in order, over retries and broker restarts."""
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            acks="all",
            compression_type=_compression(compression),
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            retry_backoff_ms=50,
            **self._common,
        )
        # It would give up a batch that has waited for longer than a request may take, once nobody leads its partition:
        # so at the return of brokers that were away for a minute, though it may stand on the topic already. Private,
        # because there is no option for it; aiokafka is pinned exactly.
        producer._message_accumulator._batch_ttl = _FOR_EVER_S  # noqa: SLF001
        producer._message_accumulator._pending_batches = _Pending()  # noqa: SLF001
        return producer

    def admin(self, *, request_timeout_ms: int | None = None) -> AIOKafkaAdminClient:
        """A client for topics, groups and committed positions.

        A connection on which no answer comes for `request_timeout_ms` is closed, and the next request opens another.
        """
        shorter = {} if request_timeout_ms is None else {"request_timeout_ms": request_timeout_ms}
        return AIOKafkaAdminClient(**(self._common | shorter))


class _Pending(set[object]):
    """The batches that a producer has sent and not heard of.

    aiokafka takes one that is to be sent again off them, and once more where its producer ends meanwhile: a KeyError.
    """

    remove = set.discard


def _compression(name: str) -> str | None:
    return None if name == "none" else name


def _security(options: Options) -> dict[str, Any]:
    security: dict[str, Any] = {"security_protocol": options.security_protocol}
    if options.security_protocol in {"SSL", "SASL_SSL"}:
        security["ssl_context"] = create_ssl_context(
            cafile=options.ssl_cafile or None,
            certfile=options.ssl_certfile or None,
            keyfile=options.ssl_keyfile or None,
        )
    if options.security_protocol.startswith("SASL"):
        security |= {
            "sasl_mechanism": options.sasl_mechanism,
            "sasl_plain_username": options.sasl_username,
            "sasl_plain_password": options.sasl_password,
        }
    return security


def group_of(options: Options, worker: str) -> str:
    """The consumer group of a worker: `<prefix>ranker`."""
    return options.prefix + worker


def transactional_id_of(group: str, number: int) -> str:
    """The transactional id of one number of a group: `<prefix>ranker-3`."""
    return f"{group}-{number}"


def faults_of(options: Options) -> Iterator[str]:
    """What no range tells about the section `kafka`: one line each, with the option's path. Secrets are not in it."""
    if not all(_HOST.fullmatch(host) and int(host.rpartition(":")[2]) <= 65_535 for host in hosts_of(options)):
        yield f"kafka.bootstrap_servers: must be HOST:PORT, several with commas, got {options.bootstrap_servers!r}"
    if options.heartbeat_interval_ms * 3 > options.session_timeout_ms:
        limit = f"a third of kafka.session_timeout_ms ({options.session_timeout_ms})"
        yield f"kafka.heartbeat_interval_ms: must not be above {limit}, got {options.heartbeat_interval_ms}"
    # A rebalance is no reason to make the consumer anew: that would begin the next one. Nor is a coordinator that is
    # away: a number waits for it in its transaction.
    for name in ("rebalance_timeout_ms", "transaction_timeout_ms"):
        limit_ms: int = getattr(options, name)
        if options.stuck_after_s * 1000 <= limit_ms:
            yield f"kafka.stuck_after_s: must be above kafka.{name} ({limit_ms}), got {options.stuck_after_s:g}"
    for name in ("sasl_username", "sasl_password"):
        if options.security_protocol.startswith("SASL") and not getattr(options, name):
            yield f"kafka.{name}: must be set, because kafka.security_protocol is {options.security_protocol}"
    yield from _faults_of_files(options)


def _faults_of_files(options: Options) -> Iterator[str]:
    missing = [
        f"kafka.{name}: must be a file, got {file!r}"
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
        if (file := getattr(options, name)) and not Path(file).is_file()
    ]
    yield from missing
    try:
        if not missing:
            _security(options)
    except (ssl.SSLError, OSError) as error:
        yield f"kafka.ssl_cafile, ssl_certfile, ssl_keyfile: must be PEM files that fit ({type(error).__name__})"


def hosts_of(options: Options) -> Sequence[str]:
    """The bootstrap servers, one by one."""
    return [host.strip() for host in options.bootstrap_servers.split(",")]
