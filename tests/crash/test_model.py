#!/usr/bin/env python3
"""Random operations on a source folder and an output, against a model of what the output must then hold.

An episode is a list of steps that its seed alone decides; each step has a seed of its own, so that a list from which
steps are left out does the same in those that stay. LATENTD_TEST_SEED=N runs the episode N, and LATENTD_MODEL_STEPS=3,7,8
only those steps of it: what a failure prints. Deaths at a counted call come back the same way as far as threads allow,
those by time (the steps "killed" and "interrupted") only roughly. LATENTD_MODEL_SECONDS sets the time for all episodes, 40 s;
the long run goes on for a million steps, on all cores.
"""

import functools
import hashlib
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from crash import DIED, LONG, TINY, Rig
from harness import DAMAGED, GOLDEN_IMAGES, INTERRUPTED, OK, QUARANTINED, Workspace, equal
from reference import percent_decode, read_dataset, read_shard, shard_files, xxh3_128
from zygotes import Zygotes

SECONDS = float(
    os.environ.get("LATENTD_MODEL_SECONDS")
    or os.environ.get("LATENTD_CRASH_SECONDS")
    or ("inf" if LONG else 40)
)
STEPS = 1000000
JOBS = len(os.sched_getaffinity(0)) if LONG else 1
NAMES = ("set", "other")
FEWEST, MOST = 3, 14
ABSENT = None  # among the contents that a path may have in a dataset

_originals = {}


