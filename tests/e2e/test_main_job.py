#!/usr/bin/env python3
"""`latentctl encode` from folders of images to shards: what comes out, once, and what a second run does."""

import json
import os
import pty
import re
import select
import shutil
import signal
import time

from harness import (
    GOLDEN_IMAGES,
    HANGS_AFTER_S,
    QUARANTINED,
    demo_model,
    equal,
    run_tests,
    same_members,
    shared,
    test,
    wait_until,
)
from pixels import beyond_float16, images_json, means, prepared, these_are_pillows_pixels
from reference import npy_values, placement, read_dataset, read_npy, shard_files, xxh3_128

FIELDS = """v key source content_xxh3_128 recipe_id vae_sha256 stored_size orientation original_size
    resized_size crop_top_left target_size time_ids kohya_crop_ltrb variant flip latent engine caption
    meta""".split()


def snapshot(dataset):
    """What would change if a shard were written again."""
    return {f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns) for f in shard_files(dataset)}


def contents(dataset):
    files = shard_files(dataset)
    return {os.path.relpath(f, dataset): open(f, "rb").read() for f in files}


def each_sample_is_whole(samples, folder, captions=True, dtype="<f2", channels=4, down=8):
    """Members, shape, hashes and the caption of each sample, against the file it was made from."""
    for s in samples:
        record, latent = s.record, s.record["latent"]
        equal(list(record), FIELDS, "the fields of KEY.json")
        equal(record["key"], s.key, "key")
        suffix = "moments" if latent["posterior"] == "moments" else "latent"
        wanted = ["json", f"{suffix}.npy.zst"] + (["txt"] if captions else [])
        equal(list(s.members), wanted, f"members of {s.key}")
        with open(os.path.join(folder, s.path), "rb") as file:
            equal(record["content_xxh3_128"], xxh3_128(file.read()), f"content hash of {s.key}")
        width, height = record["target_size"]
        equal(os.path.basename(os.path.dirname(s.shard)), f"{width}x{height}", "folder")
        array_dtype, shape, data = read_npy(s.npy)
        equal(array_dtype, dtype, f"dtype of {s.key}")
        equal(shape, (channels, height // down, width // down), f"shape of {s.key}")
        equal(tuple(latent["shape"]), shape, "the shape in KEY.json")
        equal(latent["xxh3_128"], xxh3_128(data), f"latent hash of {s.key}")
        caption_file = os.path.splitext(os.path.join(folder, s.path))[0] + ".txt"
        caption = None
        if captions and os.path.exists(caption_file):
            with open(caption_file, encoding="utf-8") as file:
                caption = file.read().rstrip()
        equal(record["caption"], caption, f"caption of {s.key}")
        if captions:
            equal(s.members["txt"].decode(), caption or "", f"text of {s.key}")


@test
def every_picture_becomes_one_sample(ws):
    paths = ws.pictures(12)
    result = ws.encode("--jobs", "2")
    equal(result.errors, [], "stderr")
    equal(len(result.out.splitlines()), 1, "number of lines printed")
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    same_members([s.key for s in samples], [os.path.splitext(p)[0] for p in paths], "keys")
    assert all(s.record["caption"] for s in samples), "a picture of the series has no caption"
    each_sample_is_whole(samples, ws.src)
    ws.verify()


@test
def the_demo_model_encodes_them_too(ws):
    paths = ws.pictures(8)
    ws.encode(vae=demo_model())
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    each_sample_is_whole(samples, ws.src)
    for s in samples:
        values = npy_values(s.npy)
        assert 0.1 < max(values) - min(values) < 100, f"{s.key} from {min(values)} to {max(values)}"
        engine = s.record["engine"]
        assert re.fullmatch(r"cpu/winograd-\d+\.\d+\.\d+-\w+ float32", engine), engine
    scaling = json.load(open(os.path.join(demo_model(), "config.json")))["scaling_factor"]
    equal({s.record["latent"]["scaling_factor"] for s in samples}, {scaling}, "scaling factor")
    ws.verify()


def golden_sizes():
    rows = images_json(os.path.join(GOLDEN_IMAGES, "images.json"))
    return {name: (row["size"], row["oriented_size"]) for name, row in rows.items()}


def the_geometry_is(rule, ws, sizes, exif=True, resolution=128):
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], sizes, "samples")
    for s in samples:
        record, (stored, oriented) = s.record, sizes[s.path]
        width, height = oriented if exif else stored
        target, resized, top_left, ltrb = placement(rule, resolution, width, height)
        wanted = {
            "stored_size": stored,
            "original_size": [width, height],
            "target_size": list(target),
            "resized_size": list(resized),
            "crop_top_left": list(top_left),
            "time_ids": [height, width, *top_left, target[1], target[0]],
            "variant": 0,
            "flip": False,
            "meta": {},
        }
        equal({name: record[name] for name in wanted}, wanted, s.path)
        if s.path.startswith("orientation_"):
            equal(record["orientation"], int(s.path[12]), f"orientation of {s.path}")
        for got, exact in zip(record["kohya_crop_ltrb"], ltrb):
            assert abs(got - exact) < 1e-6, (s.path, record["kohya_crop_ltrb"], ltrb)


