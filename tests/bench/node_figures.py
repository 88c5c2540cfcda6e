#!/usr/bin/env python3
"""How nodes of one queue in PostgreSQL add up, for docs/benchmarks.md.

    node_figures.py scale [IMAGES [DELAY_MS]]    images a second of one node and of four (600 images a node, 40 ms)
    node_figures.py idle                         statements a second that two idle nodes send, over 60 s

Each node of `scale` has an encoder that sleeps so long for each image and has one at a time, so that four of them fit on two cores: what
is seen is what they cost each other. The rate is that between a tenth and nine tenths of the images. LATENTD_BUILD_DIR
names the build folder, LATENTD_SOURCE_DIR the sources.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "e2e"))

from daemon_rig import Daemon  # noqa: E402
from harness import HANGS_AFTER_S, Workspace, wait_until  # noqa: E402
from postgres_rig import Postgres  # noqa: E402
from remote_server import Endpoint, plain_pictures  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def node(ws, postgres, name, **encoder):
    daemon = Daemon(ws, name)
    daemon.config["queue"] = {"postgres": postgres.conninfo, "node": name}
    if encoder:
        daemon.config["encoders"] = [encoder]
    return daemon


def cpu_s(pid):
    """Of a process and of its children."""
    total = 0
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        pids = [pid, *map(int, file.read().split())]
    for each in pids:
        with open(f"/proc/{each}/stat", encoding="ascii") as file:
            total += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return total / TICK


def stop(daemons):
    """All at once: what one waits for at its end may be another's."""
    for daemon in daemons:
        daemon.tell(signal.SIGTERM)
    for daemon in daemons:
        daemon.process.wait(HANGS_AFTER_S)
        daemon.process = None


def rate_of(ws, n, images, delay_ms):
    postgres = Postgres(ws)
    endpoints, daemons = [], []
    plain_pictures(ws.path("set"), images)
    for i in range(n):
        endpoint = Endpoint(ws)
        endpoint.delay_s = delay_ms / 1000
        endpoints.append(endpoint)
    for i, endpoint in enumerate(endpoints):
        daemon = node(ws, postgres, f"n{i}", type="remote", endpoints=[{"url": endpoint.url, "max_in_flight": 1}])
        daemon.dataset(recipe={"vae": {"endpoint": endpoints[0].url}, "bucketing": "square", "resolution": 64})
        daemons.append(daemon)
    for daemon in daemons:
        daemon.start()
    done = lambda: sum(endpoint.given for endpoint in endpoints)
    wait_until(lambda: done() >= images / 10, "a tenth")
    first, began, cpu = done(), time.monotonic(), sum(cpu_s(d.process.pid) for d in daemons)
    wait_until(lambda: done() >= images * 9 / 10, "nine tenths")
    seconds, count = time.monotonic() - began, done() - first
    cpu = sum(cpu_s(d.process.pid) for d in daemons) - cpu
    shares = ", ".join(str(endpoint.given) for endpoint in endpoints)
    print(f"{n} nodes: {count / seconds:.1f} images/s, {1000 * cpu / count:.1f} ms of CPU an image; each did {shares}")
    stop(daemons)
    return count / seconds


def scale(images="600", delay_ms="40"):
    rates = []
    for n in (1, 4):
        ws = Workspace()
        try:
            rates.append(rate_of(ws, n, n * int(images), int(delay_ms)))
        finally:
            ws.remove()
    print(f"four nodes are {rates[1] / rates[0]:.2f} times as fast as one")


def idle():
    ws = Workspace()
    try:
        postgres = Postgres(ws)
        ws.small_pictures(8, ws.path("set"))
        daemons = [node(ws, postgres, name) for name in ("a", "b")]
        for daemon in daemons:
            daemon.dataset()
            daemon.start()
        for daemon in daemons:
            daemon.wait_for(completed=8)  # sealed, which it is when nothing has come for a while
            daemon.wait_for_state("idle")
        postgres.sql("ALTER SYSTEM SET log_statement = 'all'")
        postgres.control("reload")
        before = os.path.getsize(postgres.log)
        time.sleep(60)
        with open(postgres.log, encoding="utf-8", errors="replace") as file:
            file.seek(before)
            lines = [line for line in file if " LOG:  " in line and ("statement: " in line or "execute " in line)]
        print(f"two idle nodes: {len(lines) / 60:.2f} statements/s, {len(lines) / 120:.2f} each")
        stop(daemons)
    finally:
        ws.remove()


def main():
    {"scale": scale, "idle": idle}[sys.argv[1]](*sys.argv[2:])


main()
