#!/usr/bin/env python3
"""What nodes do when the database that they share is away, is another one, or is set back."""

import os
import shutil
import socket
import threading

from harness import FAILED, USAGE, equal, one_line, run_tests, same_members, test, wait_until
from nodes_rig import (
    dies_before_its_commit,
    drained,
    ended,
    everything_is_there_once,
    finished,
    node,
    nodes,
    stopped,
    tars,
)
from postgres_rig import Pooler, Postgres


class Refuser:
    """In the place of @postgres, which is stopped: takes connections and closes each at once."""

    def __init__(self, postgres):
        self.path = os.path.join(postgres.dir, ".s.PGSQL.5432")
        self.count = 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        os.chmod(self.path, 0o777)
        self.server.listen(8)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            client.close()
            self.count += 1

    def end(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()
        os.remove(self.path)


@test
def a_node_that_cannot_listen_says_why_once_and_when_it_can_again(ws):
    postgres = Postgres(ws)
    a, _ = nodes(ws, postgres, "a")
    a.start()
    a.wait_for_state("idle")
    equal(a.status()["node"]["why"], None, "why it is not told")
    postgres.stop()
    refuser = Refuser(postgres)
    a.wait(lambda: "closed the connection" in (a.status()["node"]["why"] or ""), "the node to say why")
    seen = refuser.count
    wait_until(lambda: refuser.count >= seen + 4, "it to try again and again")
    told = [line for line in a.said().splitlines() if "listen to PostgreSQL" in line]
    equal(len(told), len({line.partition("listen to")[2] for line in told}), f"times that a cause is told {told}")
    assert all("are asked for every 20 s" in line for line in told), told
    refuser.end()
    postgres.start()
    a.says("is told again of images that other nodes find")
    a.wait(lambda: a.status()["node"]["why"] is None, "the node to be well")
    stopped(a)


# -- another one, or an older one


def put(daemon, postgres, database):
    daemon.config["queue"]["postgres"] = postgres.conninfo.replace("dbname=postgres", f"dbname={database}")


@test
def nodes_of_a_copy_of_the_database_are_refused_until_somebody_says_what_it_is(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=5)
    a.run("--once")
    dump = postgres.dump()
    postgres.sql("CREATE DATABASE other")
    postgres.restore(dump, "other")
    put(b, postgres, "other")
    b.spawn("--once")
    ended(b, USAGE)
    b.says("restored from a dump of another", "latentd.moved()", "latentd.copied()")
    # It goes on beside the original: its nodes are not those of the output.
    postgres.psql("SELECT latentd.copied()", database="other")
    b.start()
    b.wait(lambda: "another database" in (b.about()["why"] or ""), "b to say why")
    b.stop()
    # The original is gone.
    postgres.restore(dump, "other")
    postgres.psql("SELECT latentd.moved()", database="other")
    wanted += ws.small_pictures(3, ws.path("set"), first=5)
    b.run("--once")
    equal(postgres.psql("SELECT count(*) FROM latentd.job WHERE state = 4", database="other").strip(), "8", "images")


@test
def nodes_notice_that_an_older_dump_was_restored_and_lose_and_double_nothing(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="12s", n=10)
    a.start()
    finished(postgres, 10)
    dump = postgres.dump()
    b.start()  # which that does not know of, nor of any shard, nor of the last images
    b.wait(lambda: b.about()["state"] != "starting", "b to be open")
    wanted += ws.small_pictures(5, ws.path("set"), first=10)
    finished(postgres, 15)
    for daemon in (a, b):
        daemon.post("/datasets/set/seal")
    in_shards = "SELECT count(*) FROM latentd.job WHERE state = 4"
    wait_until(lambda: postgres.value(in_shards) == "15", "all images to be in shards")
    heard = "SELECT min(beat_at) FROM latentd.node"
    sealed_at = postgres.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    wait_until(lambda: int(postgres.value(heard)) > int(sealed_at), "a sign of life of both since the dump")
    postgres.restore(dump)
    for daemon in (a, b):
        daemon.says("was set back to what it was before")
    finished(postgres, 15)
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_node_that_was_told_while_the_database_failed_in_part_opens_its_datasets_anew_all_the_same(ws):
    postgres = Postgres(ws)
    a, _ = nodes(ws, postgres, "a", timeout="3s", n=5)
    a.start()
    finished(postgres, 5)
    a.wait(lambda: postgres.value("SELECT count(*) FROM latentd.duty") == "1", "the duty")
    # A sign of life is possible, and nothing after it.
    postgres.sql("ALTER TABLE latentd.owner RENAME TO away; UPDATE latentd.node SET beat_at = 1")
    wait_until(lambda: postgres.value("SELECT beat_at > 1 FROM latentd.node") == "t", "a sign of life")
    postgres.sql("ALTER TABLE latentd.away RENAME TO owner")
    a.says("was set back to what it was before")
    stopped(a)


@test
def a_failover_that_a_pooler_hides_is_noticed(ws):
    primary = Postgres(ws)
    standby = primary.standby(lags=True)
    pooler = Pooler(ws, primary)
    a, wanted = nodes(ws, primary, "a", timeout="3s", n=10)
    a.config["queue"]["postgres"] = pooler.conninfo
    a.start()
    finished(primary, 10)
    a.wait_for_state("idle")
    known = primary.value("SELECT pg_current_wal_lsn()")
    wait_until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{known}'") == "t", "the standby to know of them")
    standby.promote()
    pooler.lead_to(standby)
    a.says("failed over to a standby")
    wanted += ws.small_pictures(5, ws.path("set"), first=10)
    finished(standby, 15)
    drained(a)
    stopped(a)
    everything_is_there_once(ws, standby, wanted)


@test
def what_nodes_did_with_two_primaries_at_once_is_there_once_when_one_of_them_is_gone(ws):
    primary = Postgres(ws)
    standby = primary.standby(lags=True)
    a, b, _ = nodes(ws, primary, "a", "b", timeout="6s", n=5)
    for daemon, hosts in ((a, (primary.dir, standby.dir)), (b, (standby.dir, primary.dir))):
        daemon.config["queue"]["postgres"] = (
            f"host={','.join(hosts)} user=latentd dbname=postgres target_session_attrs=read-write"
        )
    a.start()
    finished(primary, 5)
    known = primary.value("SELECT pg_current_wal_lsn()")
    wait_until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{known}'") == "t", "the standby to know of them")
    standby.promote()  # and the primary goes on
    b.start()
    ws.small_pictures(20, ws.path("set"), first=5)
    finished(primary, 25)
    a.post("/datasets/set/seal")
    wait_until(lambda: primary.value("SELECT count(*) FROM latentd.job WHERE state = 4") == "25", "shards of a")
    # To b that is silent: what it has put in sight is entered there, or put out of sight where b has encoded the same.
    b.says("of a node that died")
    primary.stop()
    a.says("failed over to a standby")
    finished(standby, 25)
    drained(a, b)
    stopped(a, b)
    live = "SELECT count(*) || ' of ' || count(DISTINCT job) FROM latentd.sample WHERE NOT dead"
    equal(standby.value(live), "25 of 25", "samples and images")
    in_catalog = {path for (path,) in standby.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")}
    same_members(tars(ws), in_catalog, "shards")
    ws.latentctl("verify", "--out", ws.out)


@test
def a_server_that_is_no_postgresql_is_told_in_one_line(ws):
    postgres = Postgres(ws)
    daemon, place = node(ws, postgres), ws.path("other")
    daemon.dataset()
    os.mkdir(place)
    daemon.config["queue"]["postgres"] = f"host={place} user=latentd dbname=postgres"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.join(place, ".s.PGSQL.5432"))
        server.listen()

        def answer():
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        one_line(daemon.command(code=FAILED), "no PostgreSQL")
        thread.join()


@test
def a_number_that_a_restored_database_gives_again_makes_no_record_another_images(ws):
    postgres = Postgres(ws)
    a, wanted = nodes(ws, postgres, "a", n=10)
    a.start()
    finished(postgres, 10)
    dump = postgres.dump()
    lost = ws.small_pictures(20, ws.path("set"), first=10)
    finished(postgres, 30)
    a.kill()
    # Jobs and claims begin again where they were in the dump, with other images; what the spool has stays there.
    for path in lost[:7]:
        os.remove(os.path.join(ws.path("set"), path))
    postgres.restore(dump)
    a.start()
    finished(postgres, 23)
    a.kill()
    a.start()
    drained(a)
    stopped(a)
    everything_is_there_once(ws, postgres, wanted + lost[7:])


# -- what nodes leave in it, and find in it


@test
def a_run_that_is_over_soon_looks_for_shards_of_a_node_that_was_forgotten(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="1h", n=20)
    a.start()
    finished(postgres, 20)
    dies_before_its_commit(postgres, a)
    postgres.sql("UPDATE latentd.node SET beat_at = 1; UPDATE latentd.duty SET until = 1")  # an hour later
    b.config["datasets"][0]["paused"] = True
    b.start()
    ws.latentctl("nodes", "--state", b.state_dir, "--forget", "a")
    b.stop()
    b.config["datasets"][0]["paused"] = False
    b.run("--once")
    everything_is_there_once(ws, postgres, wanted)


# The shard of 128x128 has another id and another name.
ANOTHER = """
WITH old AS (DELETE FROM latentd.shard WHERE convert_from(path, 'UTF8') LIKE '%/128x128/%' RETURNING *),
 gone AS (DELETE FROM latentd.sample WHERE shard IN (SELECT id FROM old) RETURNING *),
 added AS (INSERT INTO latentd.shard (bytes, sealed_at, visible_at, samples, dead, dataset, xxh3, sha256, path, format, grp)
  SELECT bytes, sealed_at, visible_at, samples, dead, dataset, xxh3, sha256,
   convert_to(replace(convert_from(path, 'UTF8'), '000000-', '000009-'), 'UTF8'), format, grp FROM old RETURNING id)
INSERT INTO latentd.sample (shard, "offset", bytes, job, variant, dataset, content, latent)
 SELECT added.id, "offset", bytes, job, variant, dataset, content, latent FROM gone CROSS JOIN added
"""


@test
def the_index_is_made_anew_where_one_shard_took_the_place_of_another(ws):
    postgres = Postgres(ws)
    a, _ = nodes(ws, postgres, "a", timeout="3s", n=5)
    a.start()
    finished(postgres, 5)
    a.post("/datasets/set/seal")
    top = os.path.join(ws.out, "set")
    index, first = os.path.join(top, ".latentd", "shards.jsonl"), "train/128x128/000000-a.tar"
    other = first.replace("000000-", "000009-")

    def has(name):
        if not os.path.exists(index):
            return False
        with open(index, encoding="utf-8") as file:
            return name in file.read()

    wait_until(lambda: has(first) and has("train/64x192/000000-a.tar"), "the index")
    shutil.copy(os.path.join(top, first), os.path.join(top, other))
    postgres.sql(ANOTHER)
    wait_until(lambda: has(other) and not has(first), "an index with the other shard")
    os.remove(os.path.join(top, first))
    stopped(a)


run_tests()
