#!/usr/bin/env python3
"""check_pixels.py BUILD: every stored latent against the model on pixels that Pillow and numpy prepared.

The rule of the buckets is restated in ../e2e/reference.py; decoding, orientation, compositing, resizing and
cropping are Pillow's. Only the network itself is ours: tests/tools/vae_run, which has goldens of its own.
Ends with 'N passed, N failed, N skipped'.
"""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE_DIR = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "e2e"))

from reference import placement, read_dataset  # noqa: E402

MODEL = os.path.join(SOURCE_DIR, "models", "demo")
PHOTOS = os.path.join(os.path.dirname(SOURCE_DIR), "shared", "photos")
GOLDEN_IMAGES = os.path.join(SOURCE_DIR, "tests", "golden", "images")
RESOLUTION = 256
# What Pillow reads in every version; the goldens of tests/unit hold the other formats to it.
ASKED = (".jpg", ".jpeg", ".png", ".webp")
# The same network on the same pixels, in batches of other sizes and on other threads.
SAME = 1e-5


def upright_rgb(file):
    """As training scripts see it: orientation applied, transparency over white."""
    image = ImageOps.exif_transpose(Image.open(file))
    if image.mode.startswith("I"):  # 16-bit grey: the high byte, where Pillow's convert clips
        image = Image.fromarray(
            (numpy.asarray(image).astype(numpy.uint32) >> 8).astype(numpy.uint8)
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def prepared(file):
    """(what the record must say, [3][h][w] in [-1, 1])"""
    with Image.open(file) as image:
        stored = list(image.size)
    image = upright_rgb(file)
    width, height = image.size
    target, resized, (top, left), _ = placement("kohya", RESOLUTION, width, height)
    box = (left, top, left + target[0], top + target[1])
    pixels = image.resize(resized, Image.Resampling.LANCZOS).crop(box)
    caption = None
    if os.path.exists(os.path.splitext(file)[0] + ".txt"):
        with open(os.path.splitext(file)[0] + ".txt", encoding="utf-8") as text:
            caption = text.read().strip()
    says = {
        "stored_size": stored,
        "original_size": [width, height],
        "resized_size": list(resized),
        "target_size": list(target),
        "crop_top_left": [top, left],
        "time_ids": [height, width, top, left, target[1], target[0]],
        "caption": caption,
    }
    signed = 2 * (numpy.asarray(pixels, numpy.float32) / numpy.float32(255)) - 1
    return says, signed.transpose(2, 0, 1)


def write_safetensors(path, name, array):
    data = numpy.ascontiguousarray(array, "<f4").tobytes()
    about = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, len(data)]}
    header = json.dumps({name: about}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def read_safetensors(path, name):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        about = json.loads(file.read(length))[name]
        assert about["dtype"] == "F32"
        data = file.read()[slice(*about["data_offsets"])]
    return numpy.frombuffer(data, "<f4").reshape(about["shape"])


def means(build, folder, pixels):
    """The mean of the posterior of each image, by path."""
    by_size, found = {}, {}
    for path, array in pixels.items():
        by_size.setdefault(array.shape, []).append(path)
    for paths in by_size.values():
        given, made = os.path.join(folder, "in.safetensors"), os.path.join(
            folder, "out.safetensors"
        )
        write_safetensors(given, "input", numpy.stack([pixels[path] for path in paths]))
        program = os.path.join(build, "tests", "vae_run")
        subprocess.run([program, MODEL, given, made], check=True, capture_output=True)
        moments = read_safetensors(made, "moments")
        found.update(zip(paths, moments[:, : moments.shape[1] // 2]))
    return found


def encode(build, source, folder, dtype):
    """The samples that latentctl makes of @source, by path."""
    out = os.path.join(folder, "out")
    command = [
        os.path.join(build, "daemon", "latentctl"),
        "encode",
        source,
        "--vae",
        MODEL,
        "--out",
        out,
    ]
    command += ["--state", os.path.join(folder, "state"), "--name", dtype, "--dtype", dtype]
    command += ["--resolution", str(RESOLUTION), "--color", "ignore", "--quiet"]
    command += ["--max-upscale", "0"]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode in (0, 3), result.stderr.decode("utf-8", "replace")
    return {sample.path: sample for sample in read_dataset(os.path.join(out, dtype))}


def latent_of(sample):
    return numpy.load(io.BytesIO(sample.npy), allow_pickle=False)


def check_image(path, says, mean, wide, half):
    for sample in (wide, half):
        record = sample.record
        assert {name: record[name] for name in says} == says, f"{record} is not {says}"
        assert sample.members["txt"].decode() == (says["caption"] or "")
    exact, rounded = latent_of(wide), latent_of(half)
    assert exact.dtype == numpy.float32 and rounded.dtype == numpy.float16
    assert exact.shape == mean.shape, f"{exact.shape} is not {mean.shape}"
    off = numpy.abs(exact - mean).max()
    assert off <= SAME, f"float32 is off by {off}"
    # Half the distance to the next float16 on the far side from zero, where the distance is larger.
    half_ulp = numpy.spacing(numpy.abs(mean).astype(numpy.float16)).astype(numpy.float32) / 2
    off = (numpy.abs(rounded.astype(numpy.float32) - mean) - half_ulp).max()
    assert off <= SAME, f"float16 is off by {off} more than its rounding"
    assert (
        exact.astype(numpy.float16) == rounded
    ).all(), "float16 is not float32 rounded to nearest"


def check_folder(build, source):
    """Numbers of images that are right and wrong; what Pillow cannot read is not asked for."""
    expected, pixels = {}, {}
    for at, _, names in os.walk(source):
        for name in names:
            file = os.path.join(at, name)
            if name.endswith(ASKED):
                try:
                    path = os.path.relpath(file, source)
                    expected[path], pixels[path] = prepared(file)
                except OSError as why:
                    print(f"{name}: Pillow: {why}")
    with tempfile.TemporaryDirectory() as folder:
        mean = means(build, folder, pixels)
        wide = encode(build, source, folder, "float32")
        half = encode(build, source, folder, "float16")
    wrong = 0
    for path in sorted(expected):
        try:
            check_image(path, expected[path], mean[path], wide[path], half[path])
        except (AssertionError, KeyError) as error:
            wrong += 1
            print(f"FAILED {path}: {type(error).__name__}: {error}")
    return len(expected) - wrong, wrong


def check_png(build, source, folder):
    """Numbers of images whose PNG, as it is sent to endpoints, has for Pillow the pixels of the PPM beside it, or not."""
    right, wrong = 0, 0
    program = os.path.join(build, "tests", "image_run")
    for name in sorted(os.listdir(source)):
        made = [os.path.join(folder, f"sent.{kind}") for kind in ("png", "ppm")]
        runs = [[program, os.path.join(source, name), path] for path in made]
        if any(subprocess.run(run, capture_output=True, check=False).returncode for run in runs):
            continue  # no image that is read
        with Image.open(made[0]) as sent, Image.open(made[1]) as plain:
            sent.load()
            same = sent.mode == plain.mode and sent.size == plain.size
            same = same and sent.tobytes() == plain.tobytes()
        right, wrong = right + same, wrong + (not same)
        if not same:
            print(f"FAILED {name}: its PNG has other pixels for Pillow")
    print(f"PNG: {right} images right, {wrong} wrong")
    return right, wrong


def main():
    build, passed, failed, skipped = sys.argv[1], 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        drawn = os.path.join(folder, "drawn")
        program = os.path.join(build, "tests", "make_pictures")
        subprocess.run([program, drawn, "12"], check=True, stdout=subprocess.DEVNULL)
        shutil.copytree(GOLDEN_IMAGES, os.path.join(folder, "golden"))
        for source in (drawn, os.path.join(folder, "golden"), PHOTOS):
            if not os.path.isdir(source):
                skipped += 1
                print(f"SKIPPED {source} is not here")
                continue
            right, wrong = check_folder(build, source)
            print(f"{os.path.basename(source)}: {right} images right, {wrong} wrong")
            passed, failed = passed + right, failed + wrong
    with tempfile.TemporaryDirectory() as folder:
        right, wrong = check_png(build, GOLDEN_IMAGES, folder)
        passed, failed = passed + right, failed + wrong
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
