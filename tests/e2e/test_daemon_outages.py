#!/usr/bin/env python3
"""`latentd` among others who want the same, and without what it needs: it says what is wrong, and goes on when that is mended."""

import contextlib
import fcntl
import http.client
import os
import resource
import shutil
import signal
import sqlite3
import struct

from daemon_rig import Daemon
from harness import BUSY, FAILED, HANGS_AFTER_S, OK, SOURCE_DIR, USAGE, demo_model, equal
from harness import one_line, run_tests, same_members, test, wait_until
from outage_rig import blocked, sealed
from reference import paths_in

LOG_MOST = 1 << 30  # WAL_MOST, queue/queue_sqlite.h


# -- others who want the same


def another_program_reads(daemon):
    """A snapshot of the database that it holds until it is closed, and the path of the log."""
    file = os.path.join(daemon.state_dir, "queue.db")
    reader = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM job").fetchone()
    return reader, f"{file}-wal"


@test
def a_log_at_its_bound_is_named_as_what_keeps_a_dataset_from_going_on(ws):
    daemon, folder = Daemon(ws), ws.path("set")
    wanted = ws.small_pictures(2, folder)
    daemon.dataset()
    daemon.start()
    daemon.wait_for("set", finished=2)
    reader, log = another_program_reads(daemon)
    os.truncate(log, LOG_MOST + 4096)  # behind what is in it: sparse, and nobody reads it
    wanted += ws.small_pictures(1, folder, first=2)
    said = "another program has been reading it for long, and its log has grown to 1.0 GiB"
    daemon.wait(lambda: said in (daemon.about("set")["why"] or ""), f"why to say: {said}")
    told = ws.latentctl("status", "--socket", daemon.socket)
    assert said in " ".join(told.out.split()), told
    reader.close()
    daemon.wait_for("set", finished=3)
    assert os.path.getsize(log) < LOG_MOST, "the log was not cut back"
    sealed(ws, daemon, wanted)


@test
def a_second_daemon_on_one_state_folder_is_told_who_has_it(ws):
    first, second = Daemon(ws, "first"), Daemon(ws, "second")
    first.dataset()
    first.start()
    second.dataset("other", out=ws.path("other-out"))
    second.config["state_dir"] = first.state_dir
    result = second.command(code=BUSY)
    one_line(result, f"{first.state_dir} is in use by process {first.process.pid} on ")
    assert not os.path.exists(second.socket), "it served"
    first.wait_for_state("idle")
    first.stop()
    second.start()
    second.wait_for_state("idle", "other")
    second.stop()


@test
def a_second_daemon_on_one_output_blocks_its_dataset_and_names_the_first(ws):
    first, second = Daemon(ws, "first"), Daemon(ws, "second")
    paths = ws.small_pictures(3, first.dataset()["source"]["path"])
    first.start()
    first.wait_for(finished=3)
    ws.small_pictures(2, second.dataset("other")["source"]["path"])
    second.dataset("elsewhere", src=ws.path("other"), out=ws.path("other-out"))
    second.start()
    blocked(second, f"{ws.out} is in use by process {first.process.pid} on ", name="other")
    second.wait_for("elsewhere", finished=2)  # the rest goes on
    equal(second.health()[0], 200, "health with one of two datasets blocked")
    second.tell(signal.SIGTERM)
    equal(second.process.wait(), OK, "exit status of the second")
    second.process = None
    sealed(ws, first, paths)
    second.start()
    blocked(second, f"{ws.out} keeps its state in {first.state_dir}", name="other")
    second.stop()


@test
def a_dataset_whose_output_another_has_goes_on_when_that_ends(ws):
    daemon, once = Daemon(ws), Daemon(ws, "once")
    paths = ws.small_pictures(2, daemon.dataset()["source"]["path"])
    once.config["datasets"] = daemon.config["datasets"]
    ws.write("lock", folder=os.path.join(ws.out, ".latentd"))
    with open(os.path.join(ws.out, ".latentd", "lock"), "rb+") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        once.run("--once", code=BUSY)
        daemon.start()
        blocked(daemon, f"{ws.out} is in use by another process")
    daemon.wait_for(finished=2)
    sealed(ws, daemon, paths)


