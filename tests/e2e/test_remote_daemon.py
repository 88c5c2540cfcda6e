#!/usr/bin/env python3
"""`latentd` with endpoints: alone or beside this machine's own encoder, while they come and go.

LATENTD_TEST_LONG=1 lets the soak run for ten minutes instead of some seconds.
"""

import contextlib
import os
import re
import sqlite3
import time

from daemon_rig import Daemon
from harness import (
    HANGS_AFTER_S,
    USAGE,
    demo_model,
    equal,
    one_line,
    run_tests,
    same_members,
    sanitized,
    test,
    wait_until,
)
from openapi import Document
from reference import npy_values, read_dataset
from remote_server import MODEL, Endpoint, is_latent_of, plain_pictures
from serve_rig import Server

LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
SOAK_S = 600 if LONG else 6
# What a queue that grows takes, and no more of (MiB): two connections keep 8 MiB of its pages each (queue_sqlite.c), and up to
# 262,144 samples that its table of contents has not yet are in memory, at most 48 bytes each (queue_sqlite_content.c).
SQLITE_CACHES, RECENT, RECENT_SAMPLES = 16, 12, 262144
ARENAS = 12  # that malloc keeps of what is freed, in an arena for each of eleven threads
SQUARE = {"bucketing": "square", "resolution": 64}


def remote_daemon(ws, *endpoints, name="set", recipe=None, **encoder):
    """A daemon whose encoder is these endpoints; its dataset has the first one's model."""
    daemon = Daemon(ws)
    vae = {"endpoint": endpoints[0].url}
    daemon.dataset(name, recipe={"vae": vae, **SQUARE, **(recipe or {})})
    urls = [{"url": endpoint.url} for endpoint in endpoints]
    daemon.config["encoders"] = [{"type": "remote", "endpoints": urls, **encoder}]
    return daemon


def encoder_of(daemon, name="remote"):
    (encoder,) = [e for e in daemon.status()["encoders"] if e["name"] == name]
    return encoder


def all_there(ws, paths, name="set"):
    samples = read_dataset(os.path.join(ws.out, name))
    same_members([s.path for s in samples], paths, "samples")
    for sample in samples:
        assert is_latent_of(npy_values(sample.npy), sample.path), f"{sample.path}: another latent"


@test
def a_dataset_is_encoded_on_endpoints_and_status_shows_them(ws):
    paths, endpoints = plain_pictures(ws.path("set"), 60), [Endpoint(ws, "held"), Endpoint(ws, "held")]
    daemon = remote_daemon(ws, *endpoints)
    daemon.start()
    wait_until(lambda: all(e.requests > 0 for e in endpoints), "each to have an image")
    for endpoint in endpoints:
        endpoint.released.set()
    daemon.wait_for(finished=60)
    rates = lambda: [e["images_per_second"] or 0 for e in encoder_of(daemon)["endpoints"]]
    daemon.wait(lambda: sum(rates()) > 0, "how many images a second they give")
    encoder = encoder_of(daemon)
    assert all(0 <= e["busy"] <= 1 for e in encoder["endpoints"]), encoder
    assert 1 <= encoder["batch"] <= 60, encoder
    equal((encoder["type"], encoder["why"]), ("remote", None), "the encoder")
    equal([e["url"] for e in encoder["endpoints"]], [e.url for e in endpoints], "endpoints")
    equal({e["state"] for e in encoder["endpoints"]}, {"ok"}, "their states")
    equal(sum(e["images"] for e in encoder["endpoints"]), 60, "images")
    schema = {"$ref": "#/components/schemas/Encoder"}
    equal(Document().problems(encoder, schema), [], "what openapi.json says otherwise")
    text = ws.latentctl("status", "--socket", daemon.socket).out
    assert all(endpoint.url in text for endpoint in endpoints), text
    daemon.drain()
    daemon.stop()
    all_there(ws, paths)


