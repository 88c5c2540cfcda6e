#!/usr/bin/env python3
"""gc and compact of an output that a daemon works on: latentctl asks it, and it does them between other things."""

import contextlib
import http.client
import os
import signal

from daemon_rig import Daemon, shimmed
from harness import FAILED, OK, equal, is_stopped, one_line, run_tests, same_members, test, wait_until
from process_rig import Running
from reference import read_dataset, shard_files

EACH = 12
SHIM_DIED = 77


def run(ws, command, *options, **settings):
    return ws.latentctl(command, "--out", ws.out, *options, **settings)


def hidden(ws, *parts):
    return os.path.join(ws.dataset, ".latentd", *parts)


def tars_below(folder):
    return sorted(f for _, _, files in os.walk(folder) for f in files if f.endswith(".tar"))


def listed(ws):
    """The shards that other programs are told of."""
    with open(hidden(ws, "shards.txt"), encoding="ascii") as file:
        return sorted(os.path.join(ws.dataset, line) for line in file.read().splitlines())


def latents(ws):
    return {s.key: s.members for s in read_dataset(ws.dataset)}


def more_shards(ws, daemon, paths, n=1):
    """Small ones, of pictures that were not there before."""
    for _ in range(n):
        paths += ws.small_pictures(EACH, ws.path("set"), first=len(paths))
        daemon.drain()
        daemon.resume()
    return paths


def small_shards(ws, n=4, **options):
    """A daemon that runs, and what it has made."""
    daemon = Daemon(ws)
    daemon.dataset(**options)
    daemon.start()
    return daemon, more_shards(ws, daemon, [], n)


def everything_is_there_once(ws, paths):
    equal(listed(ws), shard_files(ws.dataset), "shards.txt")
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    ws.verify()


def upkeep(daemon):
    return daemon.get("/datasets/set/upkeep")["upkeep"]


def ended(daemon, order):
    """What became of an order that was posted."""

    def is_it():
        (found,) = [u for u in upkeep(daemon) if u["id"] == order["id"]]
        return found if found["ended_at"] else None

    return daemon.wait(is_it, "the end of it")


def files_of(folder):
    return {
        os.path.join(at, name): os.stat(os.path.join(at, name)).st_mtime_ns
        for at, _, names in os.walk(folder)
        for name in names
    }


@test
def it_says_through_a_daemon_what_it_says_without_one(ws):
    daemon, paths = small_shards(ws)
    changed = ws.path("set", paths[0])
    with open(changed, "ab") as file:
        file.write(b"changed")
    daemon.stop()
    before = latents(ws)
    alone = [run(ws, *words, "--dry-run").out for words in (["compact"], ["gc", "--grace", "0"])]
    daemon.start()
    daemon.wait_for(finished=len(paths), available=0)
    files = files_of(ws.dataset)
    merged = run(ws, "compact", "--dry-run")
    equal([merged.out, merged.err], [alone[0], ""], "a dry run of compact")
    equal(run(ws, "gc", "--grace", "0", "--dry-run").out, alone[1], "a dry run of gc")
    equal(files_of(ws.dataset), files, "files of the output")
    shards = len(shard_files(ws.dataset))
    equal(run(ws, "compact").out, alone[0].replace("would be merged", "merged"), "compact")
    assert len(shard_files(ws.dataset)) < shards
    equal(len(tars_below(hidden(ws, "retired"))), shards, "replaced shards")
    assert f"{shards} replaced shards would be removed" in run(ws, "gc", "--grace", "0", "--dry-run").out
    assert f"{shards} kept until 24 hours old" in run(ws, "gc").out
    assert f"{shards} replaced shards removed" in run(ws, "gc", "--grace", "0").out
    equal(tars_below(hidden(ws, "retired")), [], "replaced shards")
    equal(latents(ws), before, "samples")
    everything_is_there_once(ws, paths)
    daemon.stop()


@test
def a_script_asks_the_api_and_gets_numbers(ws):
    daemon, paths = small_shards(ws)
    n = len(shard_files(ws.dataset))
    dry = ended(daemon, daemon.post("/datasets/set/compact", dry_run=True))
    equal([dry["state"], dry["error"], dry["notes"]], ["done", None, []], "a dry run")
    equal([dry["result"]["retired"], dry["result"]["samples"]], [n, len(paths)], "what would be")
    sized = ended(daemon, daemon.post("/datasets/set/compact", dry_run=True, shard_samples=2))
    equal(sized["result"]["retired"], 0, "small shards, where two samples are a full one")
    done = ended(daemon, daemon.post("/datasets/set/compact"))
    equal({**done["result"], "dry_run": True}, dry["result"], "what was done")
    swept = ended(daemon, daemon.post("/datasets/set/gc", grace_hours=0))
    equal([swept["command"], swept["result"]["removed"]], ["gc", n], "replaced shards")
    ids = [u["id"] for u in upkeep(daemon)]
    equal(ids, sorted(set(ids)), "ids, which rise")
    for wrong in ({"grace_hours": -1}, {"grace_hours": "1"}, {"shard_samples": 5}):
        daemon.post("/datasets/set/gc", code=400, **wrong)
    for wrong in ({"shard_samples": 0}, {"shard_size": 1023}, {"grace_hours": 1}, {"dry_run": 1}):
        daemon.post("/datasets/set/compact", code=400, **wrong)
    equal([u["id"] for u in upkeep(daemon)], ids, "what was asked for")
    everything_is_there_once(ws, paths)
    daemon.stop()


