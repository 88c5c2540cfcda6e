#!/usr/bin/env python3
"""One call of a run fails, is cut short or is the last one: then a run without faults must end with everything.

For every kind of call, every n and every effect in the long run; as many as fit in CI, spread evenly. A case
has a name, such as fresh/write:31:ENOSPC; LATENTD_CRASH_CASE=NAME runs only that one.
"""

import os
import signal
import time

from crash import DIED, LONG, Rig, evenly, time_for
from crash import has_another_form, has_changes, has_small_shards, interrupted_with_leftovers, needs_repair
from harness import BUSY, FAILED, OK, equal, run_tests, test
from reference import shard_files
from zygotes import Zygotes

EFFECTS = {
    "open": ["EIO", "EMFILE", "ENOSPC", "EINTR", "die-after"],
    "read": ["EIO", "EINTR", "short"],
    "write": ["ENOSPC", "die-half", "EIO", "short", "die-after", "EINTR", "EDQUOT"],
    "sync": ["EIO", "die", "die-after", "ENOSPC", "EDQUOT"],
    "rename": ["EIO", "die", "die-after", "ENOSPC"],
    "link": ["EIO", "die", "die-after"],
    "unlink": ["EIO", "die", "die-after", "EROFS"],
    "truncate": ["EIO", "die", "die-after", "EINTR"],
    "mkdir": ["ENOSPC", "die", "die-after", "EIO"],
    "mmap": ["ENOMEM", "EIO"],
    "stat": ["EIO", "EACCES"],
}
# From the n-th call on, as a disk does that is full or gone.
FOR_GOOD = {
    "open": ["EIO"],
    "write": ["ENOSPC", "EIO"],
    "sync": ["EIO"],
    "rename": ["EROFS"],
    "unlink": ["EIO"],
    "stat": ["EIO"],
}
SLOW_S = 3
# In the first thousand libraries set themselves up, and some do not look whether they could.
MALLOC_STEP, MALLOC_START = (16, 1000) if LONG else (401, 0)


def cases_of(counts):
    """Kind by kind in turn; within a kind all of (n, effect), evenly."""
    rows = []
    for kind, effects in EFFECTS.items():
        calls = range(1, counts.get(kind, 0) + 1)
        rows.append(evenly([f"{kind}:{n}:{e}" for e in effects for n in calls]))
        rows.append(evenly([f"{kind}:{n}+:{e}" for e in FOR_GOOD.get(kind, []) for n in calls]))
    mallocs = {*range(1, min(MALLOC_START, counts["malloc"])), *range(1, counts["malloc"], MALLOC_STEP)}
    rows.append(evenly([f"malloc:{n}:ENOMEM" for n in sorted(mallocs)]))
    longest = max(map(len, rows))
    return [row[i] for i in range(longest) for row in rows if i < len(row)]


class Tally:
    def __init__(self):
        self.cases = self.missed = self.died = self.errors = self.unharmed = self.aborted = 0
        self.failed = []


def begin_zygotes(ws):
    zygotes = Zygotes()
    zygotes.serve(ws)
    ws.at_end.append(zygotes.end)
    return zygotes


def run_with(rig, fault, zygotes):
    if not fault.startswith("malloc"):
        result = rig.run(code=None, fault=fault)
        rig.ws.no_worker_is_left()
        return result
    with zygotes.without(rig.ws):  # also what libraries ask for before main()
        result = rig.run(code=None, fault=fault)
        rig.ws.no_worker_is_left()
        return result


def under_fault(rig, fault, zygotes, tally, kept):
    """The run with the fault in it: a clean error, or success, or the end that was asked for."""
    result = run_with(rig, fault, zygotes)
    fired, _ = rig.reported()
    tally.missed += fired is None
    if result.code == OK:
        tally.unharmed += 1
        rig.samples_are_there()
    elif result.code == DIED and ":die" in fault:
        tally.died += 1
    elif result.code == -signal.SIGABRT and fault.startswith("malloc"):
        assert "memory" in result.errors[-1], result
        tally.aborted += 1
    else:
        tally.errors += 1
        assert result.code in (FAILED, BUSY), f"exit status {result.code}"
        assert result.errors and fired, result
    for file, was in kept.items():
        assert os.path.exists(file), f"{file} has vanished"
        equal(os.stat(file).st_size, was, f"the size of {file}")
    return result