@test
def endpoints_that_are_all_gone_are_waited_for(ws):
    first, endpoint = plain_pictures(ws.path("set"), 20), Endpoint(ws)
    daemon = remote_daemon(ws, endpoint)
    daemon.start()
    daemon.wait_for(finished=20)
    endpoint.down()
    second = plain_pictures(ws.path("set"), 20, first=20)
    daemon.post("/datasets/set/scan")
    daemon.wait(lambda: encoder_of(daemon)["state"] == "waiting", "the encoder to wait")
    encoder = encoder_of(daemon)
    assert endpoint.url in encoder["why"] and "no endpoint can encode" in encoder["why"], encoder
    why = daemon.wait_for_state("blocked")["why"]
    assert "its images wait; `latentctl doctor` asks each" in why, why
    daemon.says("encoder remote", "no endpoint can encode")
    code, body = daemon.health()
    equal((code, body["healthy"]), (503, False), "health while no endpoint can encode")
    assert any("remote" in problem for problem in body["problems"]), body
    counts = daemon.about()["jobs"]
    equal((counts["quarantined"], counts["skipped"], counts["gone"]), (0, 0, 0), "images given up")
    endpoint.up()
    daemon.wait_for(finished=40)
    daemon.says("encoder remote", "encodes again")
    equal(daemon.said().count("encodes again"), 1, "how often it encodes again")
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"
    daemon.drain()
    daemon.stop()
    all_there(ws, first + second)


@test
def an_encoder_that_could_not_encode_what_is_left_is_not_what_limits(ws):
    endpoint = Endpoint(ws, "held")
    daemon = remote_daemon(ws, endpoint, name="far")
    daemon.config["encoders"].insert(0, {"type": "fake"})
    daemon.dataset("near")
    ws.small_pictures(2, ws.path("near"))
    daemon.start()
    daemon.wait_for("near", finished=2)
    daemon.wait(lambda: daemon.status()["limit"] is None, "nothing to be left")
    plain_pictures(ws.path("far"), 5)

    def limits():
        limit = daemon.status()["limit"] or ""
        assert "fake" not in limit, limit
        return "remote" in limit

    daemon.wait(limits, "the encoder that has all of it to be named")
    endpoint.released.set()
    daemon.wait_for("far", finished=5)
    daemon.stop()


@test
def a_dataset_stays_blocked_while_its_endpoint_is_tried_again(ws):
    """The question that tries it stands still there: what people see meanwhile is what is so."""
    endpoint = Endpoint(ws)
    daemon = remote_daemon(ws, endpoint)
    plain_pictures(ws.path("set"), 2)
    daemon.start()
    daemon.wait_for(finished=2)
    endpoint.down()
    plain_pictures(ws.path("set"), 3, first=2)
    daemon.wait_for_state("blocked")
    endpoint.question, asked = "held", endpoint.questions
    endpoint.hold()
    endpoint.up()
    daemon.wait(lambda: endpoint.questions > asked, "the endpoint to be tried")
    for _ in range(20):
        about = daemon.about()
        equal(about["state"], "blocked", f"state while it is tried: {about['why']}")
    equal(encoder_of(daemon)["state"], "waiting", "state of the encoder")
    endpoint.released.set()
    daemon.wait_for(finished=5)
    daemon.stop()


@test
def a_daemon_that_is_killed_goes_on(ws):
    paths, endpoints = plain_pictures(ws.path("set"), 200), [Endpoint(ws), Endpoint(ws)]
    for endpoint in endpoints:
        endpoint.delay_s = 0.02
    daemon = remote_daemon(ws, *endpoints)
    for wanted in (40, 100):
        daemon.start()
        wait_until(lambda: sum(e.given for e in endpoints) >= wanted, "latents")
        daemon.kill()
    daemon.start()
    daemon.wait_for(finished=200)
    daemon.drain()
    daemon.stop()
    all_there(ws, paths)


