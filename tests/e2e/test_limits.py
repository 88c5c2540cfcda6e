#!/usr/bin/env python3
"""What the settings forbid `latentd`: work outside the hours of a dataset or an encoder, more latents than a quota, more
images sent to endpoints than those of a day."""

import contextlib
import http.client
import os
import time

from daemon_rig import Daemon
from harness import FAILED, USAGE, demo_model, equal, run_tests, same_members, test
from reference import read_dataset
from remote_server import Endpoint, plain_pictures
from serve_rig import Server

KiB = 1024


def hours(first, last):
    """From so many hours after now until so many, by the clock that the daemons here have."""
    ends = (time.gmtime(time.time() + hours * 3600) for hours in (first, last))
    return "-".join(time.strftime("%H:%M", end) for end in ends)


# No test runs into the beginning or the end of them.
THESE, OTHERS = hours(-3, 3), hours(3, 6)


def start(daemon):
    return daemon.start(env=dict(daemon.ws.environment, TZ="UTC0"))


def reload(daemon):
    daemon.write()
    return daemon.post("/reload")


def resting(daemon, *words, name="set", state="paused"):
    """What is said of a dataset that has images and begins none."""

    def says_why():
        about = daemon.about(name)
        why = about["why"] or ""
        return about if about["state"] == state and all(word in why for word in words) else None

    return daemon.wait(says_why, f"{name} to be {state} because of {words}")


def goes_on_at(about):
    return time.strftime("%H:%M", time.gmtime(about["retry_at"] / 1000))


# -- hours


@test
def a_dataset_outside_its_hours_finds_files_and_begins_none_until_they_come(ws):
    daemon = Daemon(ws)
    other = daemon.dataset("other")
    dataset = daemon.dataset(hours=OTHERS)
    for name in ("set", "other"):
        ws.small_pictures(3, ws.path(name))
    start(daemon)
    daemon.wait_for("other", finished=3)
    daemon.wait_for(available=3)
    about = resting(daemon, f"outside its hours {OTHERS}, goes on at {OTHERS[:5]}")
    equal(goes_on_at(about), OTHERS[:5], "the time at which it goes on")
    equal(daemon.health()[0], 200, "health: that is no problem")
    told = ws.latentctl("status", "--socket", daemon.socket).out
    assert "set: paused, goes on in " in told, told
    # Hours that hold now, and again others.
    dataset["hours"] = THESE
    assert "restart" not in reload(daemon)["message"], "a restart is needed"
    daemon.wait_for(finished=3)
    other["hours"] = OTHERS
    reload(daemon)
    ws.small_pictures(2, ws.path("other"), first=3)
    daemon.wait_for("other", available=2, finished=3)
    resting(daemon, "outside its hours", name="other")
    del other["hours"]
    reload(daemon)
    daemon.wait_for("other", finished=5)
    daemon.stop()


@test
def an_encoder_outside_its_hours_is_given_nothing(ws):
    daemon = Daemon(ws)
    encoder = {"type": "fake", "name": "nightly", "hours": OTHERS}
    daemon.config.update(encoders=[encoder], model_idle="1s")
    daemon.dataset()
    ws.small_pictures(3, ws.path("set"))
    start(daemon)
    about = resting(daemon, "no encoder of it encodes now", f"goes on at {OTHERS[:5]}")
    equal(goes_on_at(about), OTHERS[:5], "the time at which it goes on")
    (said,) = daemon.status()["encoders"]
    equal(said["state"], "paused", "state of the encoder")
    equal(said["why"], f"outside its hours {OTHERS}, goes on at {OTHERS[:5]}", "why")
    equal(daemon.about()["jobs"]["completed"] + daemon.about()["jobs"]["encoded"], 0, "images done")
    equal(daemon.health()[0], 200, "health: that is no problem")
    daemon.wait(lambda: not daemon.has_model(), "the model to leave the memory")
    encoder["hours"] = THESE
    assert "restart" not in reload(daemon)["message"], "a restart is needed"
    daemon.wait_for(finished=3)
    daemon.stop()


