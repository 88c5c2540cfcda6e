#!/usr/bin/env python3
"""Disks that become read-only, full or silent in the middle of a run, outputs that vanish, clocks that jump.

Single outages of one call are in test_faults.py; here a whole disk fails from some moment on, and comes back.
"""

import os
import shutil
import signal
import time

from crash import LONG, OPTIONS, Rig, evenly, time_for
from harness import FAILED, OK, Skip, demo_model, equal, one_line, run_tests, same_members, test
from harness import wait_until
from reference import paths_in, shard_files

SHARD_SAMPLES = ("--shard-samples", "7")


def counts_of(rig, roots):
    rig.restore()
    rig.encode(roots=roots, fault="link:1000000:EIO")
    return rig.reported()[1]


def a_disk_fails(ws, effects, which, seconds):
    """From every moment on, all that touches the disk fails; then it is well again."""
    rig = Rig(ws)
    disks = {"output": ws.out, "state": ws.environment["XDG_STATE_HOME"], "both": rig.fs}
    failed, cases, end = [], 0, time_for(seconds)
    rows = []
    for name in which:
        counts = counts_of(rig, disks[name])
        for kind, error in effects:
            rows += [(name, f"{kind}:{n}+:{error}") for n in range(1, counts[kind] + 1)]
    for name, fault in evenly(rows):
        if time.monotonic() > end:
            break
        cases += 1
        rig.restore()
        try:
            broken = rig.encode(code=None, roots=disks[name], fault=fault)
            assert broken.code in (OK, FAILED), f"exit status {broken.code}"
            if broken.code == OK:
                rig.samples_are_there()
            else:
                assert broken.errors, "no line says why"
            rig.encode()
            rig.is_whole()
        except Exception as why:  # each is named, and the others still run
            failed.append(f"{name} {fault}")
            print(f"FAILED case {name} {fault}: {why}")
            print("".join(f"  $ {r}\n" for r in ws.history[-2:]), flush=True)
    print(f"{cases} of {len(rows)} moments, {len(failed)} failed")
    equal(failed, [], "failed cases")


@test
def a_disk_that_becomes_read_only_in_a_run_loses_nothing(ws):
    a_disk_fails(ws, [("change", "EROFS")], ("output", "state", "both"), 6)


@test
def a_disk_that_becomes_full_in_a_run_loses_nothing(ws):
    a_disk_fails(ws, [("change", "ENOSPC")], ("output", "state"), 6)


@test
def a_disk_that_falls_silent_in_a_run_loses_nothing(ws):
    a_disk_fails(ws, [("any", "EIO")], ("output", "state", "both"), 6)


# -- an output that vanishes


def after_some_shards(ws):
    """A folder of shards is synced for each of them."""
    return "sync:6", f"{ws.out}/set/train"


def in_its_middle(ws):
    """A run of the demo model that has written a shard and has more to do; it goes on at SIGCONT."""
    paths = ws.small_pictures(80)
    words = ws.encode_words(*SHARD_SAMPLES, "--jobs", "1", vae=demo_model())
    process = ws.start_and_stop(*after_some_shards(ws), *words)
    assert 0 < len(shard_files(ws.dataset)) < 10, shard_files(ws.dataset)
    return paths, process


def goes_on(ws, process):
    """To its end."""
    process.send_signal(signal.SIGCONT)
    return ws.finish(process)


def comes_back(ws, paths, kept):
    for file in kept:
        assert os.path.exists(file), f"{file} is gone"
    ws.encode(*SHARD_SAMPLES, vae=demo_model())
    for file in kept:
        assert os.path.exists(file), f"{file} was encoded again"
    same_members(paths_in(ws.dataset), paths, "samples")
    ws.verify()


@test
def an_output_that_is_moved_away_in_a_run_ends_it_and_comes_back(ws):
    paths, process = in_its_middle(ws)
    kept = shard_files(ws.dataset)
    os.rename(ws.out, ws.path("away"))
    result = goes_on(ws, process)
    equal(result.code, FAILED, "exit status")
    one_line(result, ws.out)
    assert not os.path.exists(ws.out), f"a new {ws.out} was made: {os.listdir(ws.out)}"
    os.rename(ws.path("away"), ws.out)
    comes_back(ws, paths, kept)


@test
def an_output_that_another_takes_the_place_of_is_not_written_to(ws):
    paths, process = in_its_middle(ws)
    kept = shard_files(ws.dataset)
    os.rename(ws.out, ws.path("away"))
    os.makedirs(os.path.join(ws.dataset, ".latentd"))
    equal(goes_on(ws, process).code, FAILED, "exit status")
    equal(shard_files(ws.dataset), [], "shards in the other folder")
    shutil.rmtree(ws.out)
    os.rename(ws.path("away"), ws.out)
    comes_back(ws, paths, kept)


