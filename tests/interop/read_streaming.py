#!/usr/bin/env python3
"""read_streaming.py LATENTCTL PICTURES MODEL: what MosaicML Streaming reads of datasets of format mds, against the records
that `latentctl extract` gives. `pip install mosaicml-streaming litdata` brings torch along: requirements.txt leaves them out.

Ends with 'N passed, N failed, N skipped'. Without the package everything is skipped, and said so.
"""

import glob
import io
import json
import os
import subprocess
import sys
import tempfile
import traceback

import numpy

PASSED = FAILED = 0


def check(name, test, *words):
    global PASSED, FAILED
    try:
        test(*words)
        PASSED += 1
    except Exception:
        print(f"FAILED {name}:\n{traceback.format_exc()}")
        FAILED += 1


def latentctl(program, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def records(program, dataset, into):
    """{key: (record, array, caption)} by our own reader."""
    found = {}
    for shard in sorted(glob.glob(os.path.join(dataset, "train", "*", "*.mds.zstd"))):
        for line in latentctl(program, "inspect", "--json", shard).splitlines():
            record = json.loads(line)
            folder = os.path.join(into, str(len(found)))
            latentctl(program, "extract", shard, record["key"], "--to", folder)
            files = {name.rsplit(".", 1)[1]: os.path.join(base, name) for base, _, names in os.walk(folder) for name in names}
            with open(files["txt"], encoding="utf-8") as caption, open(files["json"], encoding="utf-8") as text:
                found[record["key"]] = (json.load(text), numpy.load(files["npy"]), caption.read())
    return found


def same(row, wanted, names):
    record, array, caption = wanted.pop(row[names.get("key", "key")])
    value = row[names.get("latent", "latent")]
    if isinstance(value, bytes):
        value = numpy.frombuffer(value, numpy.float16).reshape(array.shape)
    assert value.dtype == array.dtype and value.shape == array.shape and (value == array).all()
    assert row[names.get("caption", "caption")] == caption
    meta = row["meta"]
    assert (meta if isinstance(meta, dict) else json.loads(meta)) == record
    for field in ("original_size", "crop_top_left", "target_size"):
        pair = row[field]
        pair = numpy.frombuffer(pair, numpy.int32) if isinstance(pair, bytes) else pair
        assert pair.tolist() == record[field], field


def read_all(dataset, wanted, names, folder):
    from streaming import StreamingDataset

    left = dict(wanted)
    data = StreamingDataset(
        remote=dataset, local=folder, split="train", batch_size=1, shuffle=False, validate_hash="xxh64"
    )
    assert len(data) == len(wanted)
    for i in range(len(data)):
        same(data[i], left, names)
    assert not left


def batches_of_one_size(dataset, wanted, names, folder):
    """Shuffled, two workers, a stream for each size."""
    from streaming import Stream, StreamingDataset
    from torch.utils.data import DataLoader

    train, left, streams, enough = os.path.join(dataset, "train"), dict(wanted), [], set()
    for size in sorted(os.listdir(train)):
        keys = {key for key, (record, _, _) in wanted.items() if "x".join(map(str, record["target_size"])) == size}
        if len(keys) >= 2:  # of fewer there is no whole batch
            streams.append(Stream(remote=os.path.join(train, size), local=os.path.join(folder, size)))
            enough |= keys
    data = StreamingDataset(
        streams=streams, batch_size=2, shuffle=True, batching_method="per_stream", validate_hash="sha256"
    )
    seen = set()
    for batch in DataLoader(data, batch_size=2, num_workers=2, collate_fn=list):
        assert len({row["latent"].shape for row in batch}) == 1
        for row in batch:
            if row["key"] in left:  # what fills up a last batch comes twice
                same(row, left, names)
            seen.add(row["key"])
    assert seen <= enough and len(seen) >= len(enough) - len(streams), (len(seen), len(enough))


def merging_gives_the_same_index(dataset, folder):
    """Of a copy, because it writes."""
    import shutil

    from streaming.base.util import merge_index

    copy = os.path.join(folder, "copy")
    shutil.copytree(os.path.join(dataset, "train"), copy)
    with open(os.path.join(copy, "index.json"), encoding="utf-8") as file:
        ours = json.load(file)
    os.unlink(os.path.join(copy, "index.json"))
    merge_index(copy, keep_local=True)
    with open(os.path.join(copy, "index.json"), encoding="utf-8") as file:
        theirs = json.load(file)
    key = lambda shard: shard["raw_data"]["basename"]  # noqa: E731
    assert sorted(ours["shards"], key=key) == sorted(theirs["shards"], key=key)


def litdata_reads_it(dataset, wanted, names, folder):
    from litdata import StreamingDataset

    left = dict(wanted)
    for size in sorted(os.listdir(os.path.join(dataset, "train"))):
        path = os.path.join(dataset, "train", size)
        if os.path.isdir(path):
            data = StreamingDataset(path, cache_dir=os.path.join(folder, "cache", size))
            for i in range(len(data)):
                same(data[i], left, names)
    assert not left


def have(module):
    try:
        __import__(module)
    except ImportError as why:
        print(f"SKIPPED: {module} is not installed ({why})")
        return False
    return True


def main():
    program, pictures, model = map(os.path.abspath, sys.argv[1:])
    skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        bytes_of = "latent=latents_128:bytes,meta:bytes,original_size:bytes,crop_top_left:bytes,target_size:bytes,caption=text"
        forms = {"plain": ("", {}), "bytes": (bytes_of, {"latent": "latents_128", "caption": "text"})}
        for name, (columns, _) in forms.items():
            words = ["--columns", columns] if columns else []
            latentctl(
                program, "encode", pictures, "--vae", model, "--resolution", "128", "--out", out, "--name", name,
                "--state", os.path.join(folder, "state"), "--format", "mds", "--shard-samples", "4", *words,
            )
        for name, (_, names) in forms.items():
            dataset = os.path.join(out, name)
            wanted = records(program, dataset, os.path.join(folder, "extracted", name))
            assert len(wanted) >= 9, len(wanted)
            if have("streaming"):
                check(f"{name}: every value", read_all, dataset, wanted, names, os.path.join(folder, "a", name))
                if name == "plain":
                    into = os.path.join(folder, "b")
                    check("batches of one size", batches_of_one_size, dataset, wanted, names, into)
                    check("merge_index", merging_gives_the_same_index, dataset, folder)
            else:
                skipped += 1
            if name == "bytes" and have("litdata"):
                check("litdata", litdata_reads_it, dataset, wanted, names, os.path.join(folder, "c"))
            elif name == "bytes":
                skipped += 1
    print(f"{PASSED} passed, {FAILED} failed, {skipped} skipped")
    return FAILED > 0


if __name__ == "__main__":
    sys.exit(main())
