#!/usr/bin/env python3
"""read_shards.py DATASET: reads a dataset that latentctl wrote with the libraries that training jobs use.

DATASET is OUT/NAME. Every reader must see the same samples, and every record must be what docs/FORMAT.md
and docs/record.schema.json promise. Nothing of latentd is used, so that both sides cannot share a mistake.
Prints one line for each failure and ends with 'N passed, N failed, N skipped'.
"""

import glob
import io
import json
import os
import subprocess
import sys
import tarfile

import jsonschema
import numpy
import webdataset
import xxhash
import zstandard
from webdataset.autodecode import Continue

SCHEMA = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "record.schema.json")


def fields_of(tar):
    """{key: {field: bytes}} by webdataset's rule: the key ends at the base name's first dot."""
    samples = {}
    for member in tar:
        folder, name = os.path.split(member.name)
        key, field = name.split(".", 1)
        samples.setdefault(os.path.join(folder, key), {})[field] = tar.extractfile(member).read()
    return samples


def open_latent(fields):
    """The one latent member of a sample, through zstandard and numpy."""
    (name,) = [name for name in fields if name.startswith(("latent.", "moments."))]
    frame = fields[name]
    if name.endswith(".npy"):
        return name, numpy.load(io.BytesIO(frame), allow_pickle=False)
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.content_size not in (0, zstandard.CONTENTSIZE_UNKNOWN), "no content size"
    assert parameters.has_checksum, "no checksum in the zstd frame"
    npy = zstandard.ZstdDecompressor().decompress(frame)
    assert len(npy) == parameters.content_size
    return name, joined(name, numpy.load(io.BytesIO(npy), allow_pickle=False))


def joined(name, array):
    """What was stored as planes of bytes."""
    planes = ".u8." in name
    return numpy.ascontiguousarray(array).view(f"<f{array.shape[-1]}")[..., 0] if planes else array


def each_shard_is_plain_ustar(shards):
    for shard in shards:
        with open(shard, "rb") as file:
            data = file.read()
        assert len(data) % 512 == 0 and data.endswith(bytes(1024)), shard
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                header = data[member.offset : member.offset + 512]
                assert header[257:265] == b"ustar\x0000", member.name
                assert header[345:500] == bytes(155), f"{member.name}: prefix is used"
                assert member.isreg() and not member.pax_headers, member.name
                owner = (member.mode, member.uid, member.gid, member.mtime)
                assert owner == (0o644, 0, 0, 0), f"{member.name}: {owner}"
                assert member.offset_data - member.offset == 512, member.name


def each_key_stands_once_and_every_sample_has_the_same_fields(shards):
    seen, kinds = set(), set()
    for shard in shards:
        with tarfile.open(shard) as tar:
            for key, fields in fields_of(tar).items():
                assert key not in seen, f"{key} is there twice"
                seen.add(key)
                kinds.add(tuple(fields))
    assert len(kinds) == 1, kinds


