#!/usr/bin/env python3
"""read_indexes.py DATASET: the indexes in OUT/NAME/.latentd, read by the programs that they are for.

Each must see exactly the samples that tarfile sees. What is not installed is skipped, with a line that says so:
    pip install datasets webshart                 in requirements.txt
    pip install wids                              its own package since webdataset 0.3
    pip install megatron-energon                  brings PyTorch
Prints one line for each failure and ends with 'N passed, N failed, N skipped'.
"""

import ast
import glob
import importlib.util
import io
import json
import os
import random
import re
import sys
import tarfile
import tempfile

import numpy

NEEDS = {}


def needs(*packages):
    def mark(function):
        NEEDS[function] = packages
        return function

    return mark


def tar_keys(shards):
    keys = set()
    for shard in shards:
        with tarfile.open(shard) as tar:
            keys |= {name[: -len(".json")] for name in tar.getnames() if name.endswith(".json")}
    return keys


def plain(value):
    """What a library made of a member, as bytes: of JSON the values, of an array its numbers."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True).encode()
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else value.tobytes()


def tar_members(shards):
    members = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                data = tar.extractfile(member).read()
                if member.name.endswith(".json"):
                    data = json.loads(data)
                elif member.name.endswith(".npy"):
                    data = numpy.load(io.BytesIO(data))
                members[member.name] = plain(data)
    return members


@needs("datasets", "zstandard")
def huggingface_finds_the_shards_and_nothing_else(dataset, keys):
    from datasets import load_dataset

    for words in (("webdataset",), ()):
        given = {"data_dir": dataset} if words else {"path": dataset}
        rows = load_dataset(*words, **given, split="train", streaming=True).with_format("numpy")
        seen = [row["__key__"] for row in rows]
        assert len(seen) == len(keys) and set(seen) == keys, f"{words}: {len(seen)} samples"


@needs("datasets", "zstandard")
def the_readme_says_how_to_read_the_first_shard(dataset, keys):
    with open(os.path.join(dataset, "README.md"), encoding="utf-8") as file:
        text = file.read()
    shape = [int(n) for n in re.search(r"shape \[([\d, ]+)\]", text).group(1).split(",")]
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 3, f"{len(blocks)} examples"
    back = os.getcwd()
    os.chdir(dataset)
    try:
        for block in blocks:
            names = {}
            exec(compile(block, "README.md", "exec"), names)  # what a reader would type
            assert names["latent"].ndim == 3, block
        if "several resolutions" not in text:
            assert list(names["latent"].shape) == shape, f"{names['latent'].shape}, not {shape}"
    finally:
        os.chdir(back)


@needs("wids")
def wids_reads_every_sample(dataset, keys):
    import wids

    index = os.path.join(dataset, ".latentd", "wids.json")
    # Its cache_dir=... names files by their last part alone, which folders of sizes share; this one does not.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["WIDS_CACHE"] = cache
        samples = wids.ShardListDataset(index, transformations=[], keep=True)
        order = random.Random(1).sample(range(len(samples)), len(samples))
        found = {}
        for i in order:
            sample = samples[i]
            for name, value in sample.items():
                if name.startswith("."):
                    found[sample["__key__"] + name] = value.read()
    assert len(order) == len(keys), f"{len(order)} samples"
    for shard in glob.glob(os.path.join(dataset, "train", "*", "*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                assert found.pop(member.name, None) == tar.extractfile(member).read(), member.name
    assert not found, sorted(found)[:3]


@needs("webshart")
def webshart_reads_every_member(dataset, keys):
    import webshart

    seen = set()
    for bucket in os.listdir(os.path.join(dataset, "train")):
        shards = os.path.join(dataset, "train", bucket)
        index = os.path.join(dataset, ".latentd", "webshart", "train", bucket)
        found = webshart.discover_dataset(shards, metadata=index)
        wanted = {}
        for shard in glob.glob(os.path.join(shards, "*.tar")):
            with tarfile.open(shard) as tar:
                wanted.update({m.name: tar.extractfile(m).read() for m in tar})
        for entry in webshart.TarDataLoader(found, load_file_data=True):
            assert bytes(entry.data) == wanted.pop(entry.path), entry.path
            seen.add(entry.path)
        assert not wanted, f"not seen: {sorted(wanted)[:3]}"
    assert keys == {name[: -len(".json")] for name in seen if name.endswith(".json")}


@needs("megatron.energon")
def energon_reads_every_sample(dataset, keys):
    from megatron.energon import (
        Cooker,
        DefaultTaskEncoder,
        TextSample,
        WorkerConfig,
        basic_sample_keys,
        get_loader,
        get_train_dataset,
        stateless,
    )

    @stateless
    def cook(sample):
        members = {name: plain(value) for name, value in sample.items() if not name.startswith("__")}
        return TextSample(**basic_sample_keys(sample), text=repr((sample["__key__"], members)))

    class Encoder(DefaultTaskEncoder):
        cookers = [Cooker(cook)]

        @stateless
        def encode_sample(self, sample):
            return sample

    wanted = tar_members(glob.glob(os.path.join(dataset, "train", "*", "*.tar")))
    orders = []
    for shuffled in (None, len(keys)):
        train = get_train_dataset(
            os.path.join(dataset, ".latentd", "energon"),
            worker_config=WorkerConfig(rank=0, world_size=1, num_workers=2),
            batch_size=None,
            shuffle_buffer_size=shuffled,
            max_samples_per_sequence=None,
            repeat=False,
            task_encoder=Encoder(),
        )
        seen = [ast.literal_eval(sample.text) for sample in get_loader(train)]
        found = {f"{key}.{name}": value for key, members in seen for name, value in members.items()}
        assert found == wanted, sorted(found.items() ^ wanted.items())[:2]
        orders.append([key for key, _ in seen])
    assert len(keys) < 3 or orders[0] != orders[1], "it is shuffled"


TESTS = [
    huggingface_finds_the_shards_and_nothing_else,
    the_readme_says_how_to_read_the_first_shard,
    wids_reads_every_sample,
    webshart_reads_every_member,
    energon_reads_every_sample,
]


def missing(package):
    try:
        return importlib.util.find_spec(package) is None
    except ModuleNotFoundError:
        return True


def main():
    dataset = os.path.abspath(sys.argv[1])
    shards = sorted(glob.glob(os.path.join(dataset, "train", "*", "*.tar")))
    keys = tar_keys(shards)
    passed = failed = skipped = 0
    for test in TESTS:
        absent = [package for package in NEEDS[test] if missing(package)]
        if absent:
            skipped += 1
            print(f"SKIPPED {test.__name__}: {', '.join(absent)} is not installed")
            continue
        try:
            test(dataset, keys)
            passed += 1
        except Exception as error:  # a reader may fail in any way; the others still run
            failed += 1
            print(f"FAILED {test.__name__}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
