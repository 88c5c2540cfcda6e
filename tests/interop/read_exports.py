#!/usr/bin/env python3
"""read_exports.py LATENTCTL OUT: exports of OUT's datasets sdxl, sd15 and others, read by those that they are for.

What is in the Python index is installed: numpy, safetensors, datasets, torch where it is. The trainers' own loading code is
taken out of their sources, one class or function each, below the folder that LATENTD_TRAINERS names:
    sd-scripts/  musubi-tuner/  ai-toolkit/  SimpleTuner/  OneTrainer/  mgds/      checkouts; the commits stand in docs/EXPORT.md
What is not there is skipped, with a line that says so. Ends with 'N passed, N failed, N skipped'.
"""

import ast
import base64
import collections
import collections.abc
import enum
import glob
import hashlib
import importlib.util
import io
import json
import logging
import math
import os
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import types
import typing
import zlib

import numpy

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CONTRIB = os.path.join(ROOT, "contrib")
sys.path.insert(0, CONTRIB)
from latentd_export import source_path  # noqa: E402
from latentd_wds import LatentBatches  # noqa: E402

LATENTCTL = OUT = None
TRAINERS = os.environ.get("LATENTD_TRAINERS", "")


class Skip(Exception):
    pass


def need(*packages):
    for package in packages:
        if not importlib.util.find_spec(package):
            raise Skip(f"{package} is not installed")


