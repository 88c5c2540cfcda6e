#!/usr/bin/env python3
"""What the settings forbid `latentd`: work outside the hours of a dataset or an encoder, more latents than a quota."""

import contextlib
import http.client
import time

from daemon_rig import Daemon
from harness import FAILED, equal, run_tests, test

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


run_tests()
