"""Shards that are made here, and files of arrays, without latentd: for tests of exports and imports."""

import io
import json
import os
import struct
import tarfile
import zipfile

from harness import equal
from reference import read_npy, xxh3_128

FACTORS = {
    "sd": (4, 0.18215, None),
    "sdxl": (4, 0.13025, None),
    "sd3": (16, 1.5305, 0.0609),
    "flux": (16, 0.3611, 0.1159),
}


def npy(values, shape, code="f"):
    header = f"{{'descr': '<{code}{struct.calcsize(code)}', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.replace("e2", "f2").encode()
    header += b" " * ((-len(header) - 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}{code}", *values)


def values_of(n, seed):
    """Multiples of 1/64, so that every float type that is tested has them exactly."""
    return [((i * 37 + seed * 11) % 255 - 127) / 64 for i in range(n)]


def forged(path, model="sd", seed=1, size=(100, 60), orientation=1, **latent):
    """A record as encode writes it, and its values: 8 x 16 latents of 128 x 64 pixels."""
    channels, factor, shift = FACTORS.get(model, (32, 1, None))
    stored = channels * (2 if latent.get("posterior") == "moments" else 1)
    values = values_of(stored * 8 * 16, seed)
    data = struct.pack(f"<{len(values)}f", *values)
    about = {
        "shape": [stored, 8, 16], "dtype": "float32", "precision": "float32", "posterior": "mean", "seed": None,
        "scaled": False, "scaling_factor": factor, "shift_factor": shift, "xxh3_128": xxh3_128(data), **latent,
    }
    key = os.path.splitext(path)[0].encode("ascii", "replace").decode().replace(" ", "_").replace("?", "-").replace(".", "_")
    width, height = size
    record = {
        "v": 1, "key": f"{key}-{seed}", "source": path, "content_xxh3_128": f"{seed:032x}", "recipe_id": "ab" * 16,
        "vae_sha256": "cd" * 32, "stored_size": list(size[::-1] if orientation > 4 else size),
        "orientation": orientation, "original_size": list(size), "resized_size": [128, 77], "crop_top_left": [6, 0],
        "target_size": [128, 64], "time_ids": [height, width, 6, 0, 64, 128],
        "kohya_crop_ltrb": [10.5, 0, 117.5, 64], "variant": 0, "flip": False, "latent": about, "engine": "none",
        "caption": f"a “{seed}”\n", "meta": {},
    }
    return record, values


def with_values(record, values):
    """The same sample with other values."""
    about = {**record["latent"], "xxh3_128": xxh3_128(struct.pack(f"<{len(values)}f", *values))}
    return {**record, "latent": about}, values


def forge(ws, samples, shard="000000", name="set"):
    """A shard of them, without a codec."""
    path = os.path.join(ws.out, name, "train", "128x64", f"{shard}.tar")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for record, values in samples:
            about = record["latent"]
            kind = "moments" if about["posterior"] == "moments" else "latent"
            members = {
                "json": json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(),
                f"{kind}.npy": npy(values, tuple(about["shape"])),
                "txt": (record["caption"] or "").encode(),
            }
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{record['key']}.{suffix}")
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
    with open(path, "rb") as file:  # tarfile pads to 10 KiB, shards have two zero blocks
        data = file.read().rstrip(b"\0")
    with open(path, "wb") as file:
        file.write(data + bytes(-len(data) % 512 + 1024))
    return samples


def files_below(folder):
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f != ".latentd-export"]
        found += [os.path.relpath(os.path.join(at, name), folder) for name in names]
    return sorted(found)


def load_npz(path):
    """{name: (dtype, shape, values)}"""
    arrays = {}
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        for name in file.namelist():
            dtype, shape, data = read_npy(file.read(name))
            code = {"<f4": "f", "<f8": "d", "<i8": "q", "<f2": "e"}[dtype]
            arrays[name[:-4]] = dtype, shape, struct.unpack(f"<{len(data) // int(dtype[2])}{code}", data)
    return arrays


def close(got, wanted, tolerance=2e-6):
    equal(len(got), len(wanted), "number of values")
    worst = max(abs(g - w) / max(1, abs(w)) for g, w in zip(got, wanted))
    assert worst <= tolerance, f"off by {worst}"