def taken_from(path, *names, **given):
    """Classes, functions and single methods ("Class.method") of a trainer's file, without what it imports."""
    full = os.path.join(TRAINERS, path)
    if not TRAINERS or not os.path.exists(full):
        raise Skip(f"LATENTD_TRAINERS has no {path}")
    with open(full, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
            found.update({f"{node.name}.{m.name}": m for m in getattr(node, "body", []) if hasattr(m, "name")})
    code = ast.Module([found[name] for name in names], [])
    space = {**vars(typing), "os": os, "np": numpy, "json": json, "math": math, "random": random, "glob": glob,
             "base64": base64, "hashlib": hashlib, "OrderedDict": collections.OrderedDict, "sha256": hashlib.sha256,
             "logger": logging.getLogger("trainer"), **given}
    exec(compile(code, full, "exec"), space)
    return types.SimpleNamespace(**{name: space[name] for name in (n.split(".")[-1] for n in names)})


def samples(name, scale):
    data = LatentBatches(os.path.join(OUT, name), 1, scale=scale)
    return [data.sample(i) for i in range(len(data.rows))]


def export(name, to, into, *options):
    words = [LATENTCTL, "export", os.path.join(OUT, name), "--to", to, "--into", into, *options]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def python_export(name, to, into, *options, **settings):
    """With the Python that runs this, as in an environment that is activated."""
    words = [LATENTCTL, "export", os.path.join(OUT, name), "--to", to, "--into", into, *options]
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PATH": path}, **settings)


def with_16_channels(into):
    """Dataset sd15 with its channels four times and the factors of FLUX.1's VAE, in OUT/zimage."""
    import xxhash

    for shard in glob.glob(os.path.join(OUT, "sd15", "train", "*", "*.tar")):
        path = shard.replace("/sd15/", "/zimage/")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tarfile.open(shard) as old, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as new:
            members = [(member.name, old.extractfile(member).read()) for member in old]
            for (name, text), (npy_name, npy), caption in zip(members[::3], members[1::3], members[2::3]):
                record, array = json.loads(text), numpy.tile(numpy.load(io.BytesIO(npy)), (4, 1, 1))
                record["latent"].update(shape=list(array.shape), scaling_factor=0.3611, shift_factor=0.1159,
                                        xxh3_128=xxhash.xxh3_128_hexdigest(array.tobytes()))
                numpy.save(file := io.BytesIO(), array)
                for name, data in ((name, json.dumps(record).encode()), (npy_name, file.getvalue()), caption):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    new.addfile(info, io.BytesIO(data))
        with open(path, "r+b") as file:  # tarfile pads to 10 KiB, shards have two zero blocks
            data = file.read().rstrip(b"\0")
            file.truncate(len(data) + -len(data) % 512 + 1024)


def sd_scripts_loads_each_npz(into):
    need("torch")
    import torch

    base = taken_from("sd-scripts/library/strategy_base.py", "LatentsCachingStrategy", torch=torch)
    for name, raw in (("sdxl", False), ("sd15", True)):
        folder = os.path.join(into, name)
        export(name, "kohya", folder)
        kind = taken_from("sd-scripts/library/strategy_sd.py", "SdSdxlLatentsCachingStrategy", torch=torch,
                          LatentsCachingStrategy=base.LatentsCachingStrategy)
        strategy = kind.SdSdxlLatentsCachingStrategy(name == "sd15", True, 1, False)
        with open(os.path.join(folder, "latentd.json"), encoding="utf-8") as file:
            metadata = json.load(file)
        for sample in samples(name, False):
            record = sample["record"]
            size = metadata[source_path(record)]["image_size"]
            path = strategy.get_latents_npz_path(os.path.join(folder, source_path(record)), size)
            assert strategy.is_disk_cached_latents_expected(record["target_size"], path, False, False), path
            latents, original, ltrb, flipped, mask = strategy.load_latents_from_disk(path, record["target_size"])
            assert torch.FloatTensor(latents).shape == sample["latent"].shape and (latents == sample["latent"]).all()
            assert original == record["original_size"] and ltrb == record["kohya_crop_ltrb"], (original, ltrb)
            assert flipped is None and mask is None
            assert list(strategy.get_image_size_from_disk_cache_path(path, path)) == record["original_size"]


def numpy_loads_each_npz(into):
    export("sd15", "npz", into)
    for sample in samples("sd15", False):
        with numpy.load(os.path.join(into, sample["key"] + ".npz")) as arrays:
            assert (arrays["latent"] == sample["latent"]).all()
            assert arrays["crop_top_left"].tolist() == sample["record"]["crop_top_left"]


def safetensors_loads_each_file(into):
    need("safetensors")
    from safetensors import safe_open

    export("sd15", "safetensors", into)
    for sample in samples("sd15", False):
        with safe_open(os.path.join(into, sample["key"] + ".safetensors"), "numpy") as file:
            assert (file.get_tensor("latent") == sample["latent"]).all()
            assert json.loads(file.metadata()["record"]) == sample["record"]


def ai_toolkit_finds_and_loads_each_latent(into):
    need("torch", "safetensors")
    from safetensors.numpy import load_file

    mixin = taken_from("ai-toolkit/toolkit/dataloader_mixins.py", "LatentCachingFileItemDTOMixin", torch=__import__("torch"))
    export("sdxl", "ai-toolkit", into)
    for sample in samples("sdxl", True):
        record = sample["record"]
        item = mixin.LatentCachingFileItemDTOMixin()
        item.path, item.latent_space_version = os.path.join(into, source_path(record)), "sdxl"
        item.scale_to_width, item.scale_to_height = record["resized_size"]
        item.crop_y, item.crop_x = record["crop_top_left"]
        item.crop_width, item.crop_height = record["target_size"]
        item.flip_x = item.flip_y = item.is_video = item.is_audio_model = False
        item.dataset_config = types.SimpleNamespace(cache_tensors_to_disk=False)
        latent = load_file(item.get_latent_path())["latent"]
        assert numpy.allclose(latent, sample["latent"], rtol=1e-3, atol=1e-6), sample["key"]


def musubi_loads_each_latent(into):
    need("torch", "safetensors")
    import torch
    from safetensors.torch import load_file, save_file

    utils = taken_from("musubi-tuner/src/musubi_tuner/utils/model_utils.py", "dtype_to_str", "_known_dtype_strs",
                       "remove_dtype_suffix", torch=torch, lru_cache=lambda *a, **k: (lambda f: f), functools=__import__("functools"))
    kind = taken_from("musubi-tuner/src/musubi_tuner/dataset/image_video_dataset.py", "ItemInfo",
                      "BaseDataset.get_latent_cache_path")
    manager = taken_from("musubi-tuner/src/musubi_tuner/dataset/bucket.py", "BucketBatchManager", torch=torch,
                         load_file=load_file, remove_dtype_suffix=utils.remove_dtype_suffix, ItemInfo=kind.ItemInfo)
    with_16_channels(into)
    export("zimage", "musubi", into)
    for sample in samples("sd15", False):
        record = sample["record"]
        item = kind.ItemInfo(source_path(record), "", tuple(record["original_size"]), tuple(record["target_size"]))
        where = types.SimpleNamespace(cache_directory=into, architecture="zi")
        if "\udcff" in item.item_key:
            continue  # safetensors does not open a file of such a name
        item.latent_cache_path = kind.get_latent_cache_path(where, item)
        item.text_encoder_output_cache_path = os.path.join(into, "text.safetensors")
        save_file({"varlen_text_float32": torch.zeros(1)}, item.text_encoder_output_cache_path)
        batch = manager.BucketBatchManager({item.bucket_size: [item]}, 1)[0]
        assert (batch["latents"][0].numpy() == numpy.tile(sample["latent"], (4, 1, 1))).all(), sample["key"]


def simpletuner_finds_and_loads_each_latent(into):
    need("torch")
    import torch

    images, cache = os.path.join(into, "images"), os.path.join(into, "cache")
    os.mkdir(images)
    for _ in range(2):  # the second one finds everything there
        done = python_export("sdxl", "simpletuner", cache, "--images", images, "--id", "a")
        assert done.returncode == 0, done.stderr
    assert " 0 files written" in done.stdout, done.stdout
    for file in sorted(glob.glob(os.path.join(cache, "**", "*.pt"), recursive=True))[:2]:
        latent = torch.load(file)
        torch.save(torch.zeros_like(latent), file)  # as of an image that was encoded again since
        again = python_export("sdxl", "simpletuner", cache, "--images", images, "--id", "a")
        assert again.returncode != 0 and "is there with other contents" in again.stderr, again.stderr
        torch.save(latent, file)
    with open(os.path.join(images, "aspect_ratio_bucket_indices_a.json")) as file:
        listed = [path for paths in json.load(file)["aspect_ratio_bucket_indices"].values() for path in paths]
    with open(os.path.join(images, "aspect_ratio_bucket_metadata_a.json")) as file:
        metadata = json.load(file)
    wanted = {os.path.join(images, source_path(s["record"])): s for s in samples("sdxl", True)}
    wanted = {path: s for path, s in wanted.items() if "\udcff" not in path}  # such names SimpleTuner cannot hash
    assert "not UTF-8" in done.stdout and len(wanted) == len(samples("sdxl", True)) - 1, done.stdout
    assert set(listed) == set(metadata) == set(wanted) and len(listed) == len(wanted)
    for path, sample in wanted.items():
        stem = os.path.splitext(os.path.basename(path))[0]
        name = os.path.join(cache, os.path.dirname(source_path(sample["record"])), hashlib.sha256(stem.encode()).hexdigest() + ".pt")
        assert (torch.load(name).numpy() == sample["latent"]).all(), path
        assert metadata[path]["crop_coordinates"] == sample["record"]["crop_top_left"]
    method = taken_from("SimpleTuner/simpletuner/helpers/caching/vae.py", "VAECache.generate_vae_cache_filename")
    own = types.SimpleNamespace(image_data_backend=None, hash_filenames=True, cache_dir=cache, instance_data_dir=images)
    for path in wanted:
        assert os.path.exists(method.generate_vae_cache_filename(own, path)[0]), path


def onetrainer_trains_from_the_cache_without_opening_an_image(into):
    """Its own concept, paths, caches and batches, as _create_dataset puts them together; only texts are not encoded."""
    need("torch", "tqdm")
    import torch

    sys.path.insert(0, os.path.join(TRAINERS, "mgds", "src"))
    if not TRAINERS or not importlib.util.find_spec("mgds"):
        raise Skip("LATENTD_TRAINERS has no mgds")
    from mgds.MGDS import MGDS, TrainDataLoader
    from mgds.OutputPipelineModule import OutputPipelineModule
    from mgds.PipelineModule import PipelineState
    from mgds.pipelineModules.AspectBatchSorting import AspectBatchSorting
    from mgds.pipelineModules.CollectPaths import CollectPaths
    from mgds.pipelineModules.DiskCache import DiskCache
    from mgds.pipelineModules.LoadMultipleTexts import LoadMultipleTexts
    from mgds.pipelineModules.ModifyPath import ModifyPath
    from mgds.pipelineModules.SelectRandomText import SelectRandomText
    from mgds.pipelineModules.VariationSorting import VariationSorting

    config = "OneTrainer/modules/util/config"
    enums = taken_from("OneTrainer/modules/util/enum/ConceptType.py", "ConceptType", Enum=enum.Enum)
    ways = taken_from("OneTrainer/modules/util/enum/BalancingStrategy.py", "BalancingStrategy", Enum=enum.Enum)
    base = taken_from(f"{config}/BaseConfig.py", "BaseConfig", Callable=collections.abc.Callable, Enum=enum.Enum,
                      issubclass_safe=lambda a, b: isinstance(a, type) and issubclass(a, b))
    kinds = taken_from(f"{config}/ConceptConfig.py", "ConceptImageConfig", "ConceptTextConfig", "ConceptConfig",
                       BaseConfig=base.BaseConfig, ConceptType=enums.ConceptType, BalancingStrategy=ways.BalancingStrategy)
    path = taken_from("OneTrainer/modules/util/path_util.py", "supported_image_extensions",
                      SUPPORTED_IMAGE_EXTENSIONS={".png"})
    mixin = taken_from("OneTrainer/modules/dataLoader/mixin/DataLoaderText2ImageMixin.py",
                       "DataLoaderText2ImageMixin._cache_modules_from_names", DiskCache=DiskCache, torch=torch,
                       VariationSorting=VariationSorting, BaseModel=None, ModelSetupText2ImageMixin=None, BaseModelSetup=None,
                       TrainConfig=None, Callable=collections.abc.Callable)

    def never():
        raise AssertionError("it does not take the cache for whole")

    for name, n in (("sdxl", 1), ("sdxl_mirrored", 6)):
        target = os.path.join(into, name)
        python_export(name, "onetrainer", target).check_returncode()
        whole = {os.path.join(at, file) for at, _, files in os.walk(target) for file in files}
        for path_ in glob.glob(os.path.join(target, "cache", "image", "*", "variation-0", "[0a]*.pt")):  # as a kill leaves it
            os.rename(path_, path_ + ".123.tmp")
        again = python_export(name, "onetrainer", target)
        assert " 1 files written" in again.stdout, again
        assert {os.path.join(at, file) for at, _, files in os.walk(target) for file in files} == whole, name
        settings = types.SimpleNamespace(cache_dir=os.path.join(target, "cache"), latent_caching=True)
        with open(os.path.join(target, "concepts.json"), encoding="utf-8") as file:
            concepts = [kinds.ConceptConfig.default_values().from_dict(c).to_dict() for c in json.load(file)]
        split, aggregate = ["latent_image", "original_resolution", "crop_offset"], ["crop_resolution", "image_path"]
        names = aggregate + split + ["prompt", "concept"]
        modules = [
            CollectPaths("concept", "path", "concept.include_subdirectories", "enabled", "image_path", "concept",
                         path.supported_image_extensions(), None, ["-masklabel", "-condlabel"]),
            ModifyPath("image_path", "sample_prompt_path", "", ".txt"),
            LoadMultipleTexts("sample_prompt_path", "prompts"),
            SelectRandomText("prompts", "prompt"),
            mixin._cache_modules_from_names(None, None, None, split, aggregate, [], names, settings, False, never),
            AspectBatchSorting("crop_resolution", [*names[:-1], "concept"], 1),
            OutputPipelineModule(names[:-1]),
        ]
        data = MGDS(torch.device("cpu"), concepts, {}, modules, 1, PipelineState(1))
        wanted = read_variants(name)
        assert len(next(iter(wanted.values()))) == n, name
        for epoch in range(n):
            data.start_next_epoch()
            met = set()
            for batch in TrainDataLoader(data, 1):
                key = os.path.splitext(os.path.relpath(batch["image_path"][0], os.path.join(target, "images")))[0]
                record, latent = wanted[key][epoch]
                assert (batch["latent_image"][0].numpy() == latent).all(), key
                assert [int(v) for v in batch["original_resolution"]] == record["original_size"][::-1]
                assert [int(v) for v in batch["crop_offset"]] == record["crop_top_left"]
                assert [int(v) for v in batch["crop_resolution"]] == record["target_size"][::-1]
                assert batch["prompt"] == [(record["caption"] or "").strip()], key
                met.add(key)
            assert met == set(wanted), (name, epoch)


def png(array):
    """uint8 [h, w] or [h, w, 3] as a file."""
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    head = struct.pack(">2I5B", array.shape[1], array.shape[0], 8, 2 * (array.ndim - 2), 0, 0, 0)
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def onetrainer_gets_masks_as_it_would_make_them(into):
    """Of an image of the bucket's own size, so that nothing but its ScaleImage comes in between."""
    need("torch", "torchvision")
    import torch
    from torchvision import transforms

    random_ = numpy.random.Generator(numpy.random.Philox(5))
    planes = {"a": random_.integers(0, 256, (128, 128), numpy.uint8), "b": None}
    os.mkdir(os.path.join(into, "src"))
    for name, plane in planes.items():
        with open(os.path.join(into, "src", f"{name}.png"), "wb") as file:
            file.write(png(random_.integers(0, 256, (128, 128, 3), numpy.uint8)))
        if plane is not None:
            with open(os.path.join(into, "src", f"{name}-mask.png"), "wb") as file:
                file.write(png(plane))
    words = ["encode", "src", "--out", "out", "--name", "set", "--vae", os.path.join(OUT, "..", "model"), "--resolution", "128"]
    words += ["--masks", "beside", "--state", "state"]
    subprocess.run([LATENTCTL, *words], check=True, capture_output=True, cwd=into)
    target = os.path.join(into, "made")
    done = python_export(os.path.join(into, "out", "set"), "onetrainer", target)
    assert done.returncode == 0 and "arrays attached" not in done.stdout and "left out" not in done.stdout, done
    (cache,) = glob.glob(os.path.join(target, "cache", "image", "*", "variation-0"))
    resize = transforms.Resize((16, 16), interpolation=transforms.InterpolationMode.BILINEAR, antialias=True)
    for i, plane in enumerate(planes.values()):
        mask = torch.load(os.path.join(cache, f"{i}.pt"))["latent_mask"]
        wanted = torch.ones(1, 16, 16) if plane is None else resize(torch.from_numpy(plane)[None].float() / 255)
        assert mask.shape == wanted.shape and torch.allclose(mask, wanted, rtol=0, atol=1e-6), i
    os.unlink(os.path.join(into, "src", "a-mask.png"))
    subprocess.run([LATENTCTL, *words], check=True, capture_output=True, cwd=into)
    done = python_export(os.path.join(into, "out", "set"), "onetrainer", target)
    assert done.returncode == 1 and "another dataset" in done.stderr, done


def read_variants(name):
    """{key of an image: [(record, raw latent) of each variant]}"""
    data = LatentBatches(os.path.join(OUT, name), 1, scale=False)
    images = [[data.sample(i, variant=v) for v in range(data.variants)] for i in range(len(data.rows))]
    return {image[0]["key"]: [(s["record"], s["latent"]) for s in image] for image in images}


def exports_by_python_refuse_what_is_foreign(into):
    need("datasets")
    with open(os.path.join(into, "mine"), "w", encoding="utf-8"):
        pass
    done = python_export("sdxl", "diffusers-sdxl", into)
    assert done.returncode == 1 and "not empty" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    done = python_export("sd15", "diffusers-sdxl", os.path.join(into, "new"))
    assert done.returncode == 1 and "not SDXL" in done.stderr, done.stderr
    assert os.listdir(into) == ["mine"]


def datasets_has_the_columns_that_diffusers_trains_on(into):
    need("datasets")
    from datasets import load_from_disk

    done = python_export("sdxl", "diffusers-sdxl", into)
    assert done.returncode == 0, done.stderr
    rows = {row["key"]: row for row in load_from_disk(os.path.join(into, "dataset"))}
    wanted = samples("sdxl", True)
    assert len(rows) == len(wanted)
    for sample in wanted:
        row, record = rows[sample["key"]], sample["record"]
        assert (numpy.array(row["model_input"], numpy.float32) == sample["latent"]).all()
        assert row["original_sizes"] == record["original_size"][::-1]
        assert row["crop_top_lefts"] == record["crop_top_left"] and row["text"] == (record["caption"] or "")


def mds_shards_have_the_layout_that_streaming_reads(into):
    """By the rules of base/format/mds/reader.py; the package itself is the next test."""
    import xxhash
    import zstandard

    os.makedirs(os.path.join(into, ".latentd-export", "tmpkilled"))  # as a kill leaves it
    done = python_export("sd15", "mds", into, "--raw", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(os.path.join(into, ".latentd-export"))) == ["lock", "mds.json"]
    assert "there already" in python_export("sd15", "mds", into, "--raw", "--dtype", "float32").stderr
    with open(os.path.join(into, "mds", "index.json"), encoding="utf-8") as file:
        index = json.load(file)
    wanted = {s["key"]: s for s in samples("sd15", False)}
    for shard in index["shards"]:
        with open(os.path.join(into, "mds", shard["zip_data"]["basename"]), "rb") as file:
            packed = file.read()
        assert xxhash.xxh64_hexdigest(packed) == shard["zip_data"]["hashes"]["xxh64"]
        raw = zstandard.ZstdDecompressor().decompress(packed)
        assert hashlib.sha256(raw).hexdigest() == shard["raw_data"]["hashes"]["sha256"]
        assert zstandard.frame_content_size(packed) == len(raw) == shard["raw_data"]["bytes"]
        n, *offsets = numpy.frombuffer(raw[: 4 * (shard["samples"] + 2)], "<u4").tolist()
        assert n == shard["samples"] and offsets[-1] == len(raw)
        for begin, end in zip(offsets, offsets[1:]):
            sizes = numpy.frombuffer(raw[begin : begin + 28], "<u4")
            ends = begin + 28 + numpy.cumsum(sizes)
            assert ends[-1] == end
            parts = dict(zip(shard["column_names"], (raw[e - s : e] for s, e in zip(sizes, ends))))
            sample = wanted.pop(parts["key"].decode())
            assert parts["latent"][:4] == bytes([3 << 2, *sample["latent"].shape])
            assert parts["latent"][4:] == sample["latent"].tobytes()
            assert json.loads(parts["crop_top_left"]) == sample["record"]["crop_top_left"]
            assert parts["caption"].decode() == sample["caption"]
    assert not wanted, sorted(wanted)


def streaming_reads_each_stream_and_all_of_them(into):
    need("streaming", "torch")
    from streaming import Stream, StreamingDataset

    done = python_export("sdxl", "mds", into, "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    folder, wanted = os.path.join(into, "mds"), {s["key"]: s for s in samples("sdxl", True)}
    buckets = [name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name))]
    one = {"local": os.path.join(into, "one"), "remote": folder}
    many = {"streams": [Stream(remote=os.path.join(folder, b), local=os.path.join(into, "b", b)) for b in buckets]}
    for words in (one, many):
        data = StreamingDataset(**words, batch_size=1, shuffle=False, validate_hash="xxh64")
        found = {}
        for i in range(len(data)):
            row = data[i]
            found[row["key"]] = row
        assert set(found) == set(wanted)
        for key, sample in wanted.items():
            assert (found[key]["latent"] == sample["latent"]).all(), key
            assert found[key]["original_size"] == sample["record"]["original_size"]


