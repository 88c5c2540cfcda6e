#!/usr/bin/env python3
"""pillow_resample.py W H TARGET_W TARGET_H: what bench_resample measures, of Pillow and of OpenCV's
INTER_AREA, CPU time of one thread, best of fifteen. Needs numpy, pillow and opencv-python-headless."""

import sys
import time

import cv2
import numpy
import PIL
from PIL import Image

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def best_seconds(call):
    best = 1e9
    for _ in range(15):
        began = time.thread_time()
        call()
        best = min(best, time.thread_time() - began)
    return best


def report(what, name, seconds, pixels):
    print(f"{what:<9} {name:<9} {seconds * 1e3:8.2f} ms  {seconds * 1e9 / pixels:7.3f} ns/px  "
          f"{pixels / seconds / 1e6:8.1f} MP/s  {seconds * 1e9 / pixels:6.2f} ms/MP")


def main():
    width, height, target_width, target_height = map(int, sys.argv[1:])
    cv2.setNumThreads(1)
    pixels = width * height
    source = numpy.random.RandomState(1).randint(0, 256, (height, width, 3), dtype=numpy.uint8)
    image = Image.fromarray(source)
    size = (target_width, target_height)
    print(f"Pillow {PIL.__version__}, OpenCV {cv2.__version__}")
    for name in FILTERS:
        resample = Image.Resampling[name.upper()]
        report("pillow", name, best_seconds(lambda: image.resize(size, resample)), pixels)
    if width >= target_width and height >= target_height:
        report("opencv", "area", best_seconds(lambda: cv2.resize(source, size, interpolation=cv2.INTER_AREA)), pixels)


if __name__ == "__main__":
    main()
