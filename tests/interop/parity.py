#!/usr/bin/env python3
"""parity.py LATENTCTL [PHOTOS [TEST...]]: latents that sd-scripts and diffusers would cache, against latentd's, of the same images.

The trainers' side is their own code: sd-scripts' image loading, buckets, resizing and cropping, out of its sources below the
folder that LATENTD_TRAINERS names (read_exports.py says more), torchvision's transforms as diffusers' script composes them, and
diffusers' AutoencoderKL for both. Prints a row for each tool and option set, as docs/parity.md has them, and fails where an
image differs by more than rounding and no reason is known. Ends with 'N passed, N failed, N skipped'.
"""

import glob
import os
import subprocess
import sys
import tempfile
import types

import numpy
from PIL import Image

from read_exports import Skip, need, taken_from
from read_exports import ROOT, source_path
from latentd_wds import LatentBatches

MODEL = os.path.join(ROOT, "models", "demo")
RESOLUTION = 256
ROUNDING, RMS = 1e-3, 1e-4  # of a latent's spread; the network with its additions in another order is 2e-5
LATENTCTL = PHOTOS = None


def reasons(file):
    """Why a trainer may see another image than latentd does by default."""
    with Image.open(file) as image:
        found = {
            "EXIF": image.getexif().get(0x0112, 1) != 1,
            "ICC": "icc_profile" in image.info,
            "alpha": image.has_transparency_data,
        }
    return [name for name, there in found.items() if there]


def ours(*options):
    """{path: (record, raw latent)} of latentctl encode."""
    with tempfile.TemporaryDirectory() as folder:
        words = [LATENTCTL, "encode", PHOTOS, "--vae", MODEL, "--out", os.path.join(folder, "out"), "--name", "p"]
        words += ["--state", os.path.join(folder, "state"), "--dtype", "float32", "--resolution", str(RESOLUTION), "--max-upscale", "0", "--no-captions", *options]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr  # 3: the broken ones
        data = LatentBatches(os.path.join(folder, "out", "p"), 1, scale=False)
        samples = [data.sample(i) for i in range(len(data.rows))]
    return {source_path(s["record"]): (s["record"], s["latent"]) for s in samples}


def encode(vae, pixels):
    """The mode of what a trainer draws from, for [h][w][3] of 8 bits."""
    import torch

    with torch.no_grad():  # ToTensor and Normalize([0.5], [0.5])
        signed = (torch.from_numpy(numpy.ascontiguousarray(pixels)).permute(2, 0, 1).float().div(255) - 0.5) / 0.5
        return vae.encode(signed[None]).latent_dist.mode()[0].numpy()


def vae():
    need("torch", "diffusers")
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(MODEL, low_cpu_mem_usage=False).eval()


def sd_scripts(no_upscale, interpolation):
    """A function from a file to (size, pixels, None), of sd-scripts' code."""
    need("cv2", "torch")
    import cv2

    scripts = "sd-scripts/library"
    resizing = taken_from(f"{scripts}/utils.py", "resize_image", "get_cv2_interpolation", "get_pil_interpolation", "pil_resize",
                          cv2=cv2, Image=Image)
    sizes = taken_from(f"{scripts}/model_util.py", "make_bucket_resolutions")
    code = taken_from(f"{scripts}/train_util.py", "load_image", "trim_and_resize_if_required", "BucketManager", Image=Image,
                      resize_image=resizing.resize_image, model_util=sizes)
    # With enable_bucket: min_bucket_reso 128, max_bucket_reso 512, bucket_reso_steps 64.
    manager = code.BucketManager(no_upscale, (RESOLUTION, RESOLUTION), 128, 512, 64)
    if not no_upscale:
        manager.make_buckets()

    def prepare(file):
        image = code.load_image(file)
        size, resized, _ = manager.select_bucket(image.shape[1], image.shape[0])
        pixels, _, _ = code.trim_and_resize_if_required(False, image, size, resized, interpolation)
        return size, pixels, None

    return prepare


def diffusers_sdxl(interpolation):
    """What train_text_to_image_sdxl.py makes of an image, with --center_crop."""
    need("torchvision")
    from torchvision import transforms

    mode = getattr(transforms.InterpolationMode, interpolation.upper())
    crop = transforms.Compose([transforms.Resize(RESOLUTION, interpolation=mode), transforms.CenterCrop(RESOLUTION)])

    def prepare(file):
        image = Image.open(file).convert("RGB")
        # torchvision cuts the longer side off to whole pixels, and rounds half of what is cropped to even.
        resized = [int(RESOLUTION * side / min(image.size)) for side in image.size]
        offsets = [int(round((side - RESOLUTION) / 2.0)) for side in resized]
        return (RESOLUTION, RESOLUTION), numpy.asarray(crop(image)), (resized, offsets[::-1])

    return prepare