@test
def once_does_not_wait_for_ever_for_a_source_that_is_not_there(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    paths = ws.small_pictures(3, src)
    daemon.config["datasets"][0]["source"] = [{"path": src}, {"path": ws.path("missing")}]
    daemon.dataset("other")
    os.rmdir(ws.path("other"))
    daemon.run("--once", code=FAILED)
    same_members(paths_in(os.path.join(ws.out, "set")), paths, "samples")
    for word in (ws.path("missing"), "set: given up", "other: given up"):
        assert word in daemon.said(), f"{word} is not said"


@test
def encode_into_the_output_of_a_daemon_is_told_who_has_it(ws):
    daemon = Daemon(ws)
    paths = ws.small_pictures(3, daemon.dataset()["source"]["path"])
    ws.small_pictures(2)
    daemon.start()
    daemon.wait_for(finished=3)
    for state in ([], ["--state", daemon.state_dir]):
        result = ws.encode(*state, code=BUSY)
        one_line(result, f"is in use by process {daemon.process.pid} on ")
    sealed(ws, daemon, paths)


# -- models


def with_model(ws, daemon):
    """A dataset with a copy of the demo model: (source, model)"""
    model = ws.path("model")
    shutil.copytree(demo_model(), model)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    return daemon.dataset(recipe={"vae": model})["source"]["path"], model


@test
def a_model_that_is_deleted_while_it_is_used_is_used_on(ws):
    daemon = Daemon(ws)
    src, model = with_model(ws, daemon)
    paths = ws.small_pictures(1, src)
    daemon.start()
    daemon.wait_for(finished=1)
    shutil.rmtree(model)
    paths += ws.small_pictures(3, src, first=1)
    daemon.wait_for(finished=4)
    sealed(ws, daemon, paths)


@test
def a_model_that_was_replaced_while_it_was_unloaded_is_not_mixed_with_the_old_one(ws):
    daemon = Daemon(ws)
    src, model = with_model(ws, daemon)
    daemon.config["model_idle"] = "1s"
    paths = ws.small_pictures(1, src)
    daemon.start()
    daemon.wait_for(finished=1)
    daemon.wait(lambda: not daemon.has_model(), "the model to be unloaded")
    os.rename(model, ws.path("old"))
    shutil.copytree(os.path.join(SOURCE_DIR, "tests", "golden", "kl_sd"), model)
    paths += ws.small_pictures(2, src, first=1)
    blocked(daemon, f"the model at {model} is another one than before")
    shutil.rmtree(model)
    daemon.resume()
    blocked(daemon, model, "there is no such file or folder", "when that is mended: `latentctl resume --name set`")
    told = ws.latentctl("status", "--socket", daemon.socket).out
    assert told.splitlines()[0].startswith("latentd ") and "running, not healthy, for " in told, told
    os.rename(ws.path("old"), model)
    daemon.resume()
    daemon.wait_for(finished=3)
    sealed(ws, daemon, paths)


@test
def a_model_that_is_not_there_at_the_start_is_named_with_its_place(ws):
    daemon = Daemon(ws)
    _, model = with_model(ws, daemon)
    shutil.rmtree(model)
    result = daemon.command(code=USAGE)
    with open(daemon.file, encoding="utf-8") as file:
        lines = [n for n, line in enumerate(file, 1) if '"vae"' in line]
    one_line(result, f"{daemon.file}:{lines[0]}:", "vae: there is no file or folder", model)
    assert not os.path.exists(daemon.state_dir), "a state folder was made"


# -- what it needs to run


def under_a_limit_of_descriptors(daemon, limit, enough):
    """
    Starts it, and ends it when it has "said" that there are not enough, or has "done" all its work. Where there are not
    @enough it may have none left for whoever asks, who would wait for long.
    """
    said = len(daemon.said())
    daemon.spawn(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))

    def outcome():
        ended = daemon.process.poll() is not None  # asked first: its last word comes before its end
        if "Too many open files" in daemon.said()[said:]:
            return "said"
        assert not ended, f"limit {limit}: ended without a word"
        with contextlib.suppress(OSError, http.client.HTTPException):
            if not enough:
                return None
            code, about = daemon.request("GET", "/api/v1/datasets/set")  # 503 before there is a first picture
            return "done" if code == 200 and about["state"] == "idle" else None
        return None

    how = wait_until(outcome, f"a word of the limit {limit}")
    with contextlib.suppress(ProcessLookupError):
        daemon.tell(signal.SIGTERM)
    code = daemon.process.wait(HANGS_AFTER_S)
    daemon.process = None
    assert code in ((OK, FAILED) if how == "said" else (OK,)), f"limit {limit}: exit status {code}"
    return how


@test
def more_descriptors_than_are_allowed_are_named_and_no_limit_crashes_it(ws):
    daemon = Daemon(ws)
    paths = ws.small_pictures(4, daemon.dataset()["source"]["path"])
    for limit in (6, 10, 14, 18, 22):
        equal(under_a_limit_of_descriptors(daemon, limit, False), "said", f"limit {limit}")
    equal(under_a_limit_of_descriptors(daemon, 64, True), "done", "limit 64")
    daemon.start()
    daemon.wait_for(finished=4, quarantined=0)
    sealed(ws, daemon, paths)


def own_programs(ws, daemon):
    """latentd in a folder of its own, without latentd-decode: where that belongs."""
    os.makedirs(ws.path("bin"))
    shutil.copy(daemon.program, ws.path("bin"))
    daemon.program = ws.path("bin", "latentd")
    return ws.path("bin", "latentd-decode")


