#!/usr/bin/env python3
"""gc, compact and verify --deep: shards that take the place of others.

LATENTD_TEST_SEED repeats a series of moments as far as timing allows; LATENTD_TEST_LONG=1 kills thirty times as often.
"""

import os
import random
import shutil
import signal
import subprocess
import tarfile
import time

from harness import BUSY, DAMAGED, FAILED, OK, QUARANTINED, demo_model, equal, one_line
from harness import run_tests, same_members, test
from reference import read_dataset, shard_files

SEED = int(os.environ.get("LATENTD_TEST_SEED") or random.randrange(1 << 32))
KILLS = 900 if os.environ.get("LATENTD_TEST_LONG") else 30


def run(ws, command, *options, **settings):
    return ws.latentctl(command, "--out", ws.out, *options, **settings)


def hidden(ws, *parts):
    return os.path.join(ws.dataset, ".latentd", *parts)


def tars_below(folder):
    return sorted(f for _, _, files in os.walk(folder) for f in files if f.endswith(".tar"))


def many_small_shards(ws, runs=5, each=15):
    """An output as many short runs leave it; the paths of its samples."""
    paths = []
    for i in range(runs):
        paths += ws.small_pictures(each, first=i * each)
        ws.encode()
    return paths


def snapshot(ws):
    """Every file of the output with its contents."""
    found = {}
    for at, _, names in os.walk(ws.out):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                found[os.path.join(at, name)] = file.read()
    return found


def listed(ws):
    """The shards that other programs are told of."""
    with open(hidden(ws, "shards.txt")) as file:
        return sorted(os.path.join(ws.dataset, line) for line in file.read().splitlines())


def everything_is_there_once(ws, paths):
    equal(listed(ws), shard_files(ws.dataset), "shards.txt")
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    equal(ws.verify().out.count("\n"), 1, "lines of verify")
    equal(ws.status()["jobs"]["completed"], len(paths), "completed")


def latents(ws):
    return {s.key: s.members for s in read_dataset(ws.dataset)}


def flip(file, at):
    with open(file, "r+b") as shard:
        shard.seek(at)
        old = shard.read(1)[0]
        shard.seek(at)
        shard.write(bytes([old ^ 1]))


# -- compact


@test
def small_shards_are_merged_byte_for_byte(ws):
    paths = many_small_shards(ws)
    before, were = latents(ws), shard_files(ws.dataset)
    groups = {os.path.dirname(f) for f in were}
    assert len(were) > len(groups), were
    result = run(ws, "compact")
    equal(result.errors, [], "stderr")
    assert f"{len(were)} small shards merged into {len(groups)}" in result.out, result.out
    equal(listed(ws), shard_files(ws.dataset), "shards.txt")
    equal(len(shard_files(ws.dataset)), len(groups), "number of shards")
    equal(latents(ws), before, "samples")
    everything_is_there_once(ws, paths)
    assert not set(shard_files(ws.dataset)) & set(were), "a name that stands for other contents"
    # Nothing is left to do, for compact and for encode.
    assert "0 small shards" in run(ws, "compact").out
    now = shard_files(ws.dataset)
    ws.encode()
    equal(shard_files(ws.dataset), now, "shards")


