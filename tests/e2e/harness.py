"""What the end-to-end tests share: the built programs, a workspace for each test, and the runner.

    from harness import test, run_tests

    @test
    def a_sentence_that_says_what_holds(ws):
        ws.pictures(6)
        ws.encode()

    run_tests()

Prints a line for each test and ends with 'N passed, N failed, N skipped'. LATENTD_BUILD_DIR names the build
folder. LATENTD_E2E_KEEP=1 leaves the workspaces where they are.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE_DIR = os.environ.get("LATENTD_SOURCE_DIR") or os.path.realpath(
    os.path.join(os.path.dirname(__file__), "..", "..")
)
BUILD_DIR = os.environ.get("LATENTD_BUILD_DIR") or os.path.join(SOURCE_DIR, "build")
SHARED_DIR = os.path.join(os.path.dirname(SOURCE_DIR), "shared")
GOLDEN_IMAGES = os.path.join(SOURCE_DIR, "tests", "golden", "images")
SMALL = ("rocket.jpg", "odd_420.jpg", "orientation_6.jpg", "grey_alpha.png", "grey.jpg")
# What takes longer hangs: the slowest needs seconds, also under a sanitizer; but machines may be busy.
HANGS_AFTER_S = 300

OK, FAILED, USAGE, QUARANTINED, DAMAGED, BUSY, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


class Skip(Exception):
    """What a test needs is not here."""


class Result:
    """How a command ended. Text may hold bytes that are not UTF-8, as surrogates."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    def __str__(self):
        return f"{' '.join(self.words)}\n  exit status {self.code}\n{self.out}{self.err}"

    @property
    def errors(self):
        """Lines on stderr, without the progress that a slow run prints every ten seconds."""
        return [line for line in self.err.splitlines() if not re.match(r"\d+/\d+ images", line)]

    @property
    def json(self):
        return [json.loads(line) for line in self.out.splitlines()]


def equal(got, wanted, what="it"):
    assert got == wanted, f"{what} is {got!r}, not {wanted!r}"


def same_members(got, wanted, what):
    """Two collections without repeats; says which members differ."""
    got, wanted = list(got), list(wanted)
    assert len(set(got)) == len(got), f"{what}: twice: {sorted(g for g in got if got.count(g) > 1)}"
    missing, extra = sorted(set(wanted) - set(got)), sorted(set(got) - set(wanted))
    assert not missing and not extra, f"{what}: missing {missing}, too many {extra}"


def one_line(result, *words):
    """The only line on stderr, which must have every one of @words in it."""
    equal(len(result.errors), 1, "number of error lines")
    for word in words:
        assert word in result.err, f"{word!r} is not in: {result.err}"


def wait_until(condition, what):
    """Polls, less often with time: files and processes of others send no events."""
    end, pause_s = time.monotonic() + HANGS_AFTER_S, 0.002
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {HANGS_AFTER_S} s for {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.1, 0.05)
    return value


def listens(path_of_socket):
    """The file is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path_of_socket) == 0


def shared(*parts):
    path = os.path.join(SHARED_DIR, *parts)
    if not os.path.exists(path):
        raise Skip(f"{path} is not here")
    return path


@functools.cache
def sanitizer_runtime(program):
    """A sanitizer's library wants to be the first one."""
    with open(program, "rb") as file:
        text = file.read()
    for name in (b"libasan.so.8", b"libasan.so.6", b"libasan.so.5"):
        if name in text:
            return name.decode() + " "
    return ""


@functools.cache
def sanitized():
    return bool(sanitizer_runtime(os.path.join(BUILD_DIR, "daemon", "latentd")))


def demo_model():
    shipped = os.path.join(SOURCE_DIR, "models", "demo")
    return shipped if os.path.exists(shipped) else shared("models", "demo_vae")


