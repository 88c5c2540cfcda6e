#!/usr/bin/env python3
"""Shards in a bucket of a real S3 server, behind a proxy that throttles, breaks, lies and is there when somebody is killed."""

import json
import os
import shutil
import signal
import threading

from daemon_rig import Daemon
from harness import DAMAGED, FAILED, INTERRUPTED, OK, equal, one_line, run_tests, same_members, test, wait_until
from reference import read_dataset
from store_rig import ALIKE, PART, Store


def each_request_fails_once(how):
    """Of those that have not been seen before; what is tried again is another with the same name."""
    seen, lock = set(), threading.Lock()

    def harm(request):
        with lock:
            name = (request.method, request.target, len(request.body))
            if name in seen:
                return None
            seen.add(name)
            return how(request, len(seen))

    return harm


@test
def a_shard_in_the_bucket_is_the_one_that_a_folder_would_have(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)
    store.encode()
    here = [os.path.join(at, f) for at, _, files in os.walk(ws.out) for f in files if f.endswith(".tar")]
    equal(here, [], "shards on this machine")
    store.holds(paths)
    assert store.proxy.sent("POST", "uploads="), "nothing went in parts"
    ws.name = "here"
    ws.encode("--codec", "none")
    for key in store.shards("set"):
        with open(ws.path("out", "here", *key.split("/")[2:]), "rb") as file:
            assert file.read() == store.bucket.get(key), f"{key} is another"
    for name in ("README.md", ".latentd/wids.json", ".latentd/shards.jsonl", ".latentd/dataset.json"):
        with open(ws.path("out", "set", name), "rb") as file:
            assert file.read() == store.bucket.get(f"team/set/{name}"), f"{name} is another"
    wids = store.bucket.get("team/set/.latentd/wids.json")
    store.bucket.delete("team/set/.latentd/wids.json")
    ws.latentctl("reindex", "--out", ws.out)
    equal(store.bucket.get("team/set/.latentd/wids.json"), wids, "an index that somebody deleted")


@test
def what_changes_is_rewritten_in_the_bucket_and_the_catalog_comes_back_from_it(ws):
    store, paths = Store(ws), ws.small_pictures(12)
    store.encode()
    ws.small_pictures(3, first=20)
    ws.golden("grey.jpg", paths[0])
    os.remove(os.path.join(ws.src, paths[1]))
    paths = sorted(p for p in [*paths, *ws.small_pictures(3, first=20)] if p != paths[1])
    ws.encode("--codec", "none", "--on-delete", "remove", "--on-delete-all")
    store.holds(paths)
    ws.latentctl("compact", "--out", ws.out)
    store.holds(paths)
    retired = store.bucket.keys("team/set/.latentd/retired/")
    assert retired, "what was replaced waits for its grace time"
    ws.latentctl("gc", "--out", ws.out, "--grace", "0")
    equal(store.bucket.keys("team/set/.latentd/retired/"), [], "retired shards")
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out)
    store.holds(paths)
    store.encode()
    store.holds(paths)


@test
def an_output_that_is_lost_comes_back_from_the_bucket_once_its_owner_is_released(ws):
    store, paths = Store(ws), ws.small_pictures(6)
    store.encode()
    shutil.rmtree(ws.out)
    shutil.rmtree(ws.path("state"))
    one_line(store.encode(code=FAILED), "belongs to another output", "team/set/.latentd/owner")
    store.bucket.delete("team/set/.latentd/owner")
    said = store.encode()
    assert "adopted" in said.err and "(0 new)" in said.err + said.out, said
    store.holds(paths)


@test
def two_outputs_do_not_share_a_prefix(ws):
    store, _ = Store(ws), ws.small_pictures(3)
    store.encode()
    one_line(store.encode(out=ws.path("other"), code=FAILED), "belongs to another output", ws.out)


