"""Runs `bridge` as a process of its own, with no options but those that the test gives."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_DEADLINE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


def bridge(*arguments: str, **environment: str) -> Ended:
    """Runs a command to its end."""
    done = subprocess.run(
        _command(arguments),
        env=_environment(environment),
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


async def bridge_beside(*arguments: str, **environment: str) -> Ended:
    """Runs a command to its end, while the test's own loop goes on (a simulator in it answers)."""
    async with started(*arguments, **environment) as process, asyncio.timeout(_DEADLINE_S):
        stdout, stderr = await process.communicate()
        return Ended(code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())


@asynccontextmanager
async def started(
    *arguments: str, module: str = "bridge", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs beside the test, and no longer than it. `module` is run in the place of `bridge`."""
    process = await asyncio.create_subprocess_exec(
        *_command(arguments, module=module),
        env=_environment(environment),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def line_from(process: asyncio.subprocess.Process) -> str:
    """The next line that the command prints."""
    assert process.stdout is not None
    async with asyncio.timeout(_DEADLINE_S):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def code_of(process: asyncio.subprocess.Process) -> int:
    """The exit code of a command that is about to end."""
    async with asyncio.timeout(_DEADLINE_S):
        return await process.wait()


def _command(arguments: tuple[str, ...], *, module: str = "bridge") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _environment(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")} | environment