@test
def sizes_crop_and_orientation_are_those_of_the_rule(ws):
    sizes = golden_sizes()
    for name in sizes:
        ws.golden(name, name)
    ws.encode()
    the_geometry_is("kohya", ws, sizes)


@test
def square_buckets_and_ignored_orientation(ws):
    sizes = golden_sizes()
    for name in sizes:
        ws.golden(name, name)
    ws.encode("--bucketing", "square", "--exif", "ignore")
    the_geometry_is("square", ws, sizes, exif=False)
    equal(
        {tuple(s.record["target_size"]) for s in read_dataset(ws.dataset)}, {(128, 128)}, "targets"
    )


@test
def two_runs_give_the_same_bytes(ws):
    # All samples of a size fit one shard here. Where they do not, which of them are encoded by the
    # time a shard is full is a matter of timing: then the samples are the same, the shards are not.
    ws.small_pictures(20)
    for vae in ("fake", demo_model()):
        results = []
        for jobs in ("1", "2"):
            name = f"{os.path.basename(vae)}-{jobs}"
            ws.encode("--jobs", jobs, "--name", name, "--seed", "5", vae=vae, out=ws.path(name))
            results.append(contents(ws.path(name, name)))
        same_members(results[0], results[1], "shards")
        assert results[0] == results[1], f"{vae}: the shards differ"


@test
def small_shards_hold_the_same_samples(ws):
    ws.small_pictures(30)
    found = []
    for n, options in enumerate(
        (("--shard-samples", "3", "--jobs", "2"), ("--shard-size", "16KiB"))
    ):
        ws.encode(*options, "--name", f"n{n}")
        samples = read_dataset(ws.path("out", f"n{n}"))
        found.append({s.key: (s.members["json"], s.npy) for s in samples})
        equal(len(samples), 30, "number of samples")
    assert found[0] == found[1], "the samples differ"
    sizes = [len(contents(ws.path("out", f"n{n}"))) for n in (0, 1)]
    assert sizes[0] >= 10 and sizes[1] > 3, f"number of shards: {sizes}"


@test
def the_order_is_shuffled_by_the_seed_or_that_of_the_scan(ws):
    names = [f"{i:02d}" for i in range(20)]
    for name in names:
        ws.golden("orientation_1.jpg", f"{name}.jpg")
    orders = {}
    for name, options in {
        "scan": ("--order", "scan"),
        "seed1": ("--seed", "1"),
        "again": ("--seed", "1"),
        "seed2": ("--seed", "2"),
    }.items():
        ws.encode(*options, "--name", name)
        orders[name] = [s.key for s in read_dataset(ws.path("out", name))]
        same_members(orders[name], names, name)
    equal(orders["scan"], names, "the order of the scan")
    equal(orders["again"], orders["seed1"], "the order with the same seed")
    assert orders["seed1"] != names and orders["seed1"] != orders["seed2"], orders


def without_news(line):
    return re.sub(r"\(\d+ new\)", "", line)