def attached_arrays_come_with_their_samples(into):
    keys = sorted(s["key"] for s in samples("plain", True))
    for i, key in enumerate(keys[::2]):
        os.makedirs(os.path.dirname(os.path.join(into, key)), exist_ok=True)
        numpy.save(os.path.join(into, key + ".npy"), numpy.full((i + 1, 3), i, numpy.float16))
    done = subprocess.run([LATENTCTL, "attach", "te", into, "--out", OUT, "--name", "plain"], capture_output=True)
    assert done.returncode == 3, done.stderr  # the others have none
    found = {s["key"]: s["arrays"] for s in samples("plain", True)}
    assert sorted(found) == keys
    for i, key in enumerate(keys):
        assert list(found[key]) == ([] if i % 2 else ["te"]), (key, found[key])
        assert i % 2 or (found[key]["te"] == numpy.full((i // 2 + 1, 3), i // 2)).all(), key


def a_split_is_exported_by_itself_and_the_other_one_told(into):
    """sd15 as repack --val leaves it: one size in val."""
    import shutil

    dataset = shutil.copytree(os.path.join(OUT, "sd15"), os.path.join(into, "sd15"))
    size = sorted(os.listdir(os.path.join(dataset, "train")))[0]
    for folder in (dataset, os.path.join(dataset, ".latentd", "webshart")):
        os.makedirs(os.path.join(folder, "val"))
        os.rename(os.path.join(folder, "train", size), os.path.join(folder, "val", size))
    for split, other in (("train", "val"), ("val", "train")):
        target = os.path.join(into, split)
        done = python_export(dataset, "mds", target, "--split", split)
        assert done.returncode == 0 and f"not carried: what is in {other}/" in done.stdout, done
        assert (size in os.listdir(os.path.join(target, "mds"))) == (split == "val"), split
    done = python_export(dataset, "mds", os.path.join(into, "train"), "--split", "val")
    assert "with other options" in done.stderr, done


def datasets_of_other_forms_are_exported_alike(into):
    """sd15, and one with variants, repacked to MosaicML's format, with and without other columns, and to planes."""
    import shutil

    def files(folder):
        found = {}
        for at, _, names in os.walk(os.path.join(folder, "mds")):
            for name in names:
                with open(os.path.join(at, name), "rb") as file:
                    found[os.path.relpath(os.path.join(at, name), folder)] = file.read()
        return found

    def exported(folder, variants, target):
        done = python_export(folder, "mds", target)
        assert done.returncode == 0 and ("left out: mirrored" in done.stdout) == variants, done
        return files(target)

    out, datasets, wanted = os.path.join(into, "out"), {"sd15": False, "mirrored": True}, {}
    for name, variants in datasets.items():
        wanted[name] = exported(name, variants, os.path.join(into, f"wanted_{name}"))
        shutil.copytree(os.path.join(OUT, name), os.path.join(out, name))
    environment = {**os.environ, "XDG_STATE_HOME": os.path.join(into, "state")}
    latentctl = lambda *words: subprocess.run([LATENTCTL, *words], check=True, capture_output=True, env=environment)  # noqa: E731
    latentctl("rebuild", out)
    forms = (["--codec", "planes"], ["--format", "mds"], ["--columns", "latent=z:bytes,caption=text,meta=record"])
    for i, form in enumerate(forms):
        latentctl("repack", "--out", out, *form)
        for name, variants in datasets.items():
            made = exported(os.path.join(out, name), variants, os.path.join(into, f"made{i}_{name}"))
            assert made == wanted[name], (form, name)


def a_disk_that_fills_is_one_line_and_nothing_is_half_written(into):
    import resource

    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))  # noqa: E731
    target = os.path.join(into, "made")
    done = python_export("sd15", "mds", target, preexec_fn=limit)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "too large" in done.stderr, done
    left = [name for _, _, names in os.walk(into) for name in names]
    assert sorted(left) == ["lock", "mds.json"], left
    assert python_export("sd15", "mds", target).returncode == 0, "the same command goes on"


TESTS = [
    datasets_of_other_forms_are_exported_alike,
    a_disk_that_fills_is_one_line_and_nothing_is_half_written,
    a_split_is_exported_by_itself_and_the_other_one_told,
    attached_arrays_come_with_their_samples,
    mds_shards_have_the_layout_that_streaming_reads,
    streaming_reads_each_stream_and_all_of_them,
    sd_scripts_loads_each_npz,
    numpy_loads_each_npz,
    safetensors_loads_each_file,
    ai_toolkit_finds_and_loads_each_latent,
    musubi_loads_each_latent,
    simpletuner_finds_and_loads_each_latent,
    onetrainer_trains_from_the_cache_without_opening_an_image,
    onetrainer_gets_masks_as_it_would_make_them,
    datasets_has_the_columns_that_diffusers_trains_on,
    exports_by_python_refuse_what_is_foreign,
]


def main():
    global LATENTCTL, OUT
    LATENTCTL, OUT = (os.path.abspath(word) for word in sys.argv[1:])
    passed = failed = skipped = 0
    for test in TESTS:
        try:
            with tempfile.TemporaryDirectory() as into:
                test(into)
            passed += 1
        except Skip as why:
            skipped += 1
            print(f"SKIPPED {test.__name__}: {why}")
        except Exception as error:  # a reader may fail in any way; the others still run
            failed += 1
            print(f"FAILED {test.__name__}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
