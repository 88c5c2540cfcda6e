#!/usr/bin/env python3
"""How latentd ends: in order by SIGTERM, wherever it is, and out of order; and that the next start goes on."""

import os
import signal
import socket

from daemon_rig import Daemon, shimmed
from harness import demo_model, equal, is_stopped, run_tests, same_members, test
from reference import read_dataset

# Encoders stop in their middle; what is longer would be a wait for an image or for a model.
ENDS_WITHIN_S = 60


def with_work(ws):
    """A daemon, and the paths of its images."""
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    # To encode one takes far longer than to write what was made of it, and all of them seconds, but for sanitizers.
    recipe = {"vae": demo_model(), "resolution": 256}
    src = daemon.dataset(recipe=recipe, output={"shard_samples": 5})["source"]["path"]
    return daemon, ws.small_pictures(40, src)


def stands_still(ws, daemon, writes):
    """Starts it, and it stops before it writes so often into its spool, of encoded images: in their middle, until SIGCONT."""
    spool = os.path.join(daemon.state_dir, "spool", "set")
    daemon.spawn(env=shimmed(ws, daemon, spool, fault=f"write:{writes}:stop"))
    daemon.wait(lambda: is_stopped(daemon.process), f"write {writes} of the spool")


def at_rest(ws):
    """Jobs by state, when no daemon runs."""
    (row,) = ws.latentctl("status", "--out", ws.out, "--json").json
    equal(row["jobs"]["running"], 0, "jobs that run without a daemon")
    return row["jobs"]


def everything_once(ws, daemon, paths):
    daemon.run("--once")
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")
    ws.verify()


@test
def a_sigterm_in_the_middle_of_work_gives_everything_back(ws):
    daemon, paths = with_work(ws)
    stands_still(ws, daemon, 10)
    daemon.tell(signal.SIGTERM)
    daemon.stop(signal.SIGCONT, limit_s=ENDS_WITHIN_S)
    jobs = at_rest(ws)
    assert jobs["available"] > 0, f"all was done before the end: {jobs}"
    assert jobs["encoded"] + jobs["completed"] > 0, f"nothing is kept: {jobs}"
    equal(sum(jobs.values()), len(paths), "jobs")
    everything_once(ws, daemon, paths)


@test
def after_kills_the_next_start_goes_on(ws):
    daemon, paths = with_work(ws)
    for writes in (1, 10):
        stands_still(ws, daemon, writes)
        daemon.stop(signal.SIGKILL, code=-signal.SIGKILL)
    everything_once(ws, daemon, paths)


@test
def a_sigterm_during_a_long_encode_ends_soon(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    recipe = {"vae": demo_model(), "resolution": 2048}
    src = daemon.dataset(recipe=recipe)["source"]["path"]
    ws.small_pictures(2, src)
    daemon.start()
    daemon.wait(lambda: daemon.status()["encoders"][0]["in_flight"] > 0, "the encoder to work")
    daemon.stop(limit_s=ENDS_WITHIN_S)
    equal(at_rest(ws)["available"], 2, "images that wait for the next start")


@test
def models_that_do_not_come_keep_nothing_from_ending(ws):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        daemon, url = Daemon(ws), f"http://127.0.0.1:{silent.getsockname()[1]}"
        urls = [f"{url}/{name}/" for name in "abcd"]
        for name, endpoint in zip("abcd", urls):  # 10 s each, one after the other
            daemon.dataset(name, recipe={"vae": {"endpoint": endpoint}})
        endpoints = [{"url": endpoint} for endpoint in urls]
        daemon.config["encoders"] = [{"type": "remote", "endpoints": endpoints}]
        daemon.start()
        daemon.wait(lambda: daemon.status()["encoders"][0]["state"] == "starting", "the load")
        daemon.stop()
    assert "left behind" not in daemon.said(), daemon.said()


run_tests()
