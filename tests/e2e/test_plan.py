#!/usr/bin/env python3
"""latentctl plan: what an encode would be, without one."""

import os
import shutil
import signal
import struct
import subprocess
import xml.etree.ElementTree as xml
import zlib

from harness import (
    BUILD_DIR,
    FAILED,
    OK,
    QUARANTINED,
    USAGE,
    demo_model,
    equal,
    one_line,
    run_tests,
    same_members,
    shared,
    test,
    wait_until,
)

SVG = "{http://www.w3.org/2000/svg}"


def png(width, height, tail=b""):
    """A PNG that says it has that size, and has no row of it: enough for a look at its header."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts) + tail


def plan(ws, *options, src=None, code=OK, **settings):
    """What --json says."""
    result = ws.latentctl("plan", *(src or [ws.src]), "--json", *options, code=code, **settings)
    (found,) = result.json
    return found


def histogram(found):
    return {(b["width"], b["height"]): b["images"] for b in found["buckets"]}


def everything_below(folder):
    return sorted(
        (at, name, os.lstat(os.path.join(at, name)).st_mtime_ns)
        for at, folders, files in os.walk(folder)
        for name in [*folders, *files]
    )


@test
def images_are_counted_by_bucket_from_headers_alone(ws):
    ws.write("a/one.png", png(1024, 1024))
    ws.write("a/two.png", png(4000, 3000))
    ws.write("three.png", png(768, 512))
    ws.write("four.png", png(512, 768))
    ws.write("a/one.txt", b"a caption")
    found = plan(ws, "--batch", "2")
    equal(found["files"], 4, "files")
    equal(found["images"], 4, "images")
    equal(found["no_caption"], 3, "images without caption")
    want = {(512, 512): 1, (576, 448): 1, (640, 384): 1, (384, 640): 1}
    equal(histogram(found), want, "buckets")
    equal([b["left_over"] for b in found["buckets"]], [1, 1, 1, 1], "left over")
    equal(found["batch"], {"size": 2, "batches": 0, "left_over": 4}, "batch")
    ratios = [b["width"] / b["height"] for b in found["buckets"]]
    equal(ratios, sorted(ratios), "order")


@test
def what_an_encode_makes_is_what_was_planned(ws):
    ws.pictures(6)
    ws.write("broken.jpg", b"\xff\xd8\xff\xe0")
    options = ["--resolution", "128"]
    found = plan(ws, *options, code=QUARANTINED)
    ws.encode(code=QUARANTINED)
    equal(found["images"], ws.status()["samples"], "images")
    equal(found["no_caption"], 0, "images without caption")
    folders = os.listdir(os.path.join(ws.dataset, "train"))
    same_members([f"{w}x{h}" for w, h in histogram(found)], folders, "buckets")
    equal(found["unreadable"], {"truncated": 1}, "unreadable")


@test
def nothing_is_written(ws):
    ws.small_pictures(12)
    before = everything_below(ws.root)
    plan(ws, "--hash")
    ws.latentctl("plan", ws.src)
    equal(everything_below(ws.root), before, "what is there")


@test
def equal_files_are_found_by_their_bytes(ws):
    ws.write("b.png", png(600, 600))
    ws.write("c/a.png", png(600, 600))
    ws.write("c/z.jpg", png(600, 600))
    ws.write("d.png", png(600, 600, b"not the same"))
    size = len(png(600, 600))
    found = plan(ws, "--hash")["equal"]
    equal((found["groups"], found["files"], found["bytes"]), (1, 2, 2 * size), "equal files")
    names = [[file["path"] for file in group] for group in found["names"]]
    equal(names, [["b.png", "c/a.png", "c/z.jpg"]], "names")
    equal(plan(ws)["equal"], None, "equal files when not asked for")
    table = ws.latentctl("plan", ws.src, "--hash").out
    assert "2 files are copies of 1 others" in table, table


@test
def every_unreadable_file_is_named_with_its_reason(ws):
    ws.write("good.png", png(512, 512))
    ws.write("empty.jpg")
    ws.write("text.jpg", b"this is no image at all")
    ws.write("cut.png", png(512, 512)[:20])
    os.mkfifo(os.path.join(ws.src, "fifo.jpg"))
    found = plan(ws, code=QUARANTINED)
    reasons = {f["path"]: f["reason"] for f in found["failures"]}
    want = {
        "cut.png": "truncated",
        "empty.jpg": "empty",
        "fifo.jpg": "not_regular",
        "text.jpg": "unsupported",
    }
    equal(reasons, want, "reasons")
    equal(list(reasons), sorted(reasons), "order")
    equal(found["unreadable"], {reason: 1 for reason in want.values()}, "counts")
    equal(found["images"], 1, "images")


@test
def the_table_names_ten_unreadable_files_and_all_on_request(ws):
    for i in range(14):
        ws.write(f"bad{i:02d}.jpg")
    few = ws.latentctl("plan", ws.src, code=QUARANTINED).out
    every = ws.latentctl("plan", ws.src, "--list", code=QUARANTINED).out
    equal((few.count("bad"), every.count("bad")), (10, 14), "names")
    assert "bad09.jpg" in few and "--list" in few and "--list" not in every, few


@test
def names_that_are_no_text_are_told_and_do_not_reach_the_terminal(ws):
    folder = os.fsencode(ws.src)
    os.makedirs(folder)
    for name in (b"\xff\x1b[31m\n.jpg", b"50%.jpg"):
        with open(os.path.join(folder, name), "wb"):
            pass
    found = plan(ws, code=QUARANTINED)
    equal([f["path"] for f in found["failures"]], ["50%25.jpg", "%FF\x1b[31m\n.jpg"], "paths")
    result = ws.latentctl("plan", ws.src, code=QUARANTINED)
    assert "\x1b" not in result.out, result.out


@test
def skipped_images_have_a_reason_and_are_no_failure(ws):
    ws.write("tiny.png", png(100, 100))
    ws.write("small.png", png(300, 300))
    ws.write("good.png", png(600, 600))
    equal(plan(ws)["skipped"], {"upscale": 1}, "skipped")
    equal(plan(ws, "--max-upscale", "0")["skipped"], {}, "skipped without a limit")
    found = plan(ws, "--min-side", "512")
    equal(sum(found["skipped"].values()), 2, "skipped")
    equal(found["images"], 1, "images")


@test
def orientation_swaps_the_sides_unless_it_is_ignored(ws):
    ws.golden("orientation_6.jpg", "a.jpg")
    upright = plan(ws, "--max-upscale", "0")["buckets"][0]
    stored = plan(ws, "--max-upscale", "0", "--exif", "ignore")["buckets"][0]
    equal((upright["width"], upright["height"]), (stored["height"], stored["width"]), "sides")
    assert upright["width"] != upright["height"], upright


@test
def as_many_processes_as_one_likes_give_the_same_plan(ws):
    ws.small_pictures(60)
    ws.write("bad.jpg", b"x")
    words = ["plan", ws.src, "--json", "--hash", "--max-upscale", "0", "--jobs"]
    one, seven = (ws.latentctl(*words, n, code=QUARANTINED).out for n in ("1", "7"))
    equal(seven, one, "plan")


@test
def decoders_that_are_not_confined_are_told_once(ws):
    ws.write("a.png", png(64, 64))
    ws.write("b.png", png(64, 64))
    build = os.environ["LATENTD_BUILD_DIR"]
    program, decoder = ws.path("bin", "latentctl"), ws.path("bin", "latentd-decode")
    os.makedirs(ws.path("bin"))
    shutil.copy(os.path.join(build, "daemon", "latentctl"), program)
    liar = os.path.join(build, "tests", "lying_worker")
    with open(decoder, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nLYING_WORKER=unconfined exec '{liar}'\n")
    os.chmod(decoder, 0o755)
    words = [program, "plan", ws.src, "--max-upscale", "0", "--jobs", "2"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    equal(result.stderr.count("warning: decoders are not confined here (no seccomp"), 1, "warnings")


@test
def several_folders_are_one_collection(ws):
    first, second = ws.path("first"), ws.path("second")
    ws.write("a.png", png(512, 512), first)
    ws.write("a.png", png(512, 512), second)
    found = plan(ws, "--hash", src=[first, second])
    equal(found["sources"], [first, second], "sources")
    equal(histogram(found), {(512, 512): 2}, "buckets")
    equal([f["source"] for f in found["equal"]["names"][0]], [0, 1], "sources of equal files")
    ws.latentctl("plan", first, first, code=FAILED)


@test
def the_size_of_latents_is_the_models(ws):
    ws.write("a.png", png(512, 512))
    assumed = plan(ws)["latents"]
    equal(assumed["assumed"], True, "assumed")
    equal(assumed["mean_bytes"], 4 * 64 * 64 * 2, "bytes")
    equal(assumed["moments_bytes"], 2 * 4 * 64 * 64 * 2, "bytes of moments")
    equal(assumed["of_each_image"], 1, "latents of an image")
    both = plan(ws, "--flip")["latents"]
    equal((both["of_each_image"], both["mean_bytes"]), (2, 2 * assumed["mean_bytes"]), "with the mirrored one")
    known = plan(ws, "--vae", demo_model(), "--resolution", "512")["latents"]
    equal(known["assumed"], False, "assumed")
    side = 512 // known["downscale"]
    equal(known["mean_bytes"], known["channels"] * side * side * 2, "bytes")
    one_line(ws.latentctl("plan", ws.src, "--vae", ws.path("none"), code=FAILED), "no such file")


@test
def the_size_of_latents_is_unknown_where_the_usual_vae_does_not_fit(ws):
    ws.write("a.png", png(500, 500))
    words, path = ["--bucket-step", "20", "--max-upscale", "0"], ws.path("plan.svg")
    found = plan(ws, *words, "--svg", path)
    equal(found["latents"], None, "latents")
    equal(found["images"], 1, "images")
    xml.parse(path)
    assert "latents   unknown" in ws.latentctl("plan", ws.src, *words).out


@test
def time_is_told_only_at_a_rate_that_is_given(ws):
    for i in range(30):
        ws.write(f"{i}.png", png(512, 512))
    equal(plan(ws)["seconds"], None, "seconds")
    equal(plan(ws, "--rate", "0.25")["seconds"], 120, "seconds")
    assert "about 2 min" in ws.latentctl("plan", ws.src, "--rate", "0.25").out


# -- the picture


@test
def the_picture_has_every_bucket_and_needs_nothing_else(ws):
    ws.write("a.png", png(512, 512))
    ws.write("b.png", png(4000, 3000))
    ws.write("tiny.png", png(10, 10))
    ws.write("bad.jpg", b"x")
    path = ws.path("plan.svg")
    ws.latentctl("plan", ws.src, "--svg", path, "--batch", "64", code=QUARANTINED)
    root = xml.parse(path).getroot()
    equal(root.tag, SVG + "svg", "root")
    texts = [text.text for text in root.iter(SVG + "text")]
    for wanted in ("512\u00d7512", "576\u00d7448", "upscale", "unsupported"):
        assert wanted in texts, (wanted, texts)
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text and "@import" not in text and "url(" not in text, text
    height = float(root.get("height"))
    for rect in root.iter(SVG + "rect"):
        box = [float(rect.get(name)) for name in ("x", "y", "width", "height")]
        assert min(box) >= 0 and box[0] + box[2] <= 860 and box[1] + box[3] <= height, box


@test
def a_picture_that_cannot_be_written_is_said_before_the_work(ws):
    ws.write("a.png", png(512, 512))
    result = ws.latentctl("plan", ws.src, "--svg", ws.path("none", "p.svg"), code=FAILED)
    one_line(result, "--svg", "p.svg")
    equal(result.out, "", "output")


# -- wrong usage


@test
def what_a_dataset_has_is_told_of_every_kind_of_source(ws):
    paths = ws.small_pictures(6)
    ws.encode()
    options = ("--resolution", "128", "--max-upscale", "0", "--out", ws.out, "--name", ws.name)
    same = {"dataset": ws.name, "difference": None}
    equal(plan(ws, *options)["known"], {**same, "encoded": 6, "to_encode": 0}, "of the folder itself")
    other = [f"other/{path}" for path in ws.small_pictures(2, ws.path("other"), first=10)]
    for i, path in enumerate(paths[:4]):  # the same bytes under other names
        other.append(f"other/{i}{os.path.splitext(path)[1]}")
        shutil.copy(os.path.join(ws.src, path), ws.path(other[-1]))
    with open(ws.path(other[-1]), "ab") as file:
        file.write(b"changed")
    wanted = {**same, "encoded": 3, "to_encode": 3}
    equal(plan(ws, *options, src=[ws.path("other")])["known"], wanted, "of a folder")
    program = os.path.join(BUILD_DIR, "tests", "make_archive")
    for kind in ("tar", "tar.gz", "tar.zst", "tar.xz", "zip", "7z"):
        path = ws.path(f"other.{kind}")
        subprocess.run([program, path, ws.path("other")], check=True)
        equal(plan(ws, *options, src=[path])["known"], wanted, f"of an archive: {kind}")
    with open(ws.path("list.jsonl"), "w") as file:
        file.writelines(f'{{"path": "{path}"}}\n' for path in other)
    equal(plan(ws, *options, src=[ws.path("list.jsonl")])["known"], wanted, "of a manifest")
    with open(ws.path("list.urls"), "w") as file:
        file.write("http://127.0.0.1/a.jpg\n")
    whole = plan(ws, *options, src=[ws.src, ws.path("list.urls")])
    equal((whole["known"], whole["elsewhere"]), ({**same, "encoded": 6, "to_encode": 0}, 1), "of a list of URLs as well")
    text = ws.latentctl("plan", ws.src, ws.path("list.urls"), *options).out
    assert f"known     {ws.name} has 6 of the images; new by their bytes: 0; unknown: what is elsewhere\n" in text, text
    text = ws.latentctl("plan", ws.path("other"), *options).out
    assert f"known     {ws.name} has 3 of the images; new by their bytes: 3\n" in text, text
    assert f"{ws.name} has all of the images" in ws.latentctl("plan", ws.src, *options).out


@test
def another_recipe_is_the_reason_why_everything_must_be_encoded_again(ws):
    ws.small_pictures(3)
    ws.encode()
    usual = ("--resolution", "128", "--max-upscale", "0", "--out", ws.out)
    for options, said in (
        (["--resolution", "256"], ["buckets.resolution 128, now 256"]),
        (["--flip", "--crops", "1"], ["variants", '"flip"', '"crop 1"']),
        (["--exif", "ignore", "--bucketing", "square"], ["buckets.rule", "pixels.exif"]),
        (["--vae", demo_model()], ["vae."]),
        (["--resolutions", "128,256"], ["more_buckets none, now"]),
    ):
        words = usual if "--resolutions" not in options else usual[2:]
        known = plan(ws, *words, *options)["known"]
        equal((known["encoded"], known["to_encode"]), (0, 3), f"with {options}")
        for word in said:
            assert word in known["difference"], known
    equal(plan(ws, *usual, "--vae", "fake")["known"]["difference"], None, "with the recipe's own VAE")
    text = ws.latentctl("plan", ws.src, *usual, "--resolution", "256").out
    (line,) = (line for line in text.splitlines() if line.startswith("known "))
    assert "has another recipe, all must be encoded again: " in line, line
    assert "buckets.resolution 128, now 256" in line, line
    ws.name = "second"
    ws.encode()
    one_line(ws.latentctl("plan", ws.src, *usual, code=FAILED), "2 datasets", "--name")
    one_line(ws.latentctl("plan", ws.src, *usual, "--name", "none", code=FAILED), "none")


@test
def a_wrong_command_line_ends_with_2_and_says_what_is_wrong(ws):
    ws.write("a.png", png(512, 512))
    wrong = [
        ([], ["SRC is missing"]),
        ([ws.src, "--sizes", "-"], ["not both"]),
        (["--sizes", "-", "--json"], ["--sizes", "--json"]),
        ([ws.src, "--bucketing", "kohyo"], ["kohyo", "kohya or"]),
        ([ws.src, "--min-bucket", "768", "--max-bucket", "512"], ["768", "512"]),
        ([ws.src, "--min-bucket", "4096"], ["4096"]),
        ([ws.src, "--resolution", "768x512"], ["768x512", "fixed"]),
        ([ws.src, "--bucketing", "fixed"], ["fixed", "resolution is missing"]),
        ([ws.src, "--resolution", "100"], ["multiple of 8"]),
        ([ws.src, "--batch", "0"], ["--batch"]),
        ([ws.src, "--max-upscale", "two"], ["--max-upscale", "number"]),
        ([ws.src, "--name", "x"], ["--out"]),
        (["--sizes", "-", "--out", "x"], ["--sizes", "--out"]),
    ]
    for words, said in wrong:
        result = ws.latentctl("plan", *words, code=USAGE)
        one_line(result, "plan", *said)
        equal(result.out, "", "output")


@test
def help_names_every_option_and_what_the_columns_mean(ws):
    text = ws.latentctl("plan", "--help").out
    for word in ("--sizes", "--hash", "--svg", "--batch", "diffusion_pipe", "crop %", "left over"):
        assert word in text, word
    assert all(len(line) <= 100 for line in text.splitlines()), text


@test
def a_folder_without_images_or_that_is_not_there_is_an_error(ws):
    os.makedirs(ws.src)
    ws.write("readme.txt", b"text")
    one_line(ws.latentctl("plan", ws.src, code=FAILED), "no images below", ws.src)
    one_line(ws.latentctl("plan", ws.path("none"), code=FAILED), "no such folder")
    one_line(ws.latentctl("plan", ws.path("pictures", "readme.txt"), code=FAILED), "not a folder")


@test
def a_folder_or_file_that_may_not_be_read_is_said(ws):
    user = ws.unprivileged()
    ws.write("a.png", png(512, 512))
    os.chmod(ws.write("closed.png", png(512, 512)), 0)
    os.chmod(ws.write("caption.png", png(512, 512)), 0o644)
    os.chmod(ws.write("caption.txt", b"text"), 0)
    found = plan(ws, code=QUARANTINED, **user)
    equal(found["unreadable"], {"unreadable": 2}, "unreadable")
    equal(found["images"], 1, "images")
    equal(plan(ws, "--no-captions", code=QUARANTINED, **user)["images"], 2, "images")
    os.chmod(ws.src, 0)
    one_line(ws.latentctl("plan", ws.src, code=FAILED, **user), "may not be read")


# -- sizes


def sizes(ws, text, *options, code=OK):
    """The lines that --sizes gives for those of @text."""
    process = ws.start("plan", "--sizes", "-", *options, stdin=subprocess.PIPE)
    process.stdin.write(text.encode())
    process.stdin.close()
    process.stdin = None
    result = ws.finish(process)
    equal(result.code, code, "exit status")
    return result


@test
def sizes_are_placed_from_stdin_and_from_a_file(ws):
    text = "4000 3000\n100 100\n"
    want = "4000 3000 576 448 597 448 10 0\n100 100 512 512 512 512 0 0\n"
    equal(sizes(ws, text).out, want, "placed")
    path = ws.write("sizes.txt", text.encode())
    equal(ws.latentctl("plan", "--sizes", path).out, want, "placed")
    equal(sizes(ws, "").out, "", "placed")
    one_line(ws.latentctl("plan", "--sizes", ws.path("none"), code=FAILED), "none")


@test
def sizes_are_skipped_only_where_there_is_no_bucket_or_for_a_limit_that_is_given(ws):
    placed = "100 100 512 512 512 512 0 0\n"
    equal(sizes(ws, "100 100\n", "--max-upscale", "6").out, placed, "placed")
    equal(sizes(ws, "100 100\n", "--max-upscale", "2").out, "100 100 skipped upscale\n", "placed")
    equal(sizes(ws, "100 100\n", "--min-side", "200").out, "100 100 skipped too_small\n", "placed")
    none = sizes(ws, "65500 1\n", "--bucketing", "ai_toolkit").out
    equal(none, "65500 1 skipped no_bucket\n", "placed")


@test
def a_line_that_is_no_size_ends_with_2_and_its_number(ws):
    result = sizes(ws, "512 512\n512\n512 512\n", code=USAGE)
    one_line(result, "line 2", '"512"')
    equal(result.out, "512 512 512 512 512 512 0 0\n", "placed")


@test
def sizes_are_placed_as_sd_scripts_does(ws):
    with open(shared("goldens", "buckets_kohya.tsv"), encoding="utf-8") as file:
        names, *rows = (line.rstrip("\n").split("\t") for line in file)
    columns = [names.index(n) for n in "w h bucket_w bucket_h resized_w resized_h crop_x crop_y".split()]
    for settings in sorted({tuple(row[:5]) for row in rows}):
        chosen = [row for row in rows if tuple(row[:5]) == settings]
        options = ["--bucketing", "--resolution", "--min-bucket", "--max-bucket", "--bucket-step"]
        words = [word for pair in zip(options, settings) for word in pair]
        text = "".join(f"{row[5]} {row[6]}\n" for row in chosen)
        placed = sizes(ws, text, *words).out.splitlines()
        equal(placed, [" ".join(row[c] for c in columns) for row in chosen], str(settings))


# -- stopping


@test
def an_interrupt_ends_it_at_once(ws):
    os.makedirs(ws.src)
    for i in range(1000):  # holes: minutes of hashing that take no disk
        with open(os.path.join(ws.src, f"{i}.jpg"), "wb") as file:
            file.truncate(200 << 20)
    process = ws.start("plan", ws.src, "--jobs", "1", "--hash")
    wait_until(ws.workers, "a worker")
    process.send_signal(signal.SIGINT)
    equal(ws.finish(process).code, -signal.SIGINT, "how it ended")
    ws.no_worker_is_left()


run_tests()
