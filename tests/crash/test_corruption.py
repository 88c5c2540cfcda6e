#!/usr/bin/env python3
"""Bytes that a disk changed: in the database, the spool, a shard, and the small files beside them.

What must hold after any damage, whatever the commands say about it: nothing crashes or hangs; a message names the
file; no sample is there twice; and no wrong latent goes unnoticed: either the output is whole and equal to what it
was, or `encode` or `verify` says that it is not. LATENTD_TEST_SEED repeats a series.
"""

import hashlib
import os
import random
import shutil
import sqlite3
import time

from crash import DIED, LONG, Rig, time_for
from harness import DAMAGED, FAILED, OK, equal, one_line, run_tests, test
from reference import read_dataset, shard_files

SEED = int(os.environ.get("LATENTD_TEST_SEED") or (1 if not LONG else random.randrange(1 << 32)))
KINDS = ("flip", "byte", "zeros", "garbage", "truncate", "append", "empty")


def damage(path, kind, chance):
    """Changes the file; what was done, in words."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = chance.randrange(len(data)) if data else 0
    if kind == "flip" and data:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "byte" and data:
        data[at] = chance.randrange(256)
    elif kind in ("zeros", "garbage"):
        at = at // 512 * 512
        size = min(chance.choice((512, 4096)), len(data) - at)
        data[at : at + size] = bytes(size) if kind == "zeros" else chance.randbytes(size)
    elif kind == "truncate":
        del data[at:]
    elif kind == "append":
        at = len(data)
        data += chance.randbytes(chance.choice((1, 100, 5000)))
    elif kind == "empty":
        data.clear()
    with open(path, "wb") as file:
        file.write(data)
    return f"{kind} at {at} of {os.path.basename(path)}"


def latents(ws):
    """{source: hash of its members}: equal for equal samples, wherever they lie."""
    found = {}
    for sample in read_dataset(ws.dataset):
        parts = sorted(sample.members.items())
        found[sample.path] = hashlib.sha256(repr(parts).encode()).hexdigest()
    return found


def no_crash(result, allowed):
    assert result.code in allowed, f"exit status {result.code}"
    assert result.code != FAILED or result.errors, "no line says why"


class Damaged:
    """The base "whole" or "restart" with one file damaged, again and again."""

    def __init__(self, ws):
        self.ws, self.rig = ws, Rig(ws)
        self.rig.encode()
        self.wanted = latents(ws)
        self.tally, self.failed = {}, []

    def count(self, what):
        self.tally[what] = self.tally.get(what, 0) + 1

    def repeat(self, base, find, check, seconds):
        end, n = time_for(seconds), 0
        chance = random.Random(SEED)
        limit = 1500 if LONG else 10**6
        while time.monotonic() < end and n < limit:
            self.rig.restore(base)
            path, kind = find(chance), KINDS[n % len(KINDS)]
            if path is None:
                continue
            what, n = damage(path, kind, chance), n + 1
            self.ws.history.clear()
            try:
                self.count(check(path))
            except Exception as why:  # each is named, and the others still run
                self.failed.append(what)
                print(f"FAILED case {n} of seed {SEED}, {what}: {why}")
                print("".join(f"  $ {r}\n" for r in self.ws.history[-4:]), flush=True)
        counts = ", ".join(f"{v} {k}" for k, v in sorted(self.tally.items()))
        print(f"seed {SEED}: {n} times damaged: {counts}; {len(self.failed)} failed")
        equal(self.failed, [], "failed cases")

    def is_whole(self):
        """All samples as they were; true only if verify says so too."""
        equal(latents(self.ws), self.wanted, "the samples")
        self.ws.verify()

    def rebuild(self):
        """What the message asks for: the state folder is removed, and the next run reads the shards."""
        shutil.rmtree(self.ws.environment["XDG_STATE_HOME"])
        self.rig.encode()
        self.is_whole()


@test
def a_damaged_shard_is_found_and_encoded_again(ws):
    d = Damaged(ws)
    d.rig.keep("whole")

    def check(path):
        before = os.path.getsize(path)
        found = ws.verify(code=None)
        no_crash(found, (OK, DAMAGED))
        if found.code == OK:  # the byte that was written was the byte that was there
            equal(latents(ws), d.wanted, "the samples that verify found well")
            return "without effect"
        assert os.path.relpath(path, ws.out) in found.out, found
        result = d.rig.encode()  # sees another size by itself
        assert before == os.path.getsize(path) if os.path.exists(path) else result.errors
        if os.path.exists(path):
            os.remove(path)
            d.rig.encode()
        d.is_whole()
        return "named and repaired"

    d.repeat("whole", lambda chance: chance.choice(shard_files(ws.dataset)), check, 10)


def state_file(ws, suffix):
    for at, _, names in os.walk(ws.environment["XDG_STATE_HOME"]):
        for name in names:
            if name.endswith(suffix) and os.path.getsize(os.path.join(at, name)) > 0:
                return os.path.join(at, name)
    return None


@test
def a_damaged_spool_record_is_encoded_again(ws):
    d = Damaged(ws)
    d.rig.restore()
    d.rig.encode(code=DIED, fault="rename:6:die-after")
    assert state_file(ws, ".spool"), "a spool"
    d.rig.keep("spooled")

    def check(path):
        result = d.rig.encode()
        d.is_whole()
        d.rig.is_whole()
        return "cut back or stepped over" if "spool:" in result.err else "not in a record that counts"

    d.repeat("spooled", lambda _: state_file(ws, ".spool"), check, 10)


def database_damage(ws, suffix, base_fault, seconds):
    d = Damaged(ws)
    if base_fault:
        d.rig.restore()
        d.rig.encode(code=DIED, fault=base_fault)
    d.rig.keep("base")

    def check(path):
        for command in ("status", "failed", "verify"):
            no_crash(ws.latentctl(command, "--out", ws.out, code=None), (OK, FAILED, DAMAGED))
        result = d.rig.encode(code=None)
        no_crash(result, (OK, FAILED))
        if result.code == OK:
            d.rig.samples_are_there()
            equal(latents(ws), d.wanted, "the samples")
            assert base_fault or "(0 new)" in result.out, f"encoded again: {result}"
            found = ws.verify(code=None)
            no_crash(found, (OK, FAILED))
            if found.code == OK:
                return "without effect"
            d.rebuild()
            return "without effect on encode and named by verify, then rebuilt from the shards"
        assert os.path.dirname(path) in result.errors[-1], result
        d.rebuild()
        return "named, then rebuilt from the shards"

    d.repeat("base", lambda _: state_file(ws, suffix), check, seconds)


@test
def a_damaged_database_is_named_and_rebuilt_from_the_shards(ws):
    database_damage(ws, "queue.db", None, 12)


@test
def a_catalog_that_lost_its_rows_moves_no_shard_away(ws):
    """As a page of zeros in the table of shards does it, which SQLite takes for an empty table."""
    d = Damaged(ws)
    before = shard_files(ws.dataset)
    db = sqlite3.connect(state_file(ws, "queue.db"))
    db.execute("DELETE FROM shard")
    db.commit()
    db.close()
    one_line(d.rig.encode(code=FAILED), "damaged", ws.environment["XDG_STATE_HOME"])
    equal(shard_files(ws.dataset), before, "shards")
    d.rebuild()
    equal(shard_files(ws.dataset), before, "shards")


@test
def a_damaged_write_ahead_log_loses_no_sample(ws):
    database_damage(ws, "queue.db-wal", "write:200:die", 10)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


@test
def damaged_small_files_are_named_or_made_again(ws):
    d = Damaged(ws)
    d.rig.keep("whole")
    names = ("owner.json", "dataset.json", "sources.json", "lock")
    sound = contents(os.path.join(ws.dataset, ".latentd", "dataset.json"))

    def find(chance):
        found = [os.path.join(at, n) for at, _, files in os.walk(d.rig.fs) for n in files]
        return chance.choice(sorted(f for f in found if os.path.basename(f) in names))

    def check(path):
        result = d.rig.encode(code=None)
        no_crash(result, (OK, FAILED))
        if result.code == OK:
            d.is_whole()
            if os.path.basename(path) == "dataset.json":
                equal(contents(path), sound, "dataset.json")
            return "made again"
        assert os.path.basename(path) in result.err or ws.out in result.err, result
        return "named"

    d.repeat("whole", find, check, 6)


run_tests()
