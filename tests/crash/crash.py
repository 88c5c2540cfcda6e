"""What the tests below tests/crash share: the small run that everything is done to, and what must hold after it.

LATENTD_TEST_LONG=1 does all cases instead of as many as fit the time; LATENTD_CRASH_SECONDS sets the time.
"""

import glob
import json
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "e2e"))

from harness import BUILD_DIR, OK, Skip, Workspace, equal, same_members, sanitizer_runtime  # noqa: E402
from reference import read_dataset, shard_files, xxh3_128  # noqa: E402

LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
SHIM = os.path.join(BUILD_DIR, "tests", "shim.so")
DIED, PICTURES = 77, 12
# Of a few hundred bytes: what is looked at here happens behind the decoder.
TINY = ("rgb_trns.png", "odd_420.jpg", "orientation_6.jpg", "palette.png", "grey_trns.png")
OPTIONS = ("--shard-samples", "3", "--jobs", "1", "--quiet")


def time_for(seconds):
    """When a test that may take @seconds in CI has to end; never, in the long run."""
    if LONG and not os.environ.get("LATENTD_CRASH_SECONDS"):
        return float("inf")
    return time.monotonic() + float(os.environ.get("LATENTD_CRASH_SECONDS") or seconds)


def evenly(items):
    """All of @items, in an order whose every beginning is spread evenly over them."""
    items, step = list(items), 0.6180339887498949
    return [items[i] for i in sorted(range(len(items)), key=lambda i: i * step % 1)]


