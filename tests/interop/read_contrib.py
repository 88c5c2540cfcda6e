#!/usr/bin/env python3
"""read_contrib.py DATASET: what contrib/latentd_wds.py makes of a dataset, against tarfile and plain formulas.

DATASET is OUT/NAME. Prints one line for each failure and ends with 'N passed, N failed, N skipped'.
"""

import glob
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile

import numpy
import zstandard

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "contrib"))
from latentd_wds import LatentBatches, stream  # noqa: E402


def read_all(dataset):
    """{key: (record, array)} through tarfile."""
    samples = {}
    for shard in sorted(glob.glob(os.path.join(glob.escape(dataset), "train", "*", "*.tar"))):
        with tarfile.open(shard) as tar:
            for member in tar:
                data = tar.extractfile(member).read()
                key, field = member.name.split(".", 1)
                if field.endswith(".zst"):
                    data = zstandard.ZstdDecompressor().decompress(data)
                if field.startswith(("latent.", "moments.")):
                    array = numpy.load(io.BytesIO(data))
                    if ".u8." in field:
                        array = numpy.ascontiguousarray(array).view(f"<f{array.shape[-1]}")[..., 0]
                    samples.setdefault(key, {})["array"] = array
                elif field == "json":
                    samples.setdefault(key, {})["record"] = json.loads(data)
    return {key: (s["record"], s["array"]) for key, s in samples.items()}


def folders_of(dataset):
    """{key: name of its shard's folder}: its size, or those of all resolutions."""
    found = {}
    for shard in glob.glob(os.path.join(glob.escape(dataset), "train", "*", "*.tar")):
        with tarfile.open(shard) as tar:
            found.update({name.split(".", 1)[0]: shard.split("/")[-2] for name in tar.getnames()})
    return found


def bucket_of(sample):
    return "{}x{}".format(*sample[0]["target_size"])


def a_step_has_one_bucket_on_all_ranks_and_no_sample_twice(dataset, samples):
    ranks = [LatentBatches(dataset, 2, rank=r, world=2, seed=3) for r in range(2)]
    seen = []
    for step in range(len(ranks[0])):
        batches = [rank[step] for rank in ranks]
        keys = [key for batch in batches for key in batch["key"]]
        assert len({bucket_of(samples[key]) for key in keys}) == 1, keys
        assert len(keys) == 4 and batches[0]["latent"].shape == batches[1]["latent"].shape
        seen += keys
    assert len(seen) == len(set(seen)), "a sample came twice in an epoch"
    buckets = {}
    for sample in samples.values():
        buckets[bucket_of(sample)] = buckets.get(bucket_of(sample), 0) + 1
    assert len(seen) == sum(n // 4 * 4 for n in buckets.values()), len(seen)


def another_epoch_or_seed_is_another_order_and_a_position_goes_on_where_it_was(dataset, samples):
    data, again = (LatentBatches(dataset, 1, seed=5) for _ in range(2))
    n = len(data)
    assert n == len(samples)
    order = [data[i]["key"][0] for i in range(2 * n)]
    assert sorted(order[:n]) == sorted(order[n:]) == sorted(samples)
    assert order[:n] != order[n:]
    assert order[:n] != [LatentBatches(dataset, 1, seed=6)[i]["key"][0] for i in range(n)]
    assert [again[i]["key"][0] for i in range(n - 2, n + 3)] == order[n - 2 : n + 3]


def latents_are_what_a_trainer_computes(dataset, samples):
    data = LatentBatches(dataset, 1, seed=1)
    noises = []
    for step in range(len(data)):
        batch = data[step]
        (key,) = batch["key"]
        record, array = samples[key]
        about, got = record["latent"], batch["latent"][0]
        array = array.astype(numpy.float32)
        assert got.dtype == numpy.float32 and batch["time_ids"].tolist() == [record["time_ids"]], key
        assert batch["caption"] == [record["caption"] or ""], key
        if about["posterior"] == "moments":
            mean, logvar = numpy.split(array, 2)
            drawn = got / about["scaling_factor"] + (about["shift_factor"] or 0)
            noises.append((drawn - mean) / numpy.exp(logvar.clip(-30, 20) / 2))
            assert (got == data[step]["latent"][0]).all(), "a draw that is asked for again is another"
            assert (got != LatentBatches(dataset, 1, seed=2).sample(0)["latent"].ravel()[0]).any()
            continue
        if not about["scaled"]:
            array = (array - (about["shift_factor"] or 0)) * numpy.float32(about["scaling_factor"])
        assert numpy.allclose(got, array, rtol=1e-6, atol=0), key
    if noises:
        noise = numpy.concatenate([n.ravel() for n in noises])
        assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02, (noise.mean(), noise.std())
        ends = [data.sample(0, epoch)["latent"] for epoch in (0, 0, 1)]
        assert (ends[0] == ends[1]).all() and (ends[0] != ends[2]).any(), "one draw an epoch"


def overlays_are_honoured(dataset, samples):
    key, other = sorted(samples)[:2]
    shard = next(
        shard
        for shard in glob.glob(os.path.join(dataset, "train", "*", "*.tar"))
        if f"{other}.json" in tarfile.open(shard).getnames()
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy")
        shutil.copytree(dataset, copy, symlinks=True)
        with open(os.path.join(copy, ".latentd", "captions.jsonl"), "w", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "caption": "a new\u2028 one"}, ensure_ascii=False) + "\n")
        with open(os.path.join(copy, ".latentd", "removed.txt"), "w", encoding="utf-8") as file:
            file.write(f"{os.path.relpath(shard, dataset)}\t{other}\n")
        data = LatentBatches(copy, 1)
        found = {batch["key"][0]: batch["caption"][0] for batch in (data[i] for i in range(len(data)))}
        assert found[key] == "a new\u2028 one" and other not in found and len(found) == len(samples) - 1


