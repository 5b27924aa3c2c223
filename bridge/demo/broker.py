"""The embedded broker: noida-db speaks Kafka's protocol from one small binary, so that the demo needs no Kafka."""

import socket
import stat
import subprocess
import threading
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import IO, Self

from bridge.core.errors import StartError

_START_S = 30


class EmbeddedBroker:
    """One broker process on loopback with its files in `folder`, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the broker and returns once it listens; raises StartError where it is not installed or fails."""
        self._process = subprocess.Popen(  # noqa: S603 - our own dependency, fixed arguments
            [_binary(), "start", "--only", "kafka", "--kafka-port", str(self._port), "--data-dir", str(self._folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if not _until_listening(self._process, _output_of(self._process)):
            self.stop()
            raise StartError("the embedded broker did not start", remedy="run `noida-db start --only kafka` to see why")

    def stop(self) -> None:
        """Ends the broker."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()
        _output_of(self._process).close()
        self._process = None


def _until_listening(process: subprocess.Popen[str], output: IO[str]) -> bool:
    """False if the broker ended, or did not say within 30 s that it listens."""
    give_up = threading.Timer(_START_S, process.kill)
    give_up.start()
    try:
        # Its last line once all its ports are open.
        return any("Ctrl-C to stop" in line for line in output)
    finally:
        give_up.cancel()


def _output_of(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise TypeError("the process was started without a pipe")
    return process.stdout


def _binary() -> Path:
    # The binary itself: the package's script starts it as a child, which would outlive the script.
    try:
        binary = Path(str(files("noida_db"))) / "noida-db"
    except ModuleNotFoundError as error:
        raise StartError("noida-db is not installed", remedy="install bridge with the extra `demo`") from error
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)  # A wheel does not keep the bit everywhere.
    return binary


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
