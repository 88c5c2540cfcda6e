#!/usr/bin/env python3
"""Parquet as Hugging Face writes it, as WebDataset samples in a tar on standard output.

    python3 parquet_to_tar.py data/train-*.parquet | latentctl encode - --out latents --vae sdxl
    python3 parquet_to_tar.py --image jpg --caption text data/*.parquet | latentctl encode - ...

The column of images has structs {bytes, path}, or bytes; all other columns become KEY.json, the caption as its "caption".
A key is the name of the file with the number of the row in it, so that the same files give the same keys. Rows without
bytes are counted and left out. Memory: one batch of rows. Needs pyarrow.
"""

import argparse
import base64
import io
import json
import math
import os
import sys
import tarfile

import pyarrow
import pyarrow.parquet

BATCH = 64
CAPTIONS = ("caption", "text", "prompt", "description")
MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"II*\0", "tif"), (b"MM\0*", "tif"))


def ending_of(data):
    """As latentctl lists it; it decides by the bytes what it is."""
    for magic, ending in MAGIC:
        if data.startswith(magic):
            return ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "avif" if data[4:12] in (b"ftypavif", b"ftypavis") else "jpg"


def is_image(field):
    kind = field.type
    if pyarrow.types.is_struct(kind):
        return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def image_column(schema, asked):
    names = [field.name for field in schema if is_image(field)]
    if asked:
        if asked not in names:
            sys.exit(f"no column {asked} with images: there are {', '.join(names) or 'none'}")
        return asked
    if len(names) != 1:
        sys.exit(f"which column has the images? --image {'|'.join(names) or '(there is none)'}")
    return names[0]


def plain(value):
    """What JSON has no word for."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def finite(value):
    """NaN and infinities, which Python writes and nobody else reads, as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def put_row(tar, key, row, image, caption):
    value = row.pop(image)
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        return False
    if isinstance(value, dict) and value.get("path"):
        row.setdefault("image_path", value["path"])
    if caption in row:
        row["caption"] = row.pop(caption)
    add(tar, f"{key}.{ending_of(data)}", data)
    add(tar, f"{key}.json", json.dumps(finite(row), ensure_ascii=False, default=plain).encode())
    return True


def stem_of(path):
    return os.path.basename(path).rsplit(".parquet", 1)[0].replace(".", "_")


def refuse_twins(paths):
    """Their rows would have the same keys."""
    known = {}
    for path in paths:
        other = known.setdefault(stem_of(path), path)
        if other != path:
            sys.exit(f"{other} and {path} have the same name, and it makes the keys: rename one of them")


def put_file(tar, path, options):
    file = pyarrow.parquet.ParquetFile(path)
    names = file.schema_arrow.names
    image = image_column(file.schema_arrow, options.image)
    caption = options.caption or next((name for name in CAPTIONS if name in names), None)
    stem = stem_of(path)
    number = missing = 0
    for batch in file.iter_batches(BATCH):
        for row in batch.to_pylist():
            missing += not put_row(tar, f"{stem}/{number:08d}", row, image, caption)
            number += 1
    if missing:
        print(f"{path}: {missing} of {number} rows have no image", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="Parquet files, in the order of the samples")
    parser.add_argument("--image", metavar="COLUMN", help="column with the images (the only one that can be)")
    parser.add_argument("--caption", metavar="COLUMN", help="column with the captions (caption, text, prompt, ...)")
    options = parser.parse_args()
    refuse_twins(options.files)
    if sys.stdout.isatty():
        sys.exit("standard output is a terminal: a tar goes there")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for path in options.files:
            put_file(tar, path, options)


if __name__ == "__main__":
    main()