class Content:
    """Bytes of a picture: one of TINY with a number behind it, or the first part of such a file."""

    def __init__(self, picture, number, is_bad=False):
        if picture not in _originals:
            with open(os.path.join(GOLDEN_IMAGES, picture), "rb") as file:
                _originals[picture] = file.read()
        whole = _originals[picture]
        self.is_bad = is_bad
        self.data = whole[: len(whole) // 2 - number % 50] if is_bad else whole + b"%d" % number
        self.picture, self.number, self.hash = picture, number, xxh3_128(self.data)

    def damaged(self):
        return Content(self.picture, self.number, True)

    def repaired(self):
        return Content(self.picture, self.number)

    def __repr__(self):
        return f"{self.picture}+{self.number}{' cut' if self.is_bad else ''}"


class Dataset:
    """What one dataset may hold: {path: hashes of contents, one of which its live sample is of}."""

    def __init__(self):
        self.may, self.exists = {}, False

    def of(self, path):
        return self.may.setdefault(path, {ABSENT})


class Episode:
    def __init__(self, ws, seed):
        self.ws, self.seed, self.rig = ws, seed, Rig(ws, 0)
        self.files = {}  # {path: Content}
        self.captions = {}  # {path without extension: text}
        self.clock = 0
        self.datasets = {name: Dataset() for name in NAMES}
        self.latents = {}  # {content: hash of the latent it had the first time}
        self.more = random.Random(f"{seed} variants").choice(([],) * 7 + (["--flip"],) * 2 + (["--flip", "--crops", "1"],))
        self.unseen = set()  # shards without a row of which a byte was changed
        self.encode_s, self.checked, self.deaths = 0.05, 0, 0
        os.makedirs(ws.src)

    # -- the source folder

    def changed(self, path, times=True):
        self.clock += 1
        if times:  # no two changes within one tick of the file system's clock
            os.utime(self.full(path), ns=(0, 10**18 + self.clock * 10**9))

    def full(self, path):
        return os.path.join(self.ws.src, path)

    def put(self, path, content):
        self.ws.write(path + ".new", content.data)
        os.rename(self.full(path + ".new"), self.full(path))
        self.files[path] = content
        self.changed(path)
        return f"{path} is {content}"

    def content(self, chance):
        return Content(chance.choice(TINY), chance.randrange(40))

    def path(self, chance):
        return f"{chance.randrange(3)}/{chance.randrange(12):02d}.{chance.choice(('jpg', 'png'))}"

    def pick(self, chance):
        return chance.choice(sorted(self.files)) if self.files else None

    def add(self, chance):
        path = self.path(chance)
        if len(self.files) >= MOST and path not in self.files:
            return None
        return self.put(path, self.content(chance))

    def copy(self, chance):
        old, path = self.pick(chance), self.path(chance)
        if old is None or len(self.files) >= MOST and path not in self.files:
            return None
        return self.put(path, self.files[old])

    def change(self, chance):
        path = self.pick(chance)
        return path and self.put(path, self.content(chance))

    def touch(self, chance):
        path = self.pick(chance)
        if path:
            self.changed(path)
        return path

    def move(self, chance):
        old, path = self.pick(chance), self.path(chance)
        if old is None or old == path:
            return None
        os.makedirs(os.path.dirname(self.full(path)), exist_ok=True)
        os.rename(self.full(old), self.full(path))
        self.files[path] = self.files.pop(old)
        self.changed(path, times=False)
        return f"{old} to {path}"

    def swap(self, chance):
        a, b = self.pick(chance), self.pick(chance)
        if a is None or a == b:
            return None
        os.rename(self.full(a), self.full("x"))
        os.rename(self.full(b), self.full(a))
        os.rename(self.full("x"), self.full(b))
        self.files[a], self.files[b] = self.files[b], self.files[a]
        self.changed(a, times=False)
        self.changed(b, times=False)
        return f"{a} and {b}"

    def delete(self, chance):
        path = self.pick(chance)
        if len(self.files) <= FEWEST:
            return None
        os.remove(self.full(path))
        del self.files[path]
        return path

    def damage(self, chance):
        path = self.pick(chance)
        return path and self.put(path, self.files[path].damaged())

    def repair(self, chance):
        bad = sorted(p for p, c in self.files.items() if c.is_bad)
        if not bad:
            return None
        path = chance.choice(bad)
        return self.put(path, self.files[path].repaired())

    def caption(self, chance):
        path = self.pick(chance)
        if path is None:
            return None
        stem = os.path.splitext(path)[0]
        file = stem + ".txt"
        if stem in self.captions and chance.random() < 0.25:
            os.remove(self.full(file))
            del self.captions[stem]
            return f"{file} is gone"
        if stem not in self.captions or chance.random() < 0.8:
            self.captions[stem] = f"{chance.choice(('', 'a ', 'one '))}{chance.randrange(5)}"
        self.ws.write(file + ".new", self.captions[stem].encode())
        os.rename(self.full(file + ".new"), self.full(file))
        self.changed(file)
        return f"{file} is {self.captions[stem]!r}"

    # -- what a run does to the model

    def after_a_part_of_a_run(self, data, removes):
        """Any part of what a whole run does may have happened."""
        for path, content in self.files.items():
            if not content.is_bad:
                data.of(path).add(content.hash)
        for path in data.may.keys() - self.files.keys():
            if removes:
                data.may[path].add(ABSENT)

    def after_a_run(self, data, removes):
        """The paths that must be listed as failed."""
        failed = set()
        for path in data.may.keys() - self.files.keys():
            if removes:
                data.may[path] = {ABSENT}
        for path, content in self.files.items():
            if content.is_bad:
                failed.add(path)
            else:
                data.may[path] = {content.hash}
        return failed

    # -- commands

    def on_output(self, command, *options, code=OK):
        return self.ws.latentctl(command, "--out", self.ws.out, *options, code=code)

    def encode_options(self, chance):
        """(dataset, its name, whether the samples of deleted files go, options)"""
        self.ws.name = chance.choice(NAMES[:1] * 3 + NAMES[1:])
        removes = chance.random() < 0.5
        options = ["--shard-samples", str(chance.choice((2, 3, 5, 1000)))]
        options += ["--jobs", str(chance.choice((1, 2))), "--quiet"]
        options += ["--on-delete", "remove", "--on-delete-all"] if removes else []
        options += self.more
        options += self.rig.form()
        return self.datasets[self.ws.name], removes, options

    def encode(self, chance):
        if not self.files:
            return None
        data, removes, options = self.encode_options(chance)
        began = time.monotonic()
        result = self.ws.encode(*options, code=None)
        self.encode_s = time.monotonic() - began
        self.ended(data, removes, result)
        return " ".join(["--name", self.ws.name, *options])

    def ended(self, data, removes, result):
        """A run came to its end: all is as the model says."""
        data.exists = True
        failed = self.after_a_run(data, removes)
        listed = {os.fsdecode(path) for path in self.ws.failed()}
        equal(sorted(listed), sorted(failed), "failed images")
        equal(result.code, QUARANTINED if failed else OK, "exit status of encode")
        self.check_samples(data)
        self.check_captions()
        self.rig.verify()
        self.ws.no_worker_is_left()
        self.checked += 1

    def removed(self):
        """(shard relative to the dataset, key) of samples that are dead and still there."""
        try:
            with open(os.path.join(self.ws.dataset, ".latentd", "removed.txt")) as file:
                return {tuple(line.rstrip("\n").split("\t")) for line in file}
        except FileNotFoundError:
            return set()

    def live(self):
        dead = self.removed()
        found = [
            s
            for s in read_dataset(self.ws.dataset)
            if (os.path.relpath(s.shard, self.ws.dataset), s.key) not in dead
        ]
        found = self.with_their_variants(found)
        for what in ("path", "key"):
            names = [getattr(s, what) for s in found]
            twice = sorted({n for n in names if names.count(n) > 1})
            equal(twice, [], f"live samples that have their {what} in common")
        return found

    def with_their_variants(self, found):
        """The plain ones, each of which must have the others behind it."""
        numbers = list(range((1, 2, None, 4)[len(self.more)]))
        plain = found[:: len(numbers)]
        equal(len(found), len(numbers) * len(plain), "number of samples")
        for i, first in enumerate(plain):
            group = found[i * len(numbers) :][: len(numbers)]
            equal([(s.record["variant"], s.shard) for s in group], [(n, first.shard) for n in numbers], f"variants of {first.key}")
            for sample in group[1:]:
                record = sample.record
                for same in ("source", "content_xxh3_128", "caption"):
                    equal(record[same], first.record[same], f"{same} of {sample.key}")
                latent, has = hashlib.sha256(sample.npy).hexdigest(), (record["variant"], record["content_xxh3_128"])
                equal(latent, self.latents.setdefault(has, latent), f"the latent of {sample.key}")
        return plain

    def check_captions(self):
        """Of images that are there; those of deleted ones stay as they were."""
        for sample in self.live():
            if sample.path in self.files:
                wanted = self.captions.get(os.path.splitext(sample.path)[0])
                equal(sample.record["caption"], wanted, f"the caption of {sample.path}")
                equal(sample.members["txt"], (wanted or "").encode(), f"{sample.key}.txt")
        told = os.path.join(self.ws.dataset, ".latentd", "captions.jsonl")
        assert not os.path.exists(told), f"{told} is still there"

    def check_samples(self, data):
        found = {s.path: s for s in self.live()}
        for path in sorted(data.may.keys() | found.keys()):
            sample = found.get(path)
            has = sample.record["content_xxh3_128"] if sample else ABSENT
            assert has in data.of(path), f"{path} has {has}, not one of {data.of(path)}"
            data.may[path] = {has}
            if sample:
                equal(len(sample.members), 3, f"number of members of {path}")
                latent = hashlib.sha256(sample.npy).hexdigest()
                equal(latent, self.latents.setdefault(has, latent), f"the latent of {path}")

    def part_of_a_run(self, data, removes, result):
        self.deaths += 1
        self.after_a_part_of_a_run(data, removes)

    def died(self, chance):
        """A run that ends at a counted call."""
        if not self.files:
            return None
        data, removes, options = self.encode_options(chance)
        fault = f"change:{chance.randrange(1, 300)}:{chance.choice(('die', 'die-half', 'die-after'))}"
        result = self.ws.encode(*options, code=None, env=self.rig.shim(fault=fault))
        if result.code == DIED:
            self.part_of_a_run(data, removes, result)
        else:
            self.ended(data, removes, result)
        return " ".join(["--name", self.ws.name, *options, fault, f"-> {result.code}"])

    def stopped(self, chance, number):
        if not self.files:
            return None
        data, removes, options = self.encode_options(chance)
        after_s = chance.random() * self.encode_s
        process = self.ws.start(*self.ws.encode_words(*options))
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        result = self.ws.finish(process)
        if result.code in (OK, QUARANTINED):
            self.ended(data, removes, result)
        else:
            assert result.code in (-number, INTERRUPTED), f"exit status {result.code}"
            self.part_of_a_run(data, removes, result)
        return " ".join(["--name", self.ws.name, *options, f"{after_s:.4f} s -> {result.code}"])

    def killed(self, chance):
        return self.stopped(chance, signal.SIGKILL)

    def interrupted(self, chance):
        return self.stopped(chance, signal.SIGINT)

    def has_output(self):
        return any(data.exists for data in self.datasets.values())

    def maintain(self, chance):
        """A command that must not change what the output holds; sometimes it dies."""
        if not self.has_output():
            return None
        size = str(chance.choice((2, 5, 1000)))
        words = chance.choice(
            (
                ["gc"],
                ["gc", "--grace", "0"],
                ["compact", "--shard-samples", size],
                ["compact", "--shard-samples", size, "--dry-run"],
                ["repack", "--shard-samples", size, "--format", chance.choice(("wds", "mds"))],
                ["repack", "--shard-samples", size, "--order", chance.choice(("scan", "shuffled")), "--val", "20"],
                ["retry"],
                ["reindex"],
                ["verify"],
                ["verify", "--deep"],
            )
        )
        words += ["--out", self.ws.out]
        if chance.random() < 0.3:
            fault = f"change:{chance.randrange(1, 80)}:{chance.choice(('die', 'die-after'))}"
            result = self.ws.latentctl(*words, code=None, env=self.rig.shim(fault=fault))
            assert result.code in (OK, DIED), f"exit status {result.code}"
            self.deaths += result.code == DIED
            return " ".join([*words, fault, f"-> {result.code}"])
        self.ws.latentctl(*words)
        return " ".join(words)

    def flip(self, chance):
        """A byte of a shard is changed. Only what has a file can be encoded again."""
        self.ws.name = chance.choice(NAMES)
        data = self.datasets[self.ws.name]
        shards = [f for f in shard_files(self.ws.dataset) if f not in self.unseen]
        if not data.exists or not shards:
            return None
        file = shards[int(chance.random() * len(shards))]
        name, samples = os.path.relpath(file, self.ws.dataset), read_shard(file)
        with open(file, "r+b") as shard:
            at = int(chance.random() * os.path.getsize(file))
            shard.seek(at)
            byte = shard.read(1)[0]
            shard.seek(at)
            shard.write(bytes([byte ^ 1 << chance.randrange(8)]))
        found = self.on_output("verify", "--deep", code=None)
        assert found.code in (OK, DAMAGED), f"exit status {found.code}"
        hidden = f" {self.ws.name}: {name} was replaced before the last run ended: taken out of sight\n"
        if hidden in found.err:  # its samples are in another shard
            return f"{self.ws.name}/{name} at {at}, replaced"
        for sample in samples:
            data.of(sample.path).add(ABSENT)
        if found.code == OK:  # a shard that a run has left without a row
            assert f"{self.ws.name}/{name}: not in the catalog" in found.out, found
            self.unseen.add(file)
        return f"{self.ws.name}/{name} at {at}"

    def rebuild(self, chance):
        """The state is lost. What was dead or failed is forgotten; all else is as it was."""
        if not any(shard_files(os.path.join(self.ws.out, name)) for name in NAMES):
            return None
        if any(f.endswith(".mds.zstd") and os.path.exists(f) for f in self.unseen):
            return None  # nothing of it can be read here
        for name, data in self.datasets.items():
            self.ws.name = name
            dead, data.exists = self.removed(), bool(shard_files(self.ws.dataset))
            for sample in read_dataset(self.ws.dataset):
                if (os.path.relpath(sample.shard, self.ws.dataset), sample.key) in dead:
                    data.of(sample.path).add(sample.record["content_xxh3_128"])
        shutil.rmtree(self.ws.environment["XDG_STATE_HOME"])
        fault = f"change:{chance.randrange(1, 60)}:{chance.choice(('die', 'die-after'))}"
        words = ["rebuild", self.ws.out, self.ws.src]
        unseen, self.unseen = {f for f in self.unseen if os.path.exists(f)}, set()
        died = chance.random() < 0.4
        if died:
            self.ws.latentctl(*words, code=None, env=self.rig.shim(fault=fault))
        result = self.ws.latentctl(*words, code=None)
        if result.code == DAMAGED:
            assert any(os.path.relpath(f, self.ws.out) in result.out for f in unseen), result
        else:
            was_done = died and "--force" in result.err
            assert result.code == OK or was_done, f"exit status {result.code}"
        return fault if died else ""

    # -- the steps

    WEIGHTS = {
        add: 12,
        copy: 6,
        change: 5,
        touch: 3,
        move: 5,
        swap: 2,
        delete: 5,
        damage: 4,
        repair: 3,
        caption: 8,
        encode: 14,
        died: 10,
        killed: 5,
        interrupted: 3,
        maintain: 10,
        flip: 3,
        rebuild: 3,
    }

    def run(self, only):
        chance = random.Random(self.seed)
        steps = random.Random(f"{self.seed} steps").choice((20, 40, 80))
        done, self.log = 0, []
        for n in range(steps):
            (step,) = chance.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))
            seed = chance.random()
            if only and n not in only:
                continue
            self.ws.history.clear()
            self.log.append((n, step.__name__, "(failed here)"))
            did = step(self, random.Random(seed))
            if did is None:
                self.log.pop()
            else:
                self.log[-1] = (n, step.__name__, did)
                done += 1
        return done


