#!/usr/bin/env python3
"""Outputs, state folders and workers that fail, vanish, move or belong to somebody else: nothing is lost."""

import os
import shutil
import signal

from harness import BUSY, FAILED, OK, Skip, demo_model, equal, one_line, run_tests
from harness import same_members, test
from reference import paths_in, read_dataset, shard_files

# -- outputs


def recovers(ws, paths, **settings):
    """The same command, undisturbed, does everything."""
    ws.encode(**settings)
    same_members(paths_in(ws.dataset), paths, "samples")
    ws.verify()
    leftovers = os.listdir(os.path.join(ws.dataset, ".latentd"))
    assert leftovers == ["dataset.json"] or not os.listdir(
        os.path.join(ws.dataset, ".latentd", "partial")
    ), leftovers


@test
def an_output_that_is_a_file(ws):
    ws.small_pictures(1)
    ws.write("out", b"mine", ws.root)
    one_line(ws.encode(code=FAILED), ws.out)
    one_line(ws.encode(out=ws.path("out", "below"), code=FAILED), ws.out)
    with open(ws.out, "rb") as file:
        equal(file.read(), b"mine", "the file")


@test
def an_output_without_permission(ws):
    ws.small_pictures(2)
    os.makedirs(ws.out)
    os.chmod(ws.out, 0o555)
    user = ws.unprivileged()
    one_line(ws.encode(code=FAILED, **user), ws.out, "Permission denied")
    os.chmod(ws.out, 0o777)
    ws.encode(**user)
    equal(len(read_dataset(ws.dataset)), 2, "number of samples")


@test
def an_output_on_a_read_only_file_system(ws):
    paths = ws.small_pictures(3)
    os.makedirs(ws.out)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$ctl" "$@"'
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words())
    equal(result.code, FAILED, "exit status")
    one_line(result, ws.out, "Read-only file system")
    recovers(ws, paths)


@test
def an_output_that_became_read_only(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    more = ws.small_pictures(3, first=3)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$ctl" "$@"'
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words())
    equal(result.code, FAILED, "exit status")
    one_line(result, ws.out, "Read-only file system")
    for command in ("status", "failed", "verify"):
        equal(ws.in_own_mounts(script, ws.out, command, "--out", ws.out).code, OK, command)
    recovers(ws, paths + more)


@test
def a_full_disk_loses_nothing(ws):
    paths = ws.small_pictures(30)
    os.makedirs(ws.out)
    script = """mount -t tmpfs tmpfs "$1" && cd "$1" && shift || exit 99
        mount -o remount,size=100k . 2>/dev/null || exit 99
        "$ctl" "$@" >/dev/null; code=$?
        mount -o remount,size=100M . && "$ctl" "$@" >/dev/null && cp -a . "../copy"; exit $code"""
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words("--shard-samples", "4"))
    if result.code == 99:
        raise Skip("a tmpfs cannot be resized here")
    equal(result.code, FAILED, "exit status with a full disk")
    one_line(result, "No space left on device")
    same_members(paths_in(ws.path("copy", "set")), paths, "samples after there was room again")


@test
def a_full_state_disk_loses_nothing(ws):
    paths = ws.small_pictures(40)
    os.makedirs(ws.path("disk"))
    script = """disk=$1; shift
        mount -t tmpfs tmpfs "$disk" || exit 99
        mount -o remount,size=150k "$disk" 2>/dev/null || exit 99
        "$ctl" "$@" >/dev/null; code=$?
        mount -o remount,size=100M "$disk" && "$ctl" "$@" >/dev/null || exit 98; exit $code"""
    words = ws.encode_words("--state", ws.path("disk", "state"))
    result = ws.in_own_mounts(script, ws.path("disk"), *words)
    if result.code == 99:
        raise Skip("a tmpfs cannot be resized here")
    equal(result.code, FAILED, "exit status with a full disk")
    equal(len(result.errors), 1, "number of error lines")
    same_members(paths_in(ws.dataset), paths, "samples after there was room again")