def schema_validator():
    with open(SCHEMA, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def each_record_fits_the_schema(shards):
    validator = schema_validator()
    for shard in shards:
        with tarfile.open(shard) as tar:
            for key, fields in fields_of(tar).items():
                record = json.loads(fields["json"])
                validator.validate(record)
                assert record["key"] == key


def the_schema_refuses_what_no_record_may_be(shards):
    validator = schema_validator()
    with tarfile.open(shards[0]) as tar:
        record = json.loads(next(iter(fields_of(tar).values()))["json"])
    latent = record["latent"]
    for wrong in (
        {"v": 2},
        {"extra": 1},
        {"key": "a.b"},
        {"key": "a/__b"},
        {"key": "a b"},
        {"recipe_id": record["recipe_id"].upper() + "A"},
        {"orientation": 0},
        {"target_size": [64]},
        {"crop_top_left": [-1, 0]},
        {"time_ids": record["time_ids"][:5]},
        {"caption": 1},
        {"latent": {**latent, "scaled": 1}},
        {"latent": {**latent, "scaled": True, "posterior": "moments", "seed": None}},
        {"latent": {**latent, "dtype": "bfloat16"}},
        {"latent": {**latent, "posterior": "mean", "seed": 1}},
        {"latent": {**latent, "more": 1}},
    ):
        assert not validator.is_valid({**record, **wrong}), wrong
    for field in record.keys() - {"resolution", "mask"}:  # of some datasets
        assert not validator.is_valid({k: v for k, v in record.items() if k != field}), field


def the_sizes_of_a_record_agree(shards):
    for shard in shards:
        bucket = os.path.basename(os.path.dirname(shard))
        with tarfile.open(shard) as tar:
            for key, fields in fields_of(tar).items():
                record = json.loads(fields["json"])
                stored, original = record["stored_size"], record["original_size"]
                if record["orientation"] >= 5:
                    stored = stored[::-1]
                assert stored == original, key
                (width, height), (top, left) = record["target_size"], record["crop_top_left"]
                assert f"{width}x{height}" in bucket.split("_"), key
                assert left + width <= record["resized_size"][0], key
                assert top + height <= record["resized_size"][1], key
                ids = [original[1], original[0], top, left, height, width]
                assert record["time_ids"] == ids, key
                _, rows, columns = record["latent"]["shape"]
                assert rows * width == columns * height, key


def each_latent_is_what_its_record_says(shards):
    for shard in shards:
        with tarfile.open(shard) as tar:
            for key, fields in fields_of(tar).items():
                about = json.loads(fields["json"])["latent"]
                name, latent = open_latent(fields)
                moments = about["posterior"] == "moments"
                assert name.split(".")[0] == ("moments" if moments else "latent"), key
                assert list(latent.shape) == about["shape"], key
                assert latent.dtype.str == {"float16": "<f2", "float32": "<f4"}[about["dtype"]], key
                assert latent.flags.c_contiguous and numpy.isfinite(latent).all(), key
                assert latent.std() > 0, f"{key}: constant"
                assert xxhash.xxh3_128_hexdigest(latent.tobytes()) == about["xxh3_128"], key


def captions_are_the_same_in_both_places(shards):
    for shard in shards:
        with tarfile.open(shard) as tar:
            for key, fields in fields_of(tar).items():
                if "txt" in fields:
                    caption = json.loads(fields["json"])["caption"]
                    assert fields["txt"].decode() == (caption or ""), key


def webdataset_reads_every_sample(shards):
    def unzst(name, data):
        if name.endswith(".zst"):
            return Continue(name[:-4], zstandard.ZstdDecompressor().decompress(data))
        return None

    expected = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            expected.update({key: open_latent(f) for key, f in fields_of(tar).items()})
    samples = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode(unzst)
    for sample in samples:
        name, latent = expected.pop(sample["__key__"])
        assert (joined(name, sample[name]) == latent).all(), sample["__key__"]
        assert sample["json"]["key"] == sample["__key__"]
    assert not expected, f"webdataset did not see {sorted(expected)}"


def gnu_tar_reads_every_member(shards):
    for shard in shards:
        listed = subprocess.run(["tar", "-tf", shard], check=True, capture_output=True).stdout
        with tarfile.open(shard) as tar:
            assert len(listed.splitlines()) == len(tar.getnames()), shard


def nothing_beside_the_shards_looks_like_data(shards):
    for folder in {os.path.dirname(shard) for shard in shards}:
        assert all(name.endswith(".tar") for name in os.listdir(folder)), os.listdir(folder)


TESTS = [
    each_shard_is_plain_ustar,
    each_key_stands_once_and_every_sample_has_the_same_fields,
    each_record_fits_the_schema,
    the_schema_refuses_what_no_record_may_be,
    the_sizes_of_a_record_agree,
    each_latent_is_what_its_record_says,
    captions_are_the_same_in_both_places,
    webdataset_reads_every_sample,
    gnu_tar_reads_every_member,
    nothing_beside_the_shards_looks_like_data,
]


def main():
    shards = sorted(glob.glob(os.path.join(sys.argv[1], "train", "*", "*.tar")))
    failed = 0
    if not shards:
        sys.exit(f"{sys.argv[1]}: no shards below train/")
    for test in TESTS:
        try:
            test(shards)
        except Exception as error:  # a reader may fail in any way; the others still run
            failed += 1
            print(f"FAILED {test.__name__}: {type(error).__name__}: {error}")
    print(f"{len(TESTS) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
