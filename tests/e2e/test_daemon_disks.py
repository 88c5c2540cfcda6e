#!/usr/bin/env python3
"""`latentd` on disks that are full, hang or say nothing, with calls that do not return, and by a clock that jumps."""

import os
import shutil
import signal
import subprocess
import time

from daemon_rig import Daemon, HandedOver, shimmed
from harness import FAILED, HANGS_AFTER_S, USAGE, Skip, equal, one_line, run_tests, same_members, test
from outage_rig import blocked, sealed
from reference import paths_in

DISK = 16 << 20


def on_a_disk_of_its_own(ws, daemon, folder, size=DISK, **options):
    """Starts it where @folder is a small file system; gives the path by which that is seen from outside."""
    os.makedirs(folder)
    own = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        subprocess.run([*own, *mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", b"") or str(error).encode()
        raise Skip(f"mounts do not work here: {why.decode().strip()}") from None
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" && shift && exec "$@"'
    daemon.start(first=[*own, "sh", "-c", script, "sh", folder], **options)
    return f"/proc/{daemon.process.pid}/root{folder}"


def fill(folder):
    path = os.path.join(folder, "ballast")
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return path


def a_full_disk_pauses(ws, folder, why):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    paths = ws.small_pictures(3, src)
    disk = on_a_disk_of_its_own(ws, daemon, folder)
    daemon.wait_for(finished=3)
    ballast = fill(disk)
    paths += ws.small_pictures(12, src, first=3)  # before anybody has looked at the disk
    daemon.wait(lambda: daemon.status()["daemon"]["intake_paused"] == why, "the pause")
    blocked(daemon, f"{why}: it goes on by itself when there is room")
    code, health = daemon.health()
    equal(code, 503, "health")
    assert f"nothing new is begun until there is room: {why}" in health["problems"], health
    told = ws.latentctl("status", env=dict(ws.environment, LATENTD_SOCKET=daemon.socket)).out
    assert why in " ".join(told.split()), told
    paths += ws.small_pictures(3, src, first=15)
    os.remove(ballast)
    daemon.wait(lambda: daemon.status()["daemon"]["intake_paused"] is None, "the end of the pause")
    daemon.wait_for(finished=18, quarantined=0)
    daemon.drain()
    shutil.copytree(f"/proc/{daemon.process.pid}/root{ws.out}", ws.path("copy"))
    daemon.stop()
    same_members(paths_in(ws.path("copy", "set")), paths, "samples")


@test
def a_full_disk_of_the_output_pauses_the_intake_until_there_is_room(ws):
    a_full_disk_pauses(ws, ws.out, f"the disk of the output {ws.out} is full")


@test
def a_full_disk_of_the_state_pauses_the_intake_until_there_is_room(ws):
    state = ws.path("daemon-state")
    a_full_disk_pauses(ws, state, f"the disk of the state folder {state} is full")


@test
def a_full_disk_of_one_dataset_holds_up_no_other(ws):
    daemon = Daemon(ws)
    small = ws.path("small-disk")
    for name, out in (("full", small), ("roomy", ws.out)):
        ws.small_pictures(2, daemon.dataset(name, out=out)["source"]["path"])
    disk = on_a_disk_of_its_own(ws, daemon, small)
    for name in ("full", "roomy"):
        daemon.wait_for(name, finished=2)
    ballast = fill(disk)
    blocked(daemon, f"the disk of the output {small} is full", name="full")
    for name in ("full", "roomy"):
        ws.small_pictures(5, ws.path(name), first=2)
    daemon.wait_for("roomy", finished=7)
    daemon.drain("roomy")
    equal(daemon.status()["daemon"]["intake_paused"], None, "what is said of all")
    equal(daemon.health()[0], 200, "health with one of two datasets blocked")
    equal(sum(daemon.about("full")["jobs"].values()), 2, "images of the full disk's dataset")
    os.remove(ballast)
    daemon.wait_for("full", finished=7)
    daemon.stop()


@test
def what_fails_again_and_again_is_tried_less_and_less_until_it_works(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(output={"shard_samples": 1})["source"]["path"]
    ws.write("train", folder=os.path.join(ws.out, "set"))  # no folder can be made there
    paths = ws.small_pictures(3, src)
    daemon.start()
    for wait_s in (1, 2, 4):
        daemon.says("train", f"tried again in {wait_s} s")

    def told():
        """But for the moment in which it is being tried."""
        about = daemon.about()
        out = ws.latentctl("status", "--socket", daemon.socket).out
        return "train" in (about["why"] or "") and about["retry_at"] and "set: blocked, tried again in " in out

    daemon.wait(told, "when it is tried again to be said")
    os.remove(os.path.join(ws.out, "set", "train"))
    daemon.resume()
    daemon.wait_for(completed=3)
    sealed(ws, daemon, paths)


# -- what only a shim can bring about


@test
def a_state_folder_on_a_network_file_system_is_refused(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    nfs = shimmed(ws, daemon, daemon.state_dir, disk="0x6969")
    result = daemon.command(code=USAGE, env=nfs)
    one_line(result, os.path.join(daemon.state_dir, "queue.db"), "is on a network file system (NFS)")
    one_line(result, "put the state folder on a local disk")
    assert not os.path.exists(daemon.socket), "the socket is left"


@test
def a_source_that_hangs_holds_up_neither_other_datasets_nor_the_end(ws):
    daemon = Daemon(ws)
    daemon.dataset("other")
    hanging = daemon.dataset("hanging")
    # A folder that comes later: nobody asks for anything in it before.
    late, report = os.path.join(hanging["source"]["path"], "late"), ws.path("report")
    daemon.start(env=shimmed(ws, daemon, late, fault="stat:1:hang", report=report))
    daemon.wait_for_state("idle", "hanging")
    ws.small_pictures(1, late)
    daemon.wait(lambda: os.path.getsize(report), "the call that does not return")
    daemon.config["datasets"].remove(hanging)
    daemon.write()
    daemon.post("/reload")
    ws.small_pictures(3, ws.path("other"))
    daemon.wait_for("other", finished=3)
    daemon.tell(signal.SIGTERM)
    daemon.ended(FAILED)
    assert "hanging: does not end: left behind" in daemon.said(), "it is not said"


@test
def a_disk_that_hangs_does_not_hide_how_full_the_others_are(ws):
    daemon = Daemon(ws)
    hanging, small = ws.path("hanging-disk"), ws.path("small-disk")
    for name, out in (("hanging", hanging), ("full", small)):
        daemon.dataset(name, out=out)
    report = ws.path("report")
    env = shimmed(ws, daemon, hanging, fault="room:1:hang", report=report)
    disk = on_a_disk_of_its_own(ws, daemon, small, env=env)
    daemon.wait(lambda: os.path.exists(report) and os.path.getsize(report), "the call that does not return")
    fill(disk)
    blocked(daemon, f"the disk of the output {small} is full", name="full")
    ws.small_pictures(2, ws.path("hanging"))
    daemon.wait_for("hanging", finished=2)


@test
def a_file_system_that_does_not_say_how_large_it_is_is_not_full(ws):
    """As some of FUSE: zero blocks, none free. The first answer stays: the second look does not return."""
    daemon = Daemon(ws)
    src, report = daemon.dataset()["source"]["path"], ws.path("report")
    env = shimmed(ws, daemon, ws.out, fault="room:2:hang", report=report)
    disk = on_a_disk_of_its_own(ws, daemon, ws.out, size=0, env=env)  # a tmpfs without a limit
    equal(os.statvfs(disk).f_blocks, 0, "blocks of it")
    daemon.wait(lambda: os.path.exists(report) and os.path.getsize(report), "the second look")
    ws.small_pictures(2, src)
    daemon.wait_for(finished=2)
    assert ws.out not in [d["path"] for d in daemon.status()["disks"]], "its size is said"


@test
def a_file_that_hangs_while_it_is_opened_holds_up_no_other_dataset(ws):
    daemon = Daemon(ws)
    for name in ("hanging", "other"):
        daemon.dataset(name)
    (path,) = ws.small_pictures(1, ws.path("hanging"))
    report, handed_over = ws.path("report"), HandedOver(daemon.socket)
    env = shimmed(ws, daemon, ws.path("hanging", path), fault="open:1:hang", report=report)
    daemon.start(env=env, **handed_over.options)
    daemon.wait(lambda: os.path.exists(report) and os.path.getsize(report), "the call that does not return")
    ws.small_pictures(3, ws.path("other"))  # fewer than a batch
    daemon.wait_for("other", finished=3)
    equal(daemon.about("hanging")["jobs"]["running"], 1, "images of the other")
    # It cannot end in order, and leaves a socket that is not its own where it is.
    daemon.tell(signal.SIGTERM)
    equal(daemon.process.wait(HANGS_AFTER_S), FAILED, "exit status")
    daemon.process = None
    assert os.path.exists(daemon.socket), "the socket is gone"
    handed_over.close()


DAY = 86400


@test
def a_clock_that_jumps_holds_nothing_up(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    # by the number of questions for the time: hundreds in a second where much goes on, few where nothing does
    jumps = ",".join(f"{int(20 * 1.7**i)}:{DAY * (-1) ** i}" for i in range(16))
    paths, ahead = [], []
    daemon.start(env=shimmed(ws, daemon, src, clock=jumps))
    while len(ahead) < 4 or not {-1, 1} <= set(ahead):
        assert len(ahead) < 24, f"the clock does not jump: {ahead}"
        paths += ws.small_pictures(3, src, first=len(paths))
        daemon.wait_for(finished=len(paths))
        ahead.append(round((daemon.status()["taken_at"] / 1000 - time.time()) / DAY))
    sealed(ws, daemon, paths)


run_tests()
