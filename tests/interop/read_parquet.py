#!/usr/bin/env python3
"""read_parquet.py LATENTCTL: Parquet that Hugging Face's datasets has written, through contrib/parquet_to_tar.py into shards.

Ends with 'N passed, N failed, N skipped'. Without datasets and pyarrow everything is skipped, and said so.
"""

import glob
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import traceback

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "contrib", "parquet_to_tar.py")
ROWS = 7


def write_parquet(folder):
    """What push_to_hub() uploads: images as struct{bytes, path}; two files, one of which has a row without an image."""
    import datasets
    from PIL import Image

    pictures = []
    for i in range(ROWS):
        into = io.BytesIO()
        Image.new("RGB", (160, 144), (30 * i, 255 - 30 * i, 7)).save(into, ("PNG", "JPEG", "WEBP")[i % 3])
        pictures.append({"bytes": into.getvalue(), "path": f"{i}.img"})
    rows = {"image": [*pictures, None], "text": [f"caption {i}" for i in range(ROWS + 1)], "score": [i / 2 if i else float("nan") for i in range(ROWS + 1)]}
    whole = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    whole.select(range(4)).to_parquet(os.path.join(folder, "train-00000-of-00002.parquet"))
    whole.select(range(4, ROWS + 1)).to_parquet(os.path.join(folder, "train-00001-of-00002.parquet"))
    return sorted(glob.glob(os.path.join(folder, "*.parquet")))


def records(out):
    found = {}
    for shard in glob.glob(os.path.join(out, "set", "train", "*", "*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    record = json.load(tar.extractfile(member))
                    found[record["key"]] = record
    return found


def encode(program, files, folder):
    out = os.path.join(folder, "out")
    words = ["encode", "-", "--out", out, "--name", "set", "--vae", "fake", "--resolution", "128", "--max-upscale", "0"]
    with subprocess.Popen([sys.executable, SCRIPT, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tar:
        done = subprocess.run(
            [program, *words, "--state", os.path.join(folder, "state")], stdin=tar.stdout, capture_output=True, text=True
        )
        said = tar.stderr.read().decode()
        assert tar.wait() == 0 and done.returncode == 0, (said, done.stderr)
    assert "1 of 4 rows have no image" in said, said
    return records(out)


def refuse(files):
    """Of two files with one name half the rows would be lost."""
    twin = os.path.join(os.path.dirname(files[0]), "other", os.path.basename(files[0]))
    done = subprocess.run([sys.executable, SCRIPT, files[0], twin], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1 and "have the same name" in done.stderr and not done.stdout, done


def test(program):
    with tempfile.TemporaryDirectory() as folder:
        files = write_parquet(folder)
        refuse(files)
        found = encode(program, files, folder)
        assert len(found) == ROWS, sorted(found)
        for i in range(ROWS):
            record = found[f"train-0000{i // 4}-of-00002/{i % 4:08d}"]
            assert record["caption"] == f"caption {i}", record
            meta = {"caption": f"caption {i}", "score": i / 2 if i else None, "image_path": f"{i}.img"}
            assert record["meta"] == meta, record["meta"]
            assert record["original_size"] == [160, 144], record


def main():
    try:
        import datasets  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as why:
        print(f"SKIPPED: Parquet: {why}")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    try:
        test(os.path.abspath(sys.argv[1]))
        print("1 passed, 0 failed, 0 skipped")
        return 0
    except Exception:
        print(f"FAILED Parquet:\n{traceback.format_exc()}\n0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