@test
def compact_makes_shards_of_the_size_asked_for(ws):
    paths = many_small_shards(ws, runs=6, each=10)
    run(ws, "compact", "--shard-samples", "20")
    sizes = [len(tarfile.open(f).getmembers()) // 3 for f in shard_files(ws.dataset)]
    assert max(sizes) <= 20 and len(sizes) == 4, sizes  # 48 and 12 samples
    everything_is_there_once(ws, paths)


@test
def a_dry_run_says_what_would_be_and_changes_nothing(ws):
    many_small_shards(ws, runs=3)
    before = snapshot(ws)
    wanted = run(ws, "compact", "--dry-run").out
    run(ws, "gc", "--dry-run")
    equal(snapshot(ws), before, "the output")
    equal(run(ws, "compact").out.replace("merged", "would be merged"), wanted, "what was done")
    before = snapshot(ws)
    wanted = run(ws, "gc", "--grace", "0", "--dry-run").out
    assert "would be removed" in wanted, wanted
    equal(snapshot(ws), before, "the output")


@test
def encode_goes_on_after_compact(ws):
    paths = many_small_shards(ws, runs=3)
    run(ws, "compact")
    paths += ws.small_pictures(20, first=500)
    ws.encode()
    run(ws, "gc", "--grace", "0")
    paths += ws.small_pictures(20, first=600)
    ws.encode()
    run(ws, "compact")
    everything_is_there_once(ws, paths)


@test
def an_output_that_was_copied_with_its_links_followed_goes_on(ws):
    paths = many_small_shards(ws, runs=2)
    shutil.copytree(ws.out, ws.path("copy"))
    shutil.rmtree(ws.out)
    os.rename(ws.path("copy"), ws.out)
    run(ws, "compact")
    everything_is_there_once(ws, paths)


def kill_soon(ws, process, chance, longest_s):
    try:
        process.wait(chance.uniform(0, longest_s))
    except subprocess.TimeoutExpired:
        pass
    process.kill()
    return process.wait() == -signal.SIGKILL


@test
def every_sample_is_there_once_after_kills_of_compact(ws):
    chance, kills, rounds = random.Random(SEED), 0, 0
    print(f"LATENTD_TEST_SEED={SEED}")
    paths = many_small_shards(ws, runs=6, each=10)
    shutil.copytree(ws.out, ws.path("out.before"), symlinks=True)
    shutil.copytree(ws.path("state"), ws.path("state.before"))
    began = time.monotonic()
    run(ws, "compact", "--shard-samples", "30")
    longest_s = time.monotonic() - began
    while kills < KILLS:
        for name in ("out", "state"):
            shutil.rmtree(ws.path(name))
            shutil.copytree(ws.path(f"{name}.before"), ws.path(name), symlinks=True)
        for _ in range(3):  # what one kill leaves, the next command finds
            words = ("compact", "--out", ws.out, "--shard-samples", "30")
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            kills += kill_soon(ws, ws.start(*words, **quiet), chance, longest_s)
        # No sample is ever in two shards, before anything is repaired too.
        keys = [s.key for s in read_dataset(ws.dataset)]
        equal(len(set(keys)), len(keys), "number of different keys")
        if chance.random() < 0.5:
            ws.encode()
        else:
            run(ws, "compact", "--shard-samples", "30")
        everything_is_there_once(ws, paths)
        equal(tars_below(hidden(ws, "staged")), [], "files still staged")
        rounds += 1
    print(f"killed {kills}, rounds {rounds}, lost 0, duplicated 0")


# -- gc


@test
def gc_removes_replaced_shards_after_the_grace_time(ws):
    paths = many_small_shards(ws, runs=3)
    replaced = len(shard_files(ws.dataset))
    run(ws, "compact")
    equal(len(tars_below(hidden(ws, "retired"))), replaced, "replaced shards")
    assert f"0 replaced shards removed, 0 B freed; {replaced} kept" in run(ws, "gc").out
    equal(len(tars_below(hidden(ws, "retired"))), replaced, "replaced shards")
    result = run(ws, "gc", "--grace", "0")
    assert f"{replaced} replaced shards removed" in result.out, result.out
    equal(tars_below(hidden(ws, "retired")), [], "replaced shards")
    everything_is_there_once(ws, paths)


@test
def samples_of_changed_files_leave_their_shards(ws):
    paths = ws.small_pictures(30)
    ws.encode()
    old = latents(ws)
    changed = os.path.join(ws.src, paths[0])
    with open(changed, "ab") as file:
        file.write(b"changed")
    ws.encode()
    everything_is_there_once(ws, paths)
    assert not os.path.exists(hidden(ws, "removed.txt"))
    assert tars_below(hidden(ws, "retired")), "no shard was replaced"
    now = latents(ws)
    equal(sum(now[k] != old[k] for k in now), 1, "number of samples that changed")


@test
def an_output_in_use_is_left_alone(ws):
    ws.small_pictures(20)
    holder = ws.start_and_stop("open:30", ws.src, *ws.encode_words(vae=demo_model()))
    try:
        for words in (["gc"], ["compact"], ["verify", "--deep"]):
            one_line(run(ws, *words, code=BUSY), "in use", str(holder.pid))
        assert "0 small shards would be merged" in run(ws, "compact", "--dry-run").out
        assert "0 replaced shards would be removed" in run(ws, "gc", "--dry-run").out
    finally:
        holder.kill()
        ws.finish(holder)
    ws.no_worker_is_left()


@test
def what_is_no_output_is_refused_and_not_made(ws):
    for command in ("gc", "compact"):
        one_line(run(ws, command, code=FAILED), ws.out)
        assert not os.path.exists(ws.out)


# -- verify --deep


def damaged(ws, file, at, lost, paths):
    """verify --deep after a flipped byte: @lost images are queued again, the next encode repairs."""
    flip(file, at)
    ws.verify(code=DAMAGED)
    result = run(ws, "verify", "--deep", code=DAMAGED)
    assert os.path.relpath(file, ws.out) in result.out, result.out
    plural = "" if lost == 1 else "s"
    wanted = f"{lost} image{plural} will be encoded again by the next encode"
    equal(result.out.splitlines()[-1], wanted, "the last line")
    equal(listed(ws), shard_files(ws.dataset), "shards.txt")
    run(ws, "verify", "--deep")
    equal(len(read_dataset(ws.dataset)), len(paths) - lost, "number of samples kept")
    ws.encode()
    run(ws, "verify", "--deep")
    everything_is_there_once(ws, paths)


def largest(ws):
    return max(shard_files(ws.dataset), key=os.path.getsize)


@test
def a_flipped_byte_in_a_latent_costs_one_sample(ws):
    paths = ws.small_pictures(30)
    ws.encode()
    before, file = latents(ws), largest(ws)
    with tarfile.open(file) as tar:
        member = [m for m in tar if m.name.endswith(".zst")][1]
    damaged(ws, file, member.offset_data + member.size // 2, 1, paths)
    equal(latents(ws), before, "samples")


@test
def a_flipped_byte_that_no_sample_shows_costs_the_shard(ws):
    paths = ws.small_pictures(30)
    ws.encode()
    file = largest(ws)
    with tarfile.open(file) as tar:
        n = len(tar.getmembers()) // 3
    damaged(ws, file, os.path.getsize(file) - 1, n, paths)
    assert os.listdir(hidden(ws, "quarantine")), "the damaged shard is gone"


@test
def a_flipped_byte_anywhere_is_repaired(ws):
    chance = random.Random(SEED)
    print(f"LATENTD_TEST_SEED={SEED}")
    paths = ws.small_pictures(20)
    ws.encode()
    for _ in range(10):
        file = chance.choice(shard_files(ws.dataset))
        flip(file, chance.randrange(os.path.getsize(file)))
        run(ws, "verify", "--deep", code=DAMAGED)
        run(ws, "verify", "--deep")
        ws.encode()
        everything_is_there_once(ws, paths)


@test
def a_truncated_and_a_missing_shard_are_repaired(ws):
    paths = ws.small_pictures(30)
    ws.encode("--shard-samples", "5")
    files = shard_files(ws.dataset)
    os.truncate(files[0], os.path.getsize(files[0]) // 2)
    os.remove(files[1])
    run(ws, "verify", "--deep", code=DAMAGED)
    ws.encode()
    run(ws, "verify", "--deep")
    everything_is_there_once(ws, paths)


@test
def verify_alone_changes_nothing(ws):
    ws.small_pictures(10)
    ws.encode()
    flip(largest(ws), 2000)
    before = snapshot(ws)
    ws.verify(code=DAMAGED)
    equal(snapshot(ws), before, "the output")


@test
def a_dataset_whose_folder_was_never_made_is_passed_over_and_a_lost_one_is_named(ws):
    ws.small_pictures(4)
    ws.encode()
    ws.name = "other"
    ws.write("bad.jpg", b"no picture", ws.path("bad"))
    ws.encode(src=[ws.path("bad")], code=QUARANTINED)
    shutil.rmtree(ws.dataset)  # as after a run that died before it made it
    commands = (["gc", "--grace", "0"], ["compact"], ["reindex"], ["verify", "--deep"])
    for words in commands:
        assert ws.dataset not in run(ws, *words).out
    ws.name = "set"
    shutil.rmtree(ws.dataset)
    for words, code in zip(commands, (FAILED, FAILED, OK, DAMAGED)):
        result = run(ws, *words, code=code)
        assert f"{ws.dataset} is not there" in result.out + result.err


@test
def a_retired_shard_of_a_lost_catalog_is_in_nobodys_way(ws):
    many_small_shards(ws, 2, 4)
    for file in shard_files(ws.dataset):
        name = os.path.relpath(file, ws.dataset)
        ws.write(hidden(ws, "retired", name), b"of another life", "")
    run(ws, "compact")
    ws.verify()


run_tests()
