#!/usr/bin/env python3
"""Makes the small WebP, GIF, BMP, AVIF, JPEG XL, APNG and many-picture JPEG files of this folder and formats.json:
what Pillow makes of them, and of the alpha of the PNGs that are here already.

    python3 make_format_goldens.py

Needs Pillow 13.0.0, pillow-jxl-plugin 1.3.8, numpy, and cjxl 0.7.0 for what the plugin does not write. What Pillow does not write (offsets, run lengths, odd
headers) is put together here, byte by byte; the pixels expected of it are Pillow's all the same.
"""
import hashlib, io, json, struct, subprocess, tempfile
import numpy as np
import pillow_jxl  # registers JPEG XL
from PIL import Image, ImageCms, ImageOps

W, H = 37, 29
ROWS = []


def sha(data):
    return hashlib.sha256(data).hexdigest()


def over(im, background):
    return Image.alpha_composite(Image.new("RGBA", im.size, (*background, 255)), im).convert("RGB")


def to_srgb(im, profile, background=(255, 255, 255)):
    out = ImageCms.profileToProfile(im.convert("RGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                                    ImageCms.createProfile("sRGB"), outputMode="RGB", renderingIntent=1, flags=0x2000)
    if im.mode == "RGBA":
        out.putalpha(im.getchannel("A"))
        out = over(out, background)
    return out


def golden(name, data=None, expect=None, near=0, icc=None):
    """expect: the image, where Pillow must not be asked; near: the tolerance of a lossy codec, whose pixels are kept
    as a PNG; icc: the profile where Pillow hands out none, or one of its own making"""
    if data is not None:
        open(name, "wb").write(data)
    im = expect or Image.open(name)
    kind = name[-3:].upper() if expect else im.format
    profile = icc if kind in ("BMP", "JXL", "PNG") else im.info.get("icc_profile")
    im.load()
    im = ImageOps.exif_transpose(im)
    if im.mode == "I;16":  # rounded, as libjxl does, where Pillow's convert clips
        im = Image.fromarray(((np.asarray(im).astype(int) + 128) // 257).astype(np.uint8), "L")
    alpha = im.mode in ("RGBA", "LA") or "transparency" in im.info
    plain = im.convert("RGB")
    row = {"file": name, "format": kind, "oriented_size": list(im.size)}
    rgb = plain
    if alpha:
        rgba = im.convert("RGBA")
        row["drop_sha256"] = sha(plain.tobytes())
        row["over_green_sha256"] = sha(over(rgba, (10, 200, 60)).tobytes())
        rgb = over(rgba, (255, 255, 255))
    if near:
        row["near"], row["tolerance"] = name + ".png", near
        row.pop("drop_sha256", None), row.pop("over_green_sha256", None)
        rgb.save(row["near"], optimize=True)
    else:
        row["rgb_sha256"] = sha(rgb.tobytes())
    if profile and not near:
        row["srgb_sha256"] = sha(to_srgb(im.convert("RGBA") if alpha else plain, profile).tobytes())
    ROWS.append(row)


def save(im, kind, **options):
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


def cjxl(name, *options):
    with tempfile.NamedTemporaryFile(suffix=".jxl") as out:
        subprocess.run(["cjxl", name, out.name, *options], check=True, capture_output=True)
        return out.read()


def exif(n):
    e = Image.Exif()
    e[0x0112] = n
    return e


# -- WebP -------------------------------------------------------------------------------------------------------------

def riff(*chunks):
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for name, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def u24(v):
    return struct.pack("<I", v)[:3]


def picture_chunks(webp):
    """the chunks of a still file that are its picture, as bytes"""
    out, at = b"", 12
    while at < len(webp):
        size = struct.unpack_from("<I", webp, at + 4)[0]
        end = at + 8 + size + size % 2
        if webp[at:at + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            out += webp[at:end]
        at = end
    return out


def animated_webp(frames, size, flags):
    """frames: (x, y, still file, width, height)"""
    parts = [(b"VP8X", bytes([flags, 0, 0, 0]) + u24(size[0] - 1) + u24(size[1] - 1)), (b"ANIM", b"\x40\x80\xc0\xff\0\0")]
    for x, y, still, w, h in frames:
        head = u24(x // 2) + u24(y // 2) + u24(w - 1) + u24(h - 1) + u24(100) + b"\0"
        parts.append((b"ANMF", head + picture_chunks(still)))
    return riff(*parts)


def make_webp(rgb, rgba, icc):
    golden("lossy.webp", save(rgb, "WEBP", quality=60))
    golden("lossless.webp", save(rgb, "WEBP", lossless=True))
    golden("lossy_alpha.webp", save(rgba, "WEBP", quality=60))
    golden("lossless_alpha.webp", save(rgba, "WEBP", lossless=True, exact=True))
    golden("exif6.webp", save(rgb, "WEBP", quality=60, exif=exif(6)))
    golden("icc_alpha_exif8.webp", save(rgba, "WEBP", quality=60, icc_profile=icc, exif=exif(8)))
    small, small_alpha = rgb.crop((0, 0, 20, 13)), rgba.crop((0, 0, 20, 13))
    lossy, alpha = save(small, "WEBP", quality=60), save(small_alpha, "WEBP", lossless=True, exact=True)
    golden("animated_offset.webp", animated_webp([(4, 6, lossy, 20, 13), (0, 0, alpha, 20, 13)], (W, H), 0x02))
    golden("animated_offset_alpha.webp", animated_webp([(16, 2, alpha, 20, 13), (0, 0, lossy, 20, 13)], (W, H), 0x12))
    golden("animated_alpha_not_announced.webp", animated_webp([(16, 2, alpha, 20, 13)], (W, H), 0x02))
    golden("animated_opaque_frame.webp", animated_webp([(4, 6, lossy, 20, 13)], (W, H), 0x12))
    golden("animated.webp", save(rgb, "WEBP", save_all=True, append_images=[ImageOps.invert(rgb)], quality=50))


# -- GIF --------------------------------------------------------------------------------------------------------------

def lzw(pixels, bits):
    """codes that never grow: the table is cleared in time"""
    clear, acc, n, out = 1 << bits, 0, 0, bytearray()
    codes = []
    for i, p in enumerate(pixels):
        if i % ((1 << bits) - 2) == 0:
            codes.append(clear)
        codes.append(p)
    for code in codes + [clear + 1]:
        acc, n = acc | code << n, n + bits + 1
        while n >= 8:
            out.append(acc & 255)
            acc, n = acc >> 8, n - 8
    out.append(acc)
    blocks = b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255))
    return bytes([bits]) + blocks + b"\0"


def table_bits(table):
    return 0x80 | (len(table) // 3).bit_length() - 2 if table else 0


def gif(screen, left, top, indexes, palette=None, local=None, transparent=None, interlaced=False, before=b"", end=b";"):
    h, w = indexes.shape
    order = [*range(0, h, 8), *range(4, h, 8), *range(2, h, 4), *range(1, h, 2)] if interlaced else range(h)
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, table_bits(palette), 3, 0) + (palette or b"") + before
    if transparent is not None:
        out += b"!\xf9\4\1\0\0" + bytes([transparent]) + b"\0"
    out += b"," + struct.pack("<HHHHB", left, top, w, h, table_bits(local) | (64 if interlaced else 0)) + (local or b"")
    return out + lzw([int(v) for y in order for v in indexes[y]], 5) + end


def make_gif(rgb):
    indexes = np.asarray(rgb.convert("L")).astype(int) >> 3
    palette = bytes((i * 29 + c * 71 + 40) % 256 for i in range(32) for c in range(3))
    other = bytes((i * 13 + c * 101 + 90) % 256 for i in range(32) for c in range(3))
    ramp = bytes(i for i in range(32) for c in range(3))
    comment = b"!\xfe\5hello\0"
    plain = gif((W, H), 0, 0, indexes, palette, end=b"")
    golden("plain.gif", plain + b";")
    golden("interlaced_local.gif", gif((W, H), 0, 0, indexes, palette, other, interlaced=True))
    golden("transparent.gif", gif((W, H), 0, 0, indexes, palette, transparent=int(indexes[14, 18])))
    golden("offset.gif", gif((W, H), 5, 7, indexes[:14, :19], palette, before=comment))
    golden("offset_transparent.gif", gif((W, H), 5, 7, indexes[:14, :19], palette, transparent=9, interlaced=True))
    golden("beyond_screen.gif", gif((20, 40), 11, 3, indexes, palette))
    golden("no_palette.gif", gif((W, H), 0, 0, indexes))
    golden("grey_palette.gif", gif((W, H), 2, 3, indexes[:20, :20], None, ramp, transparent=12))
    # Pillow 13 takes the colours of the global palette here.
    canvas = np.full((H, W), 12, np.uint8)
    canvas[3:23, 2:22] = indexes[:20, :20]
    golden("grey_local.gif", gif((W, H), 2, 3, indexes[:20, :20], palette, ramp, transparent=12),
           expect=Image.fromarray(np.dstack([canvas] * 3 + [np.where(canvas == 12, 0, 255).astype(np.uint8)]), "RGBA"))
    golden("no_end.gif", plain[:-1])
    golden("short_palette.gif", gif((W, H), 0, 0, indexes, palette[:48]))
    big = save(rgb, "GIF", save_all=True, append_images=[ImageOps.invert(rgb)], duration=100)
    golden("animated.gif", big)


# -- BMP --------------------------------------------------------------------------------------------------------------

def bmp(width, height, bits, data, compression=0, palette=b"", colors=None, size=40, extra=b"", masks=b"", offset=None):
    if size == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colors = len(palette) // 4 if colors is None else colors
        info = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, len(data), 2835, 2835, colors, 0)
        info = info[:size] + extra
        assert len(info) == size
    at = 14 + len(info) + len(masks) + len(palette) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(masks) + len(palette) + len(data), 0, 0, at) + info + masks + palette + data


def packed(rows, bits, bottom_up=True):
    out = b""
    for row in rows[::-1] if bottom_up else rows:
        line = bytearray()
        for i in range(0, len(row), 8 // bits):
            byte = 0
            for k in range(8 // bits):
                byte = byte << bits | (int(row[i + k]) if i + k < len(row) else 0)
            line.append(byte)
        out += bytes(line) + b"\0" * (-len(line) % 4)
    return out


def words(rgb, layout, size, bottom_up=True, alpha=None):
    """layout: (bits, shift) of R, G, B, A"""
    a = np.asarray(rgb).astype(np.uint32)
    v = sum((a[..., c] >> (8 - b)) << s for c, (b, s) in enumerate(layout[:3]))
    if len(layout) > 3:
        v = v | (alpha.astype(np.uint32) >> (8 - layout[3][0])) << layout[3][1]
    rows = [b"".join(int(x).to_bytes(size, "little") for x in row) for row in v]
    rows = [r + b"\0" * (-len(r) % 4) for r in rows]
    return b"".join(rows[::-1] if bottom_up else rows)


def rle8(rows):
    """runs, literals of odd and even length, a delta in the middle"""
    out = b""
    for y, row in enumerate(rows[::-1]):
        row, x = [int(v) for v in row], 0
        while x < len(row):
            run = next((k for k in range(1, len(row) - x + 1) if x + k == len(row) or row[x + k] != row[x]))
            if run > 1 or len(row) - x < 3:
                out += bytes([run, row[x]])
                x += run
            else:
                n = min(len(row) - x, 3 + (x + y) % 5)
                out += bytes([0, n, *row[x:x + n]]) + b"\0" * (n % 2)
                x += n
        out += b"\0\0" if y != 9 else b"\0\0\0\2\4\1"
    return out + b"\0\1"


def rle4(rows):
    out = b""
    for y, row in enumerate(rows[::-1]):
        row, x = [int(v) for v in row], 0
        while x < len(row):
            n = min(len(row) - x, 3 + (x + y) % 5)
            if y % 2 and n >= 3:
                data = packed([row[x:x + n]], 4)[:(n + 1) // 2]
                out += bytes([0, n]) + data + b"\0" * (len(data) % 2)
            else:
                n = min(n, 2)
                out += bytes([n, row[x] << 4 | row[min(x + 1, len(row) - 1)]])
            x += n
        out += b"\0\0"
    return out + b"\0\1"


def make_bmp(rgb, rgba, icc):
    grey = np.asarray(rgb.convert("L")).astype(int)
    alpha = np.asarray(rgba)[..., 3]
    palette = lambda n, entry=4: b"".join(
        bytes([(i * 29 + 40) % 256, (i * 71 + 9) % 256, (i * 13 + 77) % 256, 0])[:entry] for i in range(n))
    masks = lambda *m: struct.pack(f"<{len(m)}I", *m)
    golden("bits1.bmp", bmp(W, H, 1, packed(grey >> 7, 1), palette=palette(2)))
    golden("bits1_plain.bmp", bmp(W, H, 1, packed(grey >> 7, 1), palette=b"\0\0\0\0\xff\xff\xff\0"))
    golden("bits4.bmp", bmp(W, H, 4, packed(grey >> 4, 4), palette=palette(16)))
    golden("bits8.bmp", bmp(W, H, 8, packed(grey, 8), palette=palette(256), colors=0))
    golden("bits8_short_palette.bmp", bmp(W, H, 8, packed(grey, 8), palette=palette(100)))
    golden("bits8_offset_palette.bmp", bmp(W, H, 8, packed(grey, 8), palette=palette(256), offset=54))
    golden("bits8_top_down.bmp", bmp(W, -H, 8, packed(grey, 8, False), palette=palette(256)))
    golden("bits16.bmp", bmp(W, H, 16, words(rgb, [(5, 10), (5, 5), (5, 0)], 2)))
    golden("bits16_565.bmp", bmp(W, H, 16, words(rgb, [(5, 11), (6, 5), (5, 0)], 2), 3, masks=masks(0xf800, 0x7e0, 0x1f)))
    golden("bits16_565_at_masks.bmp", bmp(W, H, 16, words(rgb, [(5, 11), (6, 5), (5, 0)], 2) + b"\0" * 12, 3, offset=54,
                                          masks=masks(0xf800, 0x7e0, 0x1f)))
    golden("bits24.bmp", bmp(W, H, 24, words(rgb, [(8, 16), (8, 8), (8, 0)], 3)))
    golden("bits24_top_down.bmp", bmp(W, -H, 24, words(rgb, [(8, 16), (8, 8), (8, 0)], 3, False)))
    bgra = words(rgb, [(8, 16), (8, 8), (8, 0), (8, 24)], 4, alpha=alpha)
    golden("bits32_no_alpha.bmp", bmp(W, H, 32, bgra))
    golden("bits32_fields.bmp", bmp(W, H, 32, words(rgb, [(8, 24), (8, 16), (8, 8)], 4), 3, masks=masks(0xff000000, 0xff0000, 0xff00)))
    golden("bits32_zero_masks.bmp", bmp(W, H, 32, bgra, 3, size=56, extra=masks(0, 0, 0, 0)))
    v4 = masks(0xff0000, 0xff00, 0xff, 0xff000000) + b"BGRs" + b"\0" * 48
    golden("v4_alpha.bmp", bmp(W, H, 32, bgra, 3, size=108, extra=v4))
    rgba_order = words(rgb, [(8, 0), (8, 8), (8, 16), (8, 24)], 4, alpha=alpha)
    golden("v3_rgba.bmp", bmp(W, H, 32, rgba_order, 3, size=56, extra=masks(0xff, 0xff00, 0xff0000, 0xff000000)))
    golden("v2_fields.bmp", bmp(W, H, 32, bgra, 3, size=52, extra=masks(0xff0000, 0xff00, 0xff)))
    raw24 = words(rgb, [(8, 16), (8, 8), (8, 0)], 3)
    v5 = masks(0, 0, 0, 0) + b"DEBM" + b"\0" * 48 + struct.pack("<IIII", 4, 124 + len(raw24), len(icc), 0)
    golden("v5_icc.bmp", bmp(W, H, 24, raw24, size=124, extra=v5) + icc, icc=icc)
    golden("os2.bmp", bmp(W, H, 8, packed(grey, 8), palette=palette(256, 3), size=12))
    golden("os2_24.bmp", bmp(W, H, 24, raw24, size=12))
    golden("os2_v2.bmp", bmp(W, H, 4, packed(grey >> 4, 4), palette=palette(16), size=64, extra=b"\0" * 24))
    stripes = grey >> 5 << 5
    golden("rle8.bmp", bmp(W, H, 8, rle8(stripes), 1, palette=palette(256)))
    # runs beyond the row, literals that go on into the next, a delta to the end of a row
    odd = bytes([30, 7, 30, 9]) + b"\0\0" + bytes([20, 3, 0, 21, *range(40, 61), 0]) + b"\0\0"
    odd += bytes([5, 100, 0, 2, W - 9, 0]) + b"\0\0" + bytes([3, 60, 0, 2, W - 3, 0]) + b"\0\0" + bytes([W, 33]) + b"\0\0"
    odd += b"".join(bytes([W, y]) + b"\0\0" for y in range(5, H))
    golden("rle8_odd.bmp", bmp(W, H, 8, odd + b"\0\1", 1, palette=palette(256)))
    golden("rle4.bmp", bmp(W, H, 4, rle4(grey >> 4), 2, palette=palette(16)))
    # Not read by Pillow: what is expected are the pixels they were made of.
    five = lambda a, m: ((a.astype(int) >> (8 - m)) * 255 // ((1 << m) - 1)).astype(np.uint8)
    a = np.asarray(rgb)
    golden("bits16_444_alpha.bmp", bmp(W, H, 16, words(rgb, [(4, 8), (4, 4), (4, 0), (4, 12)], 2, alpha=alpha), 6,
                                       masks=masks(0xf00, 0xf0, 0xf, 0xf000)),
           expect=Image.fromarray(np.dstack([five(a, 4), five(alpha, 4)]), "RGBA"))
    table = np.frombuffer(palette(16), np.uint8).reshape(16, 4)[:, 2::-1]
    golden("bits2.bmp", bmp(W, H, 2, packed(grey >> 6, 2), palette=palette(4)), expect=Image.fromarray(table[grey >> 6], "RGB"))
    blank = (grey >> 4).copy()
    blank[:3], blank[10] = 0, 0  # the top is cut off by an early end; row 10 is an end of row that follows another
    stream = b"".join(b"".join(bytes([1, int(v) << 4]) for v in row) + b"\0\0" if y != 10 else b"\0\0"
                      for y, row in list(enumerate(blank))[:2:-1])
    golden("rle4_blank_row.bmp", bmp(W, H, 4, stream + b"\0\1", 2, palette=palette(16)),
           expect=Image.fromarray(table[blank], "RGB"))


# -- others -----------------------------------------------------------------------------------------------------------

def make_avif(rgb, rgba, icc):
    golden("lossless.avif", save(rgb, "AVIF", quality=100, subsampling="4:4:4"))
    golden("lossless_alpha.avif", save(rgba, "AVIF", quality=100, subsampling="4:4:4"))
    golden("icc.avif", save(rgb, "AVIF", quality=100, subsampling="4:4:4", icc_profile=icc))
    golden("lossy_444.avif", save(rgb, "AVIF", quality=60, subsampling="4:4:4"), near=2)
    golden("lossy_420.avif", save(rgb, "AVIF", quality=60), near=2)
    for n in range(2, 9):
        golden(f"orientation_{n}.avif", save(rgb.crop((0, 0, 18, 11)), "AVIF", quality=100, subsampling="4:4:4", exif=exif(n)))
    golden("sequence.avif", save(rgb, "AVIF", quality=100, subsampling="4:4:4", save_all=True, append_images=[ImageOps.invert(rgb)]))


def make_jxl(rgb, rgba, icc):
    golden("lossless.jxl", save(rgb, "JXL", lossless=True))
    golden("lossless_alpha.jxl", save(rgba, "JXL", lossless=True))
    golden("lossless_grey.jxl", save(rgb.convert("L"), "JXL", lossless=True))
    golden("icc_alpha.jxl", cjxl("rgba_adobergb.png", "-d", "0"), icc=icc)
    golden("orientation_6.jxl", cjxl("exif6_before.png", "-d", "0"))
    golden("grey16.jxl", cjxl("grey16.png", "-d", "0"))
    # The plugin makes the JPEG again and reads that; libjxl's own pixels differ by more than another version's.
    golden("jpeg_exif6.jxl", cjxl("orientation_6.jpg"), near=4)
    golden("animated.jxl", cjxl("apng.png", "-d", "0"), expect=Image.open("apng.png"))  # the plugin gives the last frame
    golden("lossy.jxl", save(rgb, "JXL", quality=80), near=2)


def make_jpeg_and_png(rgb, rgba):
    small = rgb.resize((19, 15))
    mpo = save(rgb, "MPO", save_all=True, append_images=[small], quality=80)
    golden("two_pictures.mpo.jpg", mpo)
    gain = save(rgb, "JPEG", quality=80) + save(small.convert("L"), "JPEG", quality=80)
    golden("gain_map_behind.jpg", gain)
    frames = [rgba, Image.eval(rgba, lambda v: 255 - v)]
    golden("apng.png", save(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100))
    golden("apng_default_image.png", save(rgb, "PNG", save_all=True, default_image=True, append_images=[ImageOps.invert(rgb)]))
    for name in ("palette8_trns.png", "palette1_trns.png", "rgb_trns.png", "grey_trns.png", "grey_alpha.png",
                 "grey_alpha_interlaced.png", "rgba_interlaced.png", "rgba16_interlaced.png", "grey16_alpha.png"):
        golden(name)


def main():
    rgb = Image.open("rgb_interlaced.png").convert("RGB")
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(np.fromfunction(lambda y, x: (x * 7 + y * 3) % 256, (H, W)).astype(np.uint8)))
    icc = Image.open("rocket.jpg").info["icc_profile"]
    make_webp(rgb, rgba, icc)
    make_gif(rgb)
    make_bmp(rgb, rgba, icc)
    make_avif(rgb, rgba, icc)
    make_jpeg_and_png(rgb, rgba)
    make_jxl(rgb, rgba, icc)
    with open("formats.json", "w") as f:
        made = {"made_with": "Pillow 13.0.0, libwebp 1.6.0, libavif 1.4.2, pillow-jxl-plugin 1.3.8, LittleCMS 2.19", "rows": ROWS}
        f.write(json.dumps(made, indent=0, sort_keys=True) + "\n")


main()
