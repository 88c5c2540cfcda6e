"""A latentd for a test: its configuration, the process, its API over the socket, and how it ends.

    daemon = Daemon(ws)
    daemon.dataset("photos", on_delete="remove")     source ws.path("photos"), output ws.out
    daemon.start()                                 waits until it answers
    daemon.wait_for("photos", encoded=3)
    daemon.post("/drain")
    daemon.stop()                                  in order: exit status 0, nothing left behind

The configuration is a Python dict that is written as JSON, which is YAML too.
"""

import contextlib
import copy
import http.client
import json
import os
import socket
import subprocess

from harness import BUILD_DIR, HANGS_AFTER_S, OK, Result, Skip, equal, sanitizer_runtime, wait_until
from process_rig import Running

FINISHED = ("completed", "encoded")


class Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path):
        super().__init__("latentd", timeout=HANGS_AFTER_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon(Running):
    def __init__(self, ws, name="daemon"):
        super().__init__(ws, "latentd", ws.path(f"{name}.stderr"))
        self.name = name
        self.program = os.path.join(ws.programs, "latentd")
        self.file = ws.path(f"{name}.yaml")
        self.socket = ws.path(f"{name}.sock")
        self.state_dir = ws.path(f"{name}-state")
        self.config = {
            "state_dir": self.state_dir,
            "api": {"socket": self.socket},
            "decode": {"workers": 1},
            "datasets": [],
            "encoders": [{"type": "fake"}],
        }

    def __str__(self):
        return f"{self.name}\n{self.said()}"

    # -- configuration

    def dataset(self, name="set", *, src=None, out=None, recipe=None, output=None, **options):
        """Adds one; gives the dict, which may be changed before the next start or reload."""
        src = src or self.ws.path(name)
        os.makedirs(src, exist_ok=True)
        dataset = {
            "name": name,
            "source": {"path": src},
            "output": {"path": out or self.ws.out, **(output or {})},
            "recipe": {"vae": "fake", "resolution": 128, "max_upscale": 0, **(recipe or {})},
            **options,
        }
        self.config["datasets"].append(dataset)
        return dataset

    def write(self, text=None):
        with open(self.file, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text or json.dumps(self.config, indent=2))

    # -- process

    def spawn(self, *words, first=(), **options):
        """The process; it may not be ready."""
        self.write()
        self.begin([*first, self.program, "--config", self.file, *words], **options)

    def start(self, *words, **options):
        self.spawn(*words, **options)
        wait_until(self.answers, "the daemon to answer")
        return self

    def answers(self):
        self.is_alive()
        with contextlib.suppress(OSError, http.client.HTTPException):
            # 503 before there is a first picture
            return self.request("GET", "/api/v1/status")[0] == 200
        return False

    def ended(self, code=OK, limit_s=HANGS_AFTER_S):
        super().ended(code, limit_s)
        if code >= 0:
            assert not os.path.exists(self.socket), "the socket is left"

    def run(self, *words, code=OK, **options):
        """From start to end, as with --once."""
        self.spawn(*words, **options)
        self.ended(code)

    def command(self, *words, code=OK, text=None, **options):
        """One that does not get as far as serving: its Result."""
        self.write(text)
        done = subprocess.run(
            [self.program, "--config", self.file, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HANGS_AFTER_S,
            cwd=self.ws.root,
            **{"env": self.ws.environment, **options},
        )
        texts = [t.decode("utf-8", "surrogateescape") for t in (done.stdout, done.stderr)]
        result = Result(["latentd", *words], done.returncode, *texts)
        self.ws.history.append(result)
        equal(result.code, code, "exit status")
        return result

    def says(self, *words):
        """Waits until one line has all of them."""

        def line():
            for line in self.said().splitlines():
                if all(word in line for word in words):
                    return line
            return None

        return wait_until(line, f"{words} on stderr")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def has_model(self):
        """Whether a model is in memory: then a thread of that name drives it."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with contextlib.suppress(OSError), open(f"{tasks}/{task}/comm", encoding="ascii") as comm:
                if comm.read().strip() == "encode":
                    return True
        return False

    # -- API

    def request(self, method, path, body=None):
        """(status, JSON of the answer)"""
        connection = Connection(self.socket)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def get(self, path, code=200):
        status, body = self.request("GET", f"/api/v1{path}")
        equal(status, code, f"GET {path}: {body}: status")
        return body

    def post(self, path, code=200, **body):
        status, answer = self.request("POST", f"/api/v1{path}", body)
        equal(status, code, f"POST {path}: {answer}: status")
        return answer

    def status(self):
        return self.get("/status")

    def health(self):
        return self.request("GET", "/healthz")

    def about(self, name="set"):
        return self.get(f"/datasets/{name}")

    def jobs(self, name, state):
        return self.get(f"/datasets/{name}/jobs?state={state}&limit=1000")["jobs"]

    def jobs_of(self, name, *states):
        return [job for state in states for job in self.jobs(name, state)]

    # -- waiting

    def wait(self, condition, what):
        """For a condition of the picture that the API gives."""

        def holds():
            self.is_alive()
            return condition()

        return wait_until(holds, what)

    def wait_for(self, name="set", **jobs):
        """Until so many jobs are in these states (finished: encoded or in a shard)."""

        def as_wanted():
            counts = self.about(name)["jobs"]
            counts["finished"] = sum(counts[state] for state in FINISHED)
            return all(counts[state] == n for state, n in jobs.items())

        self.wait(as_wanted, f"{jobs} in {name}")

    def wait_for_state(self, state, name="set"):
        def is_it():
            about = self.about(name)
            return about if about["state"] == state else None

        return self.wait(is_it, f"{name} to be {state}")

    def drain(self, name="set"):
        """Everything in shards, and tidy."""
        self.post(f"/datasets/{name}/drain")
        self.wait(lambda: (self.about(name)["why"] or "").startswith("drained"), "the drain")

    def resume(self, name="set"):
        self.post(f"/datasets/{name}/resume")

    def copy_of_config(self):
        return copy.deepcopy(self.config)


def shimmed(ws, daemon, roots, **settings):
    """The environment of a daemon under tests/crash/shim.h."""
    shim = os.path.join(BUILD_DIR, "tests", "shim.so")
    if not os.path.exists(shim):
        raise Skip(f"{shim} is not built")
    more = {f"SHIM_{name.upper()}": value for name, value in settings.items()}
    preload = sanitizer_runtime(daemon.program) + shim
    return dict(ws.environment, LD_PRELOAD=preload, SHIM_PROGRAM="latentd", SHIM_ROOTS=roots, **more)


class HandedOver:
    """A listening Unix socket, and what stands before a program that gets it from the service manager."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen()
        fd = self.socket.fileno()
        script = f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        self.options = {"first": ["sh", "-c", script, "sh"], "pass_fds": [fd]}

    def close(self):
        self.socket.close()