@test
def throttled_broken_lost_and_faulty_replies_are_asked_again(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)

    def answered(_, n):
        return ((503, "SlowDown"), "reset", (500, "InternalError"))[n % 3]

    def done(request, _):
        # what is written without a condition may be written twice; a lost reply to the end of an upload is another test
        if request.method == "PUT":
            return "lost"
        # of the end of an upload: whose beginning is lost leaves one that gc finds
        return ("fault", "InternalError") if "uploadId=" in request.target and request.method == "POST" else None

    for name, how in (("answered", answered), ("done", done)):
        ws.name, store.proxy.harm = name, each_request_fails_once(how)
        store.encode()
        store.proxy.harm = lambda request: None
        store.holds(paths, name)


@test
def a_run_that_is_killed_at_any_step_of_an_upload_loses_nothing_and_doubles_nothing(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)

    def killed(name, nth, after):
        """Runs until its @nth request that writes, which the server has done or not; false: there is none."""
        ws.name, count, process = name, [0], []
        begun, lock = threading.Event(), threading.Lock()

        def kill():
            process[0].kill()
            process[0].wait()

        def harm(request):
            with lock:
                count[0] += request.method in ("PUT", "POST")
                mine = request.method in ("PUT", "POST") and count[0] == nth
            if not mine:
                return None
            begun.wait()
            if after:
                return kill
            kill()
            return "reset"

        store.proxy.harm = harm
        process.append(ws.start(*ws.encode_words(*store.options)))
        begun.set()
        code = ws.finish(process[0]).code
        store.proxy.harm = lambda request: None
        return code == -signal.SIGKILL

    for after in (False, True):
        for nth in (2, 5, 6) if after else (2, 4):
            assert killed(f"k{nth}{'ab'[after]}", nth, after), f"there is no step {nth}"
            store.encode()
            store.no_upload_is_left()  # the name of one it may never have heard
            store.holds(paths, ws.name)


def killed_before_the_end_of_an_upload(ws, store, *options):
    """All parts are there, and nobody put them together."""
    process, begun = [], threading.Event()

    def harm(request):
        if request.method != "POST" or "uploadId=" not in request.target:
            return None
        begun.wait()
        process[0].kill()
        process[0].wait()
        return "reset"

    store.proxy.harm = harm
    process.append(ws.start(*ws.encode_words(*store.options, *options)))
    begun.set()
    equal(ws.finish(process[0]).code, -signal.SIGKILL, "exit status")
    store.proxy.harm = lambda request: None


@test
def parts_that_a_killed_run_has_sent_are_not_sent_again(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)
    killed_before_the_end_of_an_upload(ws, store)
    sent = {r.target for r in store.proxy.sent("PUT", "partNumber=")}
    assert len(sent) >= 2, sent
    store.encode()
    again = [r.target for r in store.proxy.sent("PUT", "partNumber=")]
    equal(sorted(t for t in again if t in sent), sorted(sent), "requests for the parts that were there")
    store.holds(paths)


@test
def parts_of_another_size_are_not_taken_for_these(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)
    store.encode()
    whole = store.bucket.get(store.shards()[0])
    ws.name = "other"
    # the second and last of these parts is as long as the second of three below
    killed_before_the_end_of_an_upload(ws, store, "--s3-part-size", str(len(whole) - PART))
    store.encode()
    assert store.bucket.get(store.shards()[0]) == whole, "the parts of two sizes are mixed up"
    store.no_upload_is_left()
    store.holds(paths, "other")


