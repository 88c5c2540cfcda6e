#!/usr/bin/env python3
"""Nodes that die, never return, or come twice under one name."""

import os
import shutil
import signal

from daemon_rig import Daemon
from harness import BUSY, FAILED, USAGE, equal, one_line, run_tests, test, wait_until
from nodes_rig import dies_before_its_commit, drained, ended, everything_is_there_once, finished, node, nodes, stopped, tars
from postgres_rig import Postgres


# -- one name, two processes


def also(ws, postgres, name, timeout="1h"):
    """Another daemon that says it is node a, with a state folder and an output of its own."""
    daemon = Daemon(ws, name)
    daemon.config["queue"] = {"postgres": postgres.conninfo, "node": "a", "node_timeout": timeout}
    daemon.dataset(out=ws.path(name + "-out"))
    return daemon


def copied(ws, postgres, daemon, name):
    """A machine that was cloned: @daemon's state folder is there too."""
    copy = also(ws, postgres, name)
    shutil.rmtree(copy.state_dir, ignore_errors=True)
    shutil.copytree(daemon.state_dir, copy.state_dir, ignore=shutil.ignore_patterns("*.sock", "api.json"))
    return copy


NOW = "extract(epoch FROM clock_timestamp()) * 1000"


def beats(postgres, at=f"{NOW} + 1"):
    """As if node a gave its sign of life at that moment."""
    postgres.sql(f"UPDATE latentd.node SET beat_at = {at} WHERE name = 'a'")


@test
def a_second_process_under_the_name_of_one_that_lives_is_refused(ws):
    postgres = Postgres(ws)
    a = also(ws, postgres, "first")
    a.start()
    for other, word in ((also(ws, postgres, "other"), "another"), (copied(ws, postgres, a, "copy"), "copy")):
        other.spawn()
        other.says("node a was at work", "begins here when")
        beats(postgres)
        ended(other, USAGE)
        other.says("node a is at work already", word)
    a.stop()


@test
def a_node_that_begins_on_another_machine_waits_until_its_former_self_counts_as_dead(ws):
    postgres = Postgres(ws)
    a, other = also(ws, postgres, "first"), also(ws, postgres, "other")
    ws.small_pictures(5, ws.path("set"))
    a.start()
    a.kill()
    other.spawn()
    other.says("node a was at work", "begins here when")
    beats(postgres, at="0")
    other.wait(other.answers, "it to answer")
    other.stop()


@test
def a_node_that_waits_for_its_name_ends_when_it_is_told_to(ws):
    postgres = Postgres(ws)
    a, other = also(ws, postgres, "first"), also(ws, postgres, "other")
    a.start()
    other.spawn()
    other.says("begins here when")
    stopped(other, a)


@test
def a_node_that_crashed_begins_again_at_once_where_it_was(ws):
    postgres = Postgres(ws)
    a = also(ws, postgres, "first")
    a.start()
    a.kill()
    a.start()
    assert "was at work" not in a.said(), a.said()
    a.stop()


@test
def a_node_whose_name_another_has_taken_meanwhile_stops_and_says_why(ws):
    postgres = Postgres(ws)
    a = also(ws, postgres, "first", timeout="6s")
    a.start()
    copy = copied(ws, postgres, a, "copy")
    a.stand_still()
    beats(postgres, at="0")
    copy.start()
    a.tell(signal.SIGCONT)
    ended(a, BUSY)
    a.says("node a is at work already", "copy")
    copy.stop()