@test
def a_second_run_encodes_nothing(ws):
    ws.small_pictures(9)
    first = ws.encode()
    before = snapshot(ws.dataset)
    second = ws.encode()
    equal(snapshot(ws.dataset), before, "shards")
    assert "(0 new)" in second.out, second.out
    equal((without_news(second.out), second.errors), (without_news(first.out), []), "printed")
    equal(ws.status()["jobs"]["completed"], 9, "completed")


@test
def new_files_get_new_shards(ws):
    first = ws.small_pictures(10)
    ws.encode()
    before = snapshot(ws.dataset)
    second = ws.small_pictures(7, first=10)
    ws.encode()
    after = snapshot(ws.dataset)
    equal({f: after.get(f) for f in before}, before, "the old shards")
    new = [s.path for s in read_dataset(ws.dataset) if s.shard not in before]
    same_members(new, second, "samples of the new shards")
    same_members([s.path for s in read_dataset(ws.dataset)], first + second, "samples")
    ws.verify()


@test
def moments_are_mean_and_log_variance(ws):
    ws.small_pictures(4)
    options = ("--dtype", "float32", "--posterior")
    ws.encode(*options, "moments", vae=demo_model())
    moments = read_dataset(ws.dataset)
    each_sample_is_whole(moments, ws.src, dtype="<f4", channels=8)
    ws.encode(*options, "mean", "--name", "mean", vae=demo_model())
    means = {s.key: npy_values(s.npy) for s in read_dataset(ws.path("out", "mean"))}
    for s in moments:
        values = npy_values(s.npy)
        equal(values[: len(values) // 2], means[s.key], f"the mean of {s.key}")


@test
def a_draw_depends_on_seed_and_image_alone(ws):
    ws.small_pictures(6)
    latents = {}
    for name, options in {
        "one": ("--seed", "1", "--jobs", "1"),
        "again": ("--seed", "1", "--jobs", "2", "--order", "scan"),
        "two": ("--seed", "2"),
    }.items():
        ws.encode("--posterior", "draw", *options, "--name", name, vae=demo_model())
        samples = read_dataset(ws.path("out", name))
        each_sample_is_whole(samples, ws.src)
        equal({s.record["latent"]["seed"] for s in samples}, {2 if name == "two" else 1}, "seed")
        latents[name] = {s.key: s.npy for s in samples}
    equal(latents["again"], latents["one"], "the draw of the same seed")
    assert all(latents["two"][key] != latents["one"][key] for key in latents["one"]), "same draw"


@test
def float32_is_stored_unrounded(ws):
    ws.small_pictures(3)
    ws.encode("--dtype", "float32", vae=demo_model())
    each_sample_is_whole(read_dataset(ws.dataset), ws.src, dtype="<f4")
    wide = {s.key: npy_values(s.npy) for s in read_dataset(ws.dataset)}
    ws.encode("--name", "half", vae=demo_model())
    for s in read_dataset(ws.path("out", "half")):
        for got, exact in zip(npy_values(s.npy), wide[s.key]):
            # Half a unit in the last place: 11 bits, subnormal below 2^-14.
            assert abs(got - exact) <= max(abs(exact) * 2**-11, 2**-25), (s.key, got, exact)


@test
def without_captions_no_sample_has_a_text(ws):
    ws.pictures(3)
    ws.encode("--no-captions")
    each_sample_is_whole(read_dataset(ws.dataset), ws.src, captions=False)
    ws.verify()


@test
def captions_are_cleaned(ws):
    for name in ("bom", "odd", "empty", "none"):
        ws.golden("odd_420.jpg", f"{name}.jpg")
    ws.write("bom.txt", b"\xef\xbb\xbfa dog \n\n")
    ws.write("odd.txt", b"caf\xe9 \xc3\xa9")
    ws.write("empty.txt", b"\n")
    ws.encode()
    captions = {
        s.key: (s.record["caption"], s.members["txt"].decode()) for s in read_dataset(ws.dataset)
    }
    equal(captions["bom"], ("a dog", "a dog"), "with a byte order mark")
    equal(captions["odd"], ("caf\ufffd \u00e9",) * 2, "not UTF-8")
    equal(captions["empty"], ("", ""), "an empty caption")
    equal(captions["none"], (None, ""), "no caption")


@test
def several_sources_with_the_same_names(ws):
    folders = [ws.path(name) for name in ("a", "b", "c")]
    for i, folder in enumerate(folders):
        ws.small_pictures(5, folder=folder)
        for at, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(at, name), "ab") as file:
                    file.write(b"from %d" % i)
    ws.encode(src=folders)
    samples = read_dataset(ws.dataset)
    equal(len(samples), 15, "number of samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    contents_found = {s.record["content_xxh3_128"] for s in samples}
    wanted = set()
    for folder in folders:
        for at, _, names in os.walk(folder):
            wanted |= {xxh3_128(open(os.path.join(at, name), "rb").read()) for name in names}
    equal(contents_found, wanted, "the contents encoded")
    before = snapshot(ws.dataset)
    ws.encode(src=folders[::-1])
    equal(snapshot(ws.dataset), before, "shards after a run with the sources in another order")


@test
def files_that_differ_in_their_extension_alone_are_two_samples(ws):
    ws.golden("odd_420.jpg", "a.jpg")
    ws.golden("rgb16.png", "a.png")
    ws.encode()
    samples = {s.path: s.key for s in read_dataset(ws.dataset)}
    same_members(samples, ["a.jpg", "a.png"], "samples")
    assert samples["a.jpg"] != samples["a.png"], samples


@test
def a_moved_source_costs_no_encode(ws):
    paths = ws.small_pictures(6)
    ws.encode()
    before = snapshot(ws.dataset)
    os.rename(ws.src, ws.path("elsewhere"))
    ws.encode(src=[ws.path("elsewhere")])
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")
    equal(snapshot(ws.dataset), before, "shards")


@test
def sources_one_after_the_other_are_all_encoded(ws):
    # Cameras number their pictures from 1 in every folder.
    contents_wanted = set()
    for i, name in enumerate(("monday", "tuesday")):
        path = ws.golden("odd_420.jpg", f"{name}/0001.jpg")
        with open(path, "ab") as file:
            file.write(b"%d" % i)
        with open(path, "rb") as file:
            contents_wanted.add(xxh3_128(file.read()))
    for name in ("monday", "tuesday"):
        ws.encode(src=[os.path.join(ws.src, name)])
    ws.encode(src=[os.path.join(ws.src, name) for name in ("monday", "tuesday")])
    found = [s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)]
    same_members(found, contents_wanted, "contents")


@test
def a_source_that_is_left_out_waits_and_is_not_blamed(ws):
    folders = [ws.path(name) for name in ("a", "b")]
    for folder in folders:
        ws.small_pictures(4, folder=folder)
    ws.write("0/late.jpg", b"", folders[1])
    ws.encode(src=folders, code=QUARANTINED)
    ws.latentctl("retry", "--out", ws.out)
    result = ws.encode(src=folders[:1])  # the second folder's image could be claimed now
    assert "1 image of other source folders" in result.out, result
    equal(ws.status()["jobs"]["available"], 1, "images that wait")
    ws.golden("odd_420.jpg", "0/late.jpg", folders[1])
    ws.encode(src=folders)
    equal(len(read_dataset(ws.dataset)), 9, "samples of both folders")
    equal(ws.failed(), {}, "failed")


@test
def a_file_that_changed_after_a_crash_is_never_given_the_old_latent_in_silence(ws):
    paths = ws.pictures(60)
    words = ws.encode_words("--jobs", "1")
    run = ws.start(*words)
    spool = os.path.join(ws.path("state"), "latentd")

    def spooled():
        files = [os.path.join(at, n) for at, _, names in os.walk(spool) for n in names]
        return any(f.endswith(".spool") and os.path.getsize(f) > 20000 for f in files)

    wait_until(lambda: run.poll() is not None or spooled(), "records in the spool")
    run.kill()
    run.wait()
    for path in paths:
        with open(os.path.join(ws.src, path), "ab") as file:
            file.write(b"changed")
    result = ws.encode()
    told = [int(n) for n in re.findall(r"(\d+) files? ha(?:s|ve) another time or size", result.err)]
    old = 0
    for sample in read_dataset(ws.dataset):
        with open(os.path.join(ws.src, os.fsdecode(sample.path)), "rb") as file:
            old += sample.record["content_xxh3_128"] != xxh3_128(file.read())
    equal(old, sum(told), "samples of the old contents, and how many were told")


@test
def a_path_that_is_too_long_costs_that_image_alone(ws):
    paths = ws.small_pictures(3)
    at, deep = os.open(ws.src, os.O_RDONLY), "d" * 240
    for _ in range(18):
        os.mkdir(deep, dir_fd=at)
        at = os.open(deep, os.O_RDONLY, dir_fd=at)
    with open(os.path.join(ws.src, paths[0]), "rb") as picture:
        with open("deep.jpg", "wb", opener=lambda p, f: os.open(p, f, 0o600, dir_fd=at)) as file:
            file.write(picture.read())
    ws.encode(code=QUARANTINED)
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")
    equal(list(ws.failed().values()), ["path_too_long"], "failed")


@test
def a_shards_name_never_stands_for_other_contents(ws):
    ws.small_pictures(9)
    ws.encode("--shard-samples", "3", "--bucketing", "square")
    before = shard_files(ws.dataset)
    os.remove(before[1])
    ws.encode("--shard-samples", "3", "--bucketing", "square")
    after = shard_files(ws.dataset)
    equal(len(after), len(before), "number of shards")
    assert before[1] not in after, after


@test
def a_source_inside_another_is_not_encoded_twice(ws):
    paths = ws.small_pictures(6)
    result = ws.encode(src=[ws.src, os.path.join(ws.src, "0")], code=None)
    if result.code == 0:
        contents_found = [s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)]
        same_members(contents_found, set(contents_found), "contents")
        equal(len(contents_found), len(paths), "number of samples")
    else:
        equal(len(result.errors), 1, "number of error lines")


