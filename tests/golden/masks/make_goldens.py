#!/usr/bin/env python3
"""Masks, and what Pillow (before 13) makes of them for geometries that encode gives a 230 x 150 image: masks.json. What it makes
of alpha channels, for the geometry that `encode --resolution 64 --max-upscale 0` gives pictures of ../images: alpha.json.

    python3 make_goldens.py        in this folder; needs Pillow 11.3 to 12 and pillow-jxl-plugin
"""

import hashlib
import json
import random

import pillow_jxl  # registers JPEG XL
from PIL import Image, ImageDraw, ImageOps

WIDTH, HEIGHT = 230, 150
# resized, [left, top, width, height] of the picture that is not mirrored
GEOMETRIES = [((196, 128), (34, 0, 128, 128)), ((256, 167), (0, 19, 256, 128))]
SIDE = 64
ALPHA = (
    "grey_alpha.png grey16_alpha.png grey_trns.png rgb_trns.png palette8_trns.png lossy_alpha.webp lossless_alpha.webp icc_alpha_exif8.webp "
    "lossless_alpha.avif lossless_alpha.jxl v4_alpha.bmp grey_local.gif"
).split()
OPAQUE = "grey.jpg palette.png animated.gif lossy.webp lossless.jxl lossless.avif bits32_no_alpha.bmp".split()


def pictures():
    grey = Image.new("L", (WIDTH, HEIGHT))
    draw, numbers = ImageDraw.Draw(grey), random.Random(1)
    for _ in range(40):
        x, y = numbers.randrange(WIDTH), numbers.randrange(HEIGHT)
        draw.ellipse((x - 20, y - 12, x + 20, y + 12), fill=numbers.randrange(256))
    yield "grey.png", grey
    yield "bits.png", grey.point(lambda v: 255 if v > 127 else 0).convert("1")


rows = []
for name, picture in pictures():
    picture.save(name, optimize=True)
    mask = Image.open(name).convert("L")
    for resized, (left, top, width, height) in GEOMETRIES:
        for flip in (False, True):
            made = mask.resize(resized, Image.LANCZOS).crop((left, top, left + width, top + height))
            made = made.transpose(Image.FLIP_LEFT_RIGHT) if flip else made
            digest = hashlib.sha256(made.tobytes()).hexdigest()
            rows.append({"file": name, "resized": resized, "crop": (left, top, width, height), "flip": flip, "sha256": digest})
with open("masks.json", "w", encoding="utf-8") as file:
    json.dump(rows, file, indent=1)
    file.write("\n")

colours = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * i).resize((WIDTH, HEIGHT)) for i in range(3)])
colours.putalpha(Image.open("grey.png"))
colours.save("alpha.png", optimize=True)

rows = []
for name in ALPHA + OPAQUE:
    picture = ImageOps.exif_transpose(Image.open("../images/" + name))
    given = picture.mode in ("RGBA", "LA") or "transparency" in picture.info
    assert given == (name in ALPHA), name
    width, height = picture.size
    scale = SIDE / min(width, height)
    resized = (int(width * scale + 0.5), int(height * scale + 0.5))
    left, top = (resized[0] - SIDE) // 2, (resized[1] - SIDE) // 2
    made = picture.convert("RGBA").getchannel("A").resize(resized, Image.LANCZOS).crop((left, top, left + SIDE, top + SIDE))
    digest = hashlib.sha256(made.tobytes()).hexdigest()
    rows.append({"file": name, "resized": resized, "crop": (left, top, SIDE, SIDE), "given": given, "sha256": digest})
with open("alpha.json", "w", encoding="utf-8") as file:
    json.dump(rows, file, indent=1)
    file.write("\n")
