#!/usr/bin/env python3
"""What sd-scripts makes of pictures when it resizes them (library/utils.py resize_image): OpenCV's
INTER_AREA where both sides shrink or stay, Pillow's Lanczos otherwise.

    python3 -m venv venv && venv/bin/pip install numpy "pillow<13" "opencv-python-headless<5"
    venv/bin/python make_kohya.py > kohya.tsv

OpenCV 5.0 gives the same. Pillow 13 does not: as its output shows, it runs the vertical pass first where
the height loses more than twice as many pixels as the width, which rounds differently. All before it run
the horizontal pass first.

The pictures are noise by a formula that test_resample_kohya.c has too. Each line: width, height, resized
width and height, crop left, top, width, height, SHA-256 of the crop's RGB bytes.
"""

import hashlib
import random
import sys

import cv2
import numpy
import PIL
from PIL import Image

MASK = numpy.uint64(0xFFFFFFFF)


def noise(width, height):
    """Sample i: the highest byte of a mixed i."""
    i = numpy.arange(width * height * 3, dtype=numpy.uint64)
    v = (i * numpy.uint64(2654435761)) & MASK
    v ^= v >> numpy.uint64(15)
    v = (v * numpy.uint64(2246822519)) & MASK
    return (v >> numpy.uint64(24)).astype(numpy.uint8).reshape(height, width, 3)


def resized(image, width, height):
    if image.shape[1] >= width and image.shape[0] >= height:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return numpy.asarray(Image.fromarray(image).resize((width, height), Image.LANCZOS))


def sizes(rng):
    # whole factors, the same in both directions and not
    for x, y in [(2, 2), (2, 1), (1, 2), (4, 1), (1, 4), (3, 3), (2, 3), (3, 2), (4, 4), (5, 7), (16, 16),
                 (1, 7), (33, 2)]:
        for width, height in [(1, 1), (2, 3), (5, 4), (6, 6), (11, 2), (12, 13), (37, 19)]:
            yield width * x, height * y, width, height
    # 49 and 98: the inverse of the inverse is not the factor; 103 and 107 likewise
    for factor in (41, 47, 49, 55, 61, 98, 103, 107):
        yield 3 * factor, 2 * factor, 3, 2
        yield factor, 2 * factor, 1, 2
        yield 3 * factor, 5 * 2, 3, 5
    # where rounding tells these from whole factors: means of an even number of samples
    for width, height, w, h in [(98 * 300, 1, 300, 1), (1, 98 * 300, 1, 300), (196 * 150, 2, 150, 1),
                                (6 * 300, 1, 300, 1), (98 * 150, 4, 150, 2)]:
        yield width, height, w, h
    # cells that reach into a pixel by less than a thousandth, and by little more
    for width, height, w, h in [(4001, 1, 2000, 1), (1, 4001, 1, 2000), (2999, 3, 1500, 3), (1999, 1, 999, 1),
                                (901, 1, 450, 1)]:
        yield width, height, w, h
    # one side equal, the other not; both equal
    for width, height, w, h in [(64, 48, 64, 31), (64, 48, 33, 48), (7, 5, 7, 3), (7, 5, 5, 5), (50, 40, 50, 40),
                                (1, 1, 1, 1), (64, 48, 63, 47), (64, 48, 64, 47), (640, 480, 639, 479)]:
        yield width, height, w, h
    # sides of one pixel, large ratios
    for width, height, w, h in [(1000, 1, 1, 1), (1000, 1, 7, 1), (1, 1000, 1, 3), (300, 300, 1, 1), (997, 1009, 1, 1),
                                (5000, 3, 3, 2), (3, 5000, 2, 3), (1, 77, 1, 76), (2, 2, 1, 1), (3, 3, 2, 2),
                                (3, 2, 2, 1), (1999, 1501, 2, 3), (4096, 8, 1, 1), (4096, 4096, 1, 1)]:
        yield width, height, w, h
    # what buckets make of photographs
    for width, height, w, h in [(1024, 1024, 512, 512), (1280, 853, 768, 512), (640, 427, 575, 384),
                                (500, 375, 512, 384), (375, 500, 384, 512), (1200, 1600, 448, 597),
                                (400, 300, 683, 512), (600, 512, 600, 700), (600, 512, 700, 500), (512, 512, 512, 512)]:
        yield width, height, w, h
    for _ in range(160):
        width, height = rng.randint(1, 400), rng.randint(1, 300)
        yield width, height, rng.randint(1, width), rng.randint(1, height)
    for _ in range(40):
        width, height = rng.randint(1, 120), rng.randint(1, 120)
        yield width, height, rng.randint(1, 240), rng.randint(1, 240)


def main():
    cv2.setNumThreads(1)
    rng = random.Random(3)
    print(f"made with OpenCV {cv2.__version__} and Pillow {PIL.__version__}", file=sys.stderr)
    for n, (width, height, w, h) in enumerate(sizes(rng)):
        whole = resized(noise(width, height), w, h)
        crop = (0, 0, w, h)
        if n % 3 == 2:
            left, top = rng.randint(0, w - 1), rng.randint(0, h - 1)
            crop = (left, top, rng.randint(1, w - left), rng.randint(1, h - top))
        part = whole[crop[1]:crop[1] + crop[3], crop[0]:crop[0] + crop[2]]
        digest = hashlib.sha256(numpy.ascontiguousarray(part).tobytes()).hexdigest()
        print(width, height, w, h, *crop, digest, sep="\t")


if __name__ == "__main__":
    main()
