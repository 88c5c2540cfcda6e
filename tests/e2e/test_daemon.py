#!/usr/bin/env python3
"""`latentd`: what comes into its folders, how it is steered, stopped and killed, and what it says of bad input."""

import os

from daemon_rig import Daemon
from harness import QUARANTINED, USAGE, equal, one_line, run_tests, same_members, test
from reference import read_dataset, shard_files


def names(dataset):
    return sorted(s.path for s in read_dataset(dataset))


def verified(ws, dataset, wanted):
    """Exactly these images are in sound shards, each once."""
    same_members([s.path for s in read_dataset(dataset)], wanted, "samples")
    ws.latentctl("verify", "--out", os.path.dirname(dataset), "--name", os.path.basename(dataset))


def at_rest(ws, name="set"):
    """After the end of a daemon: the counts of its queue, in which nothing is under way."""
    ws.name = name
    jobs = ws.status()["jobs"]
    equal(jobs["running"], 0, "jobs that nobody works on any more, but are running")
    return jobs


# -- files that come and go


@test
def photographs_that_are_copied_into_a_watched_folder_are_found_sealed(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    daemon.start()
    daemon.wait_for_state("idle")
    equal(daemon.about()["watch"]["mode"], "inotify", "how it watches")
    paths = ws.small_pictures(6, src)
    daemon.wait_for(finished=6)
    equal(shard_files(os.path.join(ws.out, "set")), [], "shards before a seal")
    equal(daemon.post("/datasets/set/seal")["count"], 1, "datasets")
    daemon.wait_for(completed=6)
    daemon.wait(lambda: daemon.about()["last_shard"], "the shard in the status")
    equal(daemon.health()[0], 200, "health")
    daemon.stop()
    at_rest(ws)
    verified(ws, os.path.join(ws.out, "set"), paths)


TICK_MS = 1000


@test
def what_happens_is_shown_when_it_happens_and_not_on_the_next_tick(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    daemon.start()
    daemon.wait_for_state("idle")
    # Of ticks alone no picture comes soon after the one before it; of news one does, if not each time on a busy machine.
    gaps = []
    while not gaps or min(gaps) >= TICK_MS // 2:
        assert len(gaps) < 100, f"milliseconds between the picture that has a file and the one before it: {gaps}"
        taken = [daemon.status()["taken_at"]]

        def is_shown():
            status = daemon.status()
            if status["taken_at"] != taken[-1]:
                taken.append(status["taken_at"])
            jobs = status["datasets"][0]["jobs"]
            return jobs["encoded"] + jobs["completed"] == len(gaps) + 1

        ws.small_pictures(1, src, first=len(gaps))
        daemon.wait(is_shown, f"file {len(gaps)} to be shown")
        gaps.append(taken[-1] - taken[-2])
    daemon.stop()


@test
def a_file_that_is_still_being_written_is_taken_when_it_is_closed(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    daemon.start()
    daemon.wait_for_state("idle")
    with open(ws.golden("rocket.jpg", "whole.jpg", ws.root), "rb") as file:
        data = file.read()
    with open(os.path.join(src, "slow.jpg"), "wb") as slow:
        slow.write(data[: len(data) // 2])
        slow.flush()
        # Others come and are done meanwhile. A scan that met this one twice, two seconds apart, may have tried it.
        ws.small_pictures(2, src)
        daemon.wait_for(finished=2)
        slow.write(data[len(data) // 2 :])
    daemon.wait_for(finished=3, quarantined=0)
    daemon.stop()


@test
def files_and_folders_that_are_moved_in_or_made_and_filled_at_once_are_found(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    daemon.start()
    daemon.wait_for_state("idle")
    ws.golden("rocket.jpg", "one.jpg", ws.root)
    os.rename(ws.path("one.jpg"), os.path.join(src, "one.jpg"))
    ws.small_pictures(6, ws.path("elsewhere"))
    os.rename(ws.path("elsewhere"), os.path.join(src, "moved"))
    deep = os.path.join(src, "a", "b", "c")
    ws.small_pictures(3, deep, first=100)
    daemon.wait_for(finished=10)
    daemon.stop()


@test
def a_replaced_file_takes_the_place_of_its_old_sample(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    ws.golden("rocket.jpg", "a.jpg", src)
    ws.golden("grey.jpg", "b.jpg", src)
    daemon.start()
    daemon.wait_for(finished=2)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=2)
    dataset = os.path.join(ws.out, "set")
    old = {s.path: s.record["content_xxh3_128"] for s in read_dataset(dataset)}
    os.rename(ws.golden("odd_420.jpg", "new.jpg", ws.root), os.path.join(src, "a.jpg"))
    daemon.wait(lambda: daemon.about()["since_start"]["encoded"] == 3, "the new one to be encoded")
    daemon.drain()
    new = {s.path: s.record["content_xxh3_128"] for s in read_dataset(dataset)}
    daemon.stop()
    verified(ws, dataset, ["a.jpg", "b.jpg"])
    equal(new["b.jpg"], old["b.jpg"], "content of the one that stayed")
    assert new["a.jpg"] != old["a.jpg"], "the sample is still the old one"


@test
def a_deleted_file_keeps_its_sample_or_loses_it_as_configured(ws):
    daemon = Daemon(ws)
    sources = {}
    for on_delete in ("keep", "remove"):
        sources[on_delete] = daemon.dataset(on_delete, on_delete=on_delete)["source"]["path"]
        paths = ws.small_pictures(12, sources[on_delete])
    daemon.start()
    for name, src in sources.items():
        daemon.wait_for(name, finished=12)
        daemon.post(f"/datasets/{name}/seal")
        daemon.wait_for(name, completed=12)
        os.remove(os.path.join(src, paths[0]))
    daemon.wait(lambda: daemon.about("remove")["samples"] == 11, "the sample to be removed")
    for name in sources:
        daemon.drain(name)
    daemon.stop()
    verified(ws, os.path.join(ws.out, "keep"), paths)
    verified(ws, os.path.join(ws.out, "remove"), paths[1:])


@test
def a_renamed_folder_moves_its_samples_without_encoding_them_again(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(on_delete="remove")["source"]["path"]
    for i, name in enumerate(ws.small_pictures(8, src)):
        os.makedirs(os.path.join(src, "before"), exist_ok=True)
        os.rename(os.path.join(src, name), os.path.join(src, "before", f"{i}.jpg"))
    daemon.start()
    daemon.wait_for(finished=8)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=8)
    os.rename(os.path.join(src, "before"), os.path.join(src, "after"))
    daemon.drain()
    equal(daemon.about()["jobs"]["gone"], 8, "files that are gone")
    daemon.stop()
    verified(ws, os.path.join(ws.out, "set"), [f"after/{i}.jpg" for i in range(8)])


# -- once


@test
def once_drains_and_ends_and_the_next_time_there_is_nothing_to_do(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    paths = ws.small_pictures(7, src)
    daemon.run("--once")
    dataset = os.path.join(ws.out, "set")
    verified(ws, dataset, paths)
    before = {f: os.stat(f).st_ino for f in shard_files(dataset)}
    daemon.run("--once")
    equal({f: os.stat(f).st_ino for f in shard_files(dataset)}, before, "shards")
    ws.write("broken.jpg", b"\xff\xd8\xff and no more", src)
    daemon.run("--once", code=QUARANTINED)
    equal(at_rest(ws)["quarantined"], 1, "quarantined")
    assert "broken.jpg" in daemon.said(), "the broken file is not named"
    verified(ws, dataset, paths)


@test
def parts_are_disjoint_and_together_everything(ws):
    paths = ws.small_pictures(20, ws.path("set"))
    parts = []
    for part in ("1/2", "2/2"):
        daemon = Daemon(ws, f"part-{part[0]}")
        daemon.dataset(out=ws.path(f"out-{part[0]}"))
        daemon.run("--once", "--part", part)
        parts.append(names(ws.path(f"out-{part[0]}", "set")))
    assert all(parts), f"a part is empty: {parts}"
    same_members(parts[0] + parts[1], paths, "samples of both parts")


@test
def check_config_says_what_is_wrong_and_makes_nothing(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    result = daemon.command("--check-config")
    equal(result.out, f"{daemon.file} is good: 1 dataset, 1 encoder\n", "stdout")
    daemon.config["memory_limit"] = "plenty"
    one_line(daemon.command("--check-config", code=USAGE), f"{daemon.file}:", "memory_limit", "plenty")
    assert not os.path.exists(daemon.state_dir), "a check made the state folder"
    assert not os.path.exists(ws.out), "a check made the output"


run_tests()
