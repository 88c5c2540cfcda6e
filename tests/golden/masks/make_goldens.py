#!/usr/bin/env python3
"""Masks, and what Pillow (before 13) makes of them for geometries that encode gives a 230 x 150 image: masks.json.

    python3 make_goldens.py        in this folder; needs Pillow and nothing else
"""

import hashlib
import json
import random

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 230, 150
# resized, [left, top, width, height] of the picture that is not mirrored
GEOMETRIES = [((196, 128), (34, 0, 128, 128)), ((256, 167), (0, 19, 256, 128))]


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
