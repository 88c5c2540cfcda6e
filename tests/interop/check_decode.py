#!/usr/bin/env python3
"""check_decode.py BUILD [FOLDER]: the PSNR of encode, shard and decode beside diffusers' on the same pixels, within 0.01 dB.

Photographs of FOLDER (shared/photos beside the source tree) at 256x256, models/demo. Pixels are those that were encoded:
image_run prepares them by the geometry of each record, as a PNG that diffusers' AutoencoderKL encodes (the mode) and
decodes. Needs torch and diffusers, which requirements.txt has not. Ends with 'N passed, N failed, N skipped'.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE_DIR = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "e2e"))

MODEL = os.path.join(SOURCE_DIR, "models", "demo")
SIDE, LIMIT = 256, 0.01


def skip(why):
    print(f"SKIPPED {why}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)


try:
    import numpy
    import torch
    from diffusers import AutoencoderKL
    from PIL import Image
except ImportError as missing:
    skip(f"check_decode: {missing.name} is not here")
from reference import read_dataset  # noqa: E402


def psnr(a, b):
    return 10 * numpy.log10(255**2 / numpy.mean((a.astype(float) - b.astype(float)) ** 2))


def prepared(build, photos, record, folder):
    """What was encoded, [SIDE][SIDE][3], by way of a PNG."""
    width, height = record["resized_size"]
    top, left = record["crop_top_left"]
    png = os.path.join(folder, "prepared.png")
    program = os.path.join(build, "tests", "image_run")
    size = ["--size", f"{width}x{height}", "--filter", "lanczos"]
    policy = ["--color", "srgb", "--exif", "apply", "--alpha", "white"]
    subprocess.run([program, os.path.join(photos, record["source"]), png, *size, *policy], check=True)
    return numpy.asarray(Image.open(png))[top : top + SIDE, left : left + SIDE]


@torch.no_grad()
def through_diffusers(vae, pixels):
    x = torch.from_numpy(pixels.astype(numpy.float32) / 255).permute(2, 0, 1)[None] * 2 - 1
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample
    return ((y / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def ours(build, photos, folder):
    """{key: PSNR} of verify --decode, and the records."""
    program, out = os.path.join(build, "daemon", "latentctl"), os.path.join(folder, "out")
    environment = dict(os.environ, XDG_STATE_HOME=os.path.join(folder, "state"))
    words = ["encode", photos, "--out", out, "--name", "set", "--vae", MODEL, "--resolution", str(SIDE)]
    words += ["--bucketing", "square", "--max-upscale", "0"]
    subprocess.run([program, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    words = ["verify", "--out", out, "--decode", "100000", "--vae", MODEL, "--min-psnr", "100"]
    text = subprocess.run([program, *words], env=environment, capture_output=True, text=True).stdout
    found = re.findall(r"^set/(.+): (-?[0-9.]+) dB, expected 100 at least", text, re.M)
    return {key: float(db) for key, db in found}, read_dataset(os.path.join(out, "set"))


def main(build, photos):
    if not os.path.isdir(photos):
        skip(f"check_decode: {photos} is not there")
    vae = AutoencoderKL.from_pretrained(MODEL).eval()
    passed, worst, sums = 0, 0, [0, 0]
    with tempfile.TemporaryDirectory() as folder:
        measured, samples = ours(build, photos, folder)
        for sample in samples:
            pixels = prepared(build, photos, sample.record, folder)
            want, got = psnr(through_diffusers(vae, pixels), pixels), measured.get(sample.key, 0)
            difference = abs(got - want)
            worst, sums = max(worst, difference), [sums[0] + got, sums[1] + want]
            passed += difference <= LIMIT
            mark = "" if difference <= LIMIT else "   FAILED"
            print(f"{got:7.2f} dB, diffusers {want:9.4f}: {sample.path}{mark}")
    n = max(len(samples), 1)
    print(f"{len(samples)} photographs: mean {sums[0] / n:.3f} dB, diffusers {sums[1] / n:.3f}; furthest apart {worst:.4f} dB")
    print(f"{passed} passed, {len(samples) - passed + (not samples)} failed, 0 skipped")


beside = os.path.join(os.path.dirname(SOURCE_DIR), "shared", "photos")
main(os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else beside)
