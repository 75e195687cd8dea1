"""A server process on 127.0.0.1 that can be stopped, killed and paused, and never outlives the tests."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

__all__ = ["LocalServer", "free_port"]

# The shell tells the server's process id and waits for the name of a signal to end it with. If
# nobody is left to say one, because the tests were killed, it kills the server and removes its
# files. (`preexec_fn` with PR_SET_PDEATHSIG would warn in a process with threads, from 3.12 on.)
GUARD = """
log=$1; files=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 &
server=$!
echo $server
if read -r name; then kill -s "$name" $server; wait $server
else kill -s CONT $server; kill -s QUIT $server; kill -s KILL $server; wait $server; rm -rf "$files"
fi
"""

START_SECONDS = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now.

    It is below those that the system gives to connections: one of them might take it before the
    server does, or while that is restarted. (A cluster's nodes also use the port 10,000 above.)
    """
    while True:
        port = 12_000 + secrets.randbelow(10_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


class LocalServer:
    """One server with a port and a directory of its own; subclasses say which.

    Attributes:
        port: Of 127.0.0.1; the same for all its life.
        directory: Where its data and its log are.
    """

    name = "a server"
    quits_at = signal.SIGTERM

    def __init__(self, *, user: int | None = None) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="llmgate-"))
        self._user = user
        if user is not None:
            os.chown(self.directory, user, -1)
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    # -- what subclasses say

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it can be worked with; any error counts as no."""
        raise NotImplementedError

    # -- for tests

    @property
    def pid(self) -> int:
        """Of the server itself."""
        return self._pid

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def start(self) -> Self:
        """Run it and return when it answers."""
        assert not self.running, f"{self.name} is running already"
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self.log), str(self.directory), *self.command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            user=self._user,
            extra_groups=None if self._user is None else [],
            cwd=self.directory,
        )
        assert self._guard.stdout is not None
        self._pid = int(self._guard.stdout.readline())
        self.wait(self.answers, "does not answer")
        return self

    def stop(self) -> None:
        """End it in order."""
        self._end(self.quits_at)

    def kill(self) -> None:
        """`kill -9`: nothing that was not on disk yet is there any more."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it in order and start it again, on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """It accepts connections and says nothing, until `resume`."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and remove what it wrote."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait(self, until: Callable[[], bool], trouble: str) -> None:
        """Return when `until` says so; an error of it counts as not yet."""
        end = time.monotonic() + START_SECONDS
        error: Exception | None = None
        while time.monotonic() < end and self.running:
            try:
                if until():
                    return
            except Exception as caught:
                error = caught
            time.sleep(0.01)
        said = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
        raise RuntimeError(f"{self.name} on port {self.port} {trouble}: {error!r}\n{said}")

    def _end(self, by: signal.Signals) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        os.kill(self._pid, signal.SIGCONT)  # a paused one does not see that it is to end
        guard.communicate(by.name.removeprefix("SIG").encode() + b"\n")