@test
def what_cannot_work_is_one_clear_line(ws):
    store, _ = Store(ws), ws.small_pictures(2)
    bucket = f"s3://nobody-made-this/{ws.name}"
    one_line(ws.encode("--store", bucket, "--codec", "none", code=FAILED), "the bucket does not exist", "NoSuchBucket")
    good = dict(ws.environment)
    ws.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    said = store.encode(code=FAILED)
    one_line(said, "credentials")
    assert "wrong\n" not in said.err and "testing" not in said.err, "the secret is told"
    ws.environment.update(good, AWS_ACCESS_KEY_ID="test:reader", AWS_SECRET_ACCESS_KEY="reading")
    one_line(store.encode(code=FAILED), "credentials do not allow")
    ws.environment.pop("AWS_ACCESS_KEY_ID")
    one_line(store.encode(code=FAILED), "no S3 credentials")
    ws.environment["AWS_CONFIG_FILE"] = ws.write("config", b"[default]\nsso_session = us\n", ws.root)
    one_line(store.encode(code=FAILED), "profile default has sso_session", "aws configure export-credentials")
    ws.environment["AWS_CONFIG_FILE"] = ws.write("config", b"[default]\ncredential_process = sh -c 'echo locked >&2; exit 3'\n", ws.root)
    one_line(store.encode(code=FAILED), "profile default: credential_process", "status 3", "locked")
    ws.environment.update(good)
    one_line(store.encode("--s3-endpoint", "minio:9000", code=FAILED), "no endpoint")
    no_tls = store.proxy.url.replace("http://", "https://")
    one_line(store.encode("--s3-endpoint", no_tls, code=FAILED), "its port no TLS")
    one_line(ws.encode("--s3-region", "mars", code=None), "no store")
    one_line(store.encode("--shard-size", "6GiB", code=None), "smaller shard size")
    store.encode()
    one_line(ws.encode("--store", store.url + "2", "--codec", "none", code=FAILED), "has its shards in", "give another --name")


@test
def a_region_that_the_server_corrects_is_found_though_head_says_nothing(ws):
    store, paths = Store(ws), ws.small_pictures(2)
    ws.environment["AWS_REGION"] = "mars-1"
    store.encode()
    store.holds(paths)


@test
def keys_that_expire_in_the_middle_of_an_upload_are_one_clear_line_and_cost_no_image(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)
    store.proxy.harm = lambda request: (400, "ExpiredToken") if "partNumber=2" in request.target else None
    one_line(store.encode(code=FAILED), "the credentials have expired")
    equal(ws.failed(), {}, "images that failed")
    store.proxy.harm = lambda request: None
    store.encode()
    store.holds(paths)


@test
def who_is_told_to_end_during_an_upload_finishes_it_or_tells_what_is_wrong(ws):
    store, paths = Store(ws), ws.small_pictures(30, **ALIKE)

    def told_to_end(how):
        process, begun, told = [], threading.Event(), threading.Event()

        def harm(request):
            if "partNumber=" not in request.target:
                return None
            begun.wait()
            if not told.is_set():
                told.set()
                process[0].send_signal(signal.SIGTERM)
            return how

        store.proxy.harm = harm
        process.append(ws.start(*ws.encode_words(*store.options)))
        begun.set()
        result = ws.finish(process[0])
        store.proxy.harm = lambda request: None
        return result

    ways = ((None, "", (OK, INTERRUPTED)), ((503, "SlowDown"), "SlowDown", (FAILED,)), (("fault", "InternalError"), "InternalError", (FAILED,)))
    for name, (how, why, codes) in zip("abc", ways):
        ws.name = name
        said = told_to_end(how)
        assert said.code in codes and why in said.err, said
        store.encode()
        store.no_upload_is_left()
        store.holds(paths, name)


@test
def keys_that_a_program_writes_open_the_store(ws):
    store, paths = Store(ws), ws.small_pictures(2)
    keys = {
        "Version": 1,
        "AccessKeyId": ws.environment.pop("AWS_ACCESS_KEY_ID"),
        "SecretAccessKey": ws.environment.pop("AWS_SECRET_ACCESS_KEY"),
        "Expiration": "2100-01-01T00:00:00+00:00",
    }
    written = ws.write("keys of mine.json", json.dumps(keys).encode(), ws.root)
    config = f"[profile made]\ncredential_process = cat '{written}'\n".encode()
    ws.environment.update(AWS_CONFIG_FILE=ws.write("config", config, ws.root), AWS_PROFILE="made")
    store.encode()
    store.holds(paths)


@test
def a_store_that_is_full_is_one_clear_line_and_costs_no_image(ws):
    store, paths = Store(ws), ws.small_pictures(6)

    def full(request):
        writes = request.method in ("PUT", "POST") and "/train/" in request.target
        return (507, "InsufficientStorage") if writes else None

    store.proxy.harm = full
    one_line(store.encode(code=FAILED), "the store is full")
    equal(ws.failed(), {}, "images that failed")
    equal(store.shards(), [], "shards")
    store.proxy.harm = lambda request: None
    store.encode()
    store.holds(paths)


