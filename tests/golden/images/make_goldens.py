#!/usr/bin/env python3
"""Makes the PNGs and JPEGs of this folder whose kind no photograph at hand has, and images.json: what
Pillow and LittleCMS make of every file here.

    python3 make_goldens.py CROP.png      (a picture of 91 x 67)

Needs Pillow 9.4.0. The JPEGs that Pillow cannot write (README.md) must be there already.
"""
import hashlib, json, struct, sys, zlib
from io import BytesIO
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

FILTERS = {"nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR,
           "hamming": Image.HAMMING, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_row(values, depth):
    if depth == 16:
        return b"".join(struct.pack(">H", v) for v in values)
    out, acc, bits = bytearray(), 0, 0
    for v in values:
        acc, bits = acc << depth | v, bits + depth
        if bits == 8:
            out.append(acc)
            acc = bits = 0
    if bits:
        out.append(acc << (8 - bits))
    return bytes(out)


def png(rows, width, kind, depth, interlaced=False, before=(), after=()):
    """rows: lists of samples, width * channels each"""
    channels = len(rows[0]) // width
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for x0, y0, dx, dy in passes:
        if x0 >= width:
            continue
        for row in rows[y0::dy]:
            samples = [s for x in range(x0, width, dx) for s in row[x * channels:(x + 1) * channels]]
            raw += b"\0" + pack_row(samples, depth)
    ihdr = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, int(interlaced))
    parts = [chunk(b"IHDR", ihdr)] + [chunk(*c) for c in before]
    parts += [chunk(b"IDAT", zlib.compress(raw, 9))] + [chunk(*c) for c in after] + [chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows_of(im):
    data, stride = im.tobytes(), len(im.tobytes()) // im.height
    return [list(data[y * stride:(y + 1) * stride]) for y in range(im.height)]


def exif(orientation, order=">"):
    mark = b"MM" if order == ">" else b"II"
    entries = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entries + struct.pack(order + "I", 0)


def make_pngs(crop):
    w, small = 37, crop.resize((37, 29), Image.LANCZOS)
    grey, rgb = rows_of(small.convert("L")), rows_of(small)
    rgba = [[v for x in range(w) for v in (*r[3 * x:3 * x + 3], (x * 7 + y * 3) % 256)] for y, r in enumerate(rgb)]
    ga = [[v for x in range(w) for v in (r[x], (x * 7 + y * 3) % 256)] for y, r in enumerate(grey)]
    ramp = lambda r: [(v * 257 + 77 * i) % 65536 for i, v in enumerate(r)]
    out = {}
    for depth in (1, 2, 4):
        out[f"grey{depth}.png"] = png([[v >> (8 - depth) for v in r] for r in grey], w, 0, depth)
    for depth in (1, 2, 4, 8):
        n = 1 << depth
        palette = bytes((i * 37 + c * 91) % 256 for i in range(n) for c in range(3))
        indexes = [[v >> (8 - depth) for v in r] for r in grey]
        out[f"palette{depth}_trns.png"] = png(indexes, w, 3, depth, before=[
            (b"PLTE", palette), (b"tRNS", bytes((i * 60) % 256 for i in range(max(1, n // 2))))])
        if depth == 4:
            out["palette4_interlaced.png"] = png(indexes, w, 3, depth, True, before=[(b"PLTE", palette)])
    out["rgb_trns.png"] = png([[v // 32 * 32 for v in r] for r in rgb], w, 2, 8, before=[
        (b"tRNS", struct.pack(">HHH", *[v // 32 * 32 for v in rgb[5][9:12]]))])
    out["grey_trns.png"] = png([[v // 32 * 32 for v in r] for r in grey], w, 0, 8, before=[
        (b"tRNS", struct.pack(">H", grey[5][9] // 32 * 32))])
    out["rgb16.png"] = png([ramp(r) for r in rgb], w, 2, 16)
    out["rgba16_interlaced.png"] = png([ramp(r) for r in rgba], w, 6, 16, True)
    out["grey16.png"] = png([ramp(r) for r in grey], w, 0, 16)
    out["rgb_interlaced.png"] = png(rgb, w, 2, 8, True)
    out["rgba_interlaced.png"] = png(rgba, w, 6, 8, True)
    out["grey_alpha_interlaced.png"] = png(ga, w, 4, 8, True)
    out["exif6_before.png"] = png(rgb, w, 2, 8, before=[(b"eXIf", exif(6))])
    out["exif7_after.png"] = png(rgb, w, 2, 8, after=[(b"eXIf", exif(7, "<"))])
    profile = zlib.compress(Image.open("rocket.jpg").info["icc_profile"])
    out["rgba_adobergb.png"] = png(rgba, w, 6, 8, before=[
        (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455)), (b"iCCP", b"x\0\0" + profile)])
    for name, data in out.items():
        open(name, "wb").write(data)


def make_jpegs(crop):
    icc = open("grey_raised_black.icc", "rb").read()
    crop.convert("L").save("grey_icc.jpg", quality=85, icc_profile=icc)
    crop.save("rgb_with_grey_icc.jpg", quality=85, icc_profile=icc)
    crop.save("odd_420.jpg", quality=60, subsampling=2, optimize=True)
    crop.save("odd_422_progressive.jpg", quality=60, subsampling=1, progressive=True)
    for n in range(1, 9):
        order = "<>"[n % 2]
        turned = crop.crop((0, 0, 40, 24))
        turned.save(f"orientation_{n}.jpg", quality=85, exif=b"Exif\0\0" + exif(n, order))


def over_white(im):
    white = Image.new("RGBA", im.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, im.convert("RGBA")).convert("RGB")


def sha(im):
    return hashlib.sha256(im.tobytes()).hexdigest()


def to_srgb(im, profile):
    """None where the profile is not for these samples"""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = "RGB" if im.mode == "RGBA" else im.mode
    if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
        return None
    alpha = im.getchannel("A") if im.mode == "RGBA" else None
    out = ImageCms.profileToProfile(im.convert(mode), source, ImageCms.createProfile("sRGB"), outputMode="RGB",
                                    renderingIntent=1, flags=0x2000)
    if alpha is None:
        return out
    out.putalpha(alpha)
    return over_white(out)


def row(name):
    im = Image.open(name)
    profile = im.info.get("icc_profile")
    im.load()
    oriented = ImageOps.exif_transpose(im)
    if im.mode.startswith("I"):  # 16-bit grey: the high byte, where Pillow's convert clips
        oriented = Image.frombytes("L", im.size, bytes(v >> 8 for v in im.getdata()))
    alpha = oriented.mode in ("RGBA", "LA") or "transparency" in oriented.info
    rgb = over_white(oriented) if alpha else oriented.convert("RGB")
    out = {"file": name, "format": im.format, "mode": im.mode, "size": list(im.size),
           "oriented_size": list(oriented.size), "rgb_sha256": sha(rgb)}
    if profile:
        srgb = to_srgb(oriented, profile)
        out["srgb_sha256"] = sha(srgb or rgb)
    return out, rgb


def resized(rgb, name, size, box=None, crop=None):
    im = rgb.resize(size, FILTERS[name], box)
    out = {"filter": name, "size": list(size)}
    if box:
        out["box"] = list(box)
    if crop:
        out["crop"] = list(crop)  # left, top, width, height
        im = im.crop((crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]))
    out["sha256"] = sha(im)
    return out


def main():
    import glob
    crop = Image.open(sys.argv[1]).convert("RGB")
    make_pngs(crop)
    make_jpegs(crop)
    rows = []
    for name in sorted(glob.glob("*.png") + glob.glob("*.jpg")):
        if name in ("two_components.jpg", "broken_truncated.jpg"):
            continue
        out, rgb = row(name)
        if name in ("odd_420.jpg", "exif6_before.png", "grey.jpg"):
            w, h = rgb.size
            out["resized"] = [r for f in FILTERS for r in (
                resized(rgb, f, (w // 3, h // 2)), resized(rgb, f, (w * 5 + 3, h * 3 + 1)),
                resized(rgb, f, (w, h // 2)), resized(rgb, f, (w * 2, h)), resized(rgb, f, (1, 1)),
                resized(rgb, f, (1, h * 4)), resized(rgb, f, (w, h)),
                resized(rgb, f, (50, 31), (0.3, 1.7, w - 2.25, h - 0.1)),
                resized(rgb, f, (64, 64), (3, 5, 4.5, 5.75)),
                resized(rgb, f, (200, 150), None, (61, 32, 97, 80)),
                resized(rgb, f, (31, 23), (1.5, 2.5, w - 3, h), (5, 6, 13, 17)),
                resized(rgb, f, (w, 100), None, (7, 50, w - 9, 50)),
                resized(rgb, f, (100, h), None, (99, 3, 1, h - 4)))]
        rows.append(out)
    with open("images.json", "w") as f:
        made = {"made_with": "Pillow 9.4.0, LittleCMS 2.14", "rows": rows}
        f.write(json.dumps(made, indent=0, sort_keys=True) + "\n")


main()