@test
def a_source_may_be_named_in_any_way(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    before = snapshot(ws.dataset)
    os.symlink(ws.src, ws.path("link"))
    for name in ("pictures", "./pictures/", "link", "pictures/../pictures"):
        ws.encode(src=[name])
        equal(snapshot(ws.dataset), before, f"shards after a run with the source {name}")
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")


@test
def names_are_recorded_as_they_are(ws):
    odd = [
        "a b.jpg",
        "new\nline.jpg",
        "\udcff\udcfe.jpg",
        "100%.jpg",
        "ü.jpg",
        "dots.in.name.jpg",
        'd.d/__x__/q"\\*.jpg',
        "-n.jpg",
        "x" * 120 + ".jpg",
        "UPPER.JPG",
        "a  b.jpg",
    ]
    for name in odd:
        ws.golden("odd_420.jpg", name)
    ws.encode()
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], odd, "samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    for s in samples:
        assert not set(s.key) & set('"\\*?<>|:%. \n') and len(s.key.encode()) <= 80, s.key
    ws.verify()


@test
def two_datasets_share_an_output(ws):
    ws.small_pictures(4)
    ws.encode("--name", "a")
    ws.encode("--name", "b", "--posterior", "moments")
    equal(len(read_dataset(ws.path("out", "a"))), 4, "samples of a")
    equal(len(read_dataset(ws.path("out", "b"))), 4, "samples of b")
    equal(len(ws.latentctl("status", "--out", ws.out, "--json").json), 2, "datasets in status")
    ws.verify()