@test
def a_clock_that_is_an_hour_behind_is_corrected(ws):
    store, paths = Store(ws, ahead_s=3600), ws.small_pictures(30, **ALIKE)
    store.encode()
    store.holds(paths)


@test
def an_object_that_somebody_overwrites_is_named_and_encoded_again(ws):
    store, paths = Store(ws), ws.small_pictures(6)
    store.encode()
    key = store.shards()[0]
    store.bucket.put(key, b"somebody else's")
    said = ws.latentctl("verify", "--out", ws.out, code=DAMAGED)
    assert key.split("/", 2)[2] in said.out, said.out
    store.encode()
    equal(len(store.bucket.keys("team/set/.latentd/quarantine/")), 1, "objects put aside")
    store.holds(paths)


@test
def gc_forgets_uploads_that_nobody_goes_on_with(ws):
    store, paths = Store(ws), ws.small_pictures(2)
    store.encode()
    store.bucket.ask("POST", "team/set/train/128x128/000009.tar", query="uploads=")
    store.bucket.put("team/set/train/128x128/000008.tar", b"x")
    gc = ("gc", "--out", ws.out, "--grace", "0")
    would = "would be forgotten"
    said = wait_until(lambda: (r := ws.latentctl(*gc, "--dry-run").out) and would in r and r, would)
    assert "000008.tar" in said, said
    equal(len(store.bucket.uploads()), 1, "uploads")
    assert "was forgotten" in ws.latentctl(*gc).out
    store.bucket.delete("team/set/train/128x128/000008.tar")
    store.holds(paths)


@test
def merge_says_that_it_cannot(ws):
    store, _ = Store(ws), ws.small_pictures(2)
    store.encode()
    said = ws.latentctl("merge", ws.path("merged"), ws.out, code=None)
    assert said.code != OK and store.url in said.err, said


@test
def a_bucket_of_a_real_server_is_a_source(ws):
    """Whose lists and replies are not those that our own tests imagine; with names that need care in a URL."""
    store, names = Store(ws), ["a.jpg", "b c.jpg", "d+e%20.jpg", "f/ü&=?.jpg"]
    pictures = [open(os.path.join(ws.src, path), "rb").read() for path in ws.small_pictures(len(names))]
    for name, data in zip(names, pictures):
        store.bucket.put(f"2024/{name}", data)
    for name in ("2024/notes.md", "2024x.jpg", "2024/.hidden.jpg"):
        store.bucket.put(name, b"not asked for")
    where = f"s3://{store.bucket.name}/2024"
    same_members(listed(ws, where), names, "samples")
    store.bucket.put("2024/a.jpg", pictures[1])
    store.bucket.delete("2024/f/ü&=?.jpg")
    before = len(store.proxy.sent("GET", ".jpg"))
    found = listed(ws, where, "--on-delete", "remove")
    same_members(found, names[:3], "samples after a change")
    equal(found["a.jpg"], found["b c.jpg"], "content")
    equal(len(store.proxy.sent("GET", ".jpg")) - before, 1, "objects that were asked for again")
    result = ws.encode(src=[f"s3://{store.bucket.name}/nothing"], code=None)
    assert result.code != 0 and "no images below" in result.err, result.err


def listed(ws, where, *options):
    ws.encode(*options, src=[where])
    return {s.path: s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}


@test
def a_daemon_waits_for_its_store_and_goes_on(ws):
    store, paths = Store(ws), ws.small_pictures(8, folder=ws.path("set"))
    daemon = Daemon(ws)
    daemon.dataset("set", output={"codec": "none", "store": {"s3": store.url, "part_size": "64KiB"}})
    store.proxy.harm = lambda request: "reset"
    daemon.start()
    wait_until(lambda: len(store.proxy.sent("HEAD")) >= 2, "the store to be asked twice")
    store.proxy.harm = lambda request: None
    daemon.wait_for("set", finished=len(paths))
    daemon.drain()
    daemon.stop()
    store.holds(paths)


run_tests()