@test
def a_stuck_endpoint_does_not_keep_a_daemon_from_ending(ws):
    plain_pictures(ws.path("set"), 20)
    endpoint = Endpoint(ws, "stuck")
    # it gives no request up before the test does
    daemon = remote_daemon(ws, endpoint, timeout=f"{2 * HANGS_AFTER_S}s")
    daemon.start()
    wait_until(lambda: endpoint.in_flight > 0, "a request")
    daemon.stop()
    assert not endpoint.released.is_set() and endpoint.in_flight > 0, "the endpoint answered"


@test
def this_machine_and_endpoints_share_the_work(ws):
    server = Server(ws, vae=demo_model())
    server.start()
    paths = ws.small_pictures(60, folder=ws.path("set"))
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": demo_model()})
    url = f"http://127.0.0.1:{server.port}/"
    daemon.config["encoders"] = [
        {"type": "cpu", "threads": 1},
        {"type": "remote", "endpoints": {"url": url}},
    ]
    daemon.start()
    daemon.wait_for(finished=len(paths))
    daemon.drain()
    engines = [s.record["engine"].split("/")[0] for s in read_dataset(os.path.join(ws.out, "set"))]
    equal(set(engines), {"cpu", "remote"}, "who encoded")
    # of two that were not tried yet each gets a batch: the server has had images when it goes
    daemon.kill()
    more = ws.small_pictures(30, folder=ws.path("set"), first=60)
    daemon.start()
    daemon.wait(lambda: asked(daemon) > 1, "images to be sent")
    server.kill()
    daemon.wait_for(finished=90)  # this machine goes on alone, also with what the server had
    more += ws.small_pictures(10, folder=ws.path("set"), first=90)
    daemon.post("/datasets/set/scan")
    daemon.wait_for(finished=100)
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"
    daemon.drain()
    daemon.stop()
    same_members([s.path for s in read_dataset(os.path.join(ws.out, "set"))], paths + more, "all")
    ws.latentctl("verify", "--out", ws.out)


def asked(daemon):
    """Requests to endpoints, with the question for their model."""
    return sum(e["requests"] for e in encoder_of(daemon).get("endpoints", []))


@test
def an_endpoint_of_another_model_is_stopped_and_says_so(ws):
    ws.small_pictures(10, folder=ws.path("set"))
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": demo_model()})
    for endpoint, word in ((Endpoint(ws), "model"), (Endpoint(ws, model=None), "declare")):
        daemon.config["encoders"] = [{"type": "remote", "endpoints": {"url": endpoint.url}}]
        daemon.start()
        daemon.wait(lambda: encoder_of(daemon)["state"] == "failed", "the encoder to stop")
        why = encoder_of(daemon)["why"]
        assert endpoint.url in why and word in why, why
        equal(endpoint.requests, 0, "requests")
        daemon.stop()


@test
def a_declared_vae_is_encoded_by_endpoints_that_do_not_tell(ws):
    paths, endpoint = plain_pictures(ws.path("set"), 10), Endpoint(ws, model=None)
    daemon = Daemon(ws)
    recipe = {"vae": {"declared": "mine"}, "posterior": "draw", **SQUARE}
    daemon.dataset(recipe=recipe)
    daemon.config["encoders"] = [
        {"type": "cpu"},
        {
            "type": "remote",
            "endpoints": {"url": endpoint.url},
            "model": "mine",
            "latent_channels": 4,
            "scaling_factor": 0.5,
        },
    ]
    daemon.start()
    daemon.wait_for(finished=10)
    daemon.drain()
    daemon.stop()
    all_there(ws, paths)
    record = read_dataset(os.path.join(ws.out, "set"))[0].record
    equal((record["vae_sha256"], record["latent"]["seed"]), (None, None), "weights and seed")
    equal(record["latent"]["scaling_factor"], 0.5, "scaling factor")


