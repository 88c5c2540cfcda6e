"""A program that a test starts and ends: what daemon_rig.py and serve_rig.py have in common; and a port for a server of its own."""

import os
import signal
import socket
import subprocess

from harness import HANGS_AFTER_S, OK, equal, wait_until


def own_port(ws):
    """A TCP port of 127.0.0.1 that is nobody else's until the test ends, so that a server with SO_REUSEADDR may listen there,
    go and come back; meanwhile connections are refused."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    ws.at_end.append(keeper.close)
    return keeper.getsockname()[1]


class Running:
    """One process at a time; what it says goes to a file, of all starts."""

    def __init__(self, ws, title, stderr):
        self.ws, self.title, self.stderr, self.process = ws, title, stderr, None
        ws.at_end.append(self.kill)

    def begin(self, command, mode="ab", **options):
        """Starts it; it may not be ready."""
        assert self.process is None, "it runs"
        with open(self.stderr, mode) as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                cwd=self.ws.root,
                **{"env": self.ws.environment, **options},
            )
        if self not in self.ws.history:
            self.ws.history.append(self)

    def is_alive(self):
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"

    def said(self):
        """Everything on stderr."""
        if not os.path.exists(self.stderr):
            return ""
        with open(self.stderr, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def tell(self, number):
        self.process.send_signal(number)

    def stand_still(self):
        """Until SIGCONT; nothing of it is at work any more."""

        def stands():
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] == "T"

        self.tell(signal.SIGSTOP)
        wait_until(stands, f"{self.title} to stand still")

    def ended(self, code=OK, limit_s=HANGS_AFTER_S):
        """Waits for its end; nothing of it is left then."""
        try:
            equal(self.process.wait(limit_s), code, f"exit status of {self.title}")
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.title} does not end within {limit_s} s") from None
        self.process = None
        self.ws.no_worker_is_left()

    def stop(self, number=signal.SIGTERM, code=OK, limit_s=HANGS_AFTER_S):
        self.tell(number)
        self.ended(code, limit_s)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
