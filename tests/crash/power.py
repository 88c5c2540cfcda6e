"""What a disk may hold after the power went: a journal of the shim (shim_journal.c), played up to some call.

POSIX promises that fsync of a file keeps its bytes and fsync of a folder keeps its names. Everything else is as
the file system likes; the models below are what real ones do:

lost	nothing that was not synced is there: neither bytes nor names
some	names up to a random moment, and random 512-byte sectors of the bytes: torn, and out of order
empty	all names, none of the bytes: files end where they were synced (ext4 with delayed allocation)
zeros	all names and sizes, but zeros for the bytes (XFS of old, and ext4 with data=writeback)

A rename between folders is one step of a file system's journal; as strictly as POSIX has it, fsync of the new
folder keeps the new name only, so that both may be there.
"""

import os
import random
import struct

OPEN, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR = range(1, 9)
MODELS = ("lost", "some", "empty", "zeros")
SECTOR = 512
O_TRUNC = os.O_TRUNC
HEAD = struct.Struct("<IIQII")


def read_journal(path, moved):
    """[(op, handle, number, name, data)] of a journal of the folder @from, as of @to: @moved is {from: to}."""
    ((was, now),) = moved.items()
    with open(path, "rb") as file:
        raw = file.read()
    entries, at = [], 0
    while at < len(raw):
        op, handle, number, name_size, data_size = HEAD.unpack_from(raw, at)
        at += HEAD.size
        name = os.fsdecode(raw[at : at + name_size])
        at += name_size
        data = raw[at : at + data_size]
        at += data_size
        if op in (RENAME, LINK):
            data = now + os.fsdecode(data).removeprefix(was)
        name = now + name.removeprefix(was) if name else name
        entries.append((op, handle, number, name, data))
    return entries


class File:
    def __init__(self, data=b""):
        self.size, self.durable, self.pending = len(data), data, []

    def write(self, offset, data):
        self.pending.append((offset, data))
        self.size = max(self.size, offset + len(data))

    def truncate(self, size):
        self.pending.append((size, None))
        self.size = size

    def sync(self):
        self.durable, self.pending = self.after(lambda: True), []

    def after(self, survives):
        """The bytes, where survives() decides about each sector that was written and each truncation."""
        data = bytearray(self.durable)
        for offset, written in self.pending:
            if written is None:
                if survives():
                    resize(data, offset)
                continue
            end = offset + len(written)
            while offset < end:
                stop = min(end, offset // SECTOR * SECTOR + SECTOR)
                if survives():
                    resize(data, max(len(data), stop))
                    data[offset:stop] = written[len(written) - (end - offset) :][: stop - offset]
                offset = stop
        return bytes(data)

    def under(self, model, chance):
        if model == "some":
            part = chance.choice((0.1, 0.5, 0.9))
            return self.after(lambda: chance.random() < part)
        if model == "zeros":
            data = bytearray(self.durable)
            resize(data, self.size)
            return bytes(data)
        return self.durable


def resize(data, size):
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


class Folder:
    def __init__(self):
        self.names, self.durable = {}, {}


class Disk:
    """The folder @root as it is, all synced; play() does to it in memory what a journal says."""

    def __init__(self, root):
        self.root, self.handles = root, {}
        self.top = self.load(root)
        self.pending = []  # changes of names, in order: [(folder, name, what is there then or None)]

    def load(self, path):
        if not os.path.isdir(path):
            with open(path, "rb") as file:
                return File(file.read())
        folder = Folder()
        for name in os.listdir(path):
            if not os.path.islink(os.path.join(path, name)):  # of an index: made again by the next run
                folder.names[name] = self.load(os.path.join(path, name))
        folder.durable = dict(folder.names)
        return folder

    def find(self, path):
        """(folder, name) of a path in it."""
        folder, parts = self.top, os.path.relpath(path, self.root).split(os.sep)
        for part in parts[:-1]:
            if part != ".":
                folder = folder.names[part]
        return folder, parts[-1]

    def change(self, *changes):
        for folder, name, what in changes:
            if what is None:
                del folder.names[name]
            else:
                folder.names[name] = what
        self.pending.append(list(changes))

    def play(self, entry):
        op, handle, number, name, data = entry
        if op == OPEN:
            self.handles[handle] = self.open(name, number)
        elif op == WRITE:
            self.handles[handle].write(number, data)
        elif op == TRUNCATE:
            self.handles[handle].truncate(number)
        elif op == SYNC:
            self.sync(self.handles[handle])
        elif op == MKDIR:
            self.change((*self.find(name), Folder()))
        elif op == UNLINK:
            folder, base = self.find(name)
            if base in folder.names:  # else it was a link
                self.change((folder, base, None))
        else:
            (folder, base), to = self.find(name), self.find(data)
            what = folder.names[base]
            self.change((*to, what), *([(folder, base, None)] if op == RENAME else []))

    def open(self, path, flags):
        if path == self.root:
            return self.top
        folder, name = self.find(path)
        if name == ".":
            return folder
        if name not in folder.names:
            self.change((folder, name, File()))
        elif flags & O_TRUNC:
            folder.names[name].truncate(0)
        return folder.names[name]

    def sync(self, what):
        if isinstance(what, File):
            what.sync()
            return
        left = []
        for changes in self.pending:
            # The old name of a rename may stay until its own folder is synced, not the other way round.
            gone_here = any(folder is what and there is None for folder, _, there in changes)
            kept = [c for c in changes if c[0] is what or gone_here]
            make_durable(kept)
            if rest := [c for c in changes if c not in kept]:
                left.append(rest)
        self.pending = left

    # -- after the power cut

    def contents(self, model, seed=0):
        """{path below the root: bytes, or None for a folder}"""
        chance = random.Random(seed)
        names = {id(f): (f, dict(f.durable)) for f in self.folders()}
        survivors = {"lost": 0, "some": chance.randint(0, len(self.pending))}
        for changes in self.pending[: survivors.get(model, len(self.pending))]:
            for folder, name, what in changes:
                set_name(names.setdefault(id(folder), (folder, {}))[1], name, what)
        return dict(self.walk(self.top, "", names, model, chance))

    def folders(self):
        """All there are or were, for what is durable may be in one that has another name by now."""
        found, left = [], [self.top]
        seen = set()
        while left:
            folder = left.pop()
            if id(folder) in seen:
                continue
            seen.add(id(folder))
            found.append(folder)
            inside = [*folder.names.values(), *folder.durable.values()]
            left += [f for f in inside if isinstance(f, Folder)]
        return found

    def walk(self, folder, at, names, model, chance):
        for name, what in sorted(names[id(folder)][1].items()):
            path = os.path.join(at, name)
            if isinstance(what, Folder):
                yield path, None
                yield from self.walk(what, path, names, model, chance)
            elif not name.endswith("-shm"):  # memory of the processes that had it open
                yield path, what.under(model, chance)


def set_name(names, name, what):
    if what is None:
        names.pop(name, None)
    else:
        names[name] = what


def make_durable(changes):
    for folder, name, what in changes:
        set_name(folder.durable, name, what)


def write_out(contents, root):
    """Makes @root, which must not be there, hold @contents."""
    os.makedirs(root)
    for path, data in contents.items():
        full = os.path.join(root, path)
        if data is None:
            os.mkdir(full)
        else:
            with open(full, "wb") as file:
                file.write(data)
