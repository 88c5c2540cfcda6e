"""What tests of shards of MosaicML Streaming share."""

import glob
import hashlib
import json
import os

from harness import equal, same_members
from reference import read_dataset, shard_files


def index(*parts):
    with open(os.path.join(*parts, "index.json"), encoding="utf-8") as file:
        return json.load(file)["shards"]


def indexes_are_true(dataset, split="train"):
    """A stream for each size, and all of them in one: exactly the shards that are there, with their hashes."""
    train, merged = os.path.join(dataset, split), []
    sizes = sorted({os.path.basename(os.path.dirname(file)) for file in shard_files(dataset, split)})
    for size in sizes:
        stream = index(train, size)
        names = [os.path.basename(f) for f in shard_files(dataset, split) if f.split("/")[-2] == size]
        equal([entry["zip_data"]["basename"] for entry in stream], names, f"shards of {size}")
        for entry in stream:
            with open(os.path.join(train, size, entry["zip_data"]["basename"]), "rb") as file:
                data = file.read()
            equal(entry["zip_data"]["bytes"], len(data), "bytes")
            equal(entry["zip_data"]["hashes"]["sha256"], hashlib.sha256(data).hexdigest(), "sha256")
            for part in ("raw_data", "zip_data"):
                entry[part]["basename"] = f"{size}/{entry[part]['basename']}"
            merged.append(entry)
    equal(index(train), merged, "the index of all streams")
    jsons = glob.glob(os.path.join(train, "**", "*.json"), recursive=True)
    wanted = {os.path.join(train, size, "index.json") for size in sizes} | {os.path.join(train, "index.json")}
    same_members(jsons, wanted, "JSON files")


def captioned(ws, n, **settings):
    paths = ws.small_pictures(n, **settings)
    for path in paths[::2]:
        ws.write(os.path.splitext(path)[0] + ".txt", f"a picture of {path}\n".encode())
    return paths


def contents(dataset):
    found = {s.path: (s.record, s.npy, s.members.get("txt")) for s in read_dataset(dataset)}
    equal(len(found), len(read_dataset(dataset)), "number of paths")
    return found
