#!/usr/bin/env python3
"""Makes the storage_* files beside it, with other people's implementations of tar and XXH3.

    python3 tests/golden/storage_make.py      needs the xxhash module and GNU tar

storage_wds.tar     the records below, by GNU tar: what our writer must make
storage_python.tar  the same by Python's tarfile, which leaves device numbers empty and pads the end
storage_record.bin  the first record, encoded as storage/record.c says
storage_v1.spool    a spool segment of all records, as storage/spool_segment.c says
"""

import hashlib
import io
import pathlib
import struct
import subprocess
import tarfile
import tempfile

import xxhash

HERE = pathlib.Path(__file__).parent
GROUP = b"512x512"
RECORDS = [
    ("plain", [("json", b'{"v":1}'), ("latent.npy.zst", bytes(range(256)) * 4), ("txt", b"a caption\n")]),
    ("folder/ключ-日本", [("json", b"{}"), ("txt", b"")]),
    ("k" * 85, [("latent.npy.zst", b"z" * 513)]),
]


def with_tarfile():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar:
        for key, members in RECORDS:
            for suffix, data in members:
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def with_gnu_tar():
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for key, members in RECORDS:
            for suffix, data in members:
                path = pathlib.Path(folder, f"{key}.{suffix}")
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
                names.append(f"{key}.{suffix}")
        options = "--format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0644 -b1"
        command = ["tar", "-C", folder, *options.split(), "-cf", "-", *names]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def name(text):
    return struct.pack("<B", len(text)) + text


def record(index):
    key, members = RECORDS[index]
    numbers = struct.pack("<BqqQQ", 1, 7, -2, (1 << 40) + 3, 0xFEDCBA9876543210 - index)
    out = numbers + name(key.encode()) + name(GROUP) + struct.pack("<B", len(members))
    for suffix, data in members:
        digest = xxhash.xxh3_128(data).digest()
        out += name(suffix.encode()) + digest + struct.pack("<Q", len(data)) + data
    return out


def segment(number):
    out = b"LATSPOOL" + struct.pack("<IIQ", 1, 0, number)
    out += struct.pack("<Q", xxhash.xxh3_64_intdigest(out))
    for index in range(len(RECORDS)):
        payload = record(index)
        out += b"LREC" + struct.pack("<IQ", len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
    return out


def main():
    tar = with_gnu_tar()
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        found = [(info.name, opened.extractfile(info).read()) for info in opened]
    assert found == [(f"{key}.{suffix}", data) for key, members in RECORDS for suffix, data in members]
    (HERE / "storage_wds.tar").write_bytes(tar)
    (HERE / "storage_python.tar").write_bytes(with_tarfile())
    (HERE / "storage_record.bin").write_bytes(record(0))
    (HERE / "storage_v1.spool").write_bytes(segment(5))
    print("storage_wds.tar", hashlib.sha256(tar).hexdigest())
    print("storage_wds.tar", xxhash.xxh3_128_hexdigest(tar))


if __name__ == "__main__":
    main()
