#!/usr/bin/env python3
"""gc and compact of a dataset that nodes share, while they work."""

import contextlib
import json
import os
import signal

from harness import BUSY, FAILED, USAGE, equal, one_line, run_tests, same_members, test, wait_until
from nodes_rig import HELD, HOLD, drained, everything_is_there_once, finished, node, nodes, stopped
from postgres_rig import Postgres
from reference import read_shard, shard_files, unzstd

SHARDS = "SELECT count(*) FROM latentd.shard"
NPY = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".ljust(117) + b"\n" + bytes(8)
# A shard that waits to be entered into the catalog holds everybody who enters one.
HOLD_SHARDS = (
    "CREATE FUNCTION hold_shard() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;"
    "CREATE TRIGGER hold_shard BEFORE INSERT ON latentd.shard FOR EACH STATEMENT EXECUTE FUNCTION hold_shard()"
)
RELEASE_SHARDS = "DROP TRIGGER hold_shard ON latentd.shard; DROP FUNCTION hold_shard()"


def begun(ws, postgres, rounds=3, each=6, **options):
    """Nodes a and b, at work, whose dataset has some small shards of each; and the images that are in them."""
    a, b, wanted = nodes(ws, postgres, "a", "b", **options)
    for daemon in (a, b):
        daemon.config["queue"]["poll"] = "1s"
    for i in range(rounds):
        wanted += ws.small_pictures(each, ws.path("set"), first=i * each)
        daemon = (a, b)[i % 2]
        daemon.start()
        finished(postgres, len(wanted))
        seal(postgres, daemon, len(wanted))
        stopped(daemon)
    a.start()
    b.start()
    return a, b, wanted


def seal(postgres, daemon, n):
    daemon.post("/datasets/set/seal")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4") == str(n), f"{n} images to be in shards")


def hidden(ws, *parts):
    return os.path.join(ws.out, "set", ".latentd", *parts)


def tars_below(folder):
    return sorted(os.path.relpath(os.path.join(at, f), folder) for at, _, files in os.walk(folder) for f in files if f.endswith(".tar"))


def in_first_group(ws):
    shards = shard_files(os.path.join(ws.out, "set"))
    return sum(os.path.dirname(s) == os.path.dirname(shards[0]) for s in shards)


def compact(ws, *options, **settings):
    return ws.latentctl("compact", "--out", ws.out, *options, **settings)


def gc(ws, *options, **settings):
    return ws.latentctl("gc", "--out", ws.out, *options, **settings)


def index_follows(ws):
    """Whoever writes it: it names the shards that are in sight."""

    def same():
        with contextlib.suppress(FileNotFoundError), open(hidden(ws, "shards.txt"), encoding="utf-8") as file:
            return sorted(os.path.join(ws.out, "set", line) for line in file.read().splitlines()) == shard_files(os.path.join(ws.out, "set"))
        return False

    wait_until(same, "the index to name the shards that are there")


# -- compact


@test
def small_shards_of_all_nodes_are_merged_while_they_work_and_old_ones_stay_readable(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    before = shard_files(os.path.join(ws.out, "set"))
    groups = {os.path.dirname(shard) for shard in before}
    assert len(before) > len(groups), before
    with open(before[0], "rb") as held:
        assert f"{len(before)} small shards would be merged into {len(groups)}" in compact(ws, "--dry-run").out
        equal(shard_files(os.path.join(ws.out, "set")), before, "shards after a dry run")
        assert f"{len(before)} small shards merged into {len(groups)}" in compact(ws).out
        now = shard_files(os.path.join(ws.out, "set"))
        equal(len(now), len(groups), "shards")
        everything_is_there_once(ws, postgres, wanted)
        index_follows(ws)
        same_members(tars_below(hidden(ws, "retired")), [os.path.relpath(s, os.path.join(ws.out, "set")) for s in before], "retired")
        assert "0 replaced shards removed" in gc(ws).out
        with open(hidden(ws, "retired", os.path.relpath(before[0], os.path.join(ws.out, "set"))), "rb") as file:
            equal(file.read(), held.read(), "a shard that somebody reads")
    assert f"{len(before)} replaced shards removed" in gc(ws, "--grace", "0").out
    equal(tars_below(hidden(ws, "retired")), [], "retired")
    # Both go on, and no name comes to stand for something else.
    stopped(a, b)
    a.start()
    b.start()
    wanted += ws.small_pictures(8, ws.path("set"), first=len(wanted))
    finished(postgres, len(wanted))
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)
    assert not set(shard_files(os.path.join(ws.out, "set"))) & set(before), "a name that is given twice"