@test
def shards_are_merged_while_images_are_encoded(ws):
    daemon, paths = small_shards(ws)
    before, n = latents(ws), len(shard_files(ws.dataset))
    (worker,) = ws.workers()
    os.kill(worker, signal.SIGSTOP)  # what is begun now does not end
    paths += ws.small_pictures(EACH, ws.path("set"), first=len(paths))
    daemon.wait(lambda: daemon.jobs("set", "running"), "images under way")
    assert f"{n} small shards merged" in run(ws, "compact").out
    assert daemon.jobs("set", "running"), "nothing was under way any more"
    equal(latents(ws), before, "samples")
    os.kill(worker, signal.SIGCONT)
    daemon.drain()
    everything_is_there_once(ws, paths)
    daemon.stop()


@test
def what_cannot_encode_can_be_compacted(ws):
    daemon, paths = small_shards(ws)
    daemon.stop()
    daemon.config["datasets"][0]["recipe"]["filter"] = "bilinear"  # another recipe: its name is taken
    daemon.start()
    daemon.wait_for_state("blocked")
    assert "merged" in run(ws, "compact").out
    everything_is_there_once(ws, paths)
    assert "removed" in run(ws, "gc", "--grace", "0").out
    daemon.stop()


@test
def captions_that_were_set_come_into_the_shards(ws):
    daemon, paths = small_shards(ws, n=2)
    key = os.path.splitext(paths[0])[0]
    ws.write("given.jsonl", b'{"key": "%s", "caption": "a bear"}\n' % key.encode(), ws.root)
    run(ws, "captions", "set", ws.path("given.jsonl"))
    run(ws, "compact")
    (sample,) = [s for s in read_dataset(ws.dataset) if s.path == paths[0]]
    equal(sample.members["txt"], b"a bear", "its caption")
    daemon.stop()


def lives_to_open(daemon):
    """Whether its dataset comes to be open before it dies."""

    def is_over():
        if daemon.process.poll() is not None:
            return "died"
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, about = daemon.request("GET", "/api/v1/datasets/set")
            return status == 200 and about["state"] != "starting" and "open"
        return None

    return wait_until(is_over, "its dataset to be open") == "open"


@test
def whenever_a_daemon_dies_in_it_every_sample_is_there_once(ws):
    daemon, paths = small_shards(ws, n=2)
    roots = ":".join((hidden(ws, "staged"), hidden(ws, "retired"), os.path.join(ws.dataset, "train")))
    died, at = 0, 1
    while True:
        daemon.stop()
        daemon.spawn(env=shimmed(ws, daemon, roots, fault=f"change:{at}:die"))
        if lives_to_open(daemon):
            result = run(ws, "compact", code=None)
            keys = [s.key for s in read_dataset(ws.dataset)]
            equal(len(set(keys)), len(keys), "number of different keys")
            if result.code == OK:
                break
            one_line(result)
            died += 1
        Running.ended(daemon, SHIM_DIED)
        daemon.start()
        more_shards(ws, daemon, paths)
        everything_is_there_once(ws, paths)
        at += 3
    assert died >= 4, died
    everything_is_there_once(ws, paths)
    assert "encoded again" not in daemon.said()
    equal(tars_below(hidden(ws, "quarantine")), [], "shards that were put aside")
    daemon.stop()


@test
def a_daemon_that_ends_meanwhile_says_so(ws):
    daemon, paths = small_shards(ws)
    daemon.stop()
    staged = hidden(ws, "staged")
    daemon.start(env=shimmed(ws, daemon, staged, fault="sync:1:stop"))
    asking = ws.start("compact", "--out", ws.out)
    wait_until(lambda: is_stopped(daemon.process), "a stop in its middle")
    daemon.tell(signal.SIGTERM)
    daemon.tell(signal.SIGCONT)
    daemon.ended(OK)
    result = ws.finish(asking)
    if result.code != OK:  # it was done before anybody looked
        one_line(result, "daemon")
    daemon.start()
    daemon.drain()
    everything_is_there_once(ws, paths)
    daemon.stop()


@test
def what_it_does_not_know_is_refused_in_one_line(ws):
    daemon, _ = small_shards(ws, n=1)
    one_line(run(ws, "gc", "--name", "nobody", code=FAILED), "no dataset nobody")
    status, answer = daemon.request("POST", "/api/v1/datasets/nobody/gc", {})
    equal([status, answer["error"]["code"]], [404, "not_found"], "an unknown dataset")
    daemon.stop()


run_tests()
