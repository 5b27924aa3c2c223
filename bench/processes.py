"""Processes of the benchmark: started, watched through /proc, ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 60
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Watched:
    """What the kernel says of a process."""

    pid: int

    @property
    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        # The second field, the command, may hold anything but its closing bracket.
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    @property
    def rss_bytes(self) -> int:
        """The memory that it has now."""
        return self._status("VmRSS")

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that it has had."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        # One that has ended and was not waited for has none.
        lines = (line for line in self._read("status").splitlines() if line.startswith(f"{name}:"))
        line = next(lines, f"{name}: 0 kB")
        return int(line.split()[1]) * 1024

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text(encoding="ascii", errors="replace")


@asynccontextmanager
async def running(
    module: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Watched, asyncio.StreamReader]]:
    """`python -m MODULE ARGUMENTS` beside the block, and its standard output; stopped with SIGTERM at the end."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            cwd=_ROOT,
            env=_environment(environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        yield Watched(process.pid), process.stdout
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Ended(NamedTuple):
    """What a process has printed, and what it took."""

    output: bytes
    took_s: float
    cpu_s: float
    peak_rss_bytes: int


def run_to_end(module: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> Ended:
    """`python -m MODULE ARGUMENTS` from its start to its end; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", module, *arguments]
    started_s, peak_rss_bytes = time.monotonic(), 0
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command, cwd=_ROOT, env=_environment(environment), stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        # The kernel's last word has the time that a process took, but of its memory also what we had when we began it.
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak_rss_bytes = max(peak_rss_bytes, Watched(process.pid).peak_rss_bytes)
            time.sleep(_LOOK_S)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stdout is not None
        output = process.stdout.read()  # A few kilobytes, which the pipe has held.
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Ended(
        output=output,
        took_s=time.monotonic() - started_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=peak_rss_bytes,
    )


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    # Nothing that the shell has set for another bridge.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    return inherited | dict(more or {})
