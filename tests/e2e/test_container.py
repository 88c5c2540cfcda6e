#!/usr/bin/env python3
"""`latentd` as a container runs it: process 1 without a service manager, as a user without rights, on a root that it cannot write to."""

import os
import signal
import subprocess

from daemon_rig import Daemon
from harness import BUILD_DIR, OK, Skip, demo_model, equal, run_tests, same_members, test
from reference import paths_in

NOBODY = 65534
READ_ONLY = """mount --bind "$0" "$0" && mount -o remount,bind,ro / || exit 99
    exec "$@" """
# What follows the making of the root: no user, no group and no capability that could undo it. Who is not root has a namespace
# in which that one is root until then, and gets another one inside.
NO_RIGHTS = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
NO_RIGHTS_INSIDE = ["unshare", "--user", f"--map-user={NOBODY}", "setpriv", "--bounding-set=-all", "--no-new-privs"]


def as_process_1(folder):
    """What stands before a program that is the first of its own processes, has no rights, and may write below @folder only."""
    root = os.geteuid() == 0
    own = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    own += [] if root else ["--map-root-user"]
    first = [*own, "sh", "-c", READ_ONLY, folder, *(NO_RIGHTS if root else NO_RIGHTS_INSIDE)]
    if root:
        for at, _, files in os.walk(folder):
            for path in (at, *(os.path.join(at, name) for name in files)):
                os.lchown(path, NOBODY, NOBODY)
    probe = subprocess.run([*first, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise Skip(f"a container's namespaces cannot be made here: {probe.stderr.strip()}")
    if subprocess.run([*first, "test", "-x", os.path.join(BUILD_DIR, "daemon", "latentd")], check=False).returncode != 0:
        raise Skip(f"a user without rights cannot reach {BUILD_DIR}")
    tried = subprocess.run([*first, "touch", "/latentd-was-here"], capture_output=True, text=True, check=False)
    assert tried.returncode != 0 and "Read-only" in tried.stderr, tried.stderr
    return first


def child_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="utf-8") as file:
        (pid,) = file.read().split()
    return int(pid)


def status_of(pid):
    """What the kernel says of a process: {field: words}."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {line.split(":")[0]: line.split()[1:] for line in file}


@test
def process_1_without_rights_on_a_root_that_cannot_be_written_encodes_is_healthy_and_stops_when_it_is_told(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset(recipe={"vae": demo_model()})
    daemon.config["encoders"] = [{"type": "cpu"}]
    paths = ws.small_pictures(4, dataset["source"]["path"])
    daemon.write()
    daemon.start(first=as_process_1(ws.root))
    daemon.wait_for(finished=4)
    equal(ws.latentctl("status", "--socket", daemon.socket).code, OK, "the health check's exit status")
    daemon.drain()
    inside = child_of(daemon.process)
    said = status_of(inside)
    equal(said["NSpid"][-1], "1", "the daemon's number in its own namespace")
    equal({int(said[f"Cap{which}"][0], 16) for which in ("Eff", "Prm", "Inh", "Bnd", "Amb")}, {0}, "its capabilities")
    equal(said["NoNewPrivs"], ["1"], "no way to new ones")
    assert "0" not in said["Uid"] + said["Gid"] + said["Groups"], f"it has a user or group of root: {said}"
    os.kill(inside, signal.SIGTERM)
    daemon.ended()
    same_members(paths_in(os.path.join(ws.out, "set")), paths, "samples")


run_tests()
