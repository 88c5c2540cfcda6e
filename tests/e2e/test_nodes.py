#!/usr/bin/env python3
"""`latentd` with its queue in a PostgreSQL that the test runs."""

import json
import os
import signal

from daemon_rig import Daemon, shimmed
from harness import FAILED, HANGS_AFTER_S, OK, USAGE, equal, one_line, run_tests, same_members, sanitized, test, wait_until
from nodes_rig import (
    HELD,
    HOLD,
    drained,
    ended,
    each_has_half,
    everything_is_there_once,
    finished,
    hold_results,
    nobody_is_charged,
    node,
    nodes,
    note_charges,
    somebody_waits,
    stopped,
    tars,
)
from postgres_rig import Pooler, Postgres
from reference import paths_in

MANY = 20000 if os.environ.get("LATENTD_TEST_LONG") else 200 if sanitized() else 2000


def sealed(ws, daemon, wanted):
    """Everything in shards, and exactly these images are there."""
    daemon.drain()
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")


# -- one node


@test
def a_daemon_encodes_with_its_queue_in_postgresql_and_goes_on_after_a_restart(ws):
    postgres = Postgres(ws)
    daemon, folder = node(ws, postgres), ws.path("set")
    wanted = ws.small_pictures(12, folder)
    daemon.dataset()
    daemon.start()
    sealed(ws, daemon, wanted)
    daemon.stop()
    assert not os.path.exists(os.path.join(daemon.state_dir, "queue.db")), "it has a queue of its own"
    equal(postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4"), "12", "completed jobs")
    daemon.start()
    wanted += ws.small_pictures(5, folder, first=12)
    daemon.wait_for("set", finished=17)
    sealed(ws, daemon, wanted)
    daemon.stop()


@test
def commands_read_the_database_without_a_daemon_and_change_nothing(ws):
    postgres = Postgres(ws)
    daemon = node(ws, postgres)
    ws.small_pictures(5, ws.path("set"))
    daemon.dataset()
    daemon.start()
    daemon.drain()
    daemon.stop()
    assert "5" in ws.latentctl("status", "--out", ws.out).out
    ws.latentctl("verify", "--out", ws.out)
    ws.latentctl("failed", "--out", ws.out)
    one_line(ws.latentctl("reindex", "--out", ws.out, code=FAILED), "shared by nodes", "daemons")


@test
def a_database_that_goes_away_and_comes_back_costs_nothing(ws):
    postgres = Postgres(ws)
    daemon, folder = node(ws, postgres), ws.path("set")
    wanted = ws.small_pictures(4, folder)
    daemon.dataset()
    daemon.start()
    daemon.wait_for("set", finished=4)
    for end in (postgres.stop, postgres.kill):
        end()
        wanted += ws.small_pictures(4, folder, first=len(wanted))
        daemon.wait(lambda: "PostgreSQL" in (daemon.about()["why"] or ""), "the dataset to say why")
        postgres.start()
        daemon.wait_for("set", finished=len(wanted))
    equal(postgres.value("SELECT max(attempts) FROM latentd.job"), "1", "attempts")
    sealed(ws, daemon, wanted)
    daemon.stop()


@test
def a_database_that_is_read_only_is_waited_for(ws):
    postgres = Postgres(ws)
    daemon, folder = node(ws, postgres), ws.path("set")
    wanted = ws.small_pictures(4, folder)
    daemon.dataset()
    daemon.start()
    daemon.wait_for("set", finished=4)
    postgres.read_only(True)
    wanted += ws.small_pictures(4, folder, first=4)
    daemon.wait(lambda: "read-only" in (daemon.about()["why"] or ""), "the dataset to say why")
    postgres.read_only(False)
    daemon.wait_for("set", finished=8)
    sealed(ws, daemon, wanted)
    daemon.stop()


@test
def what_cannot_be_connected_to_is_told_in_one_line(ws):
    postgres = Postgres(ws)
    daemon = node(ws, postgres)
    daemon.dataset()
    queue = daemon.config["queue"]
    secret = "tr0ub4dor"
    for said, code, *words in (
        (f"{postgres.conninfo} password={secret}", USAGE, "password", ".pgpass"),
        (f"{postgres.conninfo} password='{secret}", USAGE, "not understood"),
        (f"postgresql://latentd:{secret}@/postgres", USAGE, "password"),
        ("latentd", USAGE, "not understood"),
        (f"host={postgres.dir} user=latentd dbname=nowhere", USAGE, "nowhere"),
        (f"host={postgres.dir} user=nobody dbname=postgres", USAGE, "nobody"),
        (f"host={ws.root} user=latentd dbname=postgres", FAILED, "No such file"),
    ):
        queue["postgres"] = said
        result = daemon.command(code=code)
        one_line(result, *words)
        assert secret not in result.out + result.err, result
    postgres.sql("CREATE ROLE weak LOGIN")
    queue["postgres"] = f"host={postgres.dir} user=weak dbname=postgres"
    postgres.sql("REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    one_line(daemon.command(code=USAGE), "weak", "right")
    queue["postgres"] = postgres.conninfo
    daemon.run("--once")
    postgres.sql("UPDATE latentd.schema_version SET version = 1000")
    one_line(daemon.command(code=USAGE), "newer", "1000")


@test
def a_wrong_password_is_told_in_one_line_without_it(ws):
    postgres = Postgres(ws)
    postgres.sql("CREATE ROLE locked LOGIN PASSWORD 'right'")
    with open(os.path.join(postgres.data, "pg_hba.conf"), "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write("local all locked scram-sha-256\n" + text)
    postgres.restart()
    daemon, passwords = node(ws, postgres), ws.path("passwords")
    daemon.dataset()
    daemon.config["queue"]["postgres"] = f"host={postgres.dir} user=locked dbname=postgres passfile={passwords}"
    for password, said in (("", "no password supplied"), ("tr0ub4dor", "password authentication failed")):
        with open(passwords, "w", encoding="utf-8") as file:
            file.write(f"*:*:*:locked:{password}\n" if password else "")
        os.chmod(passwords, 0o600)
        result = daemon.command(code=USAGE)
        one_line(result, "queue in PostgreSQL", said)
        assert "tr0ub4dor" not in result.out + result.err, result


@test
def a_state_folder_stays_with_its_queue_and_its_node(ws):
    postgres = Postgres(ws)
    daemon = node(ws, postgres)
    daemon.dataset()
    daemon.run("--once")
    daemon.config["queue"]["node"] = "b"
    one_line(daemon.command(code=USAGE), "node a's")
    queue = daemon.config.pop("queue")
    one_line(daemon.command(code=USAGE), "queue.postgres")
    own = Daemon(ws, "own")
    own.dataset("other", out=ws.path("other-out"))
    own.run("--once")
    own.config["queue"] = dict(queue, node="own")
    one_line(own.command(code=USAGE), "queue of its own")


@test
def a_reload_names_the_queue_as_waiting_for_a_restart(ws):
    postgres = Postgres(ws)
    daemon = node(ws, postgres)
    daemon.dataset()
    daemon.start()
    daemon.config["queue"]["node"] = "b"
    daemon.write()
    answer = daemon.post("/reload")
    assert "needs a restart: queue.node" in answer["message"], answer
    daemon.stop()


# -- several nodes, one output


@test
def three_nodes_share_a_dataset_and_each_image_is_in_one_shard(ws):
    postgres = Postgres(ws)
    a, b, c, wanted = nodes(ws, postgres, "a", "b-2", "c", n=MANY)
    for daemon in (a, b, c):
        daemon.start()
    finished(postgres, len(wanted))
    status, answer = a.request("POST", "/api/v1/datasets/set/attach", {"array": "t5", "path": ws.path("set")})
    assert status == 409 and "nodes share it" in str(answer), (status, answer)
    drained(a, b, c)
    stopped(a, b, c)
    everything_is_there_once(ws, postgres, wanted)
    for name in tars(ws):
        assert name.split("-", 1)[1] in ("a.tar", "b-2.tar", "c.tar"), name


@test
def a_database_that_dies_while_nodes_are_at_work_loses_and_doubles_nothing(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b")
    b.run("--once")  # makes the tables
    note_charges(postgres)
    wanted += ws.small_pictures(200, ws.path("set"))
    a.start()
    b.start()
    for done in (20, 100):
        wait_until(
            lambda done=done: int(postgres.value("SELECT count(*) FROM latentd.job WHERE state IN (3, 4)")) >= done,
            f"{done} images to be encoded",
        )
        postgres.kill()
        postgres.start()
    finished(postgres, len(wanted))
    drained(a, b)
    stopped(a, b)
    nobody_is_charged(postgres)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_failover_to_a_standby_loses_and_doubles_nothing_and_charges_nobody(ws):
    primary = Postgres(ws)
    standby = primary.standby()
    a, b, wanted = nodes(ws, primary, "a", "b")
    for daemon in (a, b):
        daemon.config["queue"]["postgres"] = (
            f"host={primary.dir},{standby.dir} user=latentd dbname=postgres target_session_attrs=read-write"
        )
    b.run("--once")  # makes the tables
    note_charges(primary)
    hold_results(primary, after=60)
    wanted += ws.small_pictures(200, ws.path("set"))
    with primary.session(HOLD):
        for daemon in (a, b):
            daemon.start()
        somebody_waits(primary, "60 images to be encoded")
        primary.die()
    # They ask the standby too, which is read-only as yet.
    for daemon in (a, b):
        daemon.wait(lambda d=daemon: "PostgreSQL" in (d.about()["why"] or ""), "the dataset to say why")
    standby.promote()
    finished(standby, len(wanted))
    drained(a, b)
    stopped(a, b)
    nobody_is_charged(standby)
    everything_is_there_once(ws, standby, wanted)


@test
def nodes_that_were_idle_while_a_standby_took_over_find_what_it_lacks(ws):
    primary = Postgres(ws)
    standby = primary.standby(lags=True)
    a, b, wanted = nodes(ws, primary, "a", "b", timeout="12s", n=30)
    for daemon in (a, b):
        daemon.config["queue"]["postgres"] = (
            f"host={primary.dir},{standby.dir} user=latentd dbname=postgres target_session_attrs=read-write"
        )
    a.start()
    finished(primary, 30)
    known = primary.value("SELECT pg_current_wal_lsn()")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{known}'"
    wait_until(lambda: standby.value(replayed) == "t", "the standby to know of 30 images")
    standby.stop()
    # It knows of no shard, not of node b, and nothing of the last images.
    b.start()
    a.post("/datasets/set/seal")
    in_shards = "SELECT count(*) FROM latentd.job WHERE state = 4"
    wait_until(lambda: int(primary.value(in_shards)) >= 30, "a shard")
    wanted += ws.small_pictures(20, ws.path("set"), first=30)
    finished(primary, 50)
    for daemon in (a, b):
        daemon.wait_for_state("idle")
    primary.die()
    standby.start()
    standby.promote()
    for daemon in (a, b):
        daemon.says("failed over to a standby")
    finished(standby, 50)
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, standby, wanted)


@test
def a_pooler_that_hands_out_connections_by_transaction_may_stand_in_between(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=100)
    pooler = Pooler(ws, postgres)
    for daemon in (a, b):
        daemon.config["queue"]["postgres"] = pooler.conninfo
        daemon.start()
    for daemon in (a, b):
        daemon.says("through a pooler", "every 20 s")
    finished(postgres, len(wanted))
    # Idle nodes ask again and again, and are idle all the same: they seal what they have.
    wait_until(
        lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4") == str(len(wanted)),
        "all images to be in shards",
    )
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


def wait_for_listeners(postgres, n):
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'"
    wait_until(lambda: postgres.value(listening) == str(n), f"{n} nodes to listen")


@test
def an_idle_node_is_told_of_images_that_another_finds(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b")
    a.config["datasets"][0]["paused"] = True  # it looks through the sources all the same
    for daemon in (a, b):
        daemon.config["queue"]["poll"] = "24h"
    a.start()
    a.says("this node looks through its sources")
    b.start()
    b.wait(lambda: b.about()["state"] != "starting", "b to be open")
    for end in (None, postgres.restart):  # once more after every connection was lost
        if end:
            end()
        wait_for_listeners(postgres, 2)
        wanted += ws.small_pictures(6, ws.path("set"), first=len(wanted))
        finished(postgres, len(wanted))
    for daemon in (a, b):
        assert "\nFATAL:" not in daemon.said(), daemon.said()  # libpq's own words
    a.post("/datasets/set/resume")
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def one_node_looks_through_the_sources_and_another_takes_over_when_it_dies(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="3s", n=6)
    a.start()
    finished(postgres, 6)
    b.start()
    b.wait(lambda: b.about()["state"] != "starting", "b to be open")
    a.kill()
    wanted += ws.small_pictures(6, ws.path("set"), first=6)
    finished(postgres, 12)  # b has found them
    a.start()
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_node_that_stood_still_for_longer_than_its_timeout_doubles_nothing(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="3s")
    with postgres.session(HOLD):
        b.run("--once")  # makes the tables
        hold_results(postgres)
        wanted += ws.small_pictures(300, ws.path("set"))
        a.start()
        somebody_waits(postgres, "a to have encoded some")
        a.tell(signal.SIGSTOP)
        postgres.sql(f"SELECT pg_terminate_backend(pid) {HELD}")
    b.start()
    # All is done by b, also what a was at.
    finished(postgres, len(wanted))
    a.tell(signal.SIGCONT)
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def clocks_that_are_an_hour_off_end_no_lease_and_double_nothing(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="60s")
    b.run("--once")  # makes the tables
    note_charges(postgres)
    hold_results(postgres)
    each_has_half(postgres)
    wanted += ws.small_pictures(300, ws.path("set"))
    with postgres.session(HOLD):
        for daemon, clock in ((a, "1:-3600"), (b, "1:3600")):
            daemon.start(env=shimmed(ws, daemon, daemon.state_dir, clock=clock))
        a.says("clock is", "behind the database's")
        b.says("clock is", "ahead of the database's")
        wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") == "2", "both to have encoded some")
        now = "extract(epoch FROM clock_timestamp()) * 1000"
        equal(
            postgres.rows(
                f"SELECT n.name, min(j.due) > {now}, max(j.due) < {now} + 1800000, n.beat_at BETWEEN {now} - 600000 AND {now}"
                " FROM latentd.job AS j JOIN latentd.owner AS o ON o.id = j.owner JOIN latentd.node AS n ON n.id = o.node"
                " WHERE j.state = 2 GROUP BY n.name, n.beat_at ORDER BY 1"
            ),
            [[r"\x61", "t", "t", "t"], [r"\x62", "t", "t", "t"]],
            "node; whether its leases end in the next half hour, and its sign of life is of now",
        )
    postgres.sql("DROP TRIGGER half ON latentd.job")
    finished(postgres, len(wanted))
    drained(a, b)
    stopped(a, b)
    nobody_is_charged(postgres)
    everything_is_there_once(ws, postgres, wanted)


@test
def nodes_that_begin_at_the_same_time_make_the_tables_once(ws):
    postgres = Postgres(ws)
    a, b, _ = nodes(ws, postgres, "a", "b", n=4)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
    with postgres.session("SELECT pg_advisory_lock(1818326116, 0)"):  # as whoever makes them does
        a.spawn()
        b.spawn()
        wait_until(lambda: postgres.value(waiting) == "2", "both to want it")
    for daemon in (a, b):
        wait_until(daemon.answers, f"{daemon.name} to answer")
    finished(postgres, 4)
    told = lambda: {d.status()["node"]["name"]: d.status()["node"]["encoded"] for d in (a, b)}
    wait_until(lambda: set(told()) == {"a", "b"} and sum(told().values()) == 4, "each to say what it encoded")
    stopped(a, b)


def in_index(ws):
    with open(os.path.join(ws.out, "set", ".latentd", "wids.json"), encoding="utf-8") as file:
        return {os.path.normpath(os.path.join(".latentd", shard["url"])) for shard in json.load(file)["shardlist"]}


def in_catalog(postgres):
    return {path for (path,) in postgres.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")}


@test
def nodes_that_run_once_end_with_everything_in_shards_and_indexes(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=100)
    for last in (False, True):  # what the first run left in the queue is not taken for news
        a.spawn("--once")
        b.spawn("--once")
        for daemon in (a, b):
            equal(daemon.process.wait(HANGS_AFTER_S), OK, f"exit status of {daemon.name}")
            daemon.process = None
        everything_is_there_once(ws, postgres, wanted)
        wanted += ws.small_pictures(50, ws.path("set"), first=len(wanted)) if not last else []
    equal(in_index(ws), in_catalog(postgres), "shards in the index")


@test
def another_recipe_under_the_same_name_is_refused_in_one_line(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b")
    b.config["datasets"][0]["recipe"]["resolution"] = 256
    b.config["datasets"][0]["output"]["path"] = ws.path("other-out")
    a.start()
    a.wait_for_state("idle")
    b.start()
    b.wait(lambda: "another recipe" in (b.about()["why"] or ""), "b to say why")
    stopped(a, b)


@test
def a_node_shows_what_others_have_done_while_it_was_idle(ws):
    postgres = Postgres(ws)
    first, second, _ = nodes(ws, postgres, "first", "second", n=8)
    for daemon in (first, second):
        daemon.config["queue"]["poll"] = "1s"
        daemon.start()
    finished(postgres, 8)
    for daemon in (first, second):
        daemon.post("/datasets/set/seal")
    for daemon in (first, second):
        daemon.wait_for(completed=8)
    stopped(first, second)


@test
def a_node_that_is_to_drain_begins_nothing_until_it_is_resumed(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="20s", n=6)
    where = ("--state", a.state_dir)
    a.start()
    finished(postgres, 6)
    assert "drains" in ws.latentctl("nodes", *where, "--drain", "a").out
    a.says("node a drains")
    a.wait(lambda: "--resume a" in (a.about()["why"] or ""), "a to say how it goes on")
    b.start()
    wanted += ws.small_pictures(6, ws.path("set"), first=6)
    finished(postgres, 12)  # b has taken the scan over, and all of them
    rows = {row["name"]: row for row in ws.latentctl("nodes", *where, "--json").json}
    equal({row["name"] for row in ws.latentctl("nodes", "--socket", a.socket, "--json").json}, set(rows), "by its socket")
    equal((rows["a"]["state"], rows["b"]["state"]), ("drains", "works"), "states")
    equal(rows["b"]["scans"], "set", "what b looks through")
    ws.latentctl("nodes", *where, "--resume", "a")
    a.says("node a goes on")
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_dataset_that_is_drained_on_one_node_leaves_what_comes_to_the_others(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=6)
    a.start()
    finished(postgres, 6)
    b.start()
    drained(b)
    a.post("/datasets/set/pause")  # it looks through the sources all the same
    wanted += ws.small_pictures(6, ws.path("set"), first=6)
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job") == "12", "a to find them")
    a.post("/datasets/set/resume")
    drained(a)
    equal(b.status()["node"]["encoded"], 0, "images that b has encoded")
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_dataset_that_is_drained_on_one_node_is_looked_through_by_another(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="60s", n=6)
    a.start()
    drained(a)
    rows = lambda: {row["name"]: row["scans"] for row in ws.latentctl("nodes", "--state", a.state_dir, "--json").json}
    equal(rows(), {"a": "set"}, "who looks through it while nobody else is there")
    wanted += ws.small_pictures(6, ws.path("set"), first=6)
    b.start()
    finished(postgres, 12)
    equal(rows(), {"a": "", "b": "set"}, "who looks through it")
    wait_until(lambda: b.status()["node"]["encoded"] == 6, "b to say that it has encoded six")
    a.post("/datasets/set/resume")  # it follows now
    wanted += ws.small_pictures(6, ws.path("set"), first=12)
    finished(postgres, 18)
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


# While somebody has the lock, no source gets its number.
REFUSE = "SELECT pg_advisory_lock(4712)"


def refuse_sources(postgres):
    postgres.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712) THEN"
        " RAISE EXCEPTION 'not now'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON latentd.source FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


@test
def a_node_that_comes_late_does_not_end_before_it_has_found_its_sources(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=6)
    a.config["datasets"][0]["paused"] = True  # it looks through the sources all the same
    a.start()
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job") == "6", "a to find them")
    known = "SELECT count(*) FROM latentd.duty WHERE scanned"
    wait_until(lambda: postgres.value(known) == "1", "a to say that it has been through")
    refuse_sources(postgres)
    signs = "SELECT beat_at FROM latentd.node WHERE name = 'b'"
    with postgres.session(REFUSE):
        b.spawn("--once")
        wait_until(b.answers, "b to answer")
        b.wait(lambda: "not now" in (b.about()["why"] or ""), "b to say that it has no source")
        for _ in range(3):  # and has heard that a has been through
            last = postgres.value(signs)
            wait_until(lambda last=last: postgres.value(signs) != last, "a sign of life of b")
        assert b.about()["state"] == "blocked", b.about()
    ended(b)
    finished(postgres, 6)
    a.post("/datasets/set/resume")
    drained(a)
    stopped(a)
    everything_is_there_once(ws, postgres, wanted)


@test
def what_is_sealed_after_the_node_with_the_duty_is_drained_is_in_the_indexes(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=6)
    b.start()
    drained(b)
    wanted += ws.small_pictures(6, ws.path("set"), first=6)
    a.start()
    finished(postgres, 12)
    drained(a)
    wait_until(lambda: in_index(ws) == in_catalog(postgres), "the index to have all shards")
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


run_tests()
