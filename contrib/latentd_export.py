#!/usr/bin/env python3
"""The exports of latentctl export that Python's own writers make; it runs this, for each:

    --to simpletuner --into CACHE --images IMAGES --id ID    needs torch
        CACHE is the backend's cache_dir_vae, ID its id; IMAGES, its instance_data_dir, gets the two aspect JSON files
    --to onetrainer --into DIR [--dtype bfloat16]            needs torch
        DIR/concepts.json and DIR/cache for its settings, DIR/images with the captions
    --to diffusers-sdxl --into DIR                           needs datasets
        DIR/dataset, for load_from_disk(), with what train_text_to_image_sdxl.py precomputes
    --to mds --into DIR [--raw] [--dtype float32]            needs xxhash
        DIR/mds, shards of MosaicML Streaming: a stream for each size below it, and all of them in its index

By itself: latentd_export.py OUT/NAME --to ..., latentd_wds.py and latentd_mds.py beside it; more in docs/EXPORT.md.
"""

import argparse
import collections
import contextlib
import fcntl
import glob
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.parse

NEEDS = {"simpletuner": "torch", "onetrainer": "torch", "diffusers-sdxl": "datasets", "mds": "xxhash"}

try:
    import numpy
    from latentd_mds import MdsSamples
    from latentd_wds import LatentBatches
except ImportError as error:
    sys.exit(f"latentd_export.py: {sys.executable} has no {error.name}: python3 -m pip install numpy zstandard")


class Unfit(ValueError):
    """A sample that cannot have the form that was asked for."""


def samples_of(folder, split, scale, resolution=None):
    with open(os.path.join(folder, ".latentd", "dataset.json"), encoding="utf-8") as file:
        about = json.load(file)
    if about["format"] == "mds":
        data = MdsSamples(folder, split, scale, resolution)
    else:
        data = LatentBatches(folder, 1, scale=scale, split=split, resolution=resolution)
    if not len(data.rows):
        raise ValueError(f"{folder}: no samples in {split}/")
    return data


def shown(items, total, what):
    """The items, with a line on stderr about how far it is: each second on a terminal, else each half minute."""
    began = last = time.monotonic()
    every, end = (1, "\r") if sys.stderr.isatty() else (30, "\n")
    for n, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last >= every or (n + 1 == total and last > began):
            text = f"{what} {n + 1} of {total}, {(n + 1) / (now - began):.0f}/s"
            print(text, file=sys.stderr, end=end if n + 1 < total else "\n")
            last = now


def look(data, words, dtype, name_of, left_out=None, lost="hashes, recipe, meta"):
    """{file of a sample: its number}, after a first look at all of them; says what is not carried. name_of: the file's name
    for a sample, or one of left_out: why it has none. Unfit raises: left out, too."""
    left_out, unfit = left_out or {}, None
    names, counts, recipes = {}, collections.Counter(), set()
    for i in shown(range(len(data.rows)), len(data.rows), "looked at"):
        sample = data.sample(i)
        recipes.add(sample["record"]["recipe_id"])
        if len(recipes) > 1:
            raise ValueError(f"{sample['key']} has another recipe: a dataset is of one latent space")
        counts["attached"] += bool(sample["arrays"].keys() - {"mask"})
        counts["mask"] += "mask" in sample["arrays"]
        try:
            name = name_of(sample)
        except Unfit as error:
            unfit = unfit or error
            counts["unfit"] += 1
            continue
        if name in left_out:
            counts[name] += 1
        elif name in names:
            counts["clash"] += 1
        else:
            names[name] = i
    left = [f"{counts[why]} {text}" for why, text in left_out.items() if counts[why]]
    left += [f"{counts['unfit']} sample{'s' * (counts['unfit'] > 1)}: {unfit}"] if unfit else []
    about = data.sample(0)["record"]["latent"]
    if not names:
        raise ValueError(f"no sample can be exported: {', '.join(left)}")
    print(f"{words.dataset}: {len(names)} samples to {words.to}, {dtype}, as {ascii(next(iter(names)))} ...")
    print(f"  not carried: {lost}")
    if counts["attached"]:
        print(f"  not carried: arrays attached to {counts['attached']} of them")
    if counts["mask"] and words.to != "onetrainer":
        print(f"  not carried: masks of {counts['mask']} images")
    if about["posterior"] == "moments":
        print("  not carried: the variance of moments; of them it has the mean")
    for other in {"train", "val"} - {words.split}:
        if glob.glob(os.path.join(glob.escape(words.dataset), other, "*", "*")):
            print(f"  not carried: what is in {other}/ (--split {other}, into another folder)")
    if data.variants > 1 and words.to != "onetrainer":
        print("  left out: mirrored images and further crops")
    left += [f"{counts['clash']} whose file would have the name of another's"] if counts["clash"] else []
    for text in left:
        print(f"  left out: {text}")
    return names