@test
def without_latentd_decode_it_does_not_start_and_says_so(ws):
    daemon = Daemon(ws)
    decode = own_programs(ws, daemon)
    daemon.dataset()
    one_line(daemon.command(code=FAILED), f"start {decode}: No such file or directory")
    assert not os.path.exists(daemon.socket), "the socket is left"


@test
def a_latentd_decode_that_vanishes_blocks_the_dataset_until_it_is_back(ws):
    daemon = Daemon(ws)
    decode = own_programs(ws, daemon)
    shutil.copy(os.path.join(ws.programs, "latentd-decode"), decode)
    src = daemon.dataset()["source"]["path"]
    daemon.start()
    daemon.wait_for_state("idle")
    os.rename(decode, ws.path("away"))
    for pid in ws.workers():
        os.kill(pid, signal.SIGKILL)
    paths = ws.small_pictures(3, src)
    blocked(daemon, "no decode worker (latentd-decode) can be started", "No such file or directory")
    daemon.wait(lambda: daemon.health()[0] == 503, "health, but for the moment in which it is tried again, to say so")
    os.rename(ws.path("away"), decode)
    daemon.wait_for(finished=3, quarantined=0)
    sealed(ws, daemon, paths)


@test
def a_decode_worker_that_is_stuck_is_named_as_what_limits(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    paths = ws.small_pictures(1, src)
    daemon.start()
    stopped = []

    def stop_one_that_works():
        daemon.wait_for(finished=len(paths), quarantined=0)
        stopped[:] = ws.workers()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        paths.extend(ws.small_pictures(3, src, first=len(paths)))

    def said():
        limit = daemon.status()["limit"] or ""
        if not set(stopped) & set(ws.workers()):  # replaced before anybody looked: once more
            stop_one_that_works()
        return "one of them at one image for " in limit and "or it is stuck; it will be replaced" in limit

    daemon.wait(said, "the stuck worker to be named")
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    daemon.wait_for(finished=len(paths), quarantined=0)
    sealed(ws, daemon, paths)


@test
def a_path_that_is_too_long_for_a_socket_is_named(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.config["api"]["socket"] = ws.path("s" * 120)
    said = daemon.command(code=USAGE)
    one_line(said, f"{daemon.file}:4:", f"socket: a path of {len(ws.root) + 121} bytes: expected at most 107")


# -- folders


@test
def a_source_that_is_not_there_at_the_start_is_awaited(ws):
    daemon = Daemon(ws)
    src = daemon.dataset()["source"]["path"]
    os.rmdir(src)
    said = daemon.command("--check-config").out
    assert f"the folder {src} is not there: dataset set would wait for it" in said, said
    daemon.start()
    blocked(daemon, f'source "{src}": No such file or directory: it is waited for; mount it, or mend its path')
    paths = ws.small_pictures(3, ws.path("elsewhere"))
    os.rename(ws.path("elsewhere"), src)
    daemon.wait_for(finished=3)
    sealed(ws, daemon, paths)


@test
def one_of_several_sources_that_goes_and_comes_leaves_the_others_alone(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset()
    sources = [ws.path("first"), ws.path("second")]
    dataset["source"] = [{"path": path} for path in sources]
    ws.small_pictures(3, sources[0])
    daemon.start()
    blocked(daemon, f'source "{sources[1]}": No such file or directory')
    daemon.wait_for(finished=3)
    ws.small_pictures(2, ws.path("elsewhere"), first=10)
    os.rename(ws.path("elsewhere"), sources[1])
    daemon.wait_for(finished=5)
    daemon.wait_for_state("idle")
    os.rename(sources[0], ws.path("away"))
    blocked(daemon, f'source "{sources[0]}": No such file or directory')
    ws.small_pictures(2, sources[1], first=12)
    daemon.wait_for(finished=7, gone=0)
    ws.small_pictures(1, ws.path("away"), first=3)
    os.rename(ws.path("away"), sources[0])
    daemon.wait_for(finished=8, gone=0, quarantined=0)
    daemon.drain()
    daemon.stop()
    ws.latentctl("verify", "--out", ws.out)
    equal(len(paths_in(os.path.join(ws.out, "set"))), 8, "samples")


@test
def a_source_that_is_moved_away_pauses_and_drops_nothing_until_it_is_back(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(on_delete="remove")["source"]["path"]
    paths = ws.small_pictures(6, src)
    daemon.start()
    daemon.wait_for(finished=6)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=6)
    os.rename(src, ws.path("away"))
    blocked(daemon, f'source "{src}": No such file or directory')
    daemon.post("/datasets/set/scan")
    about = daemon.about()
    equal((about["samples"], about["jobs"]["completed"]), (6, 6), "samples and jobs")
    paths += ws.small_pictures(2, ws.path("away"), first=6)
    os.rename(ws.path("away"), src)
    daemon.wait_for(finished=8, gone=0)
    equal(daemon.about()["since_start"]["encoded"], 8, "images encoded")
    os.remove(os.path.join(src, paths[0]))
    sealed(ws, daemon, paths[1:])


run_tests()
