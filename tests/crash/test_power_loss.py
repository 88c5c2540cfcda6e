#!/usr/bin/env python3
"""The power goes in the middle of a run: what was not synced is lost or torn, and the next run mends it.

A run is recorded call by call; every state that a disk may be in after any of its calls (power.py) is then made,
and the real program started on it. In the long run all calls and models; in CI as many as fit, spread evenly.
A case has a name, such as fresh/some:117:3 (model, calls, seed); LATENTD_CRASH_CASE=NAME runs only that one.
"""

import hashlib
import os
import shutil
import sqlite3
import time

from crash import LONG, Rig, evenly, time_for
from crash import has_another_form, has_changes, has_small_shards, interrupted_with_leftovers, needs_repair
from harness import equal, run_tests, same_members, test
from power import MODELS, SYNC, Disk, read_journal, write_out
from reference import shard_files

SEEDS = (1, 2, 3) if LONG else (1,)
# Said when something is not there that was promised to be.
LOSSES = ("no longer in the spool", "no longer there", "another size", "cannot be adopted")


def catalog(contents, folder):
    """{shard: sha256} of the queue among @contents."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    for path, data in contents.items():
        if os.path.basename(path).startswith("queue.db"):
            with open(os.path.join(folder, os.path.basename(path)), "wb") as file:
                file.write(data)
    if not os.path.exists(os.path.join(folder, "queue.db")):
        return {}
    db = sqlite3.connect(os.path.join(folder, "queue.db"))
    try:
        equal(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)], "integrity_check")
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'shard'").fetchall():
            return {}
        return dict(db.execute("SELECT path, sha256 FROM shard"))
    finally:
        db.close()


def shard_names(rig):
    return [os.path.relpath(f, rig.ws.dataset) for f in shard_files(rig.ws.dataset)]


def shards_have(ws, acknowledged):
    """Every shard that was in a transaction on the disk is there, with the bytes it had."""
    for name, sha256 in acknowledged.items():
        with open(os.path.join(ws.dataset, name), "rb") as file:
            equal(hashlib.sha256(file.read()).digest(), sha256, f"the bytes of {name}")


def promised_by_call(rig, before, journal, bad):
    """What was promised after each number of calls: the catalog on the disk if all else is lost. Not of @bad ones, nor of
    those that the run itself takes away, whose samples are then in others."""
    disk, known = Disk(before), []
    for entry in [None, *journal]:
        if entry:
            disk.play(entry)
        changed = not entry or entry[0] == SYNC
        known.append(catalog(disk.contents("lost"), rig.ws.path("peek")) if changed else known[-1])
    stays = known[-1].keys() - set(bad)
    promised = [{}]
    for now in known:
        now = {n: h for n, h in now.items() if n in stays}
        lost = {n for n, h in promised[-1].items() if now.get(n) != h}
        equal(lost, set(), "shards that left the synced catalog")
        promised.append({**promised[-1], **now})
    return promised[1:]


class Run:
    """A recorded run, to be cut off anywhere."""

    def __init__(self, rig, name, bad=()):
        """@bad: shards that the run finds damaged or gone."""
        self.rig, self.name = rig, name
        self.losses, self.quarantine = (LOSSES[:1], None) if bad else (LOSSES, 0)
        self.before = rig.ws.path(f"before-{name}")
        shutil.copytree(rig.fs, self.before, symlinks=True)
        journal = rig.ws.path("journal")
        rig.run(journal=journal)
        self.journal = read_journal(journal, {rig.fs: self.before})
        self.promised = promised_by_call(rig, self.before, self.journal, bad)
        self.tally = {"cases": 0, "recovered": 0, "adopted": 0, "cut back": 0}

    def cut(self, case):
        """The power goes, and the same command runs again: "MODEL:CALLS:SEED"."""
        model, n, _ = case.split(":")
        disk, rig, promised = Disk(self.before), self.rig, self.promised[int(n)]
        for entry in self.journal[: int(n)]:
            disk.play(entry)
        contents = disk.contents(model, case)
        shutil.rmtree(rig.fs)
        write_out(contents, rig.fs)
        known = catalog(contents, rig.ws.path("peek"))
        missing = {n for n, h in promised.items() if known.get(n) != h}
        equal(missing, set(), "acknowledged shards that the catalog lost")
        result = rig.encode()
        for words in self.losses:
            assert words not in result.err, f"a promise was broken: {result.err}"
        rig.is_whole(quarantine=self.quarantine)
        shards_have(rig.ws, promised)
        if rig.command:
            rig.once_more(self.quarantine)
        self.tally["recovered"] += 1
        self.tally["adopted"] += result.err.count(": adopted")
        self.tally["cut back"] += result.err.count("cut back")
        return result

    def cases(self):
        calls = range(len(self.journal) + 1)
        models = [(m, s) for m in MODELS for s in (SEEDS if m == "some" else (0,))]
        return evenly([f"{m}:{n}:{s}" for n in calls for m, s in models])

    def cut_everywhere(self, seconds):
        cases, end, failed = self.cases(), time_for(seconds), []
        if chosen := os.environ.get("LATENTD_CRASH_CASE"):
            cases = [chosen.split("/")[1]] if chosen.startswith(f"{self.name}/") else []
        for case in cases:
            if time.monotonic() > end:
                break
            self.tally["cases"] += 1
            self.rig.ws.history.clear()
            try:
                self.cut(case)
            except Exception as why:  # each is named, and the others still run
                failed.append(f"{self.name}/{case}")
                print(f"FAILED case {self.name}/{case}: {why}")
                print("".join(f"  $ {r}\n" for r in self.rig.ws.history), flush=True)
        print(
            f"{self.name}: {len(self.journal)} calls recorded, {len(cases)} cases; "
            + ", ".join(f"{n} {what}" for what, n in self.tally.items())
            + f", {len(failed)} failed"
        )
        equal(failed, [], "failed cases")


@test
def power_lost_in_a_fresh_run_loses_nothing_that_was_promised(ws):
    run = Run(Rig(ws), "fresh")
    same_members(run.promised[-1], shard_names(run.rig), "shards promised at the end")
    result = run.cut(f"lost:{len(run.journal)}:0")
    assert "(0 new)" in result.out, result.out
    run.cut_everywhere(15)


@test
def power_lost_in_a_restart_loses_nothing_that_was_promised(ws):
    rig = Rig(ws)
    interrupted_with_leftovers(rig)
    Run(rig, "restart").cut_everywhere(10)


@test
def power_lost_while_shards_are_put_aside_loses_no_other(ws):
    rig = Rig(ws)
    Run(rig, "repair", bad=needs_repair(rig)).cut_everywhere(10)


@test
def power_lost_while_samples_are_removed_replaced_and_recaptioned_loses_nothing(ws):
    rig = Rig(ws)
    has_changes(rig)
    Run(rig, "changes").cut_everywhere(10)


@test
def power_lost_in_a_compaction_loses_nothing(ws):
    rig = Rig(ws)
    has_small_shards(rig)
    Run(rig, "compact").cut_everywhere(10)


@test
def power_lost_in_a_repack_loses_nothing(ws):
    rig = Rig(ws)
    has_another_form(rig)
    Run(rig, "repack").cut_everywhere(10)


run_tests()
