#!/usr/bin/env python3
"""Makes the JPEGs of this folder and render.json: what Pillow makes of them when the JPEG decoder may
shrink first (Image.draft, then resize from the fractional box, as Image.thumbnail does) and when it may not.

    cc -o /tmp/make_jpegs make_jpegs.c -ljpeg
    python3 make_goldens.py PICTURE.png /tmp/make_jpegs      writes the JPEGs and render.json
    python3 make_goldens.py --check                          compares render.json with this Pillow

The box of a turned picture: turned with its corners. That this is the right box, the script checks by
resizing the stored picture from the stored box and turning the result: the samples may differ only by what
the order of the two passes rounds and clips, half a level in the mean.
"""
import glob, hashlib, io, json, subprocess, sys
from PIL import Image, ImageChops, ImageOps, ImageStat, features

WIDTH, HEIGHT = 203, 149
FILTERS = {"box": Image.BOX, "bilinear": Image.BILINEAR, "hamming": Image.HAMMING,
           "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "nearest": Image.NEAREST}
# stored point of a w x h picture -> upright point, by EXIF orientation
CORNERS = {1: lambda x, y, w, h: (x, y), 2: lambda x, y, w, h: (w - x, y),
           3: lambda x, y, w, h: (w - x, h - y), 4: lambda x, y, w, h: (x, h - y),
           5: lambda x, y, w, h: (y, x), 6: lambda x, y, w, h: (h - y, x),
           7: lambda x, y, w, h: (h - y, w - x), 8: lambda x, y, w, h: (y, w - x)}
METHODS = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
           6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}


def make_files(picture, program):
    im = Image.open(picture).convert("RGB").crop((180, 90, 180 + WIDTH, 90 + HEIGHT))
    subprocess.run([program, str(WIDTH), str(HEIGHT)], input=im.tobytes(), check=True)
    for n in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = n
        im.crop((0, 0, 149, 107)).save(f"orientation_{n}.jpg", quality=70, subsampling=2, exif=exif)
    # a camera's file of two pictures, and one with a second picture behind it that nothing announces
    small = im.resize((50, 40))
    frames = io.BytesIO()
    im.crop((0, 0, 149, 107)).save(frames, "MPO", save_all=True, append_images=[small], quality=70)
    open("mpo.jpg", "wb").write(frames.getvalue())
    gain = io.BytesIO()
    small.convert("L").save(gain, "JPEG")
    open("gain_map.jpg", "wb").write(open("s420.jpg", "rb").read() + gain.getvalue())


def orientation_of(im):
    return im.getexif().get(0x0112, 1)


def rendered(name, size, filter_name, scaling):
    im = Image.open(name)
    n = orientation_of(im)
    stored_size = size[::-1] if n >= 5 else size
    stored_box, scale, full = (0, 0, *im.size), 1, im.size
    if scaling and filter_name != "nearest":
        _, stored_box = im.draft("RGB", (2 * stored_size[0], 2 * stored_size[1]))
        scale = round(full[0] / stored_box[2])
    upright = ImageOps.exif_transpose(im).convert("RGB")
    a = CORNERS[n](*stored_box[:2], *im.size)
    b = CORNERS[n](*stored_box[2:], *im.size)
    box = (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
    out = upright.resize(size, FILTERS[filter_name], box)
    if n > 1 and filter_name not in ("nearest", "box"):  # these two break ties to one side
        again = im.convert("RGB").resize(stored_size, FILTERS[filter_name], stored_box).transpose(METHODS[n])
        assert max(ImageStat.Stat(ImageChops.difference(out, again)).mean) < 0.5, (name, size)
    return out, scale


def row(name, size, filter_name="lanczos", crop=None, scaling=True):
    im, scale = rendered(name, size, filter_name, scaling)
    out = {"file": name, "size": list(size), "filter": filter_name, "scaling": scaling, "scale": scale}
    if crop:
        out["crop"] = list(crop)  # left, top, width, height
        im = im.crop((crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]))
    out["sha256"] = hashlib.sha256(im.tobytes()).hexdigest()
    return out


def all_rows():
    for name in sorted(glob.glob("*.jpg")):
        turned = name.startswith("orientation") and name[-5] in "5678"
        small = name.startswith("orientation") or name == "mpo.jpg"
        # by 1, 2, 4 and 8, at and beside the edge where the next one begins
        sizes = [(74, 53), (75, 53), (37, 26), (20, 20), (18, 13), (19, 13), (9, 6), (5, 3), (160, 120)] if small \
            else [(101, 74), (102, 74), (50, 37), (50, 38), (25, 18), (26, 18), (12, 9), (7, 9), (300, 220)]
        for size in sizes:
            yield row(name, size[::-1] if turned else size)
        size = (30, 40) if turned else (40, 30)
        for f in FILTERS:
            yield row(name, size, f, crop=(3, 4, size[0] - 7, size[1] - 9))
        for f in ("lanczos", "nearest"):
            yield row(name, size, f, scaling=False)


def main():
    if sys.argv[1] != "--check":
        make_files(*sys.argv[1:])
    rows = list(all_rows())
    made = f"Pillow {features.version('pil')}, libjpeg-turbo {features.version('libjpeg_turbo')}"
    if sys.argv[1] == "--check":
        want = json.load(open("render.json"))["rows"]
        wrong = [w for w, r in zip(want, rows) if w["sha256"] != r["sha256"]]
        for w in wrong:
            print("differs:", w["file"], w["size"], w["filter"], "scale", w["scale"])
        print(f"{made}: {len(want) - len(wrong)} of {len(want)} rows agree")
        return
    with open("render.json", "w") as f:
        f.write(json.dumps({"made_with": made, "rows": rows}, indent=0, sort_keys=True) + "\n")


main()