@test
def an_output_that_is_unmounted_in_a_run_gets_nothing_below_its_mount(ws):
    ws.small_pictures(80)
    os.makedirs(ws.out)
    script = """out=$1; shift
        mount -t tmpfs tmpfs "$out" || exit 99
        env $stop "$ctl" "$@" >/dev/null & run=$!
        until grep -q "^State:.T" /proc/$run/status; do kill -0 $run || exit 98; sleep 0.01; done
        [ -e "$out/set/train/128x128/000000.tar" ] || exit 92
        mkdir "$out.kept" # another name for the same disk: it comes back by it
        mount --bind "$out" "$out.kept" && umount -l "$out" || exit 97
        kill -CONT $run; wait $run; code=$?
        [ -z "$(ls -A "$out")" ] || exit 96
        mount --bind "$out.kept" "$out" || exit 95
        "$ctl" "$@" >/dev/null || exit 94
        "$ctl" verify --out "$out" >/dev/null || exit 93
        cp -a "$out" "$out.copy"; exit $code"""
    words = ws.encode_words(*SHARD_SAMPLES, "--jobs", "1", vae=demo_model())
    ws.environment["stop"] = " ".join(f"{k}={v}" for k, v in ws.stops_at(*after_some_shards(ws)).items())
    result = ws.in_own_mounts(script, ws.out, *words)
    if result.code == 99:
        raise Skip("a tmpfs cannot be mounted here")
    equal(result.code, FAILED, "exit status of the run whose output vanished")
    equal(len(paths_in(f"{ws.out}.copy/set")), 80, "number of samples")


@test
def an_output_that_is_remounted_read_only_in_a_run_ends_it_and_goes_on_when_it_is_writable(ws):
    ws.small_pictures(80)
    os.makedirs(ws.out)
    script = """out=$1; shift
        mount -t tmpfs tmpfs "$out" || exit 99
        env $stop "$ctl" "$@" >/dev/null & run=$!
        until grep -q "^State:.T" /proc/$run/status; do kill -0 $run || exit 98; sleep 0.01; done
        [ -e "$out/set/train/128x128/000000.tar" ] || exit 92
        # The disk itself is busy: its lock is open for writing. The same folder as another mount is not.
        mount --bind "$out" "$out" && mount -o remount,bind,ro "$out" || exit 97
        kill -CONT $run; wait $run; code=$?
        kept=$(cd "$out" && find set/train -name '*.tar' -exec sha256sum {} +)
        umount "$out" || exit 95
        "$ctl" "$@" >/dev/null || exit 94
        (cd "$out" && echo "$kept" | sha256sum --check --quiet) || exit 93
        "$ctl" verify --out "$out" >/dev/null || exit 91
        cp -a "$out" "$out.copy"; exit $code"""
    words = ws.encode_words(*SHARD_SAMPLES, "--jobs", "1", vae=demo_model())
    ws.environment["stop"] = " ".join(f"{k}={v}" for k, v in ws.stops_at(*after_some_shards(ws)).items())
    result = ws.in_own_mounts(script, ws.out, *words)
    if result.code == 99:
        raise Skip("a tmpfs cannot be mounted here")
    equal(result.code, FAILED, "exit status of the run whose output became read-only")
    assert "Read-only file system" in result.err, result.err
    equal(len(paths_in(f"{ws.out}.copy/set")), 80, "number of samples")


# -- clocks

DAY = 86400


@test
def a_clock_that_jumps_in_a_run_changes_nothing(ws):
    rig, end, n = Rig(ws), time_for(8), 0
    for at in evenly(range(1, 160, 1 if LONG else 8)):
        for jumps in (f"{at}:{DAY}", f"{at}:-{DAY}", f"{at}:{DAY},{at + 7}:-{DAY},{at + 20}:0"):
            if time.monotonic() > end:
                break
            n += 1
            rig.restore()
            result = rig.encode(clock=jumps)  # who waits for a day hangs
            equal(result.errors, [], "stderr")
            rig.is_whole()
    print(f"{n} jumps")


@test
def a_clock_that_is_set_back_does_not_hold_up_an_image_that_is_tried_again(ws):
    """The second attempt is due half a second after the first, not a day and half a second."""
    rig, end = Rig(ws), time_for(10)
    for at in range(1, 40, 1 if LONG else 6):
        if time.monotonic() > end:
            break
        rig.restore()
        picture = os.path.join(ws.src, rig.paths[3])
        rig.encode(roots=picture, fault="any:1:EIO", clock=f"{at}:-{DAY}")  # who waits for a day hangs
        fired, _ = rig.reported()
        equal(fired, picture, "what failed once")
        rig.is_whole()


@test
def a_clock_that_is_set_back_between_runs_costs_nothing(ws):
    rig = Rig(ws)
    for fault in ("rename:6:die-after", "write:200:die", "sync:30:die"):
        rig.restore()
        ws.encode(*OPTIONS, code=77, env=rig.shim(fault=fault))
        for seconds in (-DAY, DAY):
            rig.encode(clock=f"1:{seconds}")
        rig.is_whole()


run_tests()
