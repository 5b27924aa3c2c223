"""Processes of the benchmark: started, watched through /proc, ended."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 60


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
        line = next(line for line in self._read("status").splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text(encoding="ascii", errors="replace")


@asynccontextmanager
async def running(
    module: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Watched, asyncio.StreamReader]]:
    """`python -m MODULE ARGUMENTS` beside the block, and its standard output; stopped with SIGTERM at the end."""
    # Nothing that the shell has set for another bridge.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            cwd=_ROOT,
            env=inherited | dict(environment or {}),
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
