#!/usr/bin/env python3
"""Nodes that fill one bucket, and what is merged and collected in it while they work or after somebody was killed."""

import itertools
import os
import signal
import threading

from daemon_rig import Daemon
from harness import BUSY, OK, equal, run_tests, same_members, test, wait_until
from nodes_rig import dies_before_its_commit, drained, finished, node, stopped
from postgres_rig import Postgres
from s3_rig import Proxy
from store_rig import Store


def nodes_of(ws, store, postgres, **options):
    """a and b, which fill the bucket."""
    daemons = [node(ws, postgres, name) for name in ("a", "b")]
    for daemon in daemons:
        daemon.config["queue"]["node_timeout"] = "3s"
        daemon.dataset("set", **options, output={"codec": "none", "store": {"s3": store.url, "part_size": "64KiB"}})
    return daemons


@test
def two_nodes_fill_one_bucket_and_one_that_was_killed_brings_what_it_had(ws):
    store, postgres = Store(ws), Postgres(ws)
    wanted = ws.small_pictures(8, ws.path("set"))
    a, b = nodes_of(ws, store, postgres)
    a.start()
    finished(postgres, len(wanted))
    a.kill()
    wanted += ws.small_pictures(8, ws.path("set"), first=8)
    b.start()
    finished(postgres, len(wanted))
    a.start()
    drained(a, b)
    stopped(a, b)
    in_catalog = postgres.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")
    same_members((k.split("/", 2)[2] for k in store.shards()), (path for (path,) in in_catalog), "shards")
    same_members({k.rpartition("-")[2] for k in store.shards()}, ["a.tar", "b.tar"], "nodes that sealed")
    store.holds(wanted)
    # Nodes of another database, with an output of their own, are not taken for these.
    postgres.sql("CREATE DATABASE other")
    other = Daemon(ws, "other")
    other.config["queue"] = {"postgres": postgres.conninfo.replace("dbname=postgres", "dbname=other"), "node": "a"}
    other.dataset("set", out=ws.path("other-out"), output={"codec": "none", "store": {"s3": store.url}})
    other.start()
    other.wait(lambda: "nodes that share queue" in (other.about()["why"] or ""), "it to say whose the store is")
    other.stop()


@test
def what_a_dead_node_left_in_the_bucket_is_entered_by_another_or_put_away(ws):
    store, postgres = Store(ws), Postgres(ws)
    wanted = ws.small_pictures(8, ws.path("set"))
    a, b = nodes_of(ws, store, postgres)
    b.config["queue"]["forget_after"] = "0"
    a.start()
    finished(postgres, len(wanted))
    dies_before_its_commit(postgres, a)
    left = wait_until(store.shards, "the server to list the shard")
    equal(postgres.value("SELECT count(*) FROM latentd.shard"), "0", "shards in the catalog")
    b.start()
    for key in left:
        b.says("of a node that died", key.split("/", 2)[2], "adopted")
    twice = left[0].replace("-a.tar", "-z.tar")
    store.bucket.put(twice, store.bucket.get(left[0]))
    wait_until(lambda: twice in store.shards(), "the server to list it")
    postgres.sql("INSERT INTO latentd.node (name, instance, beat_at, timeout_ms) VALUES ('z', 'of z', 1, 1)")
    b.says(twice.split("/", 2)[2], "other shards", "quarantine")
    wait_until(lambda: len(store.bucket.keys("team/set/.latentd/quarantine/")) == 1, "the server to list it where it is now")
    wait_until(lambda: twice not in store.shards(), "and no longer where it was")
    a.start()
    drained(a, b)
    stopped(a, b)
    assert set(left) <= set(store.shards()), (left, store.shards())
    store.holds(wanted)


@test
def gc_and_compact_of_a_bucket_that_nodes_fill_leave_their_work_alone(ws):
    store, postgres = Store(ws), Postgres(ws)
    a, b = nodes_of(ws, store, postgres)
    wanted = []
    for daemon in (a, b):
        wanted += ws.small_pictures(8, ws.path("set"), first=len(wanted))
        daemon.start()
        finished(postgres, len(wanted))
        drained(daemon)
        stopped(daemon)
    a.start()
    before = wait_until(lambda: len(store.shards()) > 2 and store.shards(), "the server to list the shards")
    gc, compact = (("gc", "--out", ws.out), ("compact", "--out", ws.out))
    assert "small shards merged" in ws.latentctl(*compact).out
    wait_until(lambda: not set(before) & set(store.shards()), "the server to list what is there now")
    store.holds(wanted)
    retired = "team/set/.latentd/retired/"
    wait_until(lambda: len(store.bucket.keys(retired)) == len(before), "and what was replaced")
    assert f"{len(before)} kept" in ws.latentctl(*gc).out
    # What was begun: of a node that never was, and of one that works.
    for name in ("z", "a"):
        store.bucket.ask("POST", f"team/set/train/128x128/000009-{name}.tar", query="uploads=")
    twice = "team/set/train/128x128/000008-z.tar"
    store.bucket.put(twice, store.bucket.get(store.shards()[0]))
    wait_until(lambda: twice in store.shards() and len(store.bucket.uploads()) == 2, "the server to list it")
    wait_until(lambda: "000009-z.tar" in ws.latentctl(*gc, "--grace", "0").err, "the upload to be forgotten")
    wait_until(lambda: store.bucket.uploads() == ["team/set/train/128x128/000009-a.tar"], "the server to have forgotten it")
    wait_until(lambda: twice not in store.shards() and not store.bucket.keys(retired), "and the shards")
    stopped(a)
    wait_until(lambda: ws.latentctl(*gc, "--grace", "0") and not store.bucket.uploads(), "that of a node that has left to be forgotten")
    store.holds(wanted)