@test
def an_output_of_another_recipe_is_refused_and_unharmed(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    before = {f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}
    for words, differs in (
        (["--posterior", "moments"], "posterior"),
        (["--resolution", "192"], "resolution"),
        (["--filter", "box"], "filter"),
        (["--dtype", "float32"], "dtype"),
    ):
        one_line(ws.encode(*words, code=FAILED), ws.dataset, "recipe", differs, "--name")
    one_line(ws.encode(vae=demo_model(), code=FAILED), ws.dataset, "weights_sha256")
    equal({f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}, before, "shards")
    recovers(ws, paths)


@test
def the_remedy_is_named_for_another_model_too(ws):
    ws.small_pictures(1)
    ws.encode()
    one_line(ws.encode(vae=demo_model(), code=FAILED), ws.dataset, "--name")


@test
def the_same_weights_in_another_folder_are_the_same_recipe(ws):
    ws.small_pictures(2)
    ws.encode(vae=demo_model())
    before = {f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}
    shutil.copytree(demo_model(), ws.path("copy"))
    ws.encode(vae=ws.path("copy"))
    equal({f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}, before, "shards")


@test
def a_damaged_dataset_file_is_named(ws):
    ws.small_pictures(2)
    ws.encode()
    ws.write("set/.latentd/dataset.json", b"garbage", ws.out)
    one_line(ws.encode(code=FAILED), "dataset.json")


@test
def a_second_run_on_the_same_output_is_told_who_has_it(ws):
    paths = ws.small_pictures(30)
    first = ws.start_and_stop("open:30", ws.src, *ws.encode_words("--jobs", "1", vae=demo_model()))
    try:
        one_line(ws.encode(code=BUSY, vae=demo_model()), str(first.pid), ws.out)
        one_line(ws.latentctl("retry", "--out", ws.out, code=BUSY), str(first.pid))
        running = ws.latentctl("status", "--out", ws.out, code=None)
        assert running.code == FAILED or str(first.pid) in running.out, running
    finally:
        first.send_signal(signal.SIGCONT)
    equal(ws.finish(first).code, OK, "exit status of the first run")
    same_members(paths_in(ws.dataset), paths, "samples")


@test
def garbage_about_the_owner_does_no_harm(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    for garbage in (
        b"",
        b"\x00\xff" * 200,
        b"{}",
        b'{"host": 1, "pid": "x", "state": []}',
        b"[" * 5000,
    ):
        ws.write(".latentd/owner.json", garbage, ws.out)
        one_line(ws.latentctl("status", "--out", ws.out, code=FAILED), "owner.json")
        recovers(ws, paths)


@test
def an_output_that_lost_its_lock_finds_its_state_again(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    shutil.rmtree(os.path.join(ws.out, ".latentd"))
    recovers(ws, paths)


@test
def a_deleted_state_folder_costs_no_encode(ws):
    paths = ws.small_pictures(12)
    ws.encode("--shard-samples", "3")
    before = {f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns) for f in shard_files(ws.dataset)}
    shutil.rmtree(ws.path("state"))
    equal(ws.latentctl("status", "--out", ws.out, code=FAILED).out, "", "stdout of status")
    recovers(ws, paths)
    after = {f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns) for f in shard_files(ws.dataset)}
    equal(after, before, "shards")
    equal(ws.encode().errors, [], "stderr of the next run")


@test
def a_damaged_database_is_named(ws):
    ws.small_pictures(2)
    ws.encode()
    (state,) = os.listdir(ws.path("state", "latentd"))
    database = ws.path("state", "latentd", state, "queue.db")
    ws.write(database, b"garbage" * 1000, "")
    one_line(ws.encode(code=FAILED), database)
    one_line(ws.latentctl("status", "--out", ws.out, code=FAILED), database)


@test
def an_output_that_was_deleted_is_encoded_again(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    shutil.rmtree(ws.out)
    recovers(ws, paths)


@test
def a_deleted_shard_is_encoded_again(ws):
    paths = ws.small_pictures(9)
    ws.encode("--shard-samples", "3")
    os.remove(shard_files(ws.dataset)[0])
    recovers(ws, paths)


@test
def a_moved_output_is_still_whole(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    os.rename(ws.out, ws.path("moved"))
    ws.out = ws.path("moved")
    ws.verify()
    recovers(ws, paths)


@test
def a_new_output_at_the_place_of_a_moved_one_has_a_state_of_its_own(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    moved = ws.path("moved")
    os.rename(ws.out, moved)
    ws.encode(out=moved)
    before = {f: os.stat(f).st_ino for f in shard_files(os.path.join(moved, "set"))}
    recovers(ws, paths)
    ws.encode(out=moved)
    equal({f: os.stat(f).st_ino for f in shard_files(os.path.join(moved, "set"))}, before, "shards")


@test
def a_copied_output_is_an_output_of_its_own(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    shutil.copytree(ws.out, ws.path("copy"))
    more = ws.small_pictures(3, first=4)
    for folder in (ws.path("copy"), ws.out):
        ws.encode(out=folder)
        same_members(paths_in(os.path.join(folder, "set")), paths + more, f"samples of {folder}")


@test
def two_outputs_do_not_share_a_state_folder(ws):
    paths = ws.small_pictures(2)
    ws.encode("--state", ws.path("mine"))
    result = ws.encode("--state", ws.path("mine"), out=ws.path("other"), code=None)
    if result.code == OK:
        same_members(paths_in(ws.path("other", "set")), paths, "samples of the other output")
    else:
        one_line(result, ws.out)


@test
def no_place_for_the_state(ws):
    ws.small_pictures(1)
    bare = {k: v for k, v in ws.environment.items() if k not in ("HOME", "XDG_STATE_HOME")}
    one_line(ws.encode(code=FAILED, env=bare), "XDG_STATE_HOME", "--state")
    ws.encode("--state", ws.path("mine"), env=bare)
    equal(len(read_dataset(ws.dataset)), 1, "number of samples")
    assert os.path.exists(ws.path("mine", "queue.db"))


# -- decode workers


def own_programs(ws):
    """latentctl in a folder of its own, where latentd-decode may be missing or wrong."""
    os.makedirs(ws.path("bin"))
    shutil.copy(os.path.join(ws.programs, "latentctl"), ws.path("bin"))
    decode, ws.programs = os.path.join(ws.programs, "latentd-decode"), ws.path("bin")
    return decode


@test
def without_latentd_decode_nothing_is_lost(ws):
    paths = ws.small_pictures(3)
    decode = own_programs(ws)
    one_line(ws.encode(code=FAILED), "latentd-decode")
    equal(ws.latentctl("failed", "--out", ws.out, "--json").json, [], "failed")
    shutil.copy(decode, ws.path("bin"))
    recovers(ws, paths)


@test
def a_latentd_decode_that_cannot_run(ws):
    paths = ws.small_pictures(3)
    decode = own_programs(ws)
    for script in (b"not a program", b"#!/bin/sh\nexit 1\n", b"#!/bin/sh\nsleep 0.2; exit 1\n"):
        path = ws.write("bin/latentd-decode", script, ws.root)
        os.chmod(path, 0o755)
        one_line(ws.encode(code=FAILED), "latentd-decode")
    shutil.copy(decode, ws.path("bin"))
    recovers(ws, paths)


@test
def workers_that_are_killed_cost_nothing(ws):
    paths = ws.small_pictures(100)
    # In its middle, with images in all of them; once, because an image that kills two decoders is given up.
    process = ws.start_and_stop("open:250", ws.src, *ws.encode_words("--jobs", "4", vae=demo_model()))
    killed = ws.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    result = ws.finish(process)
    equal(len(killed), 4, "workers that were killed")
    equal(result.code, OK, "exit status")
    same_members(paths_in(ws.dataset), paths, "samples")
    ws.no_worker_is_left()


run_tests()
