"""The broker that the tests talk to: Apache Kafka 4.4.0 where Java and Maven are there, else the embedded one."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from bridge.demo.broker import EmbeddedBroker

_HERE = Path(__file__).parent / "kafka"
_JARS = _HERE / ".jars"
_START_S = 60


def choice() -> str:
    """`kafka`, `embedded` or `HOST:PORT`: `BRIDGE_TEST_BROKER`, else what this machine has."""
    chosen = os.environ.get("BRIDGE_TEST_BROKER")
    if chosen:
        return chosen
    return "kafka" if shutil.which("java") and shutil.which("mvn") else "embedded"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Runs the chosen broker with its files in `folder`; yields its bootstrap servers."""
    match choice():
        case "kafka":
            with KafkaBroker(folder) as kafka:
                yield kafka.bootstrap_servers
        case "embedded":
            with EmbeddedBroker(folder) as embedded:
                yield embedded.bootstrap_servers
        case address:
            yield address


class KafkaBroker:
    """One Kafka node in KRaft mode, broker and controller in one process, to be stopped, killed and started again."""

    def __init__(self, folder: Path, *, heap: str = "512m", **settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._heap = heap
        self._port, self._controller_port = _free_ports(2)
        self._process: subprocess.Popen[str] | None = None
        self._log = threading.Thread()

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the broker is not running"
        return self._process

    def __enter__(self) -> Self:
        self.format()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def controller(self) -> str:
        return f"127.0.0.1:{self._controller_port}"

    def join(self, **settings: str) -> None:
        """Further settings, before the first start."""
        self._settings |= settings

    def start(self) -> None:
        """Starts the broker and returns once it serves; its data and its port are those of the former start."""
        self._process = subprocess.Popen(
            [*self._java(), "kafka.Kafka", str(self._folder / "server.properties")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        output, started = self._process.stdout, threading.Event()
        self._log = threading.Thread(target=self._keep, args=(output, started), daemon=True)
        self._log.start()
        if not started.wait(_START_S) or self._process.poll() is not None:
            self.kill()
            raise RuntimeError(f"Kafka did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """An orderly stop."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The end without warning."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(timeout=_START_S)
        self._log.join(timeout=_START_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def _keep(self, output: IO[str], started: threading.Event) -> None:
        with (self._folder / "log").open("a", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                if "Kafka Server started" in line:
                    started.set()
        started.set()  # The process has ended: whoever waits looks at its exit code.

    def format(self) -> None:
        """Makes its folder, once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = (f"{name}={value}" for name, value in self._properties().items())
        (self._folder / "server.properties").write_text("\n".join(lines) + "\n")
        subprocess.run(
            [
                *self._java(),
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                "bridge-tests-0000000000",
                "--config",
                str(self._folder / "server.properties"),
            ],
            check=True,
            capture_output=True,
        )

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # The shortest session that a test may ask for: a dead member is noticed in a second, not in 30.
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            # How often it looks for transactions that have outlived their timeout.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            **self._settings,
        }

    def _java(self) -> list[str]:
        return [
            "java",
            f"-Xmx{self._heap}",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}",
            "-cp",
            f"{jars()}/*",
        ]


class KafkaCluster:
    """Three Kafka nodes that replicate everything to each other, unless `settings` say less; one may be away."""

    def __init__(self, folder: Path, **settings: str) -> None:
        common = _REPLICATED | settings
        self.brokers = [KafkaBroker(folder / str(number), heap="256m", **common) for number in range(1, 4)]
        voters = ",".join(f"{number}@{broker.controller}" for number, broker in enumerate(self.brokers, start=1))
        for number, broker in enumerate(self.brokers, start=1):
            broker.join(**{"node.id": str(number), "controller.quorum.voters": voters})

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def __enter__(self) -> Self:
        try:
            for broker in self.brokers:
                broker.format()
            # None of them serves before most of them are there.
            with ThreadPoolExecutor() as threads:
                list(threads.map(KafkaBroker.start, self.brokers))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()


_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # A dead one is noticed soon, and leads again soon after it is back.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "leader.imbalance.check.interval.seconds": "2",
    "leader.imbalance.per.broker.percentage": "0",
}


def jars() -> Path:
    """The folder with Kafka's jars; Maven fills it once."""
    done = _JARS / ".done"
    if not done.exists():
        subprocess.run(
            [
                "mvn",
                "--quiet",
                "--batch-mode",
                "--file",
                str(_HERE / "pom.xml"),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={_JARS}",
            ],
            check=True,
        )
        done.touch()
    return _JARS


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
