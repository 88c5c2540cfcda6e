#!/usr/bin/env python3
"""latentd under restless folders: four processes create, rename, replace and delete files while it is killed and
started again at random; afterwards folder, queue and shards agree, and it has not grown.

LATENTD_TEST_LONG=1: 100,000 operations in ten minutes; otherwise a dose of seconds (LATENTD_CRASH_SECONDS).
LATENTD_TEST_SEED repeats the operations and the moments of the kills, as far as the scheduler does.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "e2e"))

from daemon_rig import Daemon  # noqa: E402
from harness import GOLDEN_IMAGES, equal, run_tests, same_members, test  # noqa: E402
from reference import read_dataset, shard_files, xxh3_128  # noqa: E402

LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
SECONDS = 600 if LONG else float(os.environ.get("LATENTD_CRASH_SECONDS") or 20)
OPERATIONS_A_SECOND = 170  # of all processes together: 100,000 in ten minutes
PROCESSES, FOLDERS = 4, 8
PICTURES = ("rocket.jpg", "odd_420.jpg", "orientation_6.jpg", "grey.jpg")


class Restless:
    """One process that works on files of its own. Names are given again, so that files are also replaced."""

    def __init__(self, src, number, seed):
        self.src, self.number = src, number
        self.random = random.Random(f"{seed}-{number}")
        self.count = 0
        self.pictures = []
        for name in PICTURES:
            with open(os.path.join(GOLDEN_IMAGES, name), "rb") as file:
                self.pictures.append(file.read())

    def path(self):
        folder = self.random.randrange(FOLDERS)
        return os.path.join(self.src, f"{folder}", f"{self.number}-{self.random.randrange(400):03d}.jpg")

    def existing(self):
        for _ in range(20):
            path = self.path()
            if os.path.exists(path):
                return path
        return None

    def data(self):
        """New every time; one in eight is like others', so that there are duplicates."""
        self.count += 1
        mark = self.count % 5 if self.random.random() < 0.125 else f"{self.number}-{self.count}"
        return self.random.choice(self.pictures) + b"%s" % str(mark).encode()

    def write(self, path, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            file.write(data[len(data) // 2 :])

    def create(self):
        self.write(self.path(), self.data())

    def move_in(self):
        path = self.path()
        part = os.path.join(self.src, f".{self.number}.part")
        self.write(part, self.data())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.rename(part, path)

    def rename(self):
        path, to = self.existing(), self.path()
        if path:
            os.makedirs(os.path.dirname(to), exist_ok=True)
            os.rename(path, to)

    def delete(self):
        path = self.existing()
        if path:
            os.unlink(path)

    def run(self, seconds):
        operations = (self.create,) * 4 + (self.move_in,) * 3 + (self.rename,) * 2 + (self.delete,)
        end, pause = time.monotonic() + seconds, PROCESSES / OPERATIONS_A_SECOND
        due = time.monotonic()
        while time.monotonic() < end:
            self.random.choice(operations)()
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))


def restless(src, number, seed, seconds):
    Restless(src, number, seed).run(seconds)


def sizes_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file)
    return {
        "KiB": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    }


def kill_and_start_again(daemon, rng, seconds):
    """(kills, samples of its size, each after it has run for a while)"""
    end, kills, sizes = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        daemon.start()
        lives = min(rng.uniform(0.2, 20 if LONG else 5), end - time.monotonic())
        time.sleep(max(0.0, lives))
        if lives > 1:
            sizes.append(sizes_of(daemon.process.pid))
        daemon.tell(signal.SIGKILL)
        daemon.ended(-signal.SIGKILL)
        kills += 1
    return kills, sizes


def is_flat(sizes, what, slack):
    """The second half needs no more than the first one."""
    values = [s[what] for s in sizes]
    first, second = values[: len(values) // 2], values[len(values) // 2 :]
    if first and second:
        assert max(second) <= max(first) + slack, f"{what} grew: {values}"


def everything_settles(daemon):
    """What vanished while nobody looked may be much: that is confirmed, as a person would."""

    def quiet():
        code, about = daemon.request("GET", "/api/v1/datasets/set")
        if code == 503:  # it is starting
            return False
        if about["deletions"]:
            daemon.request("POST", "/api/v1/datasets/set/accept-deletions", {})
        return about["state"] == "idle" and not about["deletions"]

    daemon.start()
    daemon.wait(quiet, "the dataset to be idle")
    daemon.drain()


def files_of(src):
    found = {}
    for at, _, names in os.walk(src):
        for name in names:
            path = os.path.join(at, name)
            if not name.startswith("."):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, src)] = xxh3_128(file.read())
    return found


@test
def restless_folders_and_a_daemon_that_is_killed_end_in_agreement(ws):
    seed = int(os.environ.get("LATENTD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"  seed {seed}, {SECONDS:.0f} s")
    daemon = Daemon(ws)
    src = ws.path("set")
    daemon.dataset("set", src=src, on_delete="remove", output={"shard_samples": 50})
    workers = [
        multiprocessing.Process(target=restless, args=(src, n, seed, SECONDS))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    kills, sizes = kill_and_start_again(daemon, random.Random(seed), SECONDS)
    for worker in workers:
        worker.join()
        equal(worker.exitcode, 0, "exit status of a process that works on files")
    everything_settles(daemon)
    files, samples = files_of(src), read_dataset(ws.dataset)
    print(f"  {kills} kills, {len(files)} files, {len(samples)} samples in {len(shard_files(ws.dataset))} shards")
    if sizes:
        print(f"  at most {max(s['KiB'] for s in sizes)} KiB, {max(s['threads'] for s in sizes)} threads, "
              f"{max(s['descriptors'] for s in sizes)} descriptors")
    same_members([s.path for s in samples], list(files), "samples")
    for s in samples:
        equal(s.record["content_xxh3_128"], files[s.path], f"content of {s.path}")
    daemon.wait_for(completed=len(files))
    counts = daemon.about()["jobs"]
    left = {s: n for s, n in counts.items() if n and s not in ("completed", "gone", "skipped")}
    equal(left, {}, "jobs in other states")
    daemon.stop()
    ws.verify()
    is_flat(sizes, "KiB", 24 << 10)
    is_flat(sizes, "threads", 4)
    is_flat(sizes, "descriptors", 64)
    shutil.rmtree(src)


if __name__ == "__main__":
    run_tests()