# -- kill -9 at every other request that changes the bucket; LATENTD_TEST_LONG=1: at each, before and after the server has done it

LONG = os.environ.get("LATENTD_TEST_LONG")


def requests():
    """Series of their numbers, and whether the server has done them before the kill."""
    if LONG:
        return [zip(itertools.count(1), itertools.repeat(done)) for done in (False, True)]
    return [zip(itertools.count(1, 2), itertools.cycle((False, True)))]


def in_catalog(postgres):
    return {path for (path,) in postgres.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")}


class Killer:
    """Runs latentctl through a proxy of its own until its @nth request that writes, which the server has done or not."""

    def __init__(self, ws, store):
        self.ws, self.proxy = ws, Proxy(store.server)
        ws.at_end.append(self.proxy.close)
        self.environment = {**ws.environment, **store.server.environment(self.proxy.url)}

    def kills(self, nth, done, *words):
        """False: there is no such request. Again where a node has the turn."""
        code = BUSY
        while code == BUSY:
            code = self.code_of(nth, done, *words)
        assert code in (OK, -signal.SIGKILL), code
        return code != OK

    def code_of(self, nth, done, *words):
        process, begun, writes, lock = [], threading.Event(), itertools.count(1), threading.Lock()

        def kill():
            process[0].kill()
            process[0].wait()

        def harm(request):
            with lock:
                if request.method in ("GET", "HEAD") or next(writes) != nth:
                    return None
            begun.wait()
            if done:
                return kill
            kill()
            return "reset"

        self.proxy.harm = harm
        process.append(self.ws.start(*words, env=self.environment))
        begun.set()
        return self.ws.finish(process[0]).code


class Round:
    """A node at work, and what it has in the bucket before each kill."""

    def __init__(self, ws, **options):
        self.ws, self.store, self.postgres = ws, Store(ws), Postgres(ws)
        self.node = nodes_of(ws, self.store, self.postgres, **options)[0]
        self.node.config["queue"]["poll"] = "1s"
        self.node.start()
        self.wanted, self.made = [], 0

    def one_more_shard(self, pictures):
        self.wanted += self.ws.small_pictures(pictures, self.ws.path("set"), first=self.made, names=("rocket.jpg",))
        self.made += pictures
        finished(self.postgres, len(self.wanted))
        self.node.post("/datasets/set/seal")
        completed = "SELECT count(*) FROM latentd.job WHERE state = 4"
        wait_until(lambda: self.postgres.value(completed) == str(len(self.wanted)), "the shard")

    def one_dead_sample(self):
        os.remove(self.ws.path("set", self.wanted.pop()))
        self.node.post("/datasets/set/scan")
        wait_until(lambda: self.postgres.value("SELECT count(*) FROM latentd.sample WHERE dead") == "1", "its sample to be dead")

    def nothing_is_lost_or_doubled(self):
        """Once the node has brought it to its end."""
        catalog = in_catalog(self.postgres)
        wait_until(lambda: {k.split("/", 2)[2] for k in self.store.shards()} == catalog, "the bucket to have what the catalog has")
        equal(in_catalog(self.postgres), catalog, "shards")
        same_members((s.path for s in self.store.fetched()), self.expected(), "samples in the bucket")
        live = "SELECT convert_from(j.path, 'UTF8') FROM latentd.sample AS s JOIN latentd.job AS j ON j.id = s.job WHERE NOT s.dead"
        same_members((path for (path,) in self.postgres.rows(live)), self.wanted, "live samples")
        equal(self.postgres.value("SELECT count(*) FROM latentd.job WHERE state NOT IN (4, 9)"), "0", "jobs that are neither completed nor gone")

    def expected(self):
        dead = "SELECT convert_from(j.path, 'UTF8') FROM latentd.sample AS s JOIN latentd.job AS j ON j.id = s.job WHERE s.dead"
        return [*self.wanted, *(path for (path,) in self.postgres.rows(dead))]

    def is_killed_at_each_request(self, prepare, *words):
        killer, killed = Killer(self.ws, self.store), 0
        for which in requests():
            for nth, done in which:
                prepare()
                if not killer.kills(nth, done, *words):
                    break
                self.nothing_is_lost_or_doubled()
                killed += 1
            self.nothing_is_lost_or_doubled()
        assert killed >= (12 if LONG else 3), f"only {killed} kills"
        stopped(self.node)
        self.store.no_upload_is_left()
        same_members((s.path for s in self.store.fetched()), self.wanted, "samples in the bucket")
        self.ws.latentctl("verify", "--out", self.ws.out)


@test
def a_compaction_that_is_killed_at_any_request_loses_nothing_and_doubles_nothing(ws):
    r = Round(ws)

    def two_small_shards():
        while len(in_catalog(r.postgres)) < 2:
            r.one_more_shard(1)

    r.is_killed_at_each_request(two_small_shards, "compact", "--out", ws.out)


@test
def a_collection_that_is_killed_at_any_request_loses_nothing_and_doubles_nothing(ws):
    r = Round(ws, on_delete="remove")
    r.one_more_shard(30)

    def one_dead():
        if r.postgres.value("SELECT count(*) FROM latentd.sample WHERE dead") == "0":
            r.one_dead_sample()

    r.is_killed_at_each_request(one_dead, "gc", "--out", ws.out, "--grace", "0")


run_tests()
