"""What the model makes of an image, beside the pipeline.

Decoded and resized by tests/tools/image_run, which is held here to the SHA-256 of Pillow's pixels in
images.json; cut by the rule of reference.py; encoded by tests/tools/vae_run, which has goldens of its own.
"""

import array
import hashlib
import json
import math
import os
import struct
import subprocess

from harness import BUILD_DIR, equal
from reference import placement


def images_json(path):
    """{file: what Pillow makes of it}, without the files that it cannot read."""
    with open(path, encoding="utf-8") as file:
        return {row["file"]: row for row in json.load(file)["rows"] if "size" in row}


def run_tool(name, *words):
    command = [os.path.join(BUILD_DIR, "tests", name), *map(str, words)]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr.decode('utf-8', 'replace')}"


def image_run(file, folder, *options):
    """(width, height, RGB bytes)"""
    made = os.path.join(folder, "image.ppm")
    run_tool("image_run", file, made, "--color", "ignore", *options)
    with open(made, "rb") as ppm:
        equal(ppm.readline(), b"P6\n", "PPM")
        width, height = map(int, ppm.readline().split())
        equal(ppm.readline(), b"255\n", "PPM")
        data = ppm.read()
    equal(len(data), 3 * width * height, f"bytes of {file}")
    return width, height, data


def resized(file, folder, size, kernel="lanczos"):
    size = f"{size[0]}x{size[1]}"
    return image_run(file, folder, "--size", size, "--filter", kernel)


def these_are_pillows_pixels(file, row, folder):
    """Fails if image_run decodes or resizes @file otherwise than Pillow; returns how much it compared."""
    wanted = []
    if "rgb_sha256" in row:
        wanted.append((image_run(file, folder), row["rgb_sha256"]))
    for made in row.get("resized", []):
        if made["filter"] == "lanczos" and "box" not in made and "crop" not in made:
            wanted.append((resized(file, folder, made["size"]), made["sha256"]))
    for (width, height, data), sha256 in wanted:
        equal(hashlib.sha256(data).hexdigest(), sha256, f"{file} at {width}x{height}")
    return len(wanted)


def prepared(file, row, folder, resolution, kernel="lanczos"):
    """((width, height), [3][height][width] in [-1, 1]): a kohya bucket, cut from the middle."""
    target, size, (top, left), _ = placement("kohya", resolution, *row["oriented_size"])
    width, _, data = resized(file, folder, size, kernel)
    rows = [
        data[3 * (y * width + left) : 3 * (y * width + left + target[0])]
        for y in range(top, top + target[1])
    ]
    pixels = b"".join(rows)
    # Each step in float32, as diffusers computes it.
    fractions = array.array("f", (byte / 255 for byte in range(256)))
    signed = array.array("f", (2 * fraction - 1 for fraction in fractions))
    planes = array.array("f")
    for channel in range(3):
        planes.extend(map(signed.__getitem__, pixels[channel::3]))
    return target, planes


def write_input(path, shape, images):
    size = 4 * math.prod(shape)
    about = {"input": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(about).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for planes in images:
            planes.tofile(file)
    equal(os.path.getsize(path), 8 + len(header) + size, "bytes of the input")


def read_moments(path):
    """For each image [2C][h][w]"""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        about = json.loads(file.read(length))["moments"]
        values = array.array("f", file.read())
    n = about["shape"][0]
    equal((about["dtype"], len(values)), ("F32", math.prod(about["shape"])), "moments")
    return [values[i * len(values) // n : (i + 1) * len(values) // n] for i in range(n)]


def means(model, images, folder):
    """{name: mean of the posterior [C][h][w]} of {name: what prepared() gave}"""
    by_size, found = {}, {}
    for name, (size, _) in images.items():
        by_size.setdefault(size, []).append(name)
    given, made = (os.path.join(folder, f"{name}.safetensors") for name in ("input", "moments"))
    for (width, height), names in by_size.items():
        write_input(given, [len(names), 3, height, width], [images[name][1] for name in names])
        run_tool("vae_run", model, given, made)
        for name, moments in zip(names, read_moments(made)):
            found[name] = moments[: len(moments) // 2]
    return found


def beyond_float16(stored, exact):
    """How far @stored is from @exact at worst, less half a unit in the last place of float16."""
    equal(len(stored), len(exact), "number of values")
    half_ulps = (max(2.0 ** (math.frexp(value)[1] - 12), 2**-25) for value in exact)
    return max(abs(a - b) - half_ulp for a, b, half_ulp in zip(stored, exact, half_ulps))


def psnr(a, b):
    equal(len(a), len(b), "bytes")
    total = sum((x - y) ** 2 for x, y in zip(a, b))
    return math.inf if total == 0 else 10 * math.log10(255**2 * len(a) / total)