def compare(title, prepare, options, known=()):
    """One row: images that differ must have one of the @known reasons."""
    model, made = vae(), ours(*options)
    same, other, worst, squares, values = 0, {}, 0.0, 0.0, 0
    for path, (record, latent) in sorted(made.items()):
        file = os.path.join(PHOTOS, path)
        size, pixels, place = prepare(file)
        if list(size) != record["target_size"]:
            difference, rms = float("inf"), float("inf")
        else:
            theirs = encode(model, pixels)
            difference = float(abs(theirs - latent).max() / theirs.std())
            rms = float((((theirs - latent) / theirs.std()) ** 2).mean() ** 0.5)
        if difference <= ROUNDING and rms <= RMS:
            same += 1
            worst = max(worst, difference)
            squares, values = squares + rms * rms * latent.size, values + latent.size
        else:
            why = [reason for reason in reasons(file) if reason in known]
            if place and list(place) != [record["resized_size"], record["crop_top_left"]]:
                why = ["placement"]
            if not why:
                print(f"{title}: {path} differs by {difference:.3g} (rms {rms:.3g}), and it is not known why: {reasons(file)}")
            other.setdefault(why[0] if why else "unexplained", []).append(path)
    differ = ", ".join(f"{len(paths)} {reason}" for reason, paths in sorted(other.items())) or "none"
    print(f"| {title} | `{' '.join(options)}` | {same} of {len(made)} | {worst:.1e} | {(squares / max(values, 1)) ** 0.5:.1e} | {differ} |")
    assert "unexplained" not in other and same > len(made) // 2, other


# Under transparent pixels both trainers have what the file has there; neither looks at EXIF or ICC.
AS_THEY = ("--exif", "ignore", "--color", "ignore", "--alpha", "drop")
BUCKETS = ("--min-bucket", "128", "--max-bucket", "512")
DIFFER = ("EXIF", "ICC", "alpha")


def sd_scripts_by_default():
    compare("sd-scripts", sd_scripts(False, None), ("--bucketing", "kohya", *BUCKETS, "--filter", "kohya", *AS_THEY))


def sd_scripts_with_lanczos():
    compare("sd-scripts, resize_interpolation lanczos", sd_scripts(False, "lanczos"),
            ("--bucketing", "kohya", *BUCKETS, "--filter", "lanczos", *AS_THEY))


def sd_scripts_without_upscaling():
    compare("sd-scripts, bucket_no_upscale", sd_scripts(True, None),
            ("--bucketing", "kohya_no_upscale", *BUCKETS, "--filter", "kohya", *AS_THEY))


def sd_scripts_against_our_defaults():
    compare("sd-scripts, resize_interpolation lanczos", sd_scripts(False, "lanczos"), ("--bucketing", "kohya", *BUCKETS), DIFFER)


def diffusers_with_lanczos():
    compare("diffusers SDXL script, lanczos", diffusers_sdxl("lanczos"), ("--bucketing", "square", *AS_THEY))


def diffusers_with_bilinear():
    compare("diffusers SDXL script, bilinear", diffusers_sdxl("bilinear"),
            ("--bucketing", "square", "--filter", "bilinear", *AS_THEY))


TESTS = [
    sd_scripts_by_default,
    sd_scripts_with_lanczos,
    sd_scripts_without_upscaling,
    sd_scripts_against_our_defaults,
    diffusers_with_lanczos,
    diffusers_with_bilinear,
]


def main():
    global LATENTCTL, PHOTOS
    LATENTCTL = os.path.abspath(sys.argv[1])
    PHOTOS = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "..", "shared", "photos"))
    passed = failed = skipped = 0
    for test in TESTS if len(sys.argv) < 4 else [test for test in TESTS if test.__name__ in sys.argv[3:]]:
        try:
            if not glob.glob(os.path.join(PHOTOS, "*")):
                raise Skip(f"there are no pictures in {PHOTOS}")
            test()
            passed += 1
        except Skip as why:
            skipped += 1
            print(f"SKIPPED {test.__name__}: {why}")
        except Exception as error:  # a trainer's code may fail in any way; the others still run
            failed += 1
            print(f"FAILED {test.__name__}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
