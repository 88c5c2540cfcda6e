#!/usr/bin/env python3
"""What a reload changes of a running `latentd` beside its datasets (test_daemon_steering.py): decoders and encoders."""

import os
import shutil
import signal

from daemon_rig import Daemon
from harness import demo_model, equal, run_tests, same_members, test, wait_until
from reference import read_dataset
from remote_server import Endpoint, plain_pictures

SQUARE = {"bucketing": "square", "resolution": 64}


def reload(daemon, code=200):
    daemon.write()
    return daemon.post("/reload", code=code)


def changes(daemon, n):
    """@n of them, all in force without a restart."""
    answer = reload(daemon)
    equal(answer["count"], n, "changes")
    assert "restart" not in answer.get("message", ""), answer


@test
def decode_workers_become_more_and_fewer_while_images_are_encoded(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    paths = ws.small_pictures(300, ws.path("set"))
    daemon.start()
    for workers in (4, 2, 3, 1):
        daemon.wait(lambda: daemon.about()["since_start"]["encoded"] > 0, "the first image")
        daemon.config["decode"]["workers"] = workers
        changes(daemon, 1)
        daemon.wait(lambda: daemon.status()["daemon"]["decode_workers"] == workers, "status to say so")
        daemon.wait(lambda: len(ws.workers()) == workers, f"{workers} processes")
    daemon.wait_for(finished=300)
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"
    daemon.drain()
    daemon.stop()
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")


@test
def latentctl_counts_settings(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.start()
    daemon.config["decode"]["workers"] = 2
    daemon.write()
    equal(ws.latentctl("reload", "--socket", daemon.socket).out, "1 setting changed\n", "what is printed")
    daemon.stop()


# -- this machine's encoders


def encode_threads(daemon):
    """Those that compute for its encoders, and those that drive them."""
    tasks, n = f"/proc/{daemon.process.pid}/task", 0
    for task in os.listdir(tasks):
        try:
            with open(f"{tasks}/{task}/comm", encoding="ascii") as comm:
                n += comm.read().strip() == "encode"
        except OSError:
            pass
    return n


def encoders(daemon):
    return {encoder["name"]: encoder for encoder in daemon.status()["encoders"]}


@test
def the_threads_of_the_cpu_encoder_change_between_its_batches(ws):
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": demo_model(), **SQUARE})
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    paths = ws.small_pictures(60, ws.path("set"))
    daemon.start()
    daemon.wait(lambda: daemon.about()["since_start"]["encoded"] > 0, "the first image")
    one = encode_threads(daemon)
    for threads in (3, 2):
        daemon.config["encoders"][0]["threads"] = threads
        changes(daemon, 1)
        daemon.wait(lambda: encode_threads(daemon) == one + threads - 1, f"{threads} threads")
    daemon.wait_for(finished=60)
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"
    daemon.drain()
    daemon.stop()
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")


@test
def an_encoder_whose_model_is_another_by_now_fails_as_at_a_start_and_the_daemon_lives(ws):
    model = ws.path("model")
    shutil.copytree(demo_model(), model)
    (weights,) = [os.path.join(model, name) for name in os.listdir(model) if name.endswith(".safetensors")]
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": model, **SQUARE})
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    ws.small_pictures(3, ws.path("set"))
    daemon.start()
    daemon.wait_for(finished=3)
    with open(weights, "r+b") as file:
        file.seek(-4, os.SEEK_END)
        good = file.read()
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0?")
    daemon.config["encoders"][0]["threads"] = 2
    changes(daemon, 1)
    daemon.wait(lambda: encoders(daemon)["cpu"]["state"] == "failed", "the encoder to fail")
    assert "another one than before" in encoders(daemon)["cpu"]["why"], encoders(daemon)
    assert "another one than before" in daemon.wait_for_state("blocked")["why"], daemon.about()
    with open(weights, "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(good)
    daemon.config["encoders"][0]["threads"] = 3
    changes(daemon, 1)
    ws.small_pictures(3, ws.path("set"), first=3)
    daemon.post("/datasets/set/scan")
    daemon.wait_for(finished=6)
    equal(encoders(daemon)["cpu"]["why"], None, "what is wrong")
    daemon.stop()


@test
def an_encoder_that_is_added_encodes_and_one_that_is_removed_is_gone(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.config["encoders"] = [{"type": "fake", "name": "old"}]
    ws.small_pictures(5, ws.path("set"))
    daemon.start()
    daemon.wait_for(finished=5)
    daemon.config["encoders"] = [{"type": "fake", "name": "new"}]
    changes(daemon, 2)
    daemon.wait(lambda: list(encoders(daemon)) == ["new"], "the new encoder alone")
    ws.small_pictures(5, ws.path("set"), first=5)
    daemon.post("/datasets/set/scan")
    daemon.wait_for(finished=10)
    equal(encoders(daemon)["new"]["images_done"], 5, "its images")
    daemon.stop()


# -- endpoints


def remote_daemon(ws, *endpoints, **encoder):
    """The dataset has the first one's model."""
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": {"endpoint": endpoints[0].url}, **SQUARE})
    urls = [{"url": endpoint.url} for endpoint in endpoints]
    daemon.config["encoders"] = [{"type": "remote", "endpoints": urls, **encoder}]
    return daemon


def uncharged(daemon):
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"


@test
def an_endpoint_that_is_added_gets_images_at_once(ws):
    slow, added = Endpoint(ws, "held"), Endpoint(ws)
    daemon = remote_daemon(ws, slow)
    plain_pictures(ws.path("set"), 40)
    daemon.start()
    wait_until(lambda: slow.in_flight > 0, "images at the first")
    daemon.config["encoders"][0]["endpoints"].append({"url": added.url})
    changes(daemon, 1)
    wait_until(lambda: added.given > 0, "latents of the second, while the first holds its own")
    slow.released.set()
    daemon.wait_for(finished=40)
    equal([e["url"] for e in encoders(daemon)["remote"]["endpoints"]], [slow.url, added.url], "endpoints")
    uncharged(daemon)
    daemon.stop()


@test
def an_endpoint_that_is_removed_gets_no_more_requests(ws):
    stays, goes = Endpoint(ws), Endpoint(ws, "held")
    daemon = remote_daemon(ws, stays, goes)
    plain_pictures(ws.path("set"), 40)
    daemon.start()
    wait_until(lambda: goes.in_flight > 0, "images at both")
    del daemon.config["encoders"][0]["endpoints"][1]
    changes(daemon, 1)
    daemon.wait_for(finished=40)
    before = goes.sent
    plain_pictures(ws.path("set"), 20, first=40)
    daemon.post("/datasets/set/scan")
    daemon.wait_for(finished=60)
    equal(goes.sent, before, "requests to it")
    equal([e["url"] for e in encoders(daemon)["remote"]["endpoints"]], [stays.url], "endpoints")
    uncharged(daemon)
    goes.released.set()
    daemon.stop()


@test
def another_token_and_another_number_of_requests_hold_from_then_on(ws):
    endpoint = Endpoint(ws, token="first")
    daemon = remote_daemon(ws, endpoint)
    item = daemon.config["encoders"][0]["endpoints"][0]
    item["token_file"] = ws.secret("first", b"first\n")
    plain_pictures(ws.path("set"), 3)
    daemon.start()
    daemon.wait_for(finished=3)
    endpoint.token = "second"
    plain_pictures(ws.path("set"), 10, first=3)
    daemon.post("/datasets/set/scan")
    daemon.wait(lambda: encoders(daemon)["remote"]["state"] == "failed", "the token to be refused")
    endpoint.most = 0
    item.update(token_file=ws.secret("second", b"second\n"), max_in_flight=1)
    changes(daemon, 2)
    daemon.wait_for(finished=13)
    equal(endpoint.most, 1, "requests at once")
    daemon.stop()


@test
def a_limit_that_is_raised_lets_its_encoder_go_on_and_what_was_counted_counts(ws):
    plain_pictures(ws.path("set"), 30)
    endpoint = Endpoint(ws)
    daemon = remote_daemon(ws, endpoint, max_requests_per_hour=10)
    remote = daemon.config["encoders"][0]
    daemon.start()
    state = lambda: encoders(daemon)["remote"]["state"]
    daemon.wait(lambda: state() == "paused", "the guard")
    remote["max_requests_per_hour"] = 20
    changes(daemon, 1)
    wait_until(lambda: endpoint.sent == 20, "ten more requests")
    daemon.wait(lambda: state() == "paused", "the guard again")
    equal(endpoint.sent, 20, "requests")
    remote["max_requests_per_hour"] = 0
    changes(daemon, 1)
    daemon.wait_for(finished=30)
    remote["max_bytes_per_day"] = "1KiB"
    changes(daemon, 1)
    daemon.wait(lambda: state() == "paused", "the guard of bytes")
    uncharged(daemon)
    daemon.stop()


# -- a bad file


@test
def a_bad_file_changes_no_encoder_and_no_decoder(ws):
    endpoint, other = Endpoint(ws), Endpoint(ws)
    daemon = remote_daemon(ws, endpoint)
    daemon.start()
    before = encoders(daemon)
    good = daemon.copy_of_config()
    daemon.config["decode"]["workers"] = 3
    remote = daemon.config["encoders"][0]
    remote["endpoints"] = [{"url": other.url, "token_file": ws.path("nowhere")}]
    remote["max_requests_per_hour"] = 1
    daemon.config["encoders"].append({"type": "fake"})
    message = reload(daemon, code=409)["error"]["message"]
    assert "nowhere" in message, message
    equal(daemon.status()["daemon"]["decode_workers"], 1, "workers")
    equal(list(encoders(daemon)), list(before), "encoders")
    plain_pictures(ws.path("set"), 5)
    daemon.post("/datasets/set/scan")
    daemon.wait_for(finished=5)
    equal(other.sent, 0, "requests to the endpoint of the bad file")
    daemon.config = good
    daemon.write()
    daemon.tell(signal.SIGHUP)
    daemon.wait(lambda: daemon.status()["daemon"]["reload_error"] is None, "the good file")
    daemon.stop()


run_tests()
