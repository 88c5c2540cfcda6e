#!/usr/bin/env python3
"""`latentd` with its queue in a PostgreSQL that the test runs."""

import os

from daemon_rig import Daemon
from harness import FAILED, USAGE, equal, one_line, run_tests, same_members, test
from postgres_rig import Postgres
from reference import paths_in


def node(ws, postgres, name="a"):
    daemon = Daemon(ws, name)
    daemon.config["queue"] = {"postgres": postgres.conninfo, "node": name}
    return daemon


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
    one_line(ws.latentctl("compact", "--out", ws.out, code=FAILED), "node a", "daemon")


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


run_tests()
