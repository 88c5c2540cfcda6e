#!/usr/bin/env python3
"""What docs/operations.md tells operators to do: backups, restores and moves of a daemon's datasets, as it says."""

import os
import shutil

from daemon_rig import Daemon
from harness import equal, run_tests, same_members, test
from reference import read_dataset


def run_to_the_end(ws, daemon, first, n):
    """A daemon that encodes @n more images, seals them and is stopped."""
    paths = ws.small_pictures(n, ws.path("set"), first=first)
    daemon.run("--once")
    return paths


def shards_sealed(daemon):
    return daemon.said().count(": sealed ")


def holds(ws, out, wanted):
    """Exactly these images are in sound shards, each once."""
    same_members([s.path for s in read_dataset(os.path.join(out, "set"))], wanted, "samples")
    ws.latentctl("verify", "--out", out, "--name", "set")


@test
def a_state_folder_from_a_backup_goes_on_also_where_shards_are_newer(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    paths = run_to_the_end(ws, daemon, 0, 4)
    shutil.copytree(daemon.state_dir, ws.path("backup"))
    paths += run_to_the_end(ws, daemon, 4, 3)
    shutil.rmtree(daemon.state_dir)
    shutil.copytree(ws.path("backup"), daemon.state_dir)
    paths += run_to_the_end(ws, daemon, 7, 2)
    holds(ws, ws.out, paths)


@test
def without_a_backup_the_next_start_or_a_rebuild_makes_the_queue_from_the_shards(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    paths = run_to_the_end(ws, daemon, 0, 4)
    shutil.rmtree(daemon.state_dir)
    paths += run_to_the_end(ws, daemon, 4, 2)
    holds(ws, ws.out, paths)
    shutil.rmtree(daemon.state_dir)
    ws.latentctl("rebuild", ws.out, src, "--state", daemon.state_dir)
    sealed = shards_sealed(daemon)
    daemon.run("--once")
    holds(ws, ws.out, paths)
    equal(shards_sealed(daemon), sealed, "shards made until then")


@test
def an_output_and_a_source_that_were_moved_are_gone_on_with(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    paths = run_to_the_end(ws, daemon, 0, 4)
    moved, src = ws.path("other-disk"), ws.path("other-source")
    os.rename(ws.out, moved)
    dataset["output"]["path"] = moved
    paths += run_to_the_end(ws, daemon, 4, 2)
    holds(ws, moved, paths)
    os.rename(ws.path("set"), src)
    dataset["source"]["path"] = src
    sealed = shards_sealed(daemon)
    daemon.run("--once")
    holds(ws, moved, paths)
    equal(shards_sealed(daemon), sealed, "shards made until then")
    equal(os.path.exists(ws.out), False, "an output at the old place")


run_tests()
