#!/usr/bin/env python3
"""Runs that are ended in the middle, by kill -9 at random moments or by a signal in order, and run again.

LATENTD_TEST_SEED repeats a series of moments as far as timing allows; LATENTD_TEST_LONG=1 kills fifty times as
often with the fake encoder (LATENTD_TEST_KILLS: so often) and ten times with the demo model.
"""

import os
import random
import shutil
import signal
import subprocess
import threading
import time

from harness import INTERRUPTED, OK, demo_model, equal, run_tests, same_members, test, wait_until
from reference import read_dataset, shard_files

SEED = int(os.environ.get("LATENTD_TEST_SEED") or random.randrange(1 << 32))
LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
KILLS_FAKE, KILLS_DEMO = (10000, 150) if LONG else (200, 15)
KILLS_FAKE = int(os.environ.get("LATENTD_TEST_KILLS") or KILLS_FAKE)
PICTURES, FIRST = 63, 50
SHARD_SAMPLES = ("--shard-samples", "7")


def watch(folder, seen, stop):
    """Ends when a shard appears below @folder that is not in @seen, or with @stop."""
    while not stop.is_set() and set(shard_files(folder)) <= seen:
        time.sleep(0.0005)


def kill_at_a_random_moment(ws, process, chance, longest_s):
    """After a random time; or as soon as a shard is visible, before its transaction. True: it was alive."""
    if chance.random() < 0.4:
        seen, stop = set(shard_files(ws.dataset)), threading.Event()
        watcher = threading.Thread(target=watch, args=(ws.dataset, seen, stop))
        watcher.start()
        while watcher.is_alive() and process.poll() is None:
            watcher.join(0.001)
        time.sleep(chance.choice((0, 0, 0.001, 0.003)))
        stop.set()
        watcher.join()
    else:
        try:
            process.wait(chance.uniform(0, longest_s))
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    return process.wait() == -signal.SIGKILL


def everything_is_there_once(ws, paths):
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    assert all(len(s.members) == 3 for s in samples), "a sample without all its members"
    partial = os.path.join(ws.dataset, ".latentd", "partial")
    assert not os.path.isdir(partial) or not os.listdir(partial), os.listdir(partial)
    assert not os.path.isdir(os.path.join(ws.dataset, ".latentd", "quarantine"))
    equal(ws.status()["jobs"]["completed"], len(paths), "completed")
    equal(ws.failed(), {}, "failed")
    equal(ws.verify().out.count("not in the catalog"), 0, "shards without a row")
    ws.no_worker_is_left()


def shards_never_change(ws, known):
    """What was visible once stays as it was; returns what is visible now."""
    now = {
        f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns, os.stat(f).st_size)
        for f in shard_files(ws.dataset)
    }
    for file, was in known.items():
        equal(now.get(file), was, f"a shard that was visible before: {file}")
    return now


def shards_stay(ws, known):
    shards_never_change(ws, known)
    return len(known)


def start_afresh(ws):
    """A state folder and an output that grew for ever would make the test slower and slower."""
    shutil.rmtree(ws.out)
    shutil.rmtree(ws.path("state"))


def survives_kills(ws, vae, wanted):
    chance = random.Random(SEED)
    print(f"LATENTD_TEST_SEED={SEED}")
    paths, kills, rounds, known = ws.small_pictures(PICTURES), 0, 0, {}
    runs = seen = 0
    began = time.monotonic()
    ws.encode(*SHARD_SAMPLES, "--name", "timing", vae=vae)
    longest_s = time.monotonic() - began
    while kills < wanted:
        ws.name, runs = f"round{rounds}", runs + 1
        words = ws.encode_words(*SHARD_SAMPLES, "--seed", str(rounds), vae=vae)
        process = ws.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kill_at_a_random_moment(ws, process, chance, longest_s):
            kills += 1
            known = shards_never_change(ws, known)
        else:
            equal(process.returncode, OK, "exit status of a run that came to its end")
            seen += shards_stay(ws, known)
            everything_is_there_once(ws, paths)
            rounds, known = rounds + 1, {}
            if rounds % 20 == 0:
                start_afresh(ws)
            if rounds % 500 == 0:
                print(f"so far: runs {runs}, killed {kills}, outputs {rounds}", flush=True)
    ws.encode(*SHARD_SAMPLES, "--seed", str(rounds), vae=vae)
    seen += shards_stay(ws, known)
    everything_is_there_once(ws, paths)
    # Anything lost, twice or changed would have ended the test above.
    print(
        f"runs {runs + 1}, killed {kills}, outputs {rounds + 1}\n"
        f"  samples wanted {len(paths) * (rounds + 1)}, lost 0, duplicated 0\n"
        f"  shards visible when a run was killed {seen}, changed 0, vanished 0"
    )


@test
def every_sample_is_there_once_after_kills_of_the_fake_encoder(ws):
    survives_kills(ws, "fake", KILLS_FAKE)


@test
def every_sample_is_there_once_after_kills_of_the_demo_model(ws):
    survives_kills(ws, demo_model(), KILLS_DEMO)


def in_its_middle(ws):
    """A second run that stands still with more than half of its pictures still to be opened, until SIGCONT."""
    words = ws.encode_words(*SHARD_SAMPLES, vae=demo_model())
    paths = ws.small_pictures(FIRST)
    ws.latentctl(*words)
    paths += ws.small_pictures(200 - FIRST, first=FIRST)
    opens = 5  # of a picture: its captions are looked for too
    return paths, ws.start_and_stop(f"open:{(200 - FIRST) // 2 * opens}", ws.src, *words)


def goes_on_after(ws, number):
    paths, process = in_its_middle(ws)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    result = ws.finish(process)
    equal(result.code, INTERRUPTED, "exit status")
    equal(len(result.errors), 1, "number of error lines")
    ws.no_worker_is_left()
    assert "run the same command again" in result.out, result.out
    jobs = ws.status()["jobs"]
    equal(jobs["running"], 0, "jobs still running")
    done = jobs["encoded"] + jobs["completed"]
    assert FIRST <= done < len(paths), jobs
    equal(done + jobs["available"], len(paths), "jobs in all")
    ws.verify()
    known = shards_never_change(ws, {})
    ws.encode(*SHARD_SAMPLES, vae=demo_model())
    shards_never_change(ws, known)
    everything_is_there_once(ws, paths)


@test
def interrupt_keeps_what_is_finished(ws):
    goes_on_after(ws, signal.SIGINT)


@test
def terminate_keeps_what_is_finished(ws):
    goes_on_after(ws, signal.SIGTERM)


@test
def a_second_interrupt_ends_at_once_and_loses_nothing(ws):
    paths, process = in_its_middle(ws)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
    equal(ws.finish(process).code, INTERRUPTED, "exit status")
    ws.encode(*SHARD_SAMPLES, vae=demo_model())
    everything_is_there_once(ws, paths)


@test
def a_killed_run_leaves_the_output_free(ws):
    ws.small_pictures(30)
    process = ws.start(*ws.encode_words(vae=demo_model()))
    wait_until(lambda: process.poll() is not None or ws.workers(), "workers")
    process.kill()
    process.communicate()
    ws.no_worker_is_left()
    ws.encode(vae=demo_model())
    equal(len(read_dataset(ws.dataset)), 30, "number of samples")


run_tests()
