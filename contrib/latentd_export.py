#!/usr/bin/env python3
"""Exports that need Python's own writers; latentctl export has the others.

    latentd_export.py OUT/NAME --to simpletuner --into CACHE --images IMAGES --id ID      needs torch
    latentd_export.py OUT/NAME --to diffusers-sdxl --into DIR                             needs datasets

simpletuner: CACHE is the backend's cache_dir_vae and ID its id; IMAGES, its instance_data_dir, also gets the two
aspect JSON files. diffusers-sdxl: a dataset for load_from_disk() with what train_text_to_image_sdxl.py precomputes.
latentd_wds.py lies beside this file. docs/EXPORT.md of latentd says more.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import urllib.parse

from latentd_wds import LatentBatches


def source_path(record):
    """The image's path, relative to its source."""
    path = os.fsdecode(urllib.parse.unquote_to_bytes(record["source"]))
    if os.path.isabs(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{record['key']}: its source {path!r} is not below a folder")
    return path


def write_whole(path, write):
    """The file appears whole or not at all."""
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
    """Refuses a folder with foreign files or another export; another run of the same one goes on."""
    mark = os.path.join(folder, ".latentd-export", about["format"] + ".json")
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if json.load(file) != about:
                raise ValueError(f"{folder} holds an export of another dataset or with other options: choose another")
    elif os.path.isdir(folder) and os.listdir(folder):
        raise ValueError(f"{folder} is not empty and holds no such export: choose another")
    return lambda: write_whole(mark, lambda file: file.write(json.dumps(about).encode()))


def simpletuner(data, words):
    """SimpleTuner bc8e6ab (2026-08): helpers/caching/vae.py and helpers/metadata/backends/discovery.py."""
    import torch

    images = os.path.abspath(words.images)
    lists = {n: os.path.join(images, f"aspect_ratio_bucket_{n}_{words.id}.json") for n in ("indices", "metadata")}
    begin = claim(words.into, {"format": "simpletuner", "recipe_id": data.sample(0)["record"]["recipe_id"],
                               "images": images, "id": words.id})
    names, unnamed = {}, 0
    for i in range(len(data.rows)):
        path = source_path(data.sample(i)["record"])
        try:
            digest = hashlib.sha256(os.path.splitext(os.path.basename(path))[0].encode()).hexdigest()
            names.setdefault(os.path.join(os.path.dirname(path), digest + ".pt"), (i, path))
        except UnicodeEncodeError:
            unnamed += 1
    print(f"{len(names)} samples; not carried: hashes, recipe, meta; captions stay beside the images")
    if clashes := len(data.rows) - unnamed - len(names):
        print(f"left out: {clashes} whose file would have the name of another's")
    if unnamed:
        print(f"left out: {unnamed} whose name is not UTF-8, which SimpleTuner cannot have")
    if words.dry_run:
        return
    begin()
    indices, metadata, written = {}, {}, 0
    for name, (i, path) in names.items():
        sample, target = data.sample(i), os.path.join(words.into, name)
        record = sample["record"]
        if not os.path.exists(target):
            tensor = torch.from_numpy(sample["latent"]).to(getattr(torch, words.dtype))
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
    print(f"{words.into}: {written} files written, {len(names) - written} there already")


def diffusers_sdxl(data, words):
    """diffusers 58eb52c (2026-08): the columns that compute_vae_encodings and preprocess_train make."""
    import datasets

    about = data.sample(0)["record"]["latent"]
    if abs(about["scaling_factor"] - 0.13025) > 1e-6 or about.get("latents_mean"):
        raise ValueError(f"its scaling factor is {about['scaling_factor']}: not SDXL's latents")
    begin = claim(words.into, {"format": "diffusers-sdxl", "recipe_id": data.sample(0)["record"]["recipe_id"]})
    print(f"{len(data.rows)} samples; not carried: hashes, recipe, meta")
    sizes = {tuple(data.sample(i)["record"]["target_size"]) for i in range(len(data.rows))} if words.dry_run else ()
    if words.dry_run:
        return print(f"sizes: {sorted(sizes)}; that script trains on one (encode --bucketing square)")
    begin()

    def rows():
        for i in range(len(data.rows)):
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
        os.rename(os.path.join(cache, "whole"), os.path.join(words.into, "dataset"))
    print(f"{words.into}/dataset: {len(data.rows)} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--to", required=True, choices=["simpletuner", "diffusers-sdxl"])
    parser.add_argument("--into", required=True)
    parser.add_argument("--images", help="simpletuner: instance_data_dir")
    parser.add_argument("--id", help="simpletuner: id of the data backend")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--dry-run", action="store_true")
    words = parser.parse_args()
    if words.to == "simpletuner" and not (words.images and words.id):
        parser.error("simpletuner needs --images and --id")
    words.into = os.path.abspath(words.into)
    try:
        data = LatentBatches(words.dataset, 1)
        {"simpletuner": simpletuner, "diffusers-sdxl": diffusers_sdxl}[words.to](data, words)
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.exit(f"latentd_export.py: {error}")


if __name__ == "__main__":
    main()
