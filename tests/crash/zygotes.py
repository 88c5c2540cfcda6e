"""Runs of latentctl that cost a fork each, not the loading of all its libraries: zygote.c from Python.

    zygotes = Zygotes()     one run at a time
    zygotes.serve(ws)       its runs are forked from now on, not started with subprocess.Popen
    with zygotes.without(ws):
        ...                 but not here
    zygotes.end()
"""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess

from harness import BUILD_DIR, Skip, sanitizer_runtime

LIBRARY = os.path.join(BUILD_DIR, "tests", "zygote.so")


class Zygotes:
    """One process for each program and LD_PRELOAD, from which runs are forked."""

    def __init__(self):
        if not os.path.exists(LIBRARY):
            raise Skip(f"{LIBRARY} is not built")
        self.sockets, self.processes = {}, []

    def __call__(self, args, env, cwd, **_):
        kind = args[0], env.get("LD_PRELOAD", "")
        if kind not in self.sockets:
            self.sockets[kind] = self.begin(*kind)
        return Run(self.sockets[kind], [str(word) for word in args], env, cwd)

    def serve(self, ws):
        ws.launch, ws.workers = self, self.left_over

    @contextlib.contextmanager
    def without(self, ws):
        del ws.launch, ws.workers
        try:
            yield
        finally:
            self.serve(ws)

    def left_over(self):
        """Where processes live that runs have left behind, of whatever program."""
        return [kind for kind, zygote in self.sockets.items() if self.has_left_over(zygote)]

    def has_left_over(self, zygote):
        zygote.sendall(struct.pack("III", 0, 0, 0))
        return number(zygote)

    def begin(self, program, preload):
        ours, its = socket.socketpair()
        libraries = preload or sanitizer_runtime(program)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SHIM_", "LD_PRELOAD"))}
        env |= {"LD_PRELOAD": f"{libraries} {LIBRARY}", "LD_BIND_NOW": "1"}
        env |= {"ZYGOTE_FD": str(its.fileno())}
        process = subprocess.Popen(
            [program], pass_fds=[its.fileno()], env=env, stdin=subprocess.DEVNULL
        )
        self.processes.append(process)
        its.close()
        return ours

    def end(self):
        for ours in self.sockets.values():
            ours.close()
        for process in self.processes:
            process.wait()


def number(zygote):
    data = zygote.recv(4, socket.MSG_WAITALL)
    assert len(data) == 4, "the zygote is dead"
    return struct.unpack("i", data)[0]


class Run:
    """As much of subprocess.Popen as tests use."""

    def __init__(self, zygote, args, env, cwd):
        self.zygote, self.args, self.returncode = zygote, args, None
        self.files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        text = [cwd, *args, *(f"{k}={v}" for k, v in env.items())]
        data = b"".join(os.fsencode(word) + b"\0" for word in text)
        head = struct.pack("III", len(args), len(env), len(data))
        socket.send_fds(zygote, [head], self.files)
        zygote.sendall(data)
        self.pid = number(zygote)
        assert self.pid > 0, "no process could be forked"

    def poll(self):
        return self.wait_for(0)

    def wait_for(self, seconds):
        if self.returncode is None and select.select([self.zygote], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(number(self.zygote))
        return self.returncode

    def wait(self, timeout=None):
        if self.wait_for(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        self.wait(timeout)
        texts = []
        for file in self.files:
            with os.fdopen(file, "rb") as stream:
                stream.seek(0)
                texts.append(stream.read())
        self.files = []
        return texts
