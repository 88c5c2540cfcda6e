"""Reads datasets of latentd in MosaicML's format, sample by sample, as latentd_wds.py reads those of tars: for
latentd_export.py. A training job uses MosaicML Streaming instead.
"""

import glob
import json
import os

import numpy
import zstandard

from latentd_wds import finish, state_of


class MdsSamples:
    """A dataset of MosaicML's format, as LatentBatches has one of tars: buckets, rows, sample(i)."""

    def __init__(self, folder, split, scale, resolution=None):
        self.folder, self.scale, self.opened = folder, scale, (None, None)
        self.captions, removed, _, self.variants, nth, sides = state_of(folder, resolution)
        self.buckets = {}  # name -> [(shard, places of an image's variants in it)]
        for index in sorted(glob.glob(os.path.join(glob.escape(folder), split, "*", "index.json"))):
            bucket, rows = os.path.basename(os.path.dirname(index)), []
            with open(index, encoding="utf-8") as file:
                shards = json.load(file)["shards"]
            for shard in shards:
                path = f"{split}/{bucket}/{shard['zip_data']['basename']}"
                gone = {key for at, key in removed if at == path}
                left = [n for n in range(shard["samples"]) if not gone or self._read(path, n)["key"] not in gone]
                # the variants of an image stand side by side, the plain one of each resolution first
                images = range(nth * self.variants, len(left), sides * self.variants)
                rows += [(path, left[n : n + self.variants]) for n in images]
            self.buckets.setdefault(bucket.split("_")[nth], []).extend(rows)
        self.rows = [row for rows in self.buckets.values() for row in rows]

    def _open(self, path):
        """(the shard, its places, its config); one is kept."""
        if self.opened[0] != path:
            with open(os.path.join(self.folder, path), "rb") as file:
                raw = zstandard.ZstdDecompressor().decompress(file.read())
            places = numpy.frombuffer(raw, "<u4", int.from_bytes(raw[:4], "little") + 1, 4)
            self.opened = path, (raw, places, json.loads(raw[4 + places.nbytes : places[0]]))
        return self.opened[1]

    def _read(self, path, n):
        """{column: bytes} of a sample."""
        raw, places, config = self._open(path)
        at, sizes = int(places[n]), list(config["column_sizes"])
        for i, size in enumerate(sizes):
            if size is None:
                sizes[i] = int.from_bytes(raw[at : at + 4], "little")
                at += 4
        values = {}
        for name, size in zip(config["column_names"], sizes):
            values[name] = raw[at : at + size]
            at += size
        return {**values, "key": values[config["latentd"]["key"]].decode()}

    def sample(self, i, variant=0):
        path, places = self.rows[i]
        values, config = self._read(path, places[variant]), self._open(path)[2]
        own, encodings, members = config["latentd"], dict(zip(config["column_names"], config["column_encodings"])), {}
        there = values[own["which"]].decode().split("/") if "which" in own else [m[0] for m in own["members"]]
        for suffix, column, *bare in own["members"]:
            value, encoding = values[column], encodings[column]
            if suffix not in there:
                continue
            if bare:  # values alone: their type and shape stand in the config
                value = numpy.frombuffer(value, bare[0]).reshape(bare[1])
            elif encoding.startswith("ndarray:"):
                ndim, wide = value[0] >> 2, 1 << (value[0] & 3)
                shape = numpy.frombuffer(value, f"<u{wide}", ndim, 1)
                value = numpy.frombuffer(value, encoding.split(":")[1], offset=1 + ndim * wide).reshape(shape)
            members[suffix] = json.loads(value) if suffix == "json" else value
        return finish(members, self.captions, self.scale)
