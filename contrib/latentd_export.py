#!/usr/bin/env python3
"""Exports that need Python's own writers; latentctl export has the others.

    latentd_export.py OUT/NAME --to simpletuner --into CACHE --images IMAGES --id ID      needs torch
    latentd_export.py OUT/NAME --to diffusers-sdxl --into DIR                             needs datasets
    latentd_export.py OUT/NAME --to mds --into DIR [--raw] [--dtype float16]              needs xxhash

mds: DIR/mds, shards of MosaicML Streaming, a stream for each size below it and all of them in its index. simpletuner: CACHE is the backend's cache_dir_vae and ID its id; IMAGES, its instance_data_dir, also gets the two
aspect JSON files. diffusers-sdxl: a dataset for load_from_disk() with what train_text_to_image_sdxl.py precomputes.
latentd_wds.py lies beside this file. docs/EXPORT.md of latentd says more.
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.parse

import numpy

from latentd_wds import LatentBatches, finish, overlays, variants_of


class MdsSamples:
    """A dataset of MosaicML's format, as LatentBatches has one of tars: buckets, rows, sample(i)."""

    def __init__(self, folder, split, scale):
        self.folder, self.scale, self.opened = folder, scale, (None, None)
        self.captions, removed = overlays(folder)
        self.variants = variants_of(folder)[1]
        self.buckets = {}  # name -> [(shard, place in it)]
        for index in sorted(glob.glob(os.path.join(glob.escape(folder), split, "*", "index.json"))):
            bucket, rows = os.path.basename(os.path.dirname(index)), []
            with open(index, encoding="utf-8") as file:
                shards = json.load(file)["shards"]
            for shard in shards:
                path = f"{split}/{bucket}/{shard['zip_data']['basename']}"
                gone = {key for at, key in removed if at == path}
                left = [n for n in range(shard["samples"]) if not gone or self._read(path, n)["key"] not in gone]
                # the variants of an image stand side by side, the plain one first
                rows += [(path, n) for n in left[:: self.variants]]
            self.buckets[bucket] = rows
        self.rows = [row for rows in self.buckets.values() for row in rows]

    def _open(self, path):
        """(the shard, its places, its config); one is kept."""
        if self.opened[0] != path:
            import zstandard

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

    def sample(self, i):
        path, n = self.rows[i]
        values, config = self._read(path, n), self._open(path)[2]
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
        return finish(members, self.captions, self.scale, 0, 0)


def samples_of(folder, split, scale):
    with open(os.path.join(folder, ".latentd", "dataset.json"), encoding="utf-8") as file:
        about = json.load(file)
    if about["format"] == "mds":
        data = MdsSamples(folder, split, scale)
    else:
        data = LatentBatches(folder, 1, scale=scale, split=split)
    if not len(data.rows):
        raise ValueError(f"{folder}: no samples in {split}/")
    return data


def shown(items, total):
    """The items, with a line on stderr about how far it is: each second on a terminal, else each half minute."""
    began = last = time.monotonic()
    every, end = (1, "\r") if sys.stderr.isatty() else (30, "\n")
    for n, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last >= every or (n + 1 == total and last > began):
            print(f"{n + 1} of {total}, {(n + 1) / (now - began):.0f}/s", file=sys.stderr, end=end if n + 1 < total else "\n")
            last = now