def about_of(data, words, **more):
    """What makes this export another than one into the same folder before it."""
    said = {"split": words.split if words.split != "train" else None, "resolution": words.resolution}
    more |= {name: value for name, value in said.items() if value}
    return {"format": words.to, "recipe_id": data.sample(0)["record"]["recipe_id"], **more}


def raw(sample):
    """The latent as the VAE gives it, of a sample that was read with scale=False."""
    about = sample["record"]["latent"]
    if not about["scaled"]:
        return sample["latent"]
    if about.get("latents_mean"):
        raise ValueError("latents of a model with statistics that were scaled by a factor")
    return sample["latent"] / numpy.float32(about["scaling_factor"]) + numpy.float32(about["shift_factor"] or 0)


def tensor_of(latent, dtype, key):
    """The array as a tensor of that type."""
    import torch
    tensor = torch.from_numpy(numpy.ascontiguousarray(latent)).to(getattr(torch, dtype))
    if not torch.isfinite(tensor).all():
        raise Unfit(f"{key}: values are too large for {dtype}")
    return tensor


def put_tensor(path, tensor):
    """As put(), of what torch.save() writes."""
    import torch
    if os.path.exists(path):
        try:
            same = torch.equal(torch.load(path, weights_only=True), tensor)
        except Exception:  # whatever torch says of a file that is none of its
            same = False
        if same:
            return False
        raise ValueError(f"{path} is there with other contents: nothing is overwritten")
    write_whole(path, lambda file: torch.save(tensor, file))
    return True


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
            raise BlockingIOError(f"another process exports into {folder}") from None
        for left in glob.glob(os.path.join(glob.escape(os.path.dirname(mark)), "tmp*")):
            shutil.rmtree(left)  # of a run that was killed
        for at, _, names in os.walk(folder):
            for name in filter(re.compile(r".*\.\d+\.tmp").fullmatch, names):  # as write_whole() calls them
                os.unlink(os.path.join(at, name))
        write_whole(mark, lambda file: file.write(json.dumps(about).encode()))

    return begin