@test
def without_a_name_one_is_made_of_model_resolution_and_recipe(ws):
    ws.small_pictures(2)
    words = ("encode", ws.src, "--vae", "fake", "--out", ws.out, "--max-upscale", "0")
    ws.latentctl(*words, "--resolution", "128")
    ws.latentctl(*words, "--resolution", "192")
    names = sorted(name for name in os.listdir(ws.out) if not name.startswith("."))
    equal([name.rsplit("-", 1)[0] for name in names], ["fake-128", "fake-192"], "names")
    for name in names:
        (recipe,) = {s.record["recipe_id"] for s in read_dataset(ws.path("out", name))}
        assert recipe.startswith(name.rsplit("-", 1)[1]), (name, recipe)


@test
def a_terminal_gets_a_progress_bar(ws):
    ws.small_pictures(40)
    ours, theirs = pty.openpty()
    # However fast it is, it stands still in its middle for longer than there is between two drawings.
    process = ws.start_and_stop("open:100", ws.src, *ws.encode_words(), stderr=theirs)
    os.close(theirs)
    time.sleep(0.3)
    process.send_signal(signal.SIGCONT)
    drawn = b""
    while select.select([ours], [], [], HANGS_AFTER_S)[0]:
        try:
            drawn += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    equal(ws.finish(process).code, 0, "exit status")
    assert b"/40 images" in drawn and b"\r" in drawn, drawn
    assert drawn.endswith(b"\r\x1b[K"), f"the bar is left behind: {drawn[-80:]}"