@functools.cache
def zygotes():
    """Those of this process: starting them costs more than an episode's runs."""
    return Zygotes()


def run_episode(seed, only=()):
    """(steps, checked runs, deaths), or None where it failed, which is printed."""
    ws = Workspace()
    zygotes().serve(ws)
    episode = Episode(ws, seed)
    try:
        steps = episode.run(only)
    except Exception as why:
        print(f"FAILED: {type(why).__name__}: {why}")
        for n, name, what in episode.log:
            print(f"  {n:3} {name}: {what}")
        print("".join(f"$ {result}\n" for result in ws.history[-3:]), end="")
        ran = ",".join(str(n) for n, _, _ in episode.log)
        print(f"again: LATENTD_TEST_SEED={seed} LATENTD_MODEL_STEPS={ran}", flush=True)
        return None
    finally:
        if not os.environ.get("LATENTD_E2E_KEEP"):
            ws.remove()
    return steps, episode.checked, episode.deaths


def episodes(first, only, end):
    """The counts of one after the other, on @JOBS cores at once; None of each that failed."""
    if os.environ.get("LATENTD_TEST_SEED"):
        yield run_episode(first, only)
        return
    todo = itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(first))
    if JOBS == 1:
        yield from (run_episode(seed, only) for seed in todo)
        return
    with multiprocessing.Pool(JOBS) as pool:
        for batch in iter(lambda: list(itertools.islice(todo, 8 * JOBS)), []):
            yield from pool.imap_unordered(run_episode, batch)


def main():
    one = os.environ.get("LATENTD_TEST_SEED")
    only = {int(n) for n in (os.environ.get("LATENTD_MODEL_STEPS") or "").split(",") if n}
    first = int(one) if one else random.randrange(1 << 32)
    passed, failed, totals = 0, 0, [0, 0, 0]
    for counts in episodes(first, only, time.monotonic() + SECONDS):
        if counts is None:
            failed += 1
        else:
            passed += 1
            before, totals = totals[0], [a + b for a, b in zip(totals, counts)]
            if before // 10000 != totals[0] // 10000:
                print(f"{passed + failed} episodes from {first}: {totals[0]} steps", flush=True)
        if failed == 5 or totals[0] >= STEPS:
            break
    print(f"{passed + failed} episodes from {first}: steps {totals[0]}, ", end="")
    print(f"checked runs {totals[1]}, deaths {totals[2]}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


main()