@test
def a_cost_guard_pauses_its_encoder(ws):
    plain_pictures(ws.path("set"), 30)
    endpoint = Endpoint(ws)
    daemon = remote_daemon(ws, endpoint, max_requests_per_hour=10)
    daemon.start()
    daemon.wait(lambda: encoder_of(daemon)["state"] == "paused", "the guard")
    assert "cost guard" in encoder_of(daemon)["why"], encoder_of(daemon)
    assert endpoint.requests <= 10, f"{endpoint.requests} requests"
    assert "cost guard" in ws.latentctl("status", "--socket", daemon.socket).out
    daemon.stop()


@test
def a_cost_guard_counts_all_models_of_its_encoder_and_what_was_before_a_restart(ws):
    one, other = Endpoint(ws), Endpoint(ws, model={**MODEL, "name": "other"})
    daemon = remote_daemon(ws, one, max_requests_per_hour=20)
    plain_pictures(ws.path("set"), 5)
    daemon.start()
    daemon.wait_for(finished=5)
    daemon.stop()
    equal(spent_in(daemon), one.sent, "requests that are remembered")
    plain_pictures(ws.path("set"), 2, first=5)
    daemon.start()
    daemon.wait_for(finished=7)
    wait_until(lambda: spent_in(daemon) == one.sent, "what was spent to be saved")
    daemon.kill()
    # another model of the same encoder
    daemon.dataset("more", recipe={"vae": {"endpoint": other.url}, **SQUARE})
    daemon.config["encoders"][0]["endpoints"].append({"url": other.url})
    plain_pictures(ws.path("more"), 20, first=100)
    daemon.start()
    daemon.wait(lambda: encoder_of(daemon)["state"] == "paused", "the guard")
    wait_until(lambda: one.sent + other.sent >= 20, "the last requests to come")  # counted when they leave
    equal(one.sent + other.sent, 20, "requests of all")
    for _ in range(2):
        daemon.stop()
        equal(spent_in(daemon), one.sent + other.sent, "requests that are remembered")
        encoded = one.requests + other.requests
        daemon.start()
        daemon.wait(lambda: encoder_of(daemon)["state"] == "paused", "the guard from the start")
        assert "cost guard" in ws.latentctl("status", "--socket", daemon.socket).out
        wait_until(lambda: daemon.about("more")["state"] == "blocked", "its images to wait")
        equal(one.requests + other.requests, encoded, "images since")
    daemon.stop()


def spent_in(daemon):
    """Requests of its encoder that its database remembers."""
    with contextlib.closing(sqlite3.connect(daemon.state_dir + "/queue.db")) as db:
        return db.execute("SELECT coalesce(sum(requests), 0) FROM spent WHERE account = 'remote'").fetchone()[0]


@test
def tokens_stand_in_no_log_status_or_state(ws):
    token = "hf_SecretTokenThatNobodyMaySee"
    plain_pictures(ws.path("set"), 10)
    file = ws.write("token", token.encode() + b"\n", ws.root)
    os.chmod(file, 0o600)
    endpoint = Endpoint(ws, ["500", "401", "ok"], token=token)
    daemon = remote_daemon(ws, endpoint)
    daemon.config["log_level"] = "debug"
    daemon.config["encoders"][0]["endpoints"][0]["token_file"] = file
    daemon.start()
    wait_until(lambda: endpoint.requests > 1, "requests")
    texts = [str(daemon.status()), str(daemon.health()), str(daemon.about())]
    texts.append(ws.latentctl("status", "--socket", daemon.socket).out)
    daemon.stop()
    os.unlink(file)
    for text in [*texts, daemon.said()]:
        assert "SecretToken" not in text, text
    for folder in (ws.out, daemon.state_dir):
        for at, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(at, name), "rb") as opened:
                    assert b"SecretToken" not in opened.read(), os.path.join(at, name)


@test
def a_token_that_the_service_manager_hands_over_is_found_where_it_says(ws):
    plain_pictures(ws.path("set"), 2)
    handed = ws.path("credentials")
    os.chmod(ws.write("gpu", b"handed-over\n", handed), 0o400)
    daemon = remote_daemon(ws, Endpoint(ws, token="handed-over"))
    daemon.config["encoders"][0]["endpoints"][0]["token_file"] = "${CREDENTIALS_DIRECTORY}/gpu"
    one_line(daemon.command("--check-config", code=USAGE), "token_file", "LoadCredential=")
    daemon.start(env={**ws.environment, "CREDENTIALS_DIRECTORY": handed})
    daemon.wait_for(finished=2)
    daemon.stop()


