#!/usr/bin/env python3
"""Nodes of one queue whose encoders differ, rest, or are gone: each claims what it can encode, and leaves the rest to others."""

import os
import time

import tiny_models
from harness import demo_model, equal, run_tests, same_members, test, wait_until
from nodes_rig import drained, each_has_half, ended, everything_is_there_once, finished, nobody_is_charged, node, nodes, note_charges, stopped
from postgres_rig import Postgres
from reference import read_dataset
from remote_server import Endpoint, plain_pictures
from serve_rig import Server

SQUARE = {"bucketing": "square", "resolution": 64}


def on_endpoints(daemon, *endpoints, **settings):
    """Its encoder is these endpoints, and its datasets have their model."""
    daemon.config["encoders"] = [{"type": "remote", "endpoints": [{"url": e.url, **settings} for e in endpoints]}]
    for dataset in daemon.config["datasets"]:
        dataset["recipe"] |= {"vae": {"endpoint": endpoints[0].url}, **SQUARE}


def at_another_time():
    """Hours that do not come for long."""
    hour = time.localtime().tm_hour
    return f"{(hour + 6) % 24:02}:00-{(hour + 7) % 24:02}:00"


def claimed(postgres, node, dataset="set"):
    return int(
        postgres.value(
            "SELECT count(*) FROM latentd.job AS j JOIN latentd.owner AS o ON o.id = j.owner JOIN latentd.node AS n ON n.id = o.node"
            f" JOIN latentd.dataset AS d ON d.id = j.dataset WHERE j.state = 2 AND n.name = '{node}' AND d.name = '{dataset}'"
        )
    )


def available(postgres, n, dataset="set"):
    """Waits until so many images are there for whoever wants them."""
    sql = f"SELECT count(*) FROM latentd.job AS j JOIN latentd.dataset AS d ON d.id = j.dataset WHERE d.name = '{dataset}' AND j.state = 1"
    wait_until(lambda: postgres.value(sql) == str(n), f"{n} images of {dataset} to be available")


def why(daemon, name="set"):
    return daemon.about(name)["why"] or ""


# -- encoders that rest, and endpoints that are gone


@test
def what_a_paused_encoder_has_not_begun_is_left_to_other_nodes(ws):
    postgres, paths = Postgres(ws), plain_pictures(ws.path("set"), 200)
    held, endpoint = Endpoint(ws, "held"), Endpoint(ws)
    a, b, _ = nodes(ws, postgres, "a", "b")
    on_endpoints(a, held, max_in_flight=2)
    on_endpoints(b, endpoint)
    a.start()
    note_charges(postgres)
    wait_until(lambda: held.in_flight == 2, "a to have sent two")
    wait_until(lambda: claimed(postgres, "a") >= 64, "a to have claimed many")
    a.post("/encoders/remote/pause")
    sent = a.status()["encoders"][0]["images_in_flight"]
    assert 2 <= sent < 64, sent
    wait_until(lambda: claimed(postgres, "a") == sent, "what is not sent to be given back")
    a.wait(lambda: a.about()["state"] == "paused" and "no encoder of it encodes now" in why(a), "a to say why")
    b.start()
    finished(postgres, 200 - sent)
    held.released.set()
    finished(postgres, 200)
    a.post("/encoders/remote/resume")
    drained(a, b)
    stopped(a, b)
    nobody_is_charged(postgres)
    everything_is_there_once(ws, postgres, paths)


@test
def endpoints_that_are_gone_keep_no_image_from_other_nodes_and_are_used_when_they_are_back(ws):
    postgres, paths = Postgres(ws), plain_pictures(ws.path("set"), 20)
    first, second = Endpoint(ws), Endpoint(ws)
    a, b, _ = nodes(ws, postgres, "a", "b")
    for daemon, endpoint in ((a, first), (b, second)):
        on_endpoints(daemon, endpoint)
    a.start()
    note_charges(postgres)
    finished(postgres, 20)
    first.down()
    paths += plain_pictures(ws.path("set"), 20, first=20)
    available(postgres, 20)
    a.wait(lambda: a.about()["state"] == "blocked" and "are left to other nodes" in why(a), "a to say why")
    b.start()
    finished(postgres, 40)
    b.wait(lambda: b.status()["node"]["encoded"] == 20, "b to have encoded them")
    drained(b)
    first.up()
    paths += plain_pictures(ws.path("set"), 20, first=40)
    finished(postgres, 60)
    a.wait(lambda: a.status()["node"]["encoded"] == 40, "a to have encoded the last ones")
    drained(a)
    stopped(a, b)
    nobody_is_charged(postgres)
    everything_is_there_once(ws, postgres, paths)


@test
def a_node_that_runs_once_outside_its_hours_waits_until_others_have_done_the_work(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=30)
    a.config["queue"]["poll"] = "1s"
    a.config["encoders"] = [{"type": "fake", "hours": at_another_time()}]
    a.spawn("--once")
    wait_until(a.answers, "a to answer")
    available(postgres, 30)
    a.wait(lambda: a.about()["state"] == "paused" and "no encoder of it encodes now: outside its hours" in why(a), "a to wait")
    equal(claimed(postgres, "a"), 0, "images that a has claimed")
    b.start()
    finished(postgres, 30)
    drained(b)
    ended(a)
    stopped(b)
    everything_is_there_once(ws, postgres, wanted)