def source_path(record):
    """The image's path, relative to its source."""
    path = os.fsdecode(urllib.parse.unquote_to_bytes(record["source"]))
    if os.path.isabs(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{record['key']}: its source {path!r} is not below a folder")
    return path


def sync_tree(folder, files=False):
    """What is in its folders is durable then; what is in its files only where it is asked for."""
    for at, _, names in os.walk(folder):
        for path in [os.path.join(at, name) for name in names if files] + [at]:
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def write_whole(path, write):
    """The file appears whole or not at all; sync_tree() keeps its name."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def claim(folder, about):
    """Refuses a folder with foreign files or another export; another run of the same one goes on, one at a time."""
    mark = os.path.join(folder, ".latentd-export", about["format"] + ".json")
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if json.load(file) != about:
                raise ValueError(f"{folder} holds an export of another dataset or with other options: choose another")
    elif os.path.isdir(folder) and set(os.listdir(folder)) - {".latentd-export"}:
        raise ValueError(f"{folder} is not empty and holds no such export: choose another")

    def begin():
        os.makedirs(os.path.dirname(mark), exist_ok=True)
        begin.lock = open(os.path.join(os.path.dirname(mark), "lock"), "ab")  # until this process ends
        try:
            fcntl.lockf(begin.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process exports into {folder}") from None
        for left in glob.glob(os.path.join(glob.escape(os.path.dirname(mark)), "tmp*")):
            shutil.rmtree(left)  # of a run that was killed
        write_whole(mark, lambda file: file.write(json.dumps(about).encode()))

    return begin


def simpletuner(data, words):
    """SimpleTuner bc8e6ab (2026-08): helpers/caching/vae.py and helpers/metadata/backends/discovery.py."""
    import torch

    images = os.path.abspath(words.images)
    lists = {n: os.path.join(images, f"aspect_ratio_bucket_{n}_{words.id}.json") for n in ("indices", "metadata")}
    begin = claim(words.into, {"format": "simpletuner", "recipe_id": data.sample(0)["record"]["recipe_id"],
                               "images": images, "id": words.id, **words.about})
    names, unnamed = {}, 0
    for i in range(len(data.rows)):
        path = source_path(data.sample(i)["record"])
        try:
            digest = hashlib.sha256(os.path.splitext(os.path.basename(path))[0].encode()).hexdigest()
            names.setdefault(os.path.join(os.path.dirname(path), digest + ".pt"), (i, path))
        except UnicodeEncodeError:
            unnamed += 1
    print(f"{len(names)} samples; not carried: hashes, recipe, meta, attached arrays; captions stay beside the images")
    if clashes := len(data.rows) - unnamed - len(names):
        print(f"left out: {clashes} whose file would have the name of another's")
    if unnamed:
        print(f"left out: {unnamed} whose name is not UTF-8, which SimpleTuner cannot have")
    if words.dry_run:
        return
    begin()
    indices, metadata, written = {}, {}, 0
    for name, (i, path) in shown(names.items(), len(names)):
        sample, target = data.sample(i), os.path.join(words.into, name)
        record = sample["record"]
        if not os.path.exists(target):
            tensor = torch.from_numpy(sample["latent"]).to(getattr(torch, words.dtype or "float32"))
            write_whole(target, lambda file: torch.save(tensor, file))
            written += 1
        aspect = round(record["target_size"][0] / record["target_size"][1], 2)
        indices.setdefault(str(aspect), []).append(os.path.join(images, path))
        metadata[os.path.join(images, path)] = {
            "original_size": record["original_size"], "intermediary_size": record["resized_size"],
            "target_size": record["target_size"], "crop_coordinates": record["crop_top_left"], "aspect_ratio": aspect,
        }
    contents = {"indices": {"config": {}, "aspect_ratio_bucket_indices": indices}, "metadata": metadata}
    for name, path in lists.items():
        write_whole(path, lambda file: file.write(json.dumps(contents[name]).encode()))
    sync_tree(words.into)
    print(f"{words.into}: {written} files written, {len(names) - written} there already")


def diffusers_sdxl(data, words):
    """diffusers 58eb52c (2026-08): the columns that compute_vae_encodings and preprocess_train make."""
    import datasets

    about = data.sample(0)["record"]["latent"]
    if abs(about["scaling_factor"] - 0.13025) > 1e-6 or about.get("latents_mean"):
        raise ValueError(f"its scaling factor is {about['scaling_factor']}: not SDXL's latents")
    recipe_id = data.sample(0)["record"]["recipe_id"]
    begin = claim(words.into, {"format": "diffusers-sdxl", "recipe_id": recipe_id, **words.about})
    print(f"{len(data.rows)} samples; not carried: hashes, recipe, meta, attached arrays")
    sizes = {tuple(data.sample(i)["record"]["target_size"]) for i in range(len(data.rows))} if words.dry_run else ()
    if words.dry_run:
        return print(f"sizes: {sorted(sizes)}; that script trains on one (encode --bucketing square)")
    begin()

    def rows():
        for i in shown(range(len(data.rows)), len(data.rows)):
            sample = data.sample(i)
            height, width = (int(n) for n in sample["time_ids"][:2])
            yield {"model_input": sample["latent"], "original_sizes": (height, width), "text": sample["caption"],
                   "crop_top_lefts": sample["record"]["crop_top_left"], "key": sample["key"]}

    numbers = datasets.Sequence(datasets.Value("int64"))
    floats = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
    features = datasets.Features({"model_input": floats, "original_sizes": numbers, "crop_top_lefts": numbers,
                                  "text": datasets.Value("string"), "key": datasets.Value("string")})
    with tempfile.TemporaryDirectory(dir=os.path.join(words.into, ".latentd-export")) as cache:
        made = datasets.Dataset.from_generator(rows, features=features, cache_dir=cache)
        made.save_to_disk(os.path.join(cache, "whole"))
        sync_tree(os.path.join(cache, "whole"), files=True)
        os.rename(os.path.join(cache, "whole"), os.path.join(words.into, "dataset"))
    sync_tree(words.into)
    print(f"{words.into}/dataset: {len(data.rows)} rows")


MDS_COLUMNS = {"caption": "str", "crop_top_left": "json", "key": "str", "latent": "ndarray:{}", "meta": "json",
               "original_size": "json", "target_size": "json"}
MDS_RAW_BYTES = 1 << 26  # of a full shard, as MDSWriter has it


def mds_sample(sample, dtype):
    """A sample's bytes: sizes of all columns, by name, then the columns."""
    latent, record = sample["latent"].astype(dtype), sample["record"]
    if not numpy.isfinite(latent).all():
        raise ValueError(f"{sample['key']}: values are too large for {dtype}")
    wide = next(c for c in range(3) if max(latent.shape) < 1 << (8 << c))
    shape = bytes([latent.ndim << 2 | wide]) + numpy.array(latent.shape, f"<u{1 << wide}").tobytes()
    values = {"caption": sample["caption"].encode(), "key": sample["key"].encode(), "latent": shape + latent.tobytes()}
    for name in ("crop_top_left", "meta", "original_size", "target_size"):
        values[name] = json.dumps(record[name]).encode()
    columns = [values[name] for name in sorted(MDS_COLUMNS)]
    return numpy.array([len(c) for c in columns], "<u4").tobytes() + b"".join(columns)


def mds_shard(folder, number, samples, dtype):
    """Writes a shard of these samples; its entry in index.json."""
    import xxhash
    import zstandard

    names, basename = sorted(MDS_COLUMNS), f"shard.{number:05d}.mds"
    entry = {"version": 2, "format": "mds", "compression": "zstd", "hashes": ["sha256", "xxh64"],
             "size_limit": MDS_RAW_BYTES, "column_names": names, "column_sizes": [None] * len(names),
             "column_encodings": [MDS_COLUMNS[name].format(dtype) for name in names], "samples": len(samples)}
    config = json.dumps(entry, sort_keys=True).encode()
    first = 4 + 4 * (len(samples) + 1) + len(config)
    offsets = first + numpy.cumsum([0] + [len(sample) for sample in samples])
    raw = numpy.array([len(samples), *offsets], "<u4").tobytes() + config + b"".join(samples)
    packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(raw)  # one frame, its size in the header
    for name, suffix, data in (("raw_data", "", raw), ("zip_data", ".zstd", packed)):
        hashes = {"sha256": hashlib.sha256(data).hexdigest(), "xxh64": xxhash.xxh64_hexdigest(data)}
        entry[name] = {"basename": basename + suffix, "bytes": len(data), "hashes": hashes}
    write_whole(os.path.join(folder, basename + ".zstd"), lambda file: file.write(packed))
    return entry


def mds(data, words):
    """mosaicml-streaming 0.13: base/format/mds/writer.py, with whole shards of one size."""
    dtype = words.dtype or "float16"
    if dtype == "bfloat16":
        raise ValueError("MDS has no bfloat16: --dtype float16 or float32")
    about = {"format": "mds", "recipe_id": data.sample(0)["record"]["recipe_id"], "dtype": dtype, "raw": words.raw}
    begin = claim(words.into, {**about, **words.about})
    print(f"{len(data.rows)} samples in {len(data.buckets)} streams; not carried: hashes, recipe, log-variance of moments, "
          "attached arrays")
    if words.dry_run:
        return
    begin()
    if os.path.exists(final := os.path.join(words.into, "mds")):
        raise ValueError(f"{final} is there already")
    with tempfile.TemporaryDirectory(dir=os.path.join(words.into, ".latentd-export")) as cache:
        whole, at, merged = os.path.join(cache, "mds"), 0, []
        numbers = iter(shown(range(len(data.rows)), len(data.rows)))
        for bucket, rows in data.buckets.items():
            shards, waiting, size = [], [], 0
            for i in itertools.islice(numbers, len(rows)):
                waiting.append(mds_sample(data.sample(i), dtype))
                size += len(waiting[-1]) + 4
                if size >= MDS_RAW_BYTES or i == at + len(rows) - 1:
                    shards.append(mds_shard(os.path.join(whole, bucket), len(shards), waiting, dtype))
                    waiting, size = [], 0
            at += len(rows)
            text = json.dumps({"version": 2, "shards": shards}).encode()
            if shards:
                write_whole(os.path.join(whole, bucket, "index.json"), lambda file: file.write(text))
            for shard in shards:
                for name in ("raw_data", "zip_data"):
                    shard[name] = {**shard[name], "basename": f"{bucket}/{shard[name]['basename']}"}
            merged += shards
        text = json.dumps({"version": 2, "shards": merged}).encode()
        write_whole(os.path.join(whole, "index.json"), lambda file: file.write(text))
        os.rename(whole, final)
    sync_tree(words.into)
    print(f"{final}: {len(merged)} shards")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--to", required=True, choices=["simpletuner", "diffusers-sdxl", "mds"])
    parser.add_argument("--into", required=True)
    parser.add_argument("--images", help="simpletuner: instance_data_dir")
    parser.add_argument("--id", help="simpletuner: id of the data backend")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--raw", action="store_true", help="mds: latents as the VAE gives them, not scaled")
    parser.add_argument("--split", default="train", help="train, or val, where latentctl repack --val made one")
    parser.add_argument("--dry-run", action="store_true")
    words = parser.parse_args()
    if words.to == "simpletuner" and not (words.images and words.id):
        parser.error("simpletuner needs --images and --id")
    if words.raw and words.to != "mds":
        parser.error("--raw is for mds")
    words.into = os.path.abspath(words.into)
    words.about = {} if words.split == "train" else {"split": words.split}
    try:
        data = samples_of(words.dataset, words.split, not words.raw)
        for other in {"train", "val"} - {words.split}:
            if glob.glob(os.path.join(glob.escape(words.dataset), other, "*", "*")):
                print(f"not carried: what is in {other}/ (--split {other}, into another folder)")
        if data.variants > 1:
            print("left out: mirrored images and further crops")
        {"simpletuner": simpletuner, "diffusers-sdxl": diffusers_sdxl, "mds": mds}[words.to](data, words)
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.exit(f"latentd_export.py: {error}")


if __name__ == "__main__":
    main()