class Rig:
    """A workspace whose output and state lie in one folder, ROOT/fs, that can be put aside and back."""

    def __init__(self, ws, pictures=PICTURES):
        if not os.path.exists(SHIM):
            raise Skip(f"{SHIM} is not built")
        self.ws, self.fs = ws, ws.path("fs")
        ws.out = ws.path("fs", "out")
        ws.environment["XDG_STATE_HOME"] = ws.path("fs", "state")
        # Dying is not leaking.
        ws.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.report = ws.path("report")
        self.preload = sanitizer_runtime(os.path.join(ws.programs, "latentctl")) + SHIM
        self.paths = ws.small_pictures(pictures, names=TINY)
        self.options = OPTIONS
        self.command = None  # that is broken; None: the small run
        self.repacked = False  # that command is a repack: its form counts from its first moment on
        self.facts = {}  # {path: (hash of its content, caption)}, where they are looked at
        self.bases = {}
        os.makedirs(self.fs)

    # -- states of the folder

    def keep(self, name):
        """What is in the folder now comes back with restore(@name)."""
        self.bases[name] = self.ws.path(f"base-{name}")
        shutil.copytree(self.fs, self.bases[name], symlinks=True)

    def restore(self, name=None):
        shutil.rmtree(self.fs)
        if name is None:
            os.makedirs(self.fs)
        else:
            shutil.copytree(self.bases[name], self.fs, symlinks=True)

    # -- runs

    def shim(self, **settings):
        """The environment of a run under the shim: fault=, journal=, clock=, roots=."""
        more = {"SHIM_ROOTS": self.fs, **{f"SHIM_{k.upper()}": v for k, v in settings.items()}}
        return dict(
            self.ws.environment,
            LD_PRELOAD=self.preload,
            SHIM_PROGRAM="latentctl",
            SHIM_REPORT=self.report,
            **more,
        )

    def encode(self, code=OK, **settings):
        """The small run; with settings of the shim, under it."""
        form = self.form() if self.repacked else []
        return self.under(self.ws.encode_words(*self.options, *form), code, settings)

    def form(self):
        """As which a repack, even one that died, has left the dataset: options of encode."""
        path = os.path.join(self.ws.dataset, ".latentd", "dataset.json")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return ["--format", json.load(file)["format"]]

    def run(self, code=OK, **settings):
        """What is broken here, likewise."""
        words = self.command or self.ws.encode_words(*self.options)
        return self.under(words, code, settings)

    def under(self, words, code, settings):
        env = self.shim(**settings) if settings else self.ws.environment
        if os.path.exists(self.report):
            os.remove(self.report)
        return self.ws.latentctl(*words, code=code, env=env)

    def repeat_with(self, fault):
        """What one types to see a fault happen again, after the folder was restored by the test."""
        words = " ".join(self.command or self.ws.encode_words(*self.options))
        return (
            f"LD_PRELOAD={self.preload} SHIM_PROGRAM=latentctl SHIM_ROOTS={self.fs} "
            f"SHIM_FAULT={fault} latentctl {words}"
        )

    def reported(self):
        """(whether the fault happened, {kind: number of calls})"""
        fired, counts = None, {}
        with open(self.report, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.rstrip("\n").split(" ", 3)
                if words[0] == "fired":
                    fired = words[3]
                else:
                    counts[words[1]] = int(words[2])
        return fired, counts

    # -- what must hold

    def samples_are_there(self, paths=None):
        """Each sample once, with all members."""
        samples = read_dataset(self.ws.dataset)
        same_members([s.path for s in samples], self.paths if paths is None else paths, "samples")
        same_members([s.key for s in samples], {s.key for s in samples}, "keys")
        assert all(len(s.members) == 3 for s in samples), "a sample without all its members"
        found = {s.path: (s.record["content_xxh3_128"], s.record["caption"]) for s in samples}
        equal({path: found[path] for path in self.facts}, self.facts, "contents and captions")
        return samples

    def is_whole(self, paths=None, quarantine=0):
        """After a run without faults: all is there once, verified, and nothing lies about."""
        wanted = self.paths if paths is None else paths
        self.samples_are_there(wanted)
        hidden = os.path.join(self.ws.dataset, ".latentd")
        equal(glob.glob(os.path.join(hidden, "partial", "*")), [], "left in partial")
        staged = glob.glob(os.path.join(hidden, "staged", "**"), recursive=True)
        equal([path for path in staged if os.path.isfile(path)], [], "left staged")
        if quarantine is not None:
            equal(len(glob.glob(os.path.join(hidden, "quarantine", "*"))), quarantine, "quarantine")
        equal(glob.glob(os.path.join(self.fs, "**", "*.tmp"), recursive=True), [], "*.tmp")
        result = self.verify()
        assert "not in the catalog" not in result.out, result.out
        jobs = self.ws.status()["jobs"]
        equal(jobs["completed"], len(wanted), "completed")
        equal(sum(jobs.values()) - jobs["gone"], len(wanted), f"all jobs {jobs}")

    def once_more(self, quarantine=0):
        """What was cut off can be had now."""
        self.run()
        self.is_whole(quarantine=quarantine)
        if self.repacked:
            shards, state = shard_files(self.ws.dataset), ".latentd/repack.json"
            equal([file for file in shards if not file.endswith(".mds.zstd")], [], "not repacked")
            assert not os.path.exists(os.path.join(self.ws.dataset, state)), state

    def verify(self):
        """In the long run also what is put aside by --deep: nothing is."""
        return self.ws.latentctl("verify", *(["--deep"] if LONG else []), "--out", self.ws.out)

    def shards(self):
        """{name below the output: bytes}"""
        found = {}
        for path in shard_files(self.ws.dataset):
            with open(path, "rb") as file:
                found[os.path.relpath(path, self.ws.out)] = file.read()
        return found


# -- where a run may have to go on


def interrupted_with_leftovers(rig):
    """A run died between a shard's rename and its row: records in the spool, a shard without a row, a part."""
    rig.encode(code=DIED, fault="rename:6:die-after")
    rig.ws.write("set/.latentd/partial/abcdef.tmp", b"half", rig.ws.out)


def needs_repair(rig):
    """A whole output of which one shard was deleted, one damaged, and to which a foreign tar came; those two."""
    rig.encode()
    files = shard_files(rig.ws.dataset)
    os.remove(files[0])
    os.truncate(files[1], 700)
    foreign = os.path.join(os.path.dirname(files[2]), "000099.tar")
    rig.ws.write(foreign, b"foreign" * 500, "")
    return [os.path.relpath(file, rig.ws.dataset) for file in files[:2]]


def has_changes(rig):
    """A whole output, and what was done since: a picture is deleted, one replaced, two have got captions. The run removes
    a sample, supersedes one, and rewrites their shards and those of the captions."""
    rig.encode()
    gone, other, *told = rig.paths[:4]
    os.remove(os.path.join(rig.ws.src, gone))
    with open(os.path.join(rig.ws.src, rig.paths[4]), "rb") as file:
        data = file.read() + b"another"
    rig.ws.write(other, data)
    for path in told:
        rig.ws.write(os.path.splitext(path)[0] + ".txt", b"told of " + path.encode())
    rig.paths = rig.paths[1:]
    rig.options = (*OPTIONS, "--on-delete", "remove", "--on-delete-all")
    rig.facts = {other: (xxh3_128(data), None)}
    for path in told:
        with open(os.path.join(rig.ws.src, path), "rb") as file:
            rig.facts[path] = (xxh3_128(file.read()), f"told of {path}")


def has_small_shards(rig):
    """A whole output that is to be compacted. All pictures but one have no file any more: no encode could mend what is
    lost."""
    rig.encode()
    only_one_has_a_file(rig)
    rig.command = ["compact", "--shard-samples", "100", "--out", rig.ws.out]


def has_another_form(rig):
    """The same with some captions, and to be brought into another format, order and split."""
    for path in rig.paths[:4]:
        rig.ws.write(os.path.splitext(path)[0] + ".txt", b"told of " + path.encode())
    rig.encode()
    only_one_has_a_file(rig)
    words = ["--format", "mds", "--shard-samples", "5", "--order", "shuffled", "--val", "30"]
    rig.command, rig.repacked = ["repack", *words, "--out", rig.ws.out], True


def only_one_has_a_file(rig):
    samples = rig.samples_are_there()
    rig.facts = {s.path: (s.record["content_xxh3_128"], s.record["caption"]) for s in samples}
    for path in rig.paths[1:]:
        os.remove(os.path.join(rig.ws.src, path))