@test
def an_encoder_that_has_no_tiles_does_not_count_while_the_other_rests(ws):
    """Endpoints encode images whole."""
    postgres, model = Postgres(ws), demo_model()
    server = Server(ws, vae=model).start()
    a, b, wanted = nodes(ws, postgres, "a", "b", n=4, recipe={"vae": model, "tiling": "diffusers"})
    cpu = {"type": "cpu", "threads": 1}
    a.config["encoders"] = [cpu, {"type": "remote", "endpoints": {"url": f"http://127.0.0.1:{server.port}/"}}]
    b.config["encoders"] = [cpu]
    a.start()
    finished(postgres, 4)
    a.post("/encoders/cpu/pause")
    a.wait(lambda: next(e for e in a.status()["encoders"] if e["name"] == "cpu")["state"] == "paused", "the pause")
    wanted += ws.small_pictures(4, ws.path("set"), first=4)
    available(postgres, 4)
    a.wait(lambda: a.about()["state"] == "blocked", "a to say that it cannot")
    b.start()
    finished(postgres, 8)
    b.wait(lambda: b.status()["node"]["encoded"] == 4, "b to have encoded the last ones")
    a.post("/encoders/cpu/resume")
    drained(a, b)
    server.kill()
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


# -- several models, several devices


def node_of(sample):
    """Whose shard it is in: NUMBER-NODE.tar."""
    return os.path.basename(sample.shard)[: -len(".tar")].split("-", 1)[1]


@test
def each_image_is_encoded_by_a_node_that_has_its_model(ws):
    postgres = Postgres(ws)
    narrow, wide = tiny_models.folder(ws.path("narrow")), tiny_models.folder(ws.path("wide"), 16)
    server = Server(ws, vae=narrow).start()
    cpu = {"type": "cpu", "threads": 1}
    a, b, c = (node(ws, postgres, name) for name in "abc")
    for daemon, datasets in ((a, ["x"]), (b, ["y"]), (c, ["x", "y"])):
        daemon.config["encoders"] = [cpu]
        for name in datasets:
            daemon.dataset(name, recipe={"vae": narrow if name == "x" else wide})
    # Its endpoint has one of its two models, which it finds out when it asks.
    c.config["encoders"] = [{"type": "remote", "endpoints": {"url": f"http://127.0.0.1:{server.port}/"}}]
    wanted = {name: ws.small_pictures(8, ws.path(name)) for name in "xy"}
    c.start()
    c.wait_for("x", finished=8)
    c.wait(lambda: c.about("y")["state"] == "blocked" and "are left to other nodes" in why(c, "y"), "c to lack the model of y")
    available(postgres, 8, "y")
    a.start()
    b.start()
    wanted["x"] += ws.small_pictures(8, ws.path("x"), first=8)
    wanted["y"] += ws.small_pictures(8, ws.path("y"), first=8)
    finished(postgres, 32)
    rows = {row["name"]: row for row in ws.latentctl("nodes", "--state", c.state_dir, "--json").json}
    equal({name: (row["state"], row["running"], row["scans"]) for name, row in rows.items()},
          {"a": ("works", 0, ""), "b": ("works", 0, ""), "c": ("works", 0, "x, y")}, "nodes")
    b.wait(lambda: b.status()["node"]["encoded"] == 16, "b to have encoded all of y")
    equal({d["name"]: d["vae"] for d in c.status()["datasets"]}, {"x": narrow, "y": wide}, "models of c")
    for daemon, datasets in ((a, ["x"]), (b, ["y"]), (c, ["x", "y"])):
        for name in datasets:
            daemon.drain(name)
    server.kill()
    stopped(a, b, c)
    for name, nodes_of in (("x", {"a", "c"}), ("y", {"b"})):
        samples = read_dataset(os.path.join(ws.out, name))
        same_members([s.path for s in samples], wanted[name], f"samples of {name}")
        equal({s.record["latent"]["shape"][0] for s in samples}, {4 if name == "x" else 16}, f"channels of {name}")
        assert {node_of(s) for s in samples} <= nodes_of, name
    ws.latentctl("verify", "--out", ws.out)


@test
def a_processor_and_an_endpoint_of_two_nodes_share_a_dataset(ws):
    postgres, model = Postgres(ws), tiny_models.folder(ws.path("model"))
    server = Server(ws, vae=model).start()
    a, b, wanted = nodes(ws, postgres, "a", "b", recipe={"vae": model})
    a.config["encoders"] = [{"type": "cpu", "threads": 1}]
    b.config["encoders"] = [{"type": "remote", "endpoints": {"url": f"http://127.0.0.1:{server.port}/"}}]
    b.spawn("--once")  # makes the tables
    ended(b)
    note_charges(postgres)
    each_has_half(postgres)
    wanted += ws.small_pictures(60, ws.path("set"))
    a.start()
    b.start()
    finished(postgres, 60)
    for daemon in (a, b):
        daemon.wait(lambda d=daemon: d.status()["node"]["encoded"] == 30, "each to have encoded half")
    drained(a, b)
    server.kill()
    stopped(a, b)
    nobody_is_charged(postgres)
    everything_is_there_once(ws, postgres, wanted)
    engines = [s.record["engine"].split("/")[0] for s in read_dataset(os.path.join(ws.out, "set"))]
    equal({name: engines.count(name) for name in set(engines)}, {"cpu": 30, "remote": 30}, "engines")


run_tests()
