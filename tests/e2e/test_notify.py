#!/usr/bin/env python3
"""What `latentd` tells systemd: that it is ready, how it is, that it reads its settings again, that it gets on, that it stops."""

import contextlib
import os
import shutil
import signal
import socket
import time

from daemon_rig import Daemon
from harness import demo_model, equal, run_tests, test, wait_until
from notify_rig import Listener


MORE_TIME = {"EXTEND_TIMEOUT_USEC": "60000000"}


def environment(ws, listener, **more):
    return {**ws.environment, "NOTIFY_SOCKET": listener.path, **more}


def microseconds():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@contextlib.contextmanager
def running(ws, **more):
    """A daemon with one dataset that is ready, and who listens to it."""
    with Listener(ws.path("notify")) as listener:
        daemon = Daemon(ws)
        daemon.dataset()
        daemon.spawn(env=environment(ws, listener, **more))
        yield daemon, listener


@test
def ready_is_said_once_and_not_before_the_api_answers(ws):
    with running(ws) as (daemon, listener):
        ready = listener.wait_for(READY="1")
        equal(daemon.health()[0], 200, "health at once")
        equal(listener.messages, [ready], "messages until then")
        assert "1 dataset" in ready["STATUS"], ready
        daemon.stop()
        equal(sum("READY" in m for m in listener.rest()), 1, "times ready")


@test
def the_status_tells_what_is_done_and_to_do(ws):
    with running(ws) as (daemon, listener):
        ws.small_pictures(3, ws.path("set"))
        wait_until(
            lambda: "1 dataset: 3 images done, 0 to do, 0 failed"
            in listener.wait_for(STATUS=None)["STATUS"],
            "the status",
        )
        daemon.stop()


@test
def a_reload_is_told_from_its_beginning_to_its_end_with_the_time_in_microseconds(ws):
    with running(ws) as (daemon, listener):
        listener.wait_for(READY="1")
        before = microseconds()
        daemon.tell(signal.SIGHUP)
        reloading = listener.wait_for(RELOADING="1")
        said = int(reloading["MONOTONIC_USEC"])
        assert before <= said <= microseconds(), f"{said} is not after {before}"
        listener.wait_for(READY="1")
        daemon.stop()


@test
def a_reload_of_a_bad_file_ends_too(ws):
    with running(ws) as (daemon, listener):
        listener.wait_for(READY="1")
        daemon.write("datasets: 1\n")
        daemon.tell(signal.SIGHUP)
        listener.wait_for(RELOADING="1")
        listener.wait_for(READY="1")
        daemon.says("the old settings stay in force")
        daemon.stop()


@test
def stopping_is_the_last_word(ws):
    with running(ws) as (daemon, listener):
        listener.wait_for(READY="1")
        daemon.stop()
        listener.rest()
        (at,) = [i for i, m in enumerate(listener.messages) if m.get("STOPPING") == "1"]
        after = [m for m in listener.messages[at + 1 :] if m != MORE_TIME]
        equal(after, [], "messages after it")


@test
def more_time_is_asked_for_while_clients_are_still_answered(ws):
    with Listener(ws.path("notify")) as listener:
        daemon = Daemon(ws)
        daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
        daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": demo_model(), "stop_timeout": "10min"}
        daemon.start(env=environment(ws, listener))
        daemon.wait(lambda: daemon.status()["serve"]["state"] == "ready", "the model")
        host, port = daemon.status()["serve"]["url"].removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"POST /?posterior=mean HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")  # and no body
        daemon.wait(lambda: daemon.status()["serve"]["in_flight"] == 1, "the request")
        daemon.tell(signal.SIGTERM)
        listener.wait_for(STOPPING="1")
        for _ in range(2):
            listener.wait_for(**MORE_TIME)
        client.close()
        daemon.ended()


@test
def the_watchdog_is_fed_again_and_again_until_the_end(ws):
    with running(ws, WATCHDOG_USEC="10000000") as (daemon, listener):
        listener.wait_for(READY="1")
        for _ in range(3):
            listener.wait_for(WATCHDOG="1")
        daemon.stop()


@test
def a_model_that_is_deleted_blocks_its_dataset_and_the_service_stays_up_and_fed(ws):
    model = ws.path("model")
    shutil.copytree(demo_model(), model)
    with Listener(ws.path("notify")) as listener:
        daemon = Daemon(ws)
        daemon.config.update(model_idle="1s", encoders=[{"type": "cpu", "threads": 1}, {"type": "fake"}])
        daemon.dataset("with-model", recipe={"vae": model})
        daemon.dataset("other")
        ws.small_pictures(1, ws.path("with-model"))
        daemon.spawn(env=environment(ws, listener, WATCHDOG_USEC="10000000"))
        listener.wait_for(READY="1")
        daemon.wait_for("with-model", finished=1)
        daemon.wait(lambda: not daemon.has_model(), "the model to be unloaded")
        os.rename(model, ws.path("away"))
        ws.small_pictures(3, ws.path("with-model"), first=1)
        about = daemon.wait_for_state("blocked", "with-model")
        assert model in about["why"], about
        listener.rest()
        for _ in range(2):
            listener.wait_for(WATCHDOG="1")
        ws.small_pictures(3, ws.path("other"))
        daemon.wait_for("other", finished=3)
        code, health = daemon.health()
        equal(code, 200, f"health with one of two datasets blocked: {health}")
        os.rename(ws.path("away"), model)
        daemon.resume("with-model")
        daemon.wait_for("with-model", finished=4)
        daemon.stop()


@test
def a_watchdog_of_nobody_or_of_another_process_is_not_fed(ws):
    for more in ({}, {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}):
        with running(ws, **more) as (daemon, listener):
            # The second status is that of the loop, which would feed it in the same turn.
            for _ in range(2):
                listener.wait_for(STATUS=None)
            daemon.stop()
            listener.rest()
            assert "WATCHDOG" not in listener.keys(), listener.messages


@test
def without_a_service_manager_nothing_is_missed(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.start()
    daemon.stop()


run_tests()