class Workspace:
    """A folder for one test, with programs, pictures, output and state in it."""

    def __init__(self):
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="latentd-e2e-"))
        os.chmod(self.root, 0o755)
        self.src, self.out, self.name = self.path("pictures"), self.path("out"), "set"
        self.programs = os.path.join(BUILD_DIR, "daemon")
        # No server of a test is reached by a proxy.
        plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.environment = dict(plain, XDG_STATE_HOME=self.path("state"), HOME=self.root)
        # Not that of a daemon which happens to run here.
        self.environment["LATENTD_SOCKET"] = self.path("no.sock")
        # Workers see none of that; options of sanitizers are passed to them.
        self.environment["E2E_SAN_OPTIONS"] = self.root
        self.history = []
        self.at_end = []  # functions that end what still runs, also after a failure

    def remove(self):
        for end in self.at_end:
            end()
        for at, folders, _ in os.walk(self.root):
            for name in folders:  # before the walk opens them
                with contextlib.suppress(OSError):
                    os.chmod(os.path.join(at, name), 0o700)
        shutil.rmtree(self.root)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    # -- files

    def write(self, path, data=b"", folder=None):
        full = os.path.join(folder or self.src, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        return full

    def secret(self, name, data):
        """A file of this test's own that only its owner reads."""
        path = self.write(name, data, self.root)
        os.chmod(path, 0o600)
        return path

    def golden(self, name, to, folder=None):
        """A picture of tests/golden/images under another name, as a file of its own."""
        with open(os.path.join(GOLDEN_IMAGES, name), "rb") as file:
            return self.write(to, file.read(), folder)

    def pictures(self, n):
        """@n painted pictures with captions, all different; their paths, relative and sorted."""
        program = os.path.join(BUILD_DIR, "tests", "make_pictures")
        subprocess.run([program, self.src, str(n)], check=True, stdout=subprocess.DEVNULL)
        found = []
        for at, _, names in os.walk(self.src):
            found += [os.path.join(at, name) for name in names if not name.endswith(".txt")]
        return sorted(os.path.relpath(path, self.src) for path in found)

    def small_pictures(self, n, folder=None, first=0, names=SMALL):
        """@n small pictures that differ in their last byte alone: fast to decode and to make, and old enough for a
        daemon that meets them in a scan."""
        paths = []
        for i in range(first, first + n):
            name = names[i % len(names)]
            paths.append(f"{i % 3}/{i:04d}{os.path.splitext(name)[1]}")
            path = os.path.join(folder or self.src, paths[-1])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.path.join(GOLDEN_IMAGES, name), "rb") as file:
                data = file.read()
            with open(path, "wb", buffering=0) as file:
                file.write(data + b"%d" % i)
                os.utime(file.fileno(), (time.time() - 60,) * 2)
        return paths

    # -- programs

    launch = subprocess.Popen  # tests/crash/zygotes.py has another

    def start(self, *words, **options):
        """latentctl in the background, as subprocess.Popen."""
        command = [os.path.join(self.programs, "latentctl"), *words]
        settings = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": self.environment,
            "cwd": self.root,
        }
        return self.launch(command, **{**settings, **options})

    def finish(self, process):
        """Waits for what start() gave."""
        try:
            out, err = process.communicate(timeout=HANGS_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"{process.args} hangs") from None
        words = ["latentctl", *map(str, process.args[1:])]
        texts = [(t or b"").decode("utf-8", "surrogateescape") for t in (out, err)]
        self.history.append(Result(words, process.returncode, *texts))
        return self.history[-1]

    def stops_at(self, call, folder):
        """The environment of a latentctl that stops, until SIGCONT, before a @call of tests/crash/shim.h ("sync:6") on
        what is in @folder."""
        shim = os.path.join(BUILD_DIR, "tests", "shim.so")
        if not os.path.exists(shim):
            raise Skip(f"{shim} is not built")
        first = sanitizer_runtime(os.path.join(self.programs, "latentctl"))
        return {
            "LD_PRELOAD": (first + shim).replace(" ", ":"),  # one word for a shell
            "SHIM_PROGRAM": "latentctl",
            "SHIM_ROOTS": folder,
            "SHIM_FAULT": f"{call}:stop",
        }

    def start_and_stop(self, call, folder, *words, **options):
        """A latentctl that stands still there: whatever happens to it happens in its middle."""
        process = self.start(*words, env={**self.environment, **self.stops_at(call, folder)}, **options)
        wait_until(lambda: process.poll() is not None or is_stopped(process), f"a stop at {call}")
        assert process.poll() is None, self.finish(process)
        return process

    def latentctl(self, *words, code=OK, **options):
        result = self.finish(self.start(*words, **options))
        if code is not None:
            assert result.code == code, f"exit status {result.code}, not {code}"
        return result

    def encode_words(self, *options, src=None, out=None, vae="fake"):
        words = ["encode", *(src or [self.src]), "--vae", vae]
        words += ["--out", out or self.out, "--resolution", "128", "--name", self.name]
        # the pictures are tiny; a test of what is left out gives its own limit after this one
        return [*words, "--max-upscale", "0", *options]

    def encode(self, *options, code=OK, src=None, out=None, vae="fake", **settings):
        """Into the dataset self.name of the workspace's output."""
        words = self.encode_words(*options, src=src, out=out, vae=vae)
        return self.latentctl(*words, code=code, **settings)

    def verify(self, code=OK):
        return self.latentctl("verify", "--out", self.out, code=code)

    def failed(self):
        """{path as bytes: reason} of the images that could not be encoded."""
        from reference import percent_decode

        rows = self.latentctl("failed", "--out", self.out, "--name", self.name, "--json").json
        assert all(row["message"] for row in rows), rows
        reasons = {percent_decode(row["source"]): row["reason"] for row in rows}
        equal(len(reasons), len(rows), "number of paths that failed")
        return reasons

    def status(self):
        (row,) = self.latentctl("status", "--out", self.out, "--name", self.name, "--json").json
        return row

    @property
    def dataset(self):
        return os.path.join(self.out, self.name)

    def workers(self):
        """Processes latentd-decode and latentd-unpack that runs of this workspace have started."""
        found, mark = [], f"E2E_SAN_OPTIONS={self.root}".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/comm", "rb") as comm:
                    is_worker = comm.read().strip() in (b"latentd-decode", b"latentd-unpack")
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if is_worker and mark in environ.read().split(b"\0"):
                        found.append(int(pid))
        return found

    def no_worker_is_left(self):
        wait_until(lambda: not self.workers(), "workers to end")

    # -- other users and file systems

    def unprivileged(self):
        """Options of latentctl() for a user who is not root; nothing may be taken for readable."""
        if os.geteuid() != 0:
            return {}
        if self.programs != self.path("programs"):
            shutil.copytree(self.programs, self.path("programs"), ignore=only_programs)
            self.programs = self.path("programs")
        os.makedirs(self.path("state"), exist_ok=True)
        os.chown(self.path("state"), 65534, 65534)
        options = {"user": 65534, "group": 65534, "extra_groups": []}
        try:
            self.latentctl("version", **options)
        except OSError as error:
            raise Skip(f"no other user can run programs in {self.root}: {error}") from None
        return options

    def in_own_mounts(self, script, *words):
        """Runs a shell script in a mount namespace, so that nothing stays mounted; $ctl is latentctl."""
        own = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
        probe = [*own, "mount", "-t", "tmpfs", "tmpfs", self.root]
        try:
            subprocess.run(probe, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", b"") or str(error).encode()
            raise Skip(f"mounts do not work here: {why.decode().strip()}") from None
        env = dict(self.environment, ctl=os.path.join(self.programs, "latentctl"))
        return self.finish(
            subprocess.Popen(
                [*own, "sh", "-c", script, "sh", *words],
                env=env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )


def is_stopped(process):
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def only_programs(folder, names):
    return [name for name in names if name not in ("latentctl", "latentd-decode", "latentd-unpack")]


# -- the runner

_tests = []


def test(function):
    _tests.append(function)
    return function


def gap(why):
    """Below @test: what is not so yet. The test must fail, and says so as a skip, until it is."""

    def mark(function):
        function.gap = why
        return function

    return mark


def _run(function):
    ws, why = Workspace(), getattr(function, "gap", None)
    try:
        function(ws)
    except Skip:
        raise
    except Exception:
        if why:
            raise Skip(f"known gap: {why}") from None
        # The surrogates of odd names do not print.
        text = traceback.format_exc() + "".join(f"\n$ {r}" for r in ws.history[-3:])
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
        raise
    finally:
        if not os.environ.get("LATENTD_E2E_KEEP"):
            ws.remove()


def run_tests():
    """Runs the tests of the calling script; names on the command line choose among them."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    chosen = [t for t in _tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    for function in chosen:
        name, began = function.__name__, time.monotonic()
        try:
            _run(function)
            if hasattr(function, "gap"):
                print(f"{name} holds now: take @gap away")
                raise AssertionError(name)
        except Skip as why:
            counts["skipped"] += 1
            print(f"SKIPPED {name}: {why}", flush=True)
        except Exception:
            counts["failed"] += 1
            print(f"FAILED {name}", flush=True)
        else:
            counts["passed"] += 1
            print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    nothing_ran = counts["passed"] + counts["failed"] == 0
    sys.exit(1 if counts["failed"] else 77 if nothing_ran else 0)