# The same network on the same pixels, in batches of other sizes and on other threads.
SAME = 1e-5


def the_latents_are_those_of_the_model(ws, samples, rows, resolution):
    """Every stored float16 against the model on Pillow's pixels."""
    images, unpinned = {}, []
    for s in samples:
        file = os.path.join(ws.src, s.path)
        if these_are_pillows_pixels(file, rows[s.path], ws.root) == 0:
            unpinned.append(s.path)
        images[s.path] = prepared(file, rows[s.path], ws.root, resolution)
    # Of this one images.json has the pixels after its profile alone; CMYK itself is in the golden images.
    assert set(unpinned) <= {"cmyk_icc.jpg"}, f"nothing of Pillow to compare with: {unpinned}"
    exact = means(demo_model(), images, ws.root)
    for s in samples:
        off = beyond_float16(npy_values(s.npy), exact[s.path])
        assert off <= SAME, f"{s.path} is off by {off} more than its rounding"


@test
def a_latent_is_the_model_on_the_pixels_that_pillow_makes(ws):
    rows = images_json(os.path.join(GOLDEN_IMAGES, "images.json"))
    for name in rows:
        ws.golden(name, name)
    ws.encode("--color", "ignore", vae=demo_model())
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], rows, "samples")
    the_latents_are_those_of_the_model(ws, samples, rows, 128)


@test
def another_filter_would_be_noticed(ws):
    row = images_json(os.path.join(GOLDEN_IMAGES, "images.json"))["rocket.jpg"]
    file = ws.golden("rocket.jpg", "rocket.jpg")
    kernels = ("lanczos", "bicubic")
    images = {kernel: prepared(file, row, ws.root, 128, kernel) for kernel in kernels}
    exact = means(demo_model(), images, ws.root)
    off = beyond_float16(exact["bicubic"], exact["lanczos"])
    assert off > 100 * SAME, f"bicubic is only {off} away"


@test
def photographs_are_encoded_once_each(ws):
    shutil.copytree(shared("photos"), ws.src)
    rows = images_json(shared("goldens", "images.json"))
    for i, name in enumerate(sorted(rows)[::2]):
        ws.write(os.path.splitext(name)[0] + ".txt", f"photograph {i}: caf\u00e9\n".encode())
    result = ws.encode("--resolution", "256", "--color", "ignore", code=None, vae=demo_model())
    failed = ws.failed()
    samples = read_dataset(ws.dataset)
    listed = [
        n for n in os.listdir(ws.src) if n.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))
    ]
    same_members(
        [s.path for s in samples] + [os.fsdecode(p) for p in failed], listed, "photographs"
    )
    same_members([s.path for s in samples], rows, "samples")
    equal(failed.get(b"broken_truncated.jpg"), "truncated", "the reason of the broken one")
    equal(result.code, 3, "exit status")
    equal(len(result.errors), len(failed), "number of error lines")
    each_sample_is_whole(samples, ws.src)
    sizes = {name: (row["size"], row["oriented_size"]) for name, row in rows.items()}
    the_geometry_is("kohya", ws, sizes, resolution=256)
    the_latents_are_those_of_the_model(ws, samples, rows, 256)
    ws.verify()


run_tests()
