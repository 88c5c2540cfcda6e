#!/usr/bin/env python3
"""`latentd` as a container runs it: process 1 without a service manager, on a root that it cannot write to."""

import os
import signal
import subprocess

from daemon_rig import Daemon
from harness import OK, Skip, demo_model, equal, run_tests, same_members, test
from reference import paths_in

SCRIPT = """mount --bind "$0" "$0" && mount -o remount,bind,ro / || exit 99
    touch /latentd-was-here 2>/dev/null && exit 98
    exec "$@" """


def as_process_1(folder):
    """What stands before a program that is the first of its own processes and may write below @folder only."""
    own = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    own += [] if os.geteuid() == 0 else ["--map-root-user"]
    first = [*own, "sh", "-c", SCRIPT, folder]
    probe = subprocess.run([*first, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise Skip(f"a container's namespaces cannot be made here: {probe.stderr.strip()}")
    return first


def child_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="utf-8") as file:
        (pid,) = file.read().split()
    return int(pid)


@test
def process_1_on_a_root_that_cannot_be_written_encodes_is_healthy_and_stops_when_it_is_told(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset(recipe={"vae": demo_model()})
    daemon.config["encoders"] = [{"type": "cpu"}]
    paths = ws.small_pictures(4, dataset["source"]["path"])
    daemon.start(first=as_process_1(ws.root))
    daemon.wait_for(finished=4)
    equal(ws.latentctl("status", "--socket", daemon.socket).code, OK, "the health check's exit status")
    daemon.drain()
    inside = child_of(daemon.process)
    with open(f"/proc/{inside}/status", encoding="utf-8") as file:
        (numbers,) = (line.split()[1:] for line in file if line.startswith("NSpid:"))
    equal(numbers[-1], "1", "the daemon's number in its own namespace")
    os.kill(inside, signal.SIGTERM)
    daemon.ended()
    same_members(paths_in(os.path.join(ws.out, "set")), paths, "samples")


run_tests()