@test
def what_is_wrong_with_endpoints_is_found_before_anything_runs(ws):
    daemon = remote_daemon(ws, Endpoint(ws))
    daemon.config["encoders"][0]["endpoints"][0]["token_file"] = ws.path("nothing")
    one_line(daemon.command("--check-config", code=USAGE), "token_file", "No such file")
    del daemon.config["encoders"][0]["endpoints"][0]["token_file"]
    daemon.config["encoders"][0]["ca_file"] = ws.path("nothing.pem")
    one_line(daemon.command("--check-config", code=USAGE), "ca_file", "nothing.pem")
    del daemon.config["encoders"][0]["ca_file"]
    daemon.config["datasets"][0]["recipe"].update(vae={"declared": "sdxl"}, posterior="draw")
    one_line(daemon.command("--check-config", code=USAGE), "declared:sdxl", "with this model")
    daemon.config["encoders"][0]["model"] = "sdxl"
    daemon.command("--check-config")


def memory_of(pid):
    """MiB that the process has for itself."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) / 1024


@test
def memory_and_descriptors_stay_flat_with_256_requests_in_flight(ws):
    endpoints, wanted = [Endpoint(ws) for _ in range(4)], 150 if not sanitized() else 20
    n = plain_batch = 600
    plain_pictures(ws.path("set"), plain_batch)
    daemon = remote_daemon(ws, *endpoints, send="uint8")
    daemon.config["datasets"][0]["on_delete"] = "keep"
    began = time.monotonic()
    daemon.start()
    daemon.wait_for(finished=n)
    daemon.stop()
    # Answers take as long as this machine, as busy as it is, needs for more images than are to be under way.
    for endpoint in endpoints:
        endpoint.delay_s = max(0.3, 1.5 * wanted * (time.monotonic() - began) / n)
    plain_pictures(ws.path("set"), plain_batch, first=n)
    n += plain_batch
    daemon.start()
    daemon.wait_for(finished=n)
    memory, descriptors = memory_of(daemon.process.pid), daemon.descriptors()
    end, most, early, late = time.monotonic() + SOAK_S, (memory, descriptors), 0, 0
    while time.monotonic() < end or (at_once(endpoints) < wanted and time.monotonic() < end + HANGS_AFTER_S):
        plain_pictures(ws.path("set"), plain_batch, first=n)
        n += plain_batch
        daemon.post("/datasets/set/scan")
        daemon.wait_for(finished=n)
        now = memory_of(daemon.process.pid), daemon.descriptors()
        most = tuple(map(max, most, now))
        if n < RECENT_SAMPLES + 5000:  # and what waits for its shard
            early = max(early, now[0])
        else:
            late = max(late, now[0])
    print(
        f"{n} images; at most {at_once(endpoints)} requests at once; memory "
        f"{memory:.0f} to {most[0]:.0f} MiB, descriptors {descriptors} to {most[1]}"
    )
    if not sanitized():  # which keeps what is freed
        limit = memory + SQLITE_CACHES + RECENT + ARENAS
        assert most[0] < limit, f"memory grew from {memory:.0f} to {most[0]:.0f} MiB"
    if late:  # what fills once has been full
        print(f"memory {early:.0f} MiB at most until then, {late:.0f} later")
        assert late < early + 4, f"memory grew from {early:.0f} to {late:.0f} MiB"
    assert most[1] < descriptors + 300, f"descriptors grew from {descriptors} to {most[1]}"
    assert at_once(endpoints) >= wanted, "not many at once"
    daemon.stop()


def at_once(endpoints):
    """The most requests that they have had at the same time, each."""
    return sum(e.most for e in endpoints)


run_tests()
