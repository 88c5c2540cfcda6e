#!/usr/bin/env python3
"""`latentd` as people steer it: order of datasets, pauses, drains and deletions, and other settings."""

import contextlib
import ctypes
import os
import signal
import struct
import time

from daemon_rig import Daemon
from harness import FAILED, NO_DAEMON, USAGE, equal, one_line, run_tests, same_members, test
from reference import read_dataset
from serve_rig import png


def output_of(ws, name="set"):
    return os.path.join(ws.out, name)


def verified(ws, name, wanted):
    """Exactly these images are in sound shards, each once."""
    same_members([s.path for s in read_dataset(output_of(ws, name))], wanted, f"samples of {name}")
    ws.latentctl("verify", "--out", ws.out, "--name", name)


def at_rest(ws, name="set"):
    """After the end of a daemon: the counts of its queue, in which nothing is under way."""
    ws.name = name
    jobs = ws.status()["jobs"]
    equal(jobs["running"], 0, "jobs that nobody works on any more, but are running")
    return jobs


def steer(ws, daemon, command, *words, **options):
    return ws.latentctl(command, "--socket", daemon.socket, *words, **options)


# -- several datasets


def filled_while_paused(ws, *names, files):
    """A daemon with that many images to encode in each dataset, which has begun none of them."""
    daemon = Daemon(ws)
    for name in names:
        ws.small_pictures(files, daemon.dataset(name, paused=True)["source"]["path"])
    daemon.start()
    for name in names:
        daemon.wait_for(name, available=files)
    return daemon