@test
def whoever_has_the_configuration_may_ask_for_it_and_no_one_else(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    other = node(ws, postgres, "elsewhere")
    other.dataset()
    other.write()
    assert "merged into" in ws.latentctl("compact", "--config", other.file).out
    assert not os.path.exists(other.state_dir), "it has become a node"
    ws.latentctl("gc", "--config", other.file, "--grace", "0")
    everything_is_there_once(ws, postgres, wanted)
    one_line(ws.latentctl("gc", "--config", other.file, "--name", "none", code=FAILED), "no dataset none")
    del other.config["queue"]
    other.write()
    one_line(ws.latentctl("gc", "--config", other.file, code=FAILED), "queue.postgres", "--out")
    assert ws.latentctl("gc", code=USAGE).err
    # Another database would take the shards for nobody's.
    stopped(a, b)
    postgres.sql("CREATE DATABASE other")
    other.config["queue"] = {"postgres": postgres.conninfo.replace("dbname=postgres", "dbname=other"), "node": "x"}
    other.config["datasets"][0]["output"]["path"] = ws.path("x-out")
    other.run("--once")
    other.config["datasets"][0]["output"]["path"] = ws.out
    other.write()
    one_line(ws.latentctl("gc", "--config", other.file, code=FAILED), "another database")
    everything_is_there_once(ws, postgres, wanted)


@test
def arrays_are_attached_and_captions_come_in_while_nodes_work(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    keys = [s.key for shard in shard_files(os.path.join(ws.out, "set")) for s in read_shard(shard)]
    for key in keys:
        ws.write(f"{key}.npy", NPY, ws.path("arrays"))
    assert f"attached to {len(keys)} samples" in ws.latentctl("attach", "te", ws.path("arrays"), "--out", ws.out).out
    ws.write("captions.jsonl", json.dumps({"key": keys[0], "caption": "of a person"}).encode(), ws.root)
    ws.latentctl("captions", "set", ws.path("captions.jsonl"), "--out", ws.out)
    assert "1 caption brought into the shards" in compact(ws).out
    samples = {s.key: s.members for shard in shard_files(os.path.join(ws.out, "set")) for s in read_shard(shard)}
    for key in keys:
        equal(unzstd(samples[key]["te.npy.zst"]), NPY, "array")
    equal(samples[keys[0]]["txt"], b"of a person", "caption")
    everything_is_there_once(ws, postgres, wanted)
    stopped(a, b)


@test
def repack_says_what_to_do_instead(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres, rounds=1)
    one_line(ws.latentctl("repack", "--out", ws.out, "--format", "mds", code=FAILED), "nodes share", "compact", "export")
    everything_is_there_once(ws, postgres, wanted)
    stopped(a, b)


@test
def a_compaction_that_is_killed_before_its_commit_has_changed_nothing(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    before = shard_files(os.path.join(ws.out, "set"))
    postgres.sql(HOLD_SHARDS)
    with postgres.session(HOLD):
        process = ws.start("compact", "--out", ws.out)
        wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") != "0", "a swap to wait for its commit")
        assert tars_below(hidden(ws, "staged")), "nothing is staged"
        process.kill()
        ws.finish(process)
        postgres.sql(f"SELECT pg_terminate_backend(pid) {HELD}")
        wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") == "0", "its transaction to be gone")
    postgres.sql(RELEASE_SHARDS)
    equal(shard_files(os.path.join(ws.out, "set")), before, "shards")
    wait_until(lambda: not tars_below(hidden(ws, "staged")), "a node to remove what was staged")
    everything_is_there_once(ws, postgres, wanted)
    assert "merged into" in compact(ws).out
    everything_is_there_once(ws, postgres, wanted)
    stopped(a, b)


def killed_at(ws, call):
    """A compaction that dies before that @call in the dataset's folder."""
    process = ws.start_and_stop(call, os.path.join(ws.out, "set"), "compact", "--out", ws.out)
    process.kill()
    ws.finish(process)


def brought_to_its_end(ws, moves):
    """By a node: a compaction that died after so many of its moves behind the commit."""
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    before, moves = int(postgres.value(SHARDS)), in_first_group(ws) if moves == "all but the last" else moves
    killed_at(ws, f"rename:{2 + moves}")  # the first one staged
    assert int(postgres.value(SHARDS)) < before, "it was not committed"
    wait_until(lambda: not tars_below(hidden(ws, "staged")), "a node to bring it to its end")
    everything_is_there_once(ws, postgres, wanted)
    index_follows(ws)
    stopped(a, b)


@test
def one_that_is_killed_right_after_its_commit_is_brought_to_its_end_by_a_node(ws):
    brought_to_its_end(ws, 0)


@test
def one_that_is_killed_with_the_old_out_of_sight_and_the_new_not_in_it_likewise(ws):
    brought_to_its_end(ws, "all but the last")


@test
def one_that_is_killed_while_no_node_works_is_brought_to_its_end_by_the_next(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    stopped(a, b)
    killed_at(ws, f"rename:{2 + in_first_group(ws)}")
    equal(len(tars_below(hidden(ws, "staged"))), 1, "staged shards")
    assert "brought into sight" in gc(ws).err
    everything_is_there_once(ws, postgres, wanted)
    index_follows(ws)


@test
def two_compactions_do_not_meet(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    first = ws.start_and_stop("rename:1", os.path.join(ws.out, "set"), "compact", "--out", ws.out)
    one_line(compact(ws, code=BUSY), "another process")
    one_line(gc(ws, code=BUSY), "another process")
    first.send_signal(signal.SIGCONT)
    assert "merged into" in ws.finish(first).out
    everything_is_there_once(ws, postgres, wanted)
    stopped(a, b)


@test
def one_that_was_cut_off_from_the_database_changes_nothing_behind_the_back_of_the_next(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    first = ws.start_and_stop("rename:1", os.path.join(ws.out, "set"), "compact", "--out", ws.out)
    postgres.sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = 1818326118")
    assert "merged into" in compact(ws).out
    now = shard_files(os.path.join(ws.out, "set"))
    first.send_signal(signal.SIGCONT)
    result = ws.finish(first)
    assert result.code != 0 and "merged into" not in result.out, result
    equal(shard_files(os.path.join(ws.out, "set")), now, "shards")
    everything_is_there_once(ws, postgres, wanted)
    stopped(a, b)


@test
def what_nodes_seal_and_change_meanwhile_is_kept(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    process = ws.start_and_stop("rename:1", os.path.join(ws.out, "set"), "compact", "--out", ws.out)
    wanted += ws.small_pictures(6, ws.path("set"), first=len(wanted))
    changed = ws.path("set", wanted[0])
    with open(changed, "ab") as file:
        file.write(b"other bytes")
    os.utime(changed, (1e9, 1e9))
    a.post("/datasets/set/scan")
    b.post("/datasets/set/scan")
    wait_until(
        lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 3 AND changed OR state = 4 AND mtime_ns = 1000000000000000000") == "1",
        "the changed image to be encoded",
    )
    finished(postgres, len(wanted))
    for daemon in (a, b):
        daemon.post("/datasets/set/seal")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4") == str(len(wanted)), "all to be sealed")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.sample WHERE dead") == "1", "the old sample to be dead")
    process.send_signal(signal.SIGCONT)
    assert "merged into" in ws.finish(process).out
    everything_is_there_once(ws, postgres, wanted)
    equal(postgres.value("SELECT count(*) FROM latentd.sample WHERE dead"), "0", "dead samples")
    stopped(a, b)


# -- by itself


@test
def the_node_that_looks_through_the_sources_merges_and_collects_by_itself(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres, on_delete="remove")
    before = shard_files(os.path.join(ws.out, "set"))
    groups = {os.path.dirname(shard) for shard in before}
    assert len(before) > len(groups), before
    stopped(a, b)
    os.remove(ws.path("set", wanted.pop(0)))
    for daemon in (a, b):
        daemon.config["queue"]["upkeep"] = "1s"
    a.start()
    b.start()
    wait_until(lambda: int(postgres.value(SHARDS)) <= len(groups), "small shards to be merged")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 9") == "1", "the deleted file to be missed")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.sample WHERE dead") == "0", "its sample to be taken out")
    assert sum(len(daemon.get("/datasets/set/upkeep")["upkeep"]) > 0 for daemon in (a, b)) == 1, "both of them did it"
    # What another process has the turn for is left to it.
    with postgres.session(f"SELECT pg_advisory_lock(1818326118, {postgres.value('SELECT id FROM latentd.dataset')})"):
        (duty,) = (daemon for daemon in (a, b) if daemon.get("/datasets/set/upkeep")["upkeep"])
        duty.says("another process")
    stopped(a, b)
    postgres.sql("DELETE FROM latentd.job WHERE state = 9")
    everything_is_there_once(ws, postgres, wanted)
    index_follows(ws)


# -- gc


@test
def gc_takes_out_what_was_deleted_and_leaves_alone_what_a_node_is_sealing(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres, on_delete="remove")
    os.remove(ws.path("set", wanted.pop(0)))
    a.post("/datasets/set/scan")
    b.post("/datasets/set/scan")
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.sample WHERE dead") == "1", "its sample to be dead")
    postgres.sql(HOLD_SHARDS)
    wanted += ws.small_pictures(4, ws.path("set"), first=50)
    finished(postgres, len(wanted))
    with postgres.session(HOLD):
        for daemon in (a, b):
            daemon.post("/datasets/set/seal")
        wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") != "0", "a shard to wait for its commit")
        result = gc(ws, "--dry-run")
        assert "1 dead sample in 1 shard" in result.out, result
        equal(result.errors, [], "what is nobody's")
    postgres.sql(RELEASE_SHARDS)
    wait_until(lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state = 4") == str(len(wanted)), "all to be sealed")
    said = gc(ws).out
    assert "1 dead sample in 1 shard" in said, said
    postgres.sql("DELETE FROM latentd.job WHERE state = 9")
    everything_is_there_once(ws, postgres, wanted)
    index_follows(ws)
    stopped(a, b)


@test
def gc_enters_or_puts_away_what_dead_nodes_left_and_nothing_of_living_ones(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    shards = shard_files(os.path.join(ws.out, "set"))
    twice = os.path.join(os.path.dirname(shards[0]), "000090-z.tar")
    living = os.path.join(os.path.dirname(shards[0]), "000090-a.tar")
    for name in (twice, living):
        with open(shards[0], "rb") as source, open(name, "wb") as file:
            file.write(source.read())
    for name in ("z", "a"):
        os.makedirs(hidden(ws, "partial", name), exist_ok=True)
        for age, file in ((1e9, "old.tmp"), (None, "new.tmp")):
            ws.write(hidden(ws, "partial", name, file), b"x", folder="")
            os.utime(hidden(ws, "partial", name, file), (age, age) if age else None)
    said = gc(ws, "--dry-run").err
    assert "000090-z.tar" in said and "z/old.tmp" in said, said
    assert "000090-a.tar" not in said and "a/old.tmp" not in said and "new.tmp" not in said, said
    assert os.path.exists(twice) and os.path.exists(hidden(ws, "partial", "z", "old.tmp"))
    said = gc(ws).err
    assert "000090-z.tar" in said and "quarantine" in said, said
    assert not os.path.exists(twice) and os.path.exists(living)
    same_members(os.listdir(hidden(ws, "partial", "z")), ["new.tmp"], "half-written files of z")
    assert {"old.tmp", "new.tmp"} <= set(os.listdir(hidden(ws, "partial", "a"))), "of a"
    os.remove(living)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


@test
def gc_has_images_encoded_again_whose_merged_shard_is_gone(ws):
    postgres = Postgres(ws)
    a, b, wanted = begun(ws, postgres)
    compact(ws)
    lost = shard_files(os.path.join(ws.out, "set"))[0]
    n = len(read_shard(lost))
    os.remove(lost)
    assert f"its {n} images are encoded again" in gc(ws).err
    finished(postgres, len(wanted))
    drained(a, b)
    stopped(a, b)
    everything_is_there_once(ws, postgres, wanted)


run_tests()