def put(path, data):
    """Whether the file had to be written; one with other bytes is never replaced."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            if file.read() == data:
                return False
        raise ValueError(f"{path} is there with other contents: nothing is overwritten")
    write_whole(path, lambda file: file.write(data))
    return True


def simpletuner(data, words):
    """SimpleTuner bc8e6ab (2026-08): helpers/caching/vae.py and helpers/metadata/backends/discovery.py."""
    dtype, images = words.dtype or "float32", os.path.abspath(words.images)
    lists = {n: os.path.join(images, f"aspect_ratio_bucket_{n}_{words.id}.json") for n in ("indices", "metadata")}

    def name_of(sample):
        path = source_path(sample["record"])
        try:
            digest = hashlib.sha256(os.path.splitext(os.path.basename(path))[0].encode()).hexdigest()
        except UnicodeEncodeError:
            return "unnamed"
        tensor_of(sample["latent"], dtype, sample["key"])
        return os.path.join(os.path.dirname(path), digest + ".pt")

    if not os.path.isdir(images):
        raise ValueError(f"{images} is no folder: --images is SimpleTuner's instance_data_dir")
    begin = claim(words.into, about_of(data, words, images=images, id=words.id, dtype=dtype))
    unnamed = "whose name is not UTF-8, which SimpleTuner cannot have"
    names = look(data, words, dtype, name_of, {"unnamed": unnamed}, "hashes, recipe, meta; captions stay beside the images")
    if words.dry_run:
        return
    begin()
    indices, metadata, written = {}, {}, 0
    for name, i in shown(names.items(), len(names), "wrote"):
        sample, target = data.sample(i), os.path.join(words.into, name)
        record, path = sample["record"], os.path.join(images, source_path(sample["record"]))
        written += put_tensor(target, tensor_of(sample["latent"], dtype, sample["key"]))
        aspect = round(record["target_size"][0] / record["target_size"][1], 2)
        indices.setdefault(str(aspect), []).append(path)
        metadata[path] = {
            "original_size": record["original_size"], "intermediary_size": record["resized_size"],
            "target_size": record["target_size"], "crop_coordinates": record["crop_top_left"], "aspect_ratio": aspect,
        }
    contents = {"indices": {"config": {}, "aspect_ratio_bucket_indices": indices}, "metadata": metadata}
    for name, path in lists.items():
        write_whole(path, lambda file: file.write(json.dumps(contents[name]).encode()))
    sync_tree(words.into)
    print(f"{words.into}: {written} files written, {len(names) - written} there already")


# (channels, scaling factor) of the VAEs whose latents OneTrainer keeps as [C, h, w]: SD, SDXL, SD3, FLUX.1 and Z-Image
ONETRAINER = {(4, 0.18215), (4, 0.13025), (16, 1.5305), (16, 0.3611)}
ONETRAINER_IMAGE = {
    "__version": 0, "enable_crop_jitter": False, "enable_random_flip": False, "enable_fixed_flip": False,
    "enable_random_rotate": False, "enable_fixed_rotate": False, "random_rotate_max_angle": 0.0,
    "enable_random_brightness": False, "enable_fixed_brightness": False, "random_brightness_max_strength": 0.0,
    "enable_random_contrast": False, "enable_fixed_contrast": False, "random_contrast_max_strength": 0.0,
    "enable_random_saturation": False, "enable_fixed_saturation": False, "random_saturation_max_strength": 0.0,
    "enable_random_hue": False, "enable_fixed_hue": False, "random_hue_max_strength": 0.0,
    "enable_resolution_override": False, "resolution_override": "512", "enable_random_circular_mask_shrink": False,
    "enable_random_mask_rotate_crop": False,
}


def onetrainer(data, words):
    """OneTrainer 23df383 (2026-08): DataLoaderText2ImageMixin.py, ConceptConfig.py; mgds 3a6994a: DiskCache.py.

    It finds a cache by a hash over the concept's settings, so the concept is written, too; and a file by the place of its
    image in the sorted list of the concept's folder, so that folder is written, too: empty files, which it does not open as
    long as the cache is whole, with the captions beside them."""
    import torch

    dtype, images = words.dtype or "float32", os.path.join(words.into, "images")
    about = data.sample(0)["record"]["latent"]
    channels = about["shape"][0] // (2 if about["posterior"] == "moments" else 1)
    if about.get("patch_size") != 2 and (channels, round(about["scaling_factor"], 5)) not in ONETRAINER:
        raise ValueError(f"its latents ({channels} channels, scaling factor {about['scaling_factor']}) are of no model that "
                         "OneTrainer keeps in this way: SD, SDXL, SD3, FLUX.1, FLUX.2, Z-Image")
    captions, hashes = {}, {}

    def name_of(sample):
        name = sample["key"] + ".png"
        tensor_of(raw(sample), dtype, sample["key"])
        record = sample["record"]
        captions[name], hashes[name] = sample["caption"], record["latent"]["xxh3_128"] + record.get("mask", {}).get("xxh3_128", "")
        return "skipped" if sample["key"].endswith(("-masklabel", "-condlabel")) else name

    skipped = "whose key ends in -masklabel or -condlabel, which OneTrainer skips"
    names = look(data, words, dtype, name_of, {"skipped": skipped}, "hashes, recipe, meta; the images themselves")
    if several := sum("\n" in caption.strip() for caption in captions.values()):
        print(f"  {several} of the captions have several lines, of which OneTrainer draws one")
    order = sorted((os.path.join(images, name), i) for name, i in names.items())
    state = hashlib.sha256(repr(sorted((name, hashes[name]) for name in names)).encode()).hexdigest()
    begin = claim(words.into, about_of(data, words, dtype=dtype, folder=images, samples=state))
    if words.dry_run:
        return
    begin()
    concept = {"__version": 2, "name": os.path.basename(os.path.abspath(words.dataset)), "path": images, "seed": 0,
               "enabled": True, "type": "STANDARD", "include_subdirectories": True, "image_variations": data.variants,
               "text_variations": 1, "balancing": 1.0, "balancing_strategy": "REPEATS", "loss_weight": 1.0,
               "image": ONETRAINER_IMAGE}
    named = json.dumps([images, 0, True, ONETRAINER_IMAGE], sort_keys=True, separators=(",", ":"))
    group = hashlib.sha256(named.encode()).hexdigest()  # of path, seed, include_subdirectories, image
    cache, written, there = os.path.join(words.into, "cache", "image", group), 0, 0
    for name, caption in sorted((name, captions[name]) for name in names):
        for file, text in ((name, ""), (os.path.splitext(name)[0] + ".txt", caption)):
            new = put(os.path.join(images, file), text.encode())
            written, there = written + new, there + (not new)
    work = [(variant, n, path, i) for variant in range(data.variants) for n, (path, i) in enumerate(order)]
    whole = []
    for variant, n, path, i in shown(work, len(work), "wrote"):
        sample = data.sample(i, variant=variant)
        record, target = sample["record"], os.path.join(cache, f"variation-{variant}", f"{n}.pt")
        whole.append({"crop_resolution": tuple(record["target_size"][::-1]), "image_path": path})
        if new := not os.path.exists(target):
            item = {"latent_image": tensor_of(raw(sample), dtype, sample["key"]),
                    "original_resolution": tuple(record["original_size"][::-1]),
                    "crop_offset": tuple(record["crop_top_left"])}
            if "mask" in sample["arrays"]:  # as mgds' ScaleImage makes it of an image
                mask = torch.from_numpy(sample["arrays"]["mask"])[None, None].float() / 255
                size = item["latent_image"].shape[1:]
                item["latent_mask"] = torch.nn.functional.interpolate(mask, size, mode="bilinear", antialias=True)[0]
            write_whole(target, lambda file: torch.save(item, file))
        written, there = written + new, there + (not new)
        if n + 1 == len(order):  # this one says that all others are there
            write_whole(os.path.join(os.path.dirname(target), "aggregate.pt"), lambda file: torch.save(whole, file))
            whole = []
    write_whole(os.path.join(words.into, "concepts.json"), lambda file: file.write(json.dumps([concept], indent=4).encode()))
    sync_tree(words.into)
    print(f"{words.into}: {written} files written, {there} there already")


def diffusers_sdxl(data, words):
    """diffusers 58eb52c (2026-08): the columns that compute_vae_encodings and preprocess_train make."""
    import datasets

    datasets.disable_progress_bars()
    about = data.sample(0)["record"]["latent"]
    if abs(about["scaling_factor"] - 0.13025) > 1e-6 or about.get("latents_mean"):
        raise ValueError(f"its scaling factor is {about['scaling_factor']}: not SDXL's latents")
    begin, sizes = claim(words.into, about_of(data, words)), collections.Counter()

    def name_of(sample):
        sizes["{}x{}".format(*sample["record"]["target_size"])] += 1
        return sample["key"]

    look(data, words, "float32", name_of)
    if len(sizes) > 1:
        print(f"  sizes: {', '.join(sorted(sizes))}; that script trains on one (encode --bucketing square)")
    if words.dry_run:
        return
    if os.path.exists(final := os.path.join(words.into, "dataset")):
        raise ValueError(f"{final} is there already")
    begin()

    def rows():
        for i in shown(range(len(data.rows)), len(data.rows), "wrote"):
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
        os.rename(os.path.join(cache, "whole"), final)
    sync_tree(words.into)
    print(f"{final}: {len(data.rows)} rows")


MDS_COLUMNS = {"caption": "str", "crop_top_left": "json", "key": "str", "latent": "ndarray:{}", "meta": "json",
               "original_size": "json", "target_size": "json"}
MDS_RAW_BYTES = 1 << 26  # of a full shard, as MDSWriter has it


def mds_sample(sample, latent, dtype):
    """A sample's bytes: sizes of all columns, by name, then the columns."""
    latent, record = latent.astype(dtype), sample["record"]
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
    begin = claim(words.into, about_of(data, words, dtype=dtype, raw=words.raw))
    look(data, words, dtype, lambda sample: sample["key"], lost="hashes, recipe")
    if words.dry_run:
        return
    begin()
    if os.path.exists(final := os.path.join(words.into, "mds")):
        raise ValueError(f"{final} is there already")
    with tempfile.TemporaryDirectory(dir=os.path.join(words.into, ".latentd-export")) as cache:
        whole, at, merged = os.path.join(cache, "mds"), 0, []
        numbers = iter(shown(range(len(data.rows)), len(data.rows), "wrote"))
        for bucket, rows in data.buckets.items():
            shards, waiting, size = [], [], 0
            for i in itertools.islice(numbers, len(rows)):
                sample = data.sample(i)
                waiting.append(mds_sample(sample, raw(sample) if words.raw else sample["latent"], dtype))
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
    writers = {"simpletuner": simpletuner, "onetrainer": onetrainer, "diffusers-sdxl": diffusers_sdxl, "mds": mds}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--to", required=True, choices=list(writers))
    parser.add_argument("--into", required=True)
    parser.add_argument("--images", help="simpletuner: instance_data_dir")
    parser.add_argument("--id", help="simpletuner: id of the data backend")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--raw", action="store_true", help="mds: latents as the VAE gives them, not scaled")
    parser.add_argument("--split", default="train", help="train, or val, where latentctl repack --val made one")
    parser.add_argument("--resolution", type=int, help="of a dataset that has several: this one (the least)")
    parser.add_argument("--dry-run", action="store_true")
    words = parser.parse_args()
    if words.to == "simpletuner" and not (words.images and words.id):
        parser.error("simpletuner needs --images and --id")
    if words.raw and words.to != "mds":
        parser.error("--raw is for mds")
    words.into = os.path.abspath(words.into)
    try:
        scale = not words.raw and words.to != "onetrainer"
        writers[words.to](samples_of(words.dataset, words.split, scale, words.resolution), words)
    except BlockingIOError as error:
        print(f"latentd_export.py: {error}", file=sys.stderr)
        sys.exit(5)  # as latentctl ends where somebody else is at work
    except ImportError as error:
        sys.exit(f"latentd_export.py: {sys.executable} has no {error.name}: python3 -m pip install {NEEDS[words.to]}")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"latentd_export.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
