#!/usr/bin/env python3
"""Figures of the daemon as a whole for docs/benchmarks.md, one line each.

    daemon_figures.py idle              CPU and memory with one watched dataset and nothing to do, over 60 s
    daemon_figures.py available         from a file that is closed to its job in the queue, 200 files
    daemon_figures.py status [JOBS]     what the API costs with so many jobs (ten million) in five datasets of the queue: time of an
                                        answer, CPU with nobody asking and at a poll a second for 30 s each, the history

LATENTD_BUILD_DIR names the build folder. CPU time is that of the daemon and its decode workers. Memory is theirs, too: PSS
counts what they share once, RSS in each of them.
"""

import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "e2e"))

from daemon_rig import Connection, Daemon  # noqa: E402
from harness import BUILD_DIR, Workspace  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def processes(pid):
    """The daemon and those that it has started."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [pid, *map(int, file.read().split())]


def cpu_s(pids):
    """CPU seconds: exact (schedstat), of all threads that still run."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def memory_mib(pids, kind):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith(f"{kind}:"))
    return total / 1024


def spread(name, values):
    print(
        f"{name}: median {statistics.median(values):.2f} ms, max {max(values):.2f} ms, "
        f"{len(values)} times"
    )


def idle(ws):
    daemon = Daemon(ws)
    daemon.config["decode"]["workers"] = 2
    ws.small_pictures(200, daemon.dataset()["source"]["path"])
    daemon.start()
    daemon.wait_for(completed=0, finished=200)
    daemon.wait_for_state("idle")
    for when in ("after 200 images", "after a start"):
        pids = processes(daemon.process.pid)
        before, began = cpu_s(pids), time.monotonic()
        time.sleep(60)
        share = (cpu_s(pids) - before) / (time.monotonic() - began)
        print(f"idle {when}: {100 * share:.3f} % of a core, {len(pids) - 1} decode workers")
        for kind in ("Rss", "Pss"):
            each = ", ".join(f"{memory_mib([pid], kind):.1f}" for pid in pids)
            print(f"idle {when}: {kind} {memory_mib(pids, kind):.1f} MiB ({each})")
        if when == "after 200 images":
            daemon.stop()
            daemon.start()
            daemon.wait_for_state("idle")


def available(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    golden = ws.golden("grey.jpg", "grey.jpg", ws.root)
    with open(golden, "rb") as file:
        data = file.read()
    daemon.start()
    daemon.wait_for_state("idle")
    queue = sqlite3.connect(f"file:{daemon.state_dir}/queue.db?mode=ro", uri=True)
    took = []
    for i in range(200):
        ws.write(f"{i}.jpg", data + b"%d" % i, src)
        closed = time.monotonic()
        while queue.execute("SELECT count(*) FROM job").fetchone()[0] <= i:
            time.sleep(0.0005)
        took.append(1000 * (time.monotonic() - closed))
    queue.close()
    spread("closed to a job in the queue", took)
    daemon.stop()


def share_of_a_core(daemon, ask, seconds=30):
    """CPU share while ask() is called once a second."""
    pids = processes(daemon.process.pid)
    before, began = cpu_s(pids), time.monotonic()
    for second in range(1, seconds + 1):
        ask()
        time.sleep(max(0, began + second - time.monotonic()))
    return 100 * (cpu_s(pids) - before) / (time.monotonic() - began)


def fetch(daemon, path):
    """The size of an answer."""
    with contextlib.closing(Connection(daemon.socket)) as connection:
        connection.request("GET", path)
        return len(connection.getresponse().read())


def status(ws, jobs="10000000"):
    daemon = Daemon(ws)
    for i in range(5):
        daemon.dataset(f"set{i}", src=ws.path(f"src{i}"))
    daemon.start()
    for i in range(5):
        daemon.wait_for_state("idle", f"set{i}")
    daemon.stop()
    database = os.path.join(daemon.state_dir, "queue.db")
    began = time.monotonic()
    subprocess.run([os.path.join(BUILD_DIR, "tests", "fill_queue"), database, jobs], check=True)
    print(f"filled in {time.monotonic() - began:.0f} s: {os.path.getsize(database) / 2**30:.2f} GiB")
    for dataset in daemon.config["datasets"]:
        dataset["paused"] = True  # the files are not there
    began = time.monotonic()
    daemon.start()
    known = lambda: sum(sum(d["jobs"].values()) for d in daemon.status()["datasets"])
    daemon.wait(lambda: known() == int(jobs), "the counts")
    print(f"{known()} jobs are known {time.monotonic() - began:.2f} s after the start")
    nothing = share_of_a_core(daemon, lambda: None)
    print(f"nobody asks: {nothing:.3f} % of a core, PSS {memory_mib(processes(daemon.process.pid), 'Pss'):.1f} MiB")
    for path in ("/api/v1/status", "/metrics", "/api/v1/history", "/api/v1/datasets/set3/jobs?state=available"):
        took = []
        for _ in range(100):
            began = time.monotonic()
            size = fetch(daemon, path)
            took.append(1000 * (time.monotonic() - began))
        spread(f"{path}, {size} bytes", took)
        share = share_of_a_core(daemon, lambda p=path: fetch(daemon, p))
        print(f"{path} once a second: {share:.3f} % of a core, {share - nothing:+.3f} %")
    daemon.stop()
    with contextlib.closing(sqlite3.connect(database)) as queue:
        rows = queue.execute("SELECT count(*) FROM history").fetchone()[0]
    print(f"history: {rows} rows of at most 720 in the database")


def main():
    figures = {"idle": idle, "available": available, "status": status}
    ws = Workspace()
    try:
        figures[sys.argv[1]](ws, *sys.argv[2:])
    finally:
        ws.remove()


main()