def too_few_samples_are_one_clear_line(dataset, samples):
    try:
        LatentBatches(dataset, 1000, world=8)
    except ValueError as error:
        assert "8000 samples" in str(error), error
    else:
        raise AssertionError("batches that nothing can fill")


def webdataset_streams_every_sample(dataset, samples):
    shards = glob.glob(os.path.join(glob.escape(dataset), "train", "*", "*.tar"))
    seen = {s["key"]: s["latent"] for s in stream(shards, shuffle=4)}
    assert set(seen) == set(samples)
    data = LatentBatches(dataset, 1)
    for i in range(len(data.rows)):
        sample = data.sample(i)
        if sample["record"]["latent"]["posterior"] != "moments":
            assert (seen[sample["key"]] == sample["latent"]).all(), sample["key"]


def the_documented_random_access_works_as_typed(dataset, samples):
    with open(os.path.join(ROOT, "docs", "FORMAT.md"), encoding="utf-8") as file:
        (block,) = [b for b in re.findall(r"```python\n(.*?)```", file.read(), re.S) if "def load" in b]
    assert len(block.splitlines()) <= 12, block
    names = {}
    exec(compile(block, "FORMAT.md", "exec"), names)  # what a reader would type
    folders = folders_of(dataset)
    for key, (record, array) in samples.items():
        found = names["load"](dataset, folders[key], key)
        value = found[1]
        if value.dtype == numpy.uint8:  # what section 3 says of planes
            value = numpy.ascontiguousarray(value).view(f"<f{value.shape[-1]}")[..., 0]
        assert found[0] == record and (value == array).all(), key


def each_epoch_draws_one_of_the_variants_of_an_image(dataset, samples, resolution=None):
    images = {key for key, (record, _) in samples.items() if record["variant"] == 0}
    variants = {record["variant"] % 32 for record, _ in samples.values()}
    crops = {variant // 2 for variant in variants}
    least = min(record.get("resolution", 0) for record, _ in samples.values())
    for flip, ends in ((0, {0}), (1, {1}), (0.5, {0, 1})):
        data = LatentBatches(dataset, 1, seed=4, flip=flip, resolution=resolution)
        assert len(data) == len(images)
        met = set()
        for epoch in range(8):
            keys = [data[epoch * len(data) + i]["key"][0] for i in range(len(data))]
            assert {samples[key][0].get("image", key) for key in keys} == images, keys
            assert {samples[key][0].get("resolution", 0) for key in keys} == {resolution or least}, keys
            met |= {samples[key][0]["variant"] % 32 for key in keys}
        if 1 in variants:
            assert met == {2 * crop + end for crop in crops for end in ends}, (flip, met)
        assert {variant // 2 for variant in met} == crops, met


def a_resolution_is_what_is_asked_for(dataset, samples):
    sides = {record["resolution"] for record, _ in samples.values() if "resolution" in record}
    for side in sides:
        each_epoch_draws_one_of_the_variants_of_an_image(dataset, samples, side)
        data = LatentBatches(dataset, 1, resolution=side)
        for i in range(len(data.rows)):
            sample = data.sample(i)
            assert sample["record"]["resolution"] == side, sample["key"]
            if "mask" in sample["record"]:
                width, height = sample["record"]["target_size"]
                assert sample["arrays"]["mask"].shape == (height, width), sample["key"]
    try:
        LatentBatches(dataset, 1, resolution=8)
    except ValueError:
        return
    raise AssertionError("8 is no resolution of it")


def workers_give_the_same_batches_in_the_same_order(dataset, samples):
    import torch

    data = LatentBatches(dataset, 2, seed=9)
    alone = [data[i]["key"] for i in range(2 * len(data))]
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, sampler=range(1, len(alone)))
    batches = list(loader)
    assert [batch["key"] for batch in batches] == alone[1:]
    assert all(isinstance(batch["latent"], torch.Tensor) for batch in batches)


TESTS = [
    a_step_has_one_bucket_on_all_ranks_and_no_sample_twice,
    another_epoch_or_seed_is_another_order_and_a_position_goes_on_where_it_was,
    latents_are_what_a_trainer_computes,
    overlays_are_honoured,
    too_few_samples_are_one_clear_line,
    webdataset_streams_every_sample,
    the_documented_random_access_works_as_typed,
]

OF_VARIANTS = [
    each_epoch_draws_one_of_the_variants_of_an_image,
    a_resolution_is_what_is_asked_for,
    latents_are_what_a_trainer_computes,
    the_documented_random_access_works_as_typed,
]


def main():
    dataset = os.path.abspath(sys.argv[1])
    samples = read_all(dataset)
    several = any(record["variant"] > 0 for record, _ in samples.values())
    tests, failed, skipped = list(OF_VARIANTS if several else TESTS), 0, 0
    if importlib.util.find_spec("torch"):
        tests.append(workers_give_the_same_batches_in_the_same_order)
    else:
        skipped = 1
        print("SKIPPED workers_give_the_same_batches_in_the_same_order: torch is not installed")
    for test in tests:
        try:
            test(dataset, samples)
        except Exception as error:  # it may fail in any way; the others still run
            failed += 1
            print(f"FAILED {test.__name__}: {type(error).__name__}: {error}")
    print(f"{len(tests) - failed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