def one_case(rig, base, fault, zygotes, tally, quarantine, keeps):
    rig.restore(base)
    kept = {f: os.stat(f).st_size for f in shard_files(rig.ws.dataset)} if keeps else {}
    under_fault(rig, fault, zygotes, tally, kept)
    rig.encode()
    rig.is_whole(quarantine=quarantine)
    if rig.command:
        rig.once_more(quarantine)


def all_cases(rig, name, base, quarantine=0, keeps=True, seconds=10):
    """@keeps: shards that were there before the run stay as they are."""
    rig.restore(base)
    rig.run(fault="link:1000000:EIO")
    _, counts = rig.reported()
    rig.is_whole(quarantine=quarantine)
    zygotes = begin_zygotes(rig.ws)
    wanted, end, tally = cases_of(counts), time_for(seconds), Tally()
    chosen = os.environ.get("LATENTD_CRASH_CASE")
    if chosen:
        wanted = [chosen.split("/")[1]] if chosen.startswith(f"{name}/") else []
    for fault in wanted:
        if time.monotonic() > end:
            break
        tally.cases, began = tally.cases + 1, time.monotonic()
        rig.ws.history.clear()
        try:
            one_case(rig, base, fault, zygotes, tally, quarantine, keeps)
        except Exception as why:  # each is named, and the others still run
            tally.failed.append(fault)
            print(f"FAILED case {name}/{fault}: {why}\n  {rig.repeat_with(fault)}")
            print("".join(f"  $ {r}\n" for r in rig.ws.history), flush=True)
            if len(tally.failed) > 20 and not LONG:
                break
        if tally.cases % 1000 == 0:
            print(f"{name}: {tally.cases} of {len(wanted)}, {len(tally.failed)} failed", flush=True)
        if time.monotonic() - began > SLOW_S:
            print(f"slow: {name}/{fault}: {time.monotonic() - began:.1f} s")
    print(
        f"{name}: {counts['any']} calls and {counts['malloc']} mallocs counted, {tally.cases} of {len(wanted)} cases: "
        f"{tally.errors} ended with an error, {tally.died} died, {tally.aborted} out of memory, "
        f"{tally.unharmed} unharmed ({tally.missed} not reached); "
        f"{tally.cases - len(tally.failed)} recovered, {len(tally.failed)} failed"
    )
    assert not tally.failed, tally.failed


@test
def a_fault_in_a_fresh_run_loses_nothing(ws):
    all_cases(Rig(ws), "fresh", None)


@test
def a_fault_in_a_restart_loses_nothing(ws):
    rig = Rig(ws)
    interrupted_with_leftovers(rig)
    rig.keep("restart")
    all_cases(rig, "restart", "restart")


@test
def a_fault_while_shards_are_put_aside_loses_nothing(ws):
    rig = Rig(ws)
    needs_repair(rig)
    rig.keep("repair")
    all_cases(rig, "repair", "repair", quarantine=2, keeps=False)


@test
def a_fault_while_samples_are_removed_replaced_and_recaptioned_loses_nothing(ws):
    rig = Rig(ws)
    has_changes(rig)
    rig.keep("changes")
    all_cases(rig, "changes", "changes", keeps=False)


@test
def a_fault_in_a_compaction_loses_nothing(ws):
    rig = Rig(ws)
    has_small_shards(rig)
    rig.keep("compact")
    all_cases(rig, "compact", "compact", keeps=False)


@test
def a_fault_in_a_repack_loses_nothing(ws):
    rig = Rig(ws)
    has_another_form(rig)
    rig.keep("repack")
    all_cases(rig, "repack", "repack", keeps=False)


@test
def memory_refused_at_any_moment_of_reading_a_shard_is_told(ws):
    """Neither a crash inside a library, nor a shard that is called damaged."""
    rig = Rig(ws, 1)
    rig.encode()
    rig.command = ["inspect", *shard_files(ws.dataset)]
    begin_zygotes(ws)
    rig.run(fault="link:1000000:EIO")
    _, counts = rig.reported()
    for n in range(1, counts["malloc"] + 1):
        result = rig.run(code=None, fault=f"malloc:{n}:ENOMEM")
        assert result.code in (OK, FAILED, -signal.SIGABRT), f"malloc {n}: {result}"
        assert result.code == OK or "memory" in result.errors[-1], f"malloc {n}: {result}"


run_tests()
