"""What shards must hold, read and computed without latentd: formats and rules as docs/FORMAT.md states them.

Only the standard library; zstd and xxhash come from the C libraries that the programs need anyway.
"""

import ast
import ctypes
import glob
import json
import os
import struct
import tarfile
import urllib.parse

# -- zstd, xxhash, npy


class Hash128(ctypes.Structure):
    _fields_ = [("low64", ctypes.c_uint64), ("high64", ctypes.c_uint64)]


_zstd, _xxhash = ctypes.CDLL("libzstd.so.1"), ctypes.CDLL("libxxhash.so.0")
_zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_xxhash.XXH3_128bits.restype = Hash128


def unzstd(frame):
    size = _zstd.ZSTD_getFrameContentSize(frame, ctypes.c_size_t(len(frame)))
    assert size < 1 << 40, "not a zstd frame with a content size"
    out = ctypes.create_string_buffer(size)
    n = _zstd.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    assert n == size, "the zstd frame is damaged"
    return out.raw


def xxh3_128(data):
    h = _xxhash.XXH3_128bits(bytes(data), ctypes.c_size_t(len(data)))
    return f"{h.high64:016x}{h.low64:016x}"


def read_npy(npy):
    """(dtype as NumPy writes it, shape, bytes of the array)"""
    assert npy[:8] == b"\x93NUMPY\x01\x00", "not npy 1.0"
    (length,) = struct.unpack("<H", npy[8:10])
    header = ast.literal_eval(npy[10 : 10 + length].decode())
    assert header["fortran_order"] is False
    return header["descr"], header["shape"], npy[10 + length :]


def joined(planes):
    """The .npy of an array that is stored as planes of bytes: |u1 [C, H, W, item size] in Fortran order."""
    (length,) = struct.unpack("<H", planes[8:10])
    header = ast.literal_eval(planes[10 : 10 + length].decode())
    assert header["descr"] == "|u1" and header["fortran_order"] is True, header
    c, h, w, item = header["shape"]
    data, n = planes[10 + length :], c * h * w
    places = [(x * h + y) * c + z for z in range(c) for y in range(h) for x in range(w)]
    values = bytes(data[b * n + place] for place in places for b in range(item))
    about = f"{{'descr': '<f{item}', 'fortran_order': False, 'shape': {(c, h, w)}, }}".encode()
    about += b" " * ((-len(about) - 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about)) + about + values


def npy_values(npy):
    dtype, _, data = read_npy(npy)
    return struct.unpack(f"<{len(data) // int(dtype[2])}{'e' if dtype == '<f2' else 'f'}", data)


# -- names


def percent_decode(text):
    return urllib.parse.unquote_to_bytes(text)


# -- shards


class Sample:
    def __init__(self, key, shard, members):
        self.key, self.shard, self.members = key, shard, members

    @property
    def record(self):
        return json.loads(self.members["json"])

    @property
    def path(self):
        return os.fsdecode(percent_decode(self.record["source"]))

    @property
    def npy(self):
        (name,) = [name for name in self.members if name.endswith((".npy.zst", ".npy")) and not name.startswith("mask.")]
        data = unzstd(self.members[name]) if name.endswith(".zst") else self.members[name]
        return joined(data) if ".u8." in name else data


def shard_files(dataset, split="*"):
    folder = os.path.join(glob.escape(dataset), split, "*")
    return sorted(glob.glob(os.path.join(folder, "*.tar")) + glob.glob(os.path.join(folder, "*.mds.zstd")))


def read_mds(file):
    """By the rules of streaming's base/format/mds/reader.py; ({column: encoding}, [{column: bytes}])."""
    with open(file, "rb") as shard:
        raw = unzstd(shard.read())
    (n,) = struct.unpack_from("<I", raw)
    places = struct.unpack_from(f"<{n + 1}I", raw, 4)
    config = json.loads(raw[4 * (n + 2) : places[0]])
    names, sizes, rows = config["column_names"], config["column_sizes"], []
    for at, end in zip(places, places[1:]):
        row = {}
        lengths = [size or struct.unpack_from("<I", raw, at + 4 * sizes[:i].count(None))[0] for i, size in enumerate(sizes)]
        at += 4 * sizes.count(None)
        for name, length in zip(names, lengths):
            row[name] = raw[at : at + length]
            at += length
        assert at == end, "a sample's values are not the sample"
        rows.append(row)
    return dict(zip(names, config["column_encodings"])), rows


def mds_array(encoding, value):
    """The .npy of an ndarray column."""
    dims, dtype = value[0] >> 2, {"ndarray:float16": "<f2", "ndarray:float32": "<f4"}[encoding]
    width = "BHIQ"[value[0] & 3]
    shape = struct.unpack_from(f"<{dims}{width}", value, 1)
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * ((-len(header) - 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + value[1 + struct.calcsize(f"<{dims}{width}") :]


def read_mds_samples(file):
    columns, rows = read_mds(file)
    samples = []
    for row in rows:
        members = {"json": row["meta"], **({"txt": row["caption"]} if "caption" in row else {})}
        for name, encoding in columns.items():
            if encoding in ("ndarray:float16", "ndarray:float32"):
                members[f"{name}.npy"] = mds_array(encoding, row[name])
        samples.append(Sample(row["key"].decode(), file, members))
    return samples


def read_shard(file):
    """The samples in their order; in a tar a key ends at the first dot of the base name."""
    if file.endswith(".mds.zstd"):
        return read_mds_samples(file)
    samples = []
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            folder, name = os.path.split(member.name)
            stem, suffix = name.split(".", 1)
            key = os.path.join(folder, stem)
            if not samples or samples[-1].key != key:
                samples.append(Sample(key, file, {}))
            assert suffix not in samples[-1].members, f"{member.name} is there twice"
            samples[-1].members[suffix] = tar.extractfile(member).read()
    return samples


def read_dataset(dataset):
    return [sample for file in shard_files(dataset) for sample in read_shard(file)]


def paths_in(dataset):
    return [s.path for s in read_dataset(dataset)]


# -- geometry: sd-scripts' rules (BucketManager), and a plain square


def kohya_buckets(resolution, step=64):
    lowest = resolution // 2 // step * step
    highest = -(-resolution * 2 // step) * step
    area = resolution * resolution
    side = int(area**0.5) // step * step
    found = {(side, side)}
    for width in range(lowest, highest + 1, step):
        height = min(highest, area // width // step * step) if width else 0
        if height >= lowest:
            found |= {(width, height), (height, width)}
    return sorted(found)


def placement(rule, resolution, width, height):
    """(target, resized, (top, left), kohya_crop_ltrb) of an upright image."""
    aspect = width / height
    buckets = kohya_buckets(resolution) if rule == "kohya" else [(resolution, resolution)]
    if (width, height) in buckets:
        target = (width, height)
    else:
        target = min(buckets, key=lambda b: abs(b[0] / b[1] - aspect))
    tall = aspect > target[0] / target[1]
    scale = target[1] / height if tall else target[0] / width
    resized = (int(width * scale + 0.5), int(height * scale + 0.5))
    top_left = ((resized[1] - target[1]) // 2, (resized[0] - target[0]) // 2)
    if target[0] / target[1] > aspect:
        fitted = (target[1] * aspect, target[1])
    else:
        fitted = (target[0], target[0] / aspect)
    left, top = (target[0] - fitted[0]) // 2, (target[1] - fitted[1]) // 2
    return target, resized, top_left, [left, top, left + fitted[0], top + fitted[1]]