class Opens:
    """Tells in which order files of some folders are opened, by whomever."""

    OPEN, IS_FOLDER = 0x20, 0x40000000

    def __init__(self, **folders):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())
        self.names, self.seen = {}, []
        for name, folder in folders.items():
            self.names[self.libc.inotify_add_watch(self.fd, folder.encode(), self.OPEN)] = name

    def until_now(self):
        """Names of folders, one for each file that was opened."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fd, 65536):
                while data:
                    watch, mask, _, size = struct.unpack_from("iIII", data)
                    data = data[16 + size :]
                    if not mask & self.IS_FOLDER:
                        self.seen.append(self.names[watch])
        return self.seen

    def close(self):
        os.close(self.fd)


def order_of_opens(ws, daemon, count, *whole):
    """Names of datasets, one for each file that is opened until those of @whole all are. {name: files} in @count."""
    for name in count:
        daemon.wait_for(name, available=count[name])
    opens = Opens(**{name: ws.path(name) for name in count})
    # The one decode worker stands still until all datasets have all their images at hand. Where the next image of a dataset is
    # not open yet another's turn comes: who opens goes before it however busy the machine is.
    (worker,) = ws.workers()
    os.kill(worker, signal.SIGSTOP)
    os.setpriority(os.PRIO_PROCESS, worker, 19)
    daemon.post("/resume")
    for name in count:
        daemon.wait(lambda name=name: len(daemon.jobs(name, "running")) == count[name], "claims")
    os.kill(worker, signal.SIGCONT)
    for name in whole:
        daemon.wait(lambda name=name: opens.until_now().count(name) == count[name], f"opens of all files of {name}")
    opens.close()
    return opens.seen


def before_the_last(order, first, other):
    """How many files of the other dataset were opened before the last one of the first."""
    return order[: len(order) - order[::-1].index(first)].count(other)


def fill_with(ws, daemon, name, side, files):
    """A paused dataset with so many different grey pictures."""
    src = daemon.dataset(name, paused=True)["source"]["path"]
    picture = png(side, side, bytes(side**2), mode=0)
    for i in range(files):
        file = ws.write(f"{i}.png", picture + f"{name} {i}".encode(), src)
        os.utime(file, (time.time() - 60,) * 2)


@test
def a_dataset_of_huge_files_takes_the_decoders_no_longer_than_one_of_small_ones(ws):
    daemon, count = Daemon(ws), {"huge": 30, "small": 20}  # the small ones are fewer than wait for an encoder
    for name, side in (("huge", 4000), ("small", 100)):
        fill_with(ws, daemon, name, side, count[name])
    daemon.start()
    meanwhile = before_the_last(order_of_opens(ws, daemon, count, "small"), "small", "huge")
    assert meanwhile <= count["huge"] // 3, f"{meanwhile} huge files were opened before the last small one"
    daemon.stop()


# Files that take far longer to decode than to open: another's turn comes where the next one is not open yet.
LARGE = 1000


@test
def datasets_of_the_same_priority_take_turns(ws):
    daemon, count = Daemon(ws), {"a": 20, "b": 20}
    for name in count:
        fill_with(ws, daemon, name, LARGE, count[name])
    daemon.start()
    order = order_of_opens(ws, daemon, count, "a", "b")
    for first, other in (("a", "b"), ("b", "a")):
        meanwhile = before_the_last(order, first, other)
        assert meanwhile >= count[other] // 4, f"{meanwhile} files of {other} were opened before the last of {first}"
    daemon.stop()


@test
def a_dataset_of_higher_priority_goes_first(ws):
    daemon, count = Daemon(ws), {"low": 20, "high": 20}
    for name in count:
        fill_with(ws, daemon, name, LARGE, count[name])
    daemon.start()
    daemon.post("/datasets/high/priority", priority=7)
    equal(daemon.about("high")["priority"], 7, "priority")
    meanwhile = before_the_last(order_of_opens(ws, daemon, count, "high"), "high", "low")
    assert meanwhile <= count["low"] // 3, f"{meanwhile} files of low were opened before the last of high"
    daemon.stop()


@test
def two_recipes_of_one_folder_fill_one_output_side_by_side(ws):
    daemon = Daemon(ws)
    src = ws.path("pictures")
    for name, resolution in (("small", 128), ("large", 256)):
        daemon.dataset(name, src=src, recipe={"resolution": resolution})
    daemon.start()
    paths = ws.small_pictures(12)
    sizes = {}
    for name in ("small", "large"):
        daemon.wait_for(name, finished=12)
        daemon.drain(name)
        sizes[name] = {s.path: os.path.dirname(s.shard) for s in read_dataset(output_of(ws, name))}
    daemon.stop()
    for name in sizes:
        verified(ws, name, paths)
    for path in paths:
        buckets = [os.path.basename(sizes[name][path]) for name in sizes]
        assert buckets[0] != buckets[1], f"{path} is in bucket {buckets[0]} of both recipes"


# -- pause, drain


@test
def a_paused_dataset_finds_files_but_begins_none_until_it_is_resumed(ws):
    daemon = Daemon(ws)
    src = ws.path("pictures")
    for name in ("paused", "other"):
        daemon.dataset(name, src=src)
    daemon.start()
    ws.small_pictures(4)
    for name in ("paused", "other"):
        daemon.wait_for(name, finished=4)
    equal(daemon.post("/datasets/paused/pause")["count"], 1, "datasets")
    equal(daemon.about("paused")["state"], "paused", "state")
    ws.small_pictures(6, first=4)
    daemon.wait_for("paused", available=6, finished=4)
    # The other one has done the same work meanwhile.
    daemon.wait_for("other", available=0, finished=10)
    equal(daemon.about("paused")["jobs"]["available"], 6, "images that wait")
    equal(daemon.health()[0], 200, "health")
    daemon.resume("paused")
    daemon.wait_for("paused", available=0, finished=10)
    daemon.stop()


@test
def a_pause_of_all_holds_every_dataset_and_a_restart_ends_it(ws):
    daemon = Daemon(ws)
    for name in ("a", "b"):
        daemon.dataset(name)
    daemon.start()
    for name in ("a", "b"):
        daemon.wait_for_state("idle", name)
    steer(ws, daemon, "pause")
    for name in ("a", "b"):
        equal(daemon.about(name)["state"], "paused", f"state of {name}")
        ws.small_pictures(5, ws.path(name))
        daemon.wait_for(name, available=5)
    daemon.stop()
    for name in ("a", "b"):
        equal(at_rest(ws, name)["available"], 5, "images that wait")
    daemon.start()
    for name in ("a", "b"):
        daemon.wait_for(name, finished=5)
    daemon.stop()


@test
def a_paused_encoder_takes_nothing_until_it_is_resumed_also_over_a_reload(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.config["encoders"] = [{"type": "fake", "name": "first"}, {"type": "fake", "name": "other one"}]
    daemon.start()
    daemon.wait_for_state("idle")

    def states():
        return [encoder["state"] for encoder in daemon.status()["encoders"]]

    equal(steer(ws, daemon, "pause", "--encoder", "other one").out, "encoder other one: paused\n", "told")
    equal(states(), ["idle", "paused"], "states")
    ws.small_pictures(3, ws.path("set"))
    daemon.wait_for(finished=3)
    equal([e["images_done"] for e in daemon.status()["encoders"]], [3, 0], "images of each")
    steer(ws, daemon, "pause", "--encoder", "first")
    ws.small_pictures(2, ws.path("set"), first=3)
    daemon.wait_for_state("paused")
    assert "paused until it is resumed" in daemon.about()["why"], daemon.about()
    daemon.config["encoders"][0]["hours"] = "00:00-23:59"
    reload(daemon)
    equal(states(), ["paused", "paused"], "states after a reload")
    equal([e["images_done"] for e in daemon.status()["encoders"]], [3, 0], "images of each")
    steer(ws, daemon, "resume", "--encoder", "other one")
    daemon.wait_for(finished=5)
    equal([e["images_done"] for e in daemon.status()["encoders"]], [3, 2], "images of each")
    one_line(steer(ws, daemon, "pause", "--encoder", "third", code=FAILED), "no encoder of this name")
    steer(ws, daemon, "pause", "--encoder", "first", "--name", "set", code=USAGE)
    daemon.stop()


@test
def a_drained_dataset_leaves_new_files_alone_until_it_is_resumed(ws):
    daemon = Daemon(ws)
    src = ws.path("pictures")
    for name in ("drained", "other"):
        daemon.dataset(name, src=src)
    daemon.start()
    paths = ws.small_pictures(7)
    daemon.drain("drained")
    equal(daemon.about("drained")["jobs"]["completed"], 7, "images in shards")
    verified(ws, "drained", paths)
    paths += ws.small_pictures(5, first=7)
    daemon.wait_for("other", finished=12)
    equal(sum(daemon.about("drained")["jobs"].values()), 7, "images of the drained dataset")
    equal(daemon.health()[0], 200, "health")
    daemon.resume("drained")
    daemon.wait_for("drained", finished=12)
    daemon.drain("drained")
    daemon.stop()
    verified(ws, "drained", paths)


@test
def a_drain_of_all_encodes_and_seals_everything_and_ends_the_daemon(ws):
    daemon = filled_while_paused(ws, "a", "b", files=60)
    daemon.post("/resume")
    steer(ws, daemon, "drain")
    daemon.ended()
    for name in ("a", "b"):
        equal(at_rest(ws, name)["completed"], 60, f"images of {name} in shards")
        ws.latentctl("verify", "--out", ws.out, "--name", name)
    one_line(steer(ws, daemon, "drain", code=NO_DAEMON))


@test
def a_drain_of_all_is_called_off_by_a_resume(ws):
    daemon = filled_while_paused(ws, "set", files=5)
    daemon.post("/drain")
    equal(daemon.status()["daemon"]["state"], "draining", "state of the daemon")
    equal(daemon.about()["jobs"]["available"], 5, "images that a paused dataset has left")
    daemon.post("/resume")
    equal(daemon.status()["daemon"]["state"], "running", "state of the daemon")
    daemon.wait_for(finished=5)
    ws.small_pictures(3, ws.path("set"), first=5)
    daemon.wait_for(finished=8)
    daemon.stop()


# -- single images


@test
def cancelled_images_are_left_out_until_they_are_tried_again(ws):
    daemon = filled_while_paused(ws, "set", files=6)
    key = daemon.jobs("set", "available")[0]["key"]
    equal(daemon.post("/datasets/set/cancel", key=key)["count"], 1, "cancelled by key")
    daemon.wait_for(cancelled=1, available=5)
    daemon.post("/datasets/set/cancel", key="no-such-key", code=404)
    equal(daemon.post("/datasets/set/cancel")["count"], 5, "the others")
    daemon.wait_for(cancelled=6, available=0)
    daemon.resume()
    daemon.wait_for_state("idle")
    equal(daemon.about()["jobs"]["cancelled"], 6, "cancelled")
    equal(daemon.post("/datasets/set/retry", state="cancelled", key=key)["count"], 1, "retried")
    daemon.wait_for(finished=1, cancelled=5)
    steer(ws, daemon, "retry", "--cancelled")
    daemon.wait_for(finished=6, cancelled=0)
    daemon.stop()


@test
def a_retry_takes_the_failures_of_one_reason_up_again(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    ws.write("broken.jpg", b"\xff\xd8\xff and no more", src)
    ws.small_pictures(2, src)
    daemon.start()
    daemon.wait_for(quarantined=1, finished=2)
    (before,) = daemon.jobs("set", "quarantined")
    equal(daemon.post("/datasets/set/retry", reason="other")["count"], 0, "of another reason")
    equal(daemon.post("/datasets/set/retry", reason=before["reason"])["count"], 1, "retried")

    def failed_again():
        jobs = daemon.jobs("set", "quarantined")
        return jobs and jobs[0]["updated_at"] > before["updated_at"] and jobs[0]

    again = daemon.wait(failed_again, "the second failure")
    equal(again["reason"], before["reason"], "reason")
    ws.golden("rocket.jpg", "broken.jpg", src)
    daemon.wait_for(quarantined=0, finished=3)
    daemon.stop()


# -- scans, seals, deletions


@test
def a_folder_that_is_not_watched_is_looked_through_on_command(ws):
    daemon = Daemon(ws)
    src = ws.path("pictures")
    daemon.dataset("unwatched", src=src)["source"]["watch"] = "off"
    daemon.dataset("watched", src=src)
    daemon.start()
    for name in ("unwatched", "watched"):
        daemon.wait_for_state("idle", name)
    ws.small_pictures(5)
    daemon.wait_for("watched", finished=5)
    equal(sum(daemon.about("unwatched")["jobs"].values()), 0, "images without a scan")
    equal(daemon.post("/datasets/unwatched/scan")["count"], 1, "datasets")
    daemon.wait_for("unwatched", finished=5)
    daemon.stop()


@test
def a_seal_makes_shards_of_its_dataset_alone(ws):
    daemon = Daemon(ws)
    for name in ("a", "b"):
        ws.small_pictures(5, daemon.dataset(name)["source"]["path"])
    daemon.start()
    for name in ("a", "b"):
        daemon.wait_for(name, finished=5)
    equal(daemon.post("/datasets/a/seal")["count"], 1, "datasets")
    daemon.wait_for("a", completed=5)
    equal(daemon.about("b")["jobs"]["encoded"], 5, "images of the other one that wait for a shard")
    steer(ws, daemon, "seal", "--name", "b")
    daemon.wait_for("b", completed=5)
    equal(daemon.post("/seal")["count"], 2, "datasets")
    daemon.stop()


@test
def many_deletions_at_once_wait_until_they_are_accepted(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(on_delete="remove")["source"]["path"]
    paths = ws.small_pictures(60, src)
    daemon.start()
    daemon.wait_for(finished=60)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=60)
    daemon.post("/datasets/set/accept-deletions", code=409)
    os.rename(os.path.join(src, "0"), ws.path("away"))  # at once: a few that are seen alone are believed
    stay = [path for path in paths if not path.startswith("0/")]
    daemon.post("/datasets/set/scan")
    daemon.wait(lambda: daemon.about()["deletions"] == 20, "the deletions to be noticed")
    equal(daemon.about()["samples"], 60, "samples before an answer")
    assert "20 samples" in steer(ws, daemon, "deletions").out
    assert "20 samples removed" in steer(ws, daemon, "deletions", "--accept").out
    daemon.wait(lambda: daemon.about()["samples"] == 40, "the samples to go")
    equal(daemon.about()["deletions"], 0, "deletions that wait")
    daemon.drain()
    daemon.stop()
    verified(ws, "set", stay)


# -- captions


def caption_in_shard(ws, path):
    (found,) = [s for s in read_dataset(output_of(ws)) if s.path == path]
    return found.members["txt"].decode()


@test
def an_image_that_needs_a_caption_waits_for_it_and_a_changed_one_replaces_the_old(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(require_caption=True)["source"]["path"]
    ws.golden("grey.jpg", "first.jpg", src)
    ws.write("other.txt", b"is there", src)
    ws.golden("rocket.jpg", "other.jpg", src)
    daemon.start()
    daemon.wait_for(finished=1, waiting=1)
    ws.write("first.txt", b"as it was", src)
    daemon.wait_for(finished=2)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=2)
    equal(caption_in_shard(ws, "first.jpg"), "as it was", "caption")
    ws.write("first.txt", b"as it is", src)
    daemon.drain()
    equal(caption_in_shard(ws, "first.jpg"), "as it is", "caption")
    equal(caption_in_shard(ws, "other.jpg"), "is there", "caption of the other one")
    daemon.stop()
    verified(ws, "set", ["first.jpg", "other.jpg"])


# -- other settings


def reload(daemon, code=200):
    daemon.write()
    return daemon.post("/reload", code=code)


@test
def a_reload_changes_adds_and_removes_datasets_while_others_go_on(ws):
    daemon = Daemon(ws)
    for name in ("stays", "goes"):
        ws.small_pictures(3, daemon.dataset(name)["source"]["path"])
    daemon.start()
    for name in ("stays", "goes"):
        daemon.wait_for(name, finished=3)
    stays, goes = daemon.config["datasets"]
    stays["priority"] = 9
    reload(daemon)
    equal(daemon.about("stays")["priority"], 9, "priority")
    daemon.config["datasets"].remove(goes)
    daemon.dataset("comes")
    ws.small_pictures(4, ws.path("comes"))
    daemon.write()
    daemon.tell(signal.SIGHUP)
    names = lambda: [dataset["name"] for dataset in daemon.status()["datasets"]]
    daemon.wait(lambda: names() == ["stays", "comes"], "the datasets of the new file")
    daemon.get("/datasets/goes", code=404)
    daemon.wait_for("comes", finished=4)
    # What was encoded of the one that went is kept, and goes on where it was.
    daemon.config["datasets"].append(goes)
    reload(daemon)
    daemon.wait_for("goes", finished=3)
    daemon.drain("goes")
    equal(daemon.about("goes")["since_start"]["encoded"], 0, "images encoded a second time")
    daemon.stop()
    at_rest(ws, "comes")


@test
def a_dataset_that_is_removed_and_put_back_at_once_goes_on(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    daemon.dataset("other")
    paths = ws.small_pictures(60, ws.path("set"))
    daemon.start()
    daemon.wait(lambda: daemon.about()["since_start"]["encoded"] > 0, "the first image")
    for _ in range(5):
        daemon.config["datasets"].remove(dataset)
        reload(daemon)
        daemon.get("/datasets/set", code=404)
        daemon.config["datasets"].append(dataset)
        reload(daemon)
    daemon.wait_for(finished=60, running=0)
    daemon.drain()
    daemon.stop()
    verified(ws, "set", paths)
    at_rest(ws, "set")


@test
def a_dataset_with_other_sources_and_shards_closes_and_opens_with_them(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    paths = ws.small_pictures(3, ws.path("set"))
    daemon.start()
    daemon.wait_for(finished=3)
    dataset["source"] = [{"path": ws.path("set")}, {"path": ws.path("more"), "watch": "off"}]
    dataset["output"]["shard_samples"] = 1
    dataset["on_delete"] = "remove"
    paths += ws.small_pictures(3, ws.path("more"), first=3)
    answer = reload(daemon)
    equal((answer["count"], answer["message"]), (3, ""), "changes, and what waits for a restart")
    daemon.wait_for(completed=6)
    equal(daemon.about()["shards"], 6, "shards of one sample")
    os.remove(os.path.join(ws.path("more"), paths.pop()))
    daemon.drain()
    equal(daemon.about()["since_start"]["encoded"], 6, "images encoded")
    daemon.stop()
    verified(ws, "set", paths)


@test
def a_drained_dataset_that_opens_with_other_settings_is_drained_of_what_came_since(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    paths = ws.small_pictures(3, ws.path("set"))
    daemon.start()
    daemon.drain()
    paths += ws.small_pictures(3, ws.path("set"), first=3)
    dataset["output"]["shard_samples"] = 100
    reload(daemon)
    daemon.wait_for(completed=6)
    daemon.stop()
    verified(ws, "set", paths)


@test
def a_pause_in_the_file_holds_and_its_end_lets_go(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    daemon.start()
    daemon.wait_for_state("idle")
    dataset["paused"] = True
    reload(daemon)
    equal(daemon.about()["state"], "paused", "state")
    ws.small_pictures(3, ws.path("set"))
    daemon.wait_for(available=3)
    dataset["paused"] = False
    reload(daemon)
    daemon.wait_for(finished=3)
    daemon.stop()


@test
def a_bad_file_changes_nothing_and_status_says_why(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset(priority=1)
    daemon.start()
    for way in ("api", "signal"):
        dataset["priority"] = "high"
        daemon.write()
        if way == "api":
            message = daemon.post("/reload", code=409)["error"]["message"]
            assert "priority" in message and daemon.file in message, message
            result = steer(ws, daemon, "reload", code=FAILED)
            one_line(result, "priority", daemon.file)
        else:
            daemon.tell(signal.SIGHUP)
        why = daemon.wait(lambda: daemon.status()["daemon"]["reload_error"], "the reason")
        assert "priority" in why and daemon.file in why, why
        said = f"reload failed, the old settings are in force: {why}"
        code, health = daemon.health()
        equal(code, 200, "health")
        assert said in health["problems"], health
        told = ws.latentctl("status", "--socket", daemon.socket).out
        assert said in " ".join(told.split()), told
        equal(daemon.about()["priority"], 1, "priority")
        dataset["priority"] = 1
        steer_back = reload(daemon)
        equal(steer_back["count"], 0, "changes")
        equal(daemon.status()["daemon"]["reload_error"], None, "reason after a good file")
    ws.small_pictures(2, ws.path("set"))
    daemon.wait_for(finished=2)
    daemon.stop()


@test
def what_needs_a_restart_is_named_and_stays_as_it_was(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    daemon.start()
    daemon.wait_for_state("idle")
    dataset["recipe"]["resolution"] = 256
    daemon.config["state_dir"] = ws.path("another")
    message = reload(daemon)["message"]
    for word in ("needs a restart", "resolution", "state_dir"):
        assert word in message, message
    equal(daemon.status()["daemon"]["state_dir"], daemon.state_dir, "state folder")
    daemon.stop()


run_tests()