@test
def while_one_encoder_is_outside_its_hours_another_does_the_work(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [
        {"type": "fake", "name": "nightly", "hours": OTHERS},
        {"type": "fake", "name": "always"},
    ]
    daemon.dataset()
    ws.small_pictures(12, ws.path("set"))
    start(daemon)
    daemon.wait_for(finished=12)
    done = {e["name"]: e["images_done"] for e in daemon.status()["encoders"]}
    equal(done, {"nightly": 0, "always": 12}, "images of each encoder")
    daemon.stop()


@test
def what_is_served_is_refused_outside_the_hours_of_its_encoders(ws):
    daemon = Daemon(ws)
    (encoder,) = daemon.config["encoders"]
    encoder["hours"] = OTHERS
    daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": "fake"}
    start(daemon)
    why = f"outside its hours {OTHERS}"
    daemon.wait(lambda: why in (daemon.status()["serve"]["why"] or ""), "the reason")
    address = daemon.status()["serve"]["url"].rpartition("/")[2]

    def answer(method, path):
        connection = http.client.HTTPConnection(address, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, b"no picture" if method == "POST" else None)
            response = connection.getresponse()
            return response.status, response.read().decode()

    code, said = answer("POST", "/")
    equal(code, 503, "status of a request")
    assert why in said, said
    encoder["hours"] = THESE
    reload(daemon)
    daemon.wait(lambda: answer("GET", "/health")[0] == 200, "it to be served")
    equal(answer("POST", "/")[0], 415, "status of a request that is looked at")
    daemon.stop()


@test
def what_is_no_hours_of_the_day_is_named_with_its_place(ws):
    daemon = Daemon(ws)
    daemon.dataset(hours="8pm-6am")
    result = daemon.command("--check-config", code=2)
    for word in ("8pm-6am", "HH:MM-HH:MM", daemon.file):
        assert word in result.err, result.err


# -- a quota


def over_quota(ws):
    """A daemon whose dataset has three images in its output, and no room for more."""
    daemon = Daemon(ws)
    dataset = daemon.dataset(output={"quota": "1GiB"})
    ws.small_pictures(3, ws.path("set"))
    start(daemon)
    daemon.wait_for(finished=3)
    dataset["output"]["quota"] = "1KiB"  # only now: with it from the start not all three may be begun
    reload(daemon)
    daemon.says("its quota of 1.0 KiB is used up")
    return daemon, dataset


@test
def with_its_quota_used_up_a_dataset_begins_nothing_until_there_is_more(ws):
    daemon, dataset = over_quota(ws)
    daemon.wait_for_state("idle")  # nothing is left to do: it lacks nothing
    daemon.dataset("other", output={"quota": "1TiB"})
    reload(daemon)
    for name, first in (("set", 3), ("other", 0)):
        ws.small_pictures(5, ws.path(name), first=first)
    daemon.wait_for("other", finished=5)
    daemon.wait_for(available=5, finished=3)
    resting(daemon, "its quota of 1.0 KiB is used up", state="blocked")
    equal(daemon.health()[0], 200, "health with one of two datasets blocked")
    # It is no other after a restart, from the first moment on.
    daemon.stop()
    start(daemon)
    resting(daemon, "its quota of 1.0 KiB is used up", state="blocked")
    equal(daemon.about()["since_start"]["encoded"], 0, "images begun at the start")
    dataset["output"]["quota"] = "1GiB"
    assert "restart" not in reload(daemon)["message"], "a restart is needed"
    daemon.wait_for(finished=8)
    daemon.drain()
    daemon.stop()


@test
def a_run_to_the_end_gives_up_what_its_quota_does_not_allow(ws):
    daemon, _ = over_quota(ws)
    daemon.stop()
    daemon.run("--once")  # all is done
    ws.small_pictures(2, ws.path("set"), first=3)
    daemon.run("--once", code=FAILED)
    assert "set: given up" in daemon.said(), "it is not said"
    ws.name = "set"
    jobs = ws.status()["jobs"]
    equal((jobs["available"], jobs["completed"] + jobs["encoded"]), (2, 3), "images to do and done")


# -- images for endpoints


def with_endpoint(ws, images, **options):
    """A daemon of which an endpoint encodes so many images a day, and its dataset."""
    endpoint, daemon = Endpoint(ws), Daemon(ws)
    recipe = {"vae": {"endpoint": endpoint.url}, "bucketing": "square", "resolution": 64, **options}
    dataset = daemon.dataset(recipe=recipe, max_requests_per_day=images)
    daemon.config["encoders"] = [{"type": "remote", "endpoints": {"url": endpoint.url}}]
    return daemon, dataset, endpoint


@test
def with_its_images_of_a_day_sent_a_dataset_rests_until_there_are_more(ws):
    daemon, dataset, endpoint = with_endpoint(ws, 5)
    paths = plain_pictures(ws.path("set"), 12)
    start(daemon)
    daemon.wait_for(finished=5)
    about = resting(daemon, "its 5 images a day for endpoints are used up, goes on at ")
    equal(about["why"][-5:], goes_on_at(about), "the time at which it goes on")
    assert 23 < (about["retry_at"] / 1000 - time.time()) / 3600 < 25, about["retry_at"]
    daemon.wait_for(available=7, finished=5)  # what was decoded meanwhile does not wait in memory
    equal(daemon.health()[0], 200, "health: that is no problem")
    # It is no other after a restart.
    daemon.stop()
    asked = len(endpoint.seen)
    start(daemon)
    resting(daemon, "its 5 images a day for endpoints are used up")
    equal((len(endpoint.seen), daemon.about()["since_start"]["encoded"]), (asked, 0), "images sent at the start")
    # More of them, and none left again.
    dataset["max_requests_per_day"] = 8
    assert "restart" not in reload(daemon)["message"], "a restart is needed"
    daemon.wait_for(finished=8)
    resting(daemon, "its 8 images a day for endpoints are used up")
    dataset["max_requests_per_day"] = 0
    reload(daemon)
    daemon.wait_for(finished=12)
    daemon.drain()
    daemon.stop()
    same_members([s.path for s in read_dataset(os.path.join(ws.out, "set"))], paths, "samples")


@test
def variants_count_and_an_image_is_sent_with_all_of_them_or_not(ws):
    daemon, dataset, _ = with_endpoint(ws, 5, flip=True)
    plain_pictures(ws.path("set"), 4)
    start(daemon)
    resting(daemon, "its 5 images a day for endpoints are used up")
    daemon.wait_for(finished=2, available=2)
    daemon.stop()
    dataset["max_requests_per_day"] = 1
    daemon.write()
    said = daemon.command("--check-config", code=USAGE).err
    assert "max_requests_per_day" in said and "2 variants" in said, said


@test
def what_endpoints_may_not_have_any_more_this_machine_encodes(ws):
    server, daemon = Server(ws, vae=demo_model()), Daemon(ws)
    server.start()
    daemon.dataset(recipe={"vae": demo_model()}, max_requests_per_day=4)
    url = f"http://127.0.0.1:{server.port}/"
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}, {"type": "remote", "endpoints": {"url": url}}]
    ws.small_pictures(30, ws.path("set"))
    start(daemon)
    daemon.wait_for(finished=30)
    done = {e["name"]: e["images_done"] for e in daemon.status()["encoders"]}
    assert 1 <= done["remote"] <= 4 and done["cpu"] == 30 - done["remote"], done
    server.kill()
    daemon.stop()


run_tests()
