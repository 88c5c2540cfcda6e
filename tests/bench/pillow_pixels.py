#!/usr/bin/env python3
"""pillow_pixels.py <LINES: the lines of bench_pixels on stdin; does the same work with Pillow and prints
both, milliseconds of CPU time, best of five. Pixels that differ are named, and the exit status is then 1.

Pillow's side is without a hash of the file.
"""
import hashlib, io, sys, time
from PIL import Image, ImageOps, features

ROUNDS = 5
LANCZOS = Image.Resampling.LANCZOS


def best(work):
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        result = work()
        times.append((time.process_time() - began) * 1e3)
    return min(times), result


def upright(im):
    """RGB over white, as the decoders of both sides understand it."""
    im = ImageOps.exif_transpose(im)
    if im.has_transparency_data:
        im = im.convert("RGBA")
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    return im.convert("RGB") if im.mode != "RGB" else im


def cropped(im, size, place, box=None):
    left, top, w, h = place
    return im.resize(size, LANCZOS, box).crop((left, top, left + w, top + h))


def turned(box, n, w, h):
    """A box that starts at the stored corner, in the upright picture of w x h."""
    right, bottom = (box[3], box[2]) if n >= 5 else (box[2], box[3])
    x = w - right if n in (2, 3, 6, 7) else 0
    y = h - bottom if n in (3, 4, 7, 8) else 0
    return (x, y, x + right, y + bottom)


def drafted(data, size, place):
    im = Image.open(io.BytesIO(data))
    n, box = im.getexif().get(0x0112, 1), None
    if im.format in ("JPEG", "MPO"):
        w, h = size[::-1] if n >= 5 else size
        _, box = im.draft("RGB", (2 * w, 2 * h))
    im = upright(im)
    return cropped(im, size, place, turned(box, n, *im.size) if box else None)


def digest(im):
    return hashlib.sha256(im.tobytes()).hexdigest()


def main():
    wrong, sums = [], {}
    print(f"Pillow {features.version('pil')}, libjpeg-turbo {features.version('libjpeg_turbo')}; "
          "ms of CPU, ours / Pillow's")
    for line in sys.stdin:
        field = line.rstrip("\n").split("\t")
        path, ours = field[0], [float(f) for f in field[3:7]]
        size, place = tuple(map(int, field[7:9])), tuple(map(int, field[9:13]))
        data = open(path, "rb").read()
        decode, im = best(lambda: upright(Image.open(io.BytesIO(data))))
        resize, _ = best(lambda: cropped(im, size, place))
        render, full = best(lambda: cropped(upright(Image.open(io.BytesIO(data))), size, place))
        draft, small = best(lambda: drafted(data, size, place))
        wrong += [f"{path}, {what}" for what, a, b in (("full", field[13], full), ("scaled", field[14], small))
                  if digest(b) != a]
        kind = Image.open(io.BytesIO(data)).format
        theirs = [decode, resize, render, draft]
        total = sums.setdefault(kind if kind != "MPO" else "JPEG", [[0.0] * 4, [0.0] * 4])
        for i in range(4):
            total[0][i] += ours[i]
            total[1][i] += theirs[i]
        print(f"{path.rsplit('/', 1)[-1]:34} {float(field[1]):6.2f} MP  header {float(field[2]):5.1f} us", end="")
        print_pairs(ours, theirs)
    for kind, (ours, theirs) in sums.items():
        print(f"{'all ' + kind:59}", end="")
        print_pairs(ours, theirs)
    for w in wrong:
        print("other pixels:", w)
    return 1 if wrong else 0


def print_pairs(ours, theirs):
    for name, a, b in zip(("decode", "resize", "full", "scaled"), ours, theirs):
        print(f"  {name} {a:6.1f} / {b:6.1f} = {a / b:4.2f}", end="")
    print()


sys.exit(main())