@test
def nodes_of_another_database_are_refused_an_output_that_is_taken(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", n=5)
    a.run("--once")
    postgres.sql("CREATE DATABASE other")
    b.config["queue"]["postgres"] = postgres.conninfo.replace("dbname=postgres", "dbname=other")
    note = os.path.join(ws.out, ".latentd", "queue.json")
    b.start()
    b.wait(lambda: "another database" in (b.about()["why"] or ""), "b to say why")
    assert note in b.about()["why"], b.about()["why"]
    b.stop()
    os.remove(note)  # as if the first database were lost
    b.run("--once")
    equal(len(tars(ws)) > 0, True, "there are shards")


# -- what becomes of their work


@test
def a_node_that_never_returns_is_forgotten_and_its_images_are_encoded_again(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="15s", n=40)
    a.start()
    finished(postgres, 40)
    a.kill()  # before it seals what it has, as nodes do that have nothing else to do
    kept = postgres.value("SELECT count(*) FROM latentd.job WHERE state = 3")
    b.start()
    where = ("--state", b.state_dir)
    beats(postgres, at=f"{NOW} + 3600000")
    one_line(ws.latentctl("nodes", *where, "--forget", "a", code=FAILED), "alive")
    one_line(ws.latentctl("nodes", *where, "--forget", "z", code=FAILED), "no node z")
    beats(postgres, at=f"{NOW} - 60000")
    assert "silent" in ws.latentctl("nodes", *where).out
    said = ws.latentctl("nodes", *where, "--forget", "a").out
    assert f": {kept} image" in said, said
    drained(b)
    # It does return after all, with its spool.
    a.start()
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_drain_that_waits_for_a_dead_node_goes_on_when_that_is_forgotten(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="3s", n=20)
    a.start()
    finished(postgres, 20)
    a.kill()
    b.start()
    b.says("this node looks through its sources")  # whoever does waits for others
    b.post("/datasets/set/drain")
    b.wait(lambda: "waits for 20 images" in (b.about()["why"] or ""), "b to wait for a")
    ws.latentctl("nodes", "--state", b.state_dir, "--forget", "a")
    drained(b)
    stopped(b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_run_forgets_a_node_that_is_silent_for_too_long_and_doubles_nothing_when_it_wakes(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b", timeout="3s", n=20)
    b.config["queue"]["forget_after"] = "3s"
    a.start()
    finished(postgres, 20)
    a.tell(signal.SIGSTOP)
    valid = "SELECT count(*) FROM latentd.duty WHERE until >= extract(epoch FROM clock_timestamp()) * 1000"
    wait_until(lambda: postgres.value(valid) == "0", "the duty of a to be over")  # a run that only follows waits for nobody
    b.spawn("--once")
    ended(b)
    b.says("a gave no sign of life for 3 s and is forgotten: 20 images are encoded again")
    everything_is_there_once(ws, postgres, wanted)
    a.tell(signal.SIGCONT)  # with all of them in its spool
    drained(a)
    stopped(a)
    everything_is_there_once(ws, postgres, wanted)


# -- what they have left in sight


@test
def a_shard_that_a_dead_node_could_not_commit_is_entered_by_another(ws):
    postgres = Postgres(ws)
    a, b, wanted = nodes(ws, postgres, "a", "b-2", timeout="3s", n=20)
    b.config["queue"]["forget_after"] = "0"
    a.start()
    finished(postgres, 20)
    dies_before_its_commit(postgres, a)
    left = tars(ws)
    assert left and postgres.value("SELECT count(*) FROM latentd.shard") == "0", left
    b.start()
    for shard in left:
        b.says("of a node that died", shard, "adopted")
    # And when it comes back it finds them done, and has the others in its spool.
    a.start()
    drained(a, b)
    assert set(left) <= set(tars(ws)), (left, tars(ws))
    equal(b.status()["node"]["encoded"], 0, "images that b has encoded")
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def a_shard_of_a_dead_node_whose_images_others_have_goes_out_of_sight(ws):
    postgres = Postgres(ws)
    b, wanted = nodes(ws, postgres, "b-2", timeout="3s", n=20)
    b.start()
    finished(postgres, 20)
    b.post("/datasets/set/seal")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4") == "20", "the images to be in shards")
    before = tars(ws)
    left = before[0].replace("-b-2.tar", "-a.tar")
    shutil.copy(os.path.join(ws.out, "set", before[0]), os.path.join(ws.out, "set", left))
    postgres.sql("INSERT INTO latentd.node (name, instance, beat_at, timeout_ms) VALUES ('a', 'of a', 1, 1)")
    b.says(left, "other shards", "quarantine")
    # One that was cut off may have sealed after it had been looked for.
    late = os.path.join(os.path.dirname(left), "000007-a.tar")
    shutil.copy(os.path.join(ws.out, "set", before[0]), os.path.join(ws.out, "set", late))
    ws.latentctl("nodes", "--state", b.state_dir, "--forget", "a")
    b.says(late, "other shards", "quarantine")
    equal(sorted(tars(ws)), sorted(before), "shards in sight")
    drained(b)
    stopped(b)
    everything_is_there_once(ws, postgres, wanted)


run_tests()
