#!/usr/bin/env python3
"""Images that a manifest names: JSON Lines, CSV, TSV and kohya's JSON, whole and damaged, changed, and under the daemon."""

import csv
import io
import json
import os
import subprocess
import time

from daemon_rig import Daemon
from harness import BUILD_DIR, OK, QUARANTINED, demo_model, equal, run_tests, same_members, test
from reference import read_dataset


def records(ws, dataset=None):
    """{path: record} of what is in the shards."""
    samples = list(read_dataset(dataset or ws.dataset))
    found = {s.path: s.record for s in samples}
    equal(len(found), len(samples), "number of paths")
    return found


def texts(ws, dataset=None):
    return {path: (r["caption"], r["meta"]) for path, r in records(ws, dataset).items()}


def latents(ws, dataset=None):
    return {s.path: s.members["latent.npy.zst"] for s in read_dataset(dataset or ws.dataset)}


def put(ws, name, data):
    """A manifest beside the pictures that appears at once, old enough for a daemon that meets it in a scan."""
    data = data if isinstance(data, bytes) else data.encode()
    path = os.path.join(ws.src, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.utime(path + ".new", (time.time() - 60 + len(data) % 50,) * 2)
    os.rename(path + ".new", path)
    return path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows, **options):
    out = io.StringIO()
    writer = csv.writer(out, **options)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return out.getvalue()


def rows_for(paths):
    return [{"path": p, "caption": f'a "{i}", with\ntwo lines', "score": str(i)} for i, p in enumerate(paths)]


@test
def every_kind_of_manifest_gives_the_same_samples(ws):
    paths = ws.small_pictures(6)
    rows = rows_for(paths)
    wanted = {r["path"]: (r["caption"], {"score": r["score"]}) for r in rows}
    kohya = {r["path"]: {"caption": r["caption"], "score": r["score"]} for r in rows}
    kinds = {
        "a.jsonl": lines(rows),
        "b.ndjson": "\ufeff" + lines(rows).replace("}\n", "}\r\n\r\n")[:-4],
        "c.csv": "\ufeff" + table(rows),
        "d.tsv": table(rows, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n"),
        "e.json": json.dumps(kohya, indent=1),
    }
    for name, text in kinds.items():
        path = put(ws, name, text)
        ws.name = name.replace(".", "-")
        plan = ws.latentctl("plan", path, "--resolution", "128", "--json").json
        assert "6" in json.dumps(plan), plan
        result = ws.encode(src=[path])
        equal(texts(ws), wanted, name)
        equal(result.errors, [], f"errors of {name}")
    ws.verify()


@test
def paths_are_below_the_root_and_columns_are_what_the_options_say(ws):
    paths = ws.small_pictures(4)
    outside = ws.write("outside.jpg", b"x", ws.root)
    rows = [
        {"f": "./" + paths[0], "t": "one", "caption": "kept"},
        {"f": os.path.join(ws.src, paths[1]), "t": None},
        {"f": "../outside.jpg"},
        {"f": outside},
        {"f": "gs://bucket/a.jpg"},
        {"path": paths[2]},
        {"f": paths[3], "t": ["no", "text"]},
    ]
    path = put(ws, "list/a.jsonl", lines(rows))
    result = ws.encode("--root", ws.src, "--path-column", "f", "--caption-column", "t", src=[path])
    equal(texts(ws), {paths[0]: ("one", {"caption": "kept"}), paths[1]: (None, {})}, "samples")
    said = result.err
    for line, why in {
        3: "leads out of the root",
        4: "is not below the root",
        5: "no URL of http, https or s3",
        6: "has no path",
        7: "its caption is no text",
    }.items():
        assert f'line {line}: ' in said and why in said, (line, said)
    one = ws.latentctl("encode", put(ws, "b.csv", "a,b\n1,2\n"), "--out", ws.path("none"), "--vae", "fake", code=None)
    assert one.code not in (OK, QUARANTINED) and "no column path" in one.err and "a, b" in one.err, one


@test
def latents_are_compared_with_the_images_that_a_manifest_named(ws):
    paths = ws.small_pictures(3)
    for name, options in (("pictures/a.jsonl", []), ("elsewhere/b.jsonl", ["--root", ws.src])):
        path = put(ws, ws.path(name), lines({"path": p} for p in paths))
        ws.name = os.path.basename(path)[0]
        ws.encode(*options, src=[path], vae=demo_model())
    result = ws.latentctl("verify", "--out", ws.out, "--decode", "6", "--vae", demo_model())
    assert "not compared" not in result.out, result
    ws.latentctl("preview", ws.dataset, "-o", ws.path("sheet.png"), "--vae", demo_model())


@test
def kohyas_keys_without_an_ending_are_their_files_and_tags_follow_the_caption(ws):
    paths = ws.small_pictures(3)
    stems = [os.path.splitext(p)[0] for p in paths]
    data = {
        stems[0]: {"caption": "one", "tags": "a, b", "train_resolution": [128, 128]},
        stems[1]: {"tags": "c"},
        os.path.join(ws.src, paths[2]): {"caption": "three"},
    }
    ws.encode(src=[put(ws, "meta_lat.json", json.dumps(data))])
    equal(
        texts(ws),
        {
            paths[0]: ("one, a, b", {"tags": "a, b", "train_resolution": [128, 128]}),
            paths[1]: ("c", {"tags": "c"}),
            paths[2]: ("three", {}),
        },
        "samples",
    )


@test
def a_changed_line_changes_its_record_and_encodes_nothing(ws):
    paths = ws.small_pictures(5)
    rows = rows_for(paths)
    path = put(ws, "a.jsonl", lines(rows))
    ws.encode(src=[path])
    before = latents(ws)
    rows[0]["caption"] = "another"
    rows[1]["score"] = "another"
    del rows[2]["score"]
    put(ws, "a.jsonl", lines(rows[:4]) + lines([rows[0], rows[4]]))
    result = ws.encode(src=[path])
    equal(
        texts(ws),
        {r["path"]: (r["caption"], {"score": r["score"]} if "score" in r else {}) for r in rows},
        "captions and metadata",
    )
    equal(latents(ws), before, "latents")
    assert "3 captions changed" in result.out + result.err, result


@test
def lines_that_are_gone_are_files_that_are_gone(ws):
    paths = ws.small_pictures(6)
    rows = rows_for(paths)
    path = put(ws, "a.jsonl", lines(rows))
    ws.encode(src=[path])
    put(ws, "a.jsonl", lines(rows[:5]))
    ws.encode(src=[path])
    same_members(records(ws), paths, "kept")
    ws.encode("--on-delete", "remove", src=[path])
    same_members(records(ws), paths[:5], "removed")


@test
def nothing_is_deleted_by_a_manifest_that_is_damaged(ws):
    paths = ws.small_pictures(6)
    rows = rows_for(paths)
    kohya = {r["path"]: {"caption": r["caption"]} for r in rows}
    damaged = {
        "a.jsonl": (lines(rows), lines(rows)[:-20]),
        "b.csv": (table(rows), table(rows)[:-12]),
        "c.json": (json.dumps(kohya), json.dumps(kohya)[:-30]),
        "d.tsv": (table(rows, delimiter="\t"), table(rows, delimiter="\t")[:-12]),
    }
    for name, (whole, cut) in damaged.items():
        ws.name = name.replace(".", "-")
        path = put(ws, name, whole)
        ws.encode(src=[path])
        put(ws, name, cut)
        result = ws.encode("--on-delete", "remove", src=[path])
        assert "line " in result.err, result
        same_members(records(ws), paths, f"samples of {name}")
        put(ws, name, b"")
        ws.encode("--on-delete", "remove", src=[path], code=None)
        same_members(records(ws), paths, f"samples of {name}, empty")
        os.remove(path)
        assert ws.encode("--on-delete", "remove", src=[path], code=None).code != OK
        same_members(records(ws), paths, f"samples of {name}, absent")


@test
def a_file_that_is_not_there_is_told_and_comes_when_it_is(ws):
    paths = ws.small_pictures(3)
    path = put(ws, "a.csv", "file_name\n" + "".join(p + "\n" for p in paths))
    os.rename(os.path.join(ws.src, paths[1]), ws.path("elsewhere"))
    result = ws.encode(src=[path])
    assert "line 3: its file is not there" in result.err, result
    same_members(records(ws), [paths[0], paths[2]], "samples before")
    os.rename(ws.path("elsewhere"), os.path.join(ws.src, paths[1]))
    ws.encode(src=[path])
    same_members(records(ws), paths, "samples")


@test
def files_below_a_root_that_is_not_mounted_have_not_vanished(ws):
    paths = ws.small_pictures(3)
    path = put(ws, ws.path("lists/a.csv"), "file_name\n" + "".join(p + "\n" for p in paths))
    options = ("--root", ws.src, "--on-delete", "remove")
    ws.encode(*options, src=[path])
    os.rename(ws.src, ws.path("elsewhere"))
    os.mkdir(ws.src)
    result = ws.encode(*options, src=[path], code=None)
    assert "as if it were not mounted" in result.err, result
    same_members(records(ws), paths, "samples")


@test
def what_lies_beside_an_image_is_its_caption_and_metadata(ws):
    paths = ws.small_pictures(5)
    stems = [os.path.splitext(p)[0] for p in paths]
    full = json.dumps({"caption": "from json", "score": 1.5, "tags": ["a"]}).encode()
    for at, endings in enumerate((".json .caption .txt", ".json .caption", ".json", "", ".json")):
        for ending in endings.split():
            ws.write(stems[at] + ending, full if ending == ".json" else f"from {ending}".encode())
    ws.write(stems[4] + ".json", b"{cut")
    ws.encode()
    meta = json.loads(full)
    wanted = [("from .txt", meta), ("from .caption", meta), ("from json", meta), (None, {}), (None, {})]
    equal(texts(ws), dict(zip(paths, wanted)), "captions and metadata")
    before = latents(ws)
    ws.write(stems[0] + ".json", b'{"score": 2}')
    os.remove(os.path.join(ws.src, stems[1] + ".caption"))
    os.remove(os.path.join(ws.src, stems[2] + ".json"))
    ws.write(stems[3] + ".caption", b"new")
    ws.write(stems[4] + ".json", b'{"caption": "c", "n": 17000000000000000000}')
    ws.encode()
    wanted = [("from .txt", {"score": 2}), ("from json", meta), (None, {}), ("new", {}), ("c", {"caption": "c", "n": 1.7e19})]
    equal(texts(ws), dict(zip(paths, wanted)), "after changes")
    equal(latents(ws), before, "latents")


@test
def metadata_that_change_in_an_archive_come_into_the_record(ws):
    def archive(score):
        ws.write("0/0000.json", json.dumps({"score": score}).encode())
        subprocess.run([os.path.join(BUILD_DIR, "tests", "make_archive"), ws.path("a.tar"), ws.src], check=True)

    ws.small_pictures(2)
    archive(1)
    ws.encode(src=[ws.path("a.tar")])
    before = latents(ws)
    os.remove(ws.path("a.tar"))
    archive(2)
    ws.encode(src=[ws.path("a.tar")])
    equal(texts(ws)["0/0000.jpg"], (None, {"score": 2}), "metadata")
    equal(latents(ws), before, "latents")


@test
def an_archive_on_standard_input_is_a_source_once(ws):
    paths = ws.small_pictures(6)
    for path in paths:
        ws.write(os.path.splitext(path)[0] + ".json", b'{"caption": "from the stream"}')
    for name in ("a.tar", "a.tar.zst"):
        subprocess.run([os.path.join(BUILD_DIR, "tests", "make_archive"), ws.path(name), ws.src], check=True)
    words = ws.encode_words(src=["-"])
    state = ["--state", ws.path("state")]
    for name in ("a.tar", "a.tar.zst"):
        with open(ws.path(name), "rb") as archive:
            ws.latentctl(*words, *state, stdin=archive)
        same_members(records(ws), paths, name)
        equal({r["caption"] for r in records(ws).values()}, {"from the stream"}, "captions")
        assert "stdin.tar" not in os.listdir(ws.path("state")), os.listdir(ws.path("state"))
    equal(sum(s["samples"] for s in [ws.status()]), 6, "samples after the same again")
    with open(os.devnull, "rb") as nothing:
        result = ws.latentctl(*words, *state, stdin=nothing, code=None)
    assert result.code not in (OK, QUARANTINED) and "standard input is empty" in result.err, result
    with open(ws.path("a.tar"), "rb") as archive:
        cut = archive.read()[:20000]
    with open(ws.path("cut"), "wb") as file:
        file.write(cut)
    with open(ws.path("cut"), "rb") as archive:
        result = ws.latentctl(*words, *state, stdin=archive, code=QUARANTINED)
    same_members(records(ws), paths, "after a stream that ended early")


@test
def a_required_caption_may_stand_in_a_json_file(ws):
    paths = ws.small_pictures(2)
    for path, text in zip(paths, (b'{"caption": "here"}', b'{"score": 1}')):
        name = ws.write(os.path.splitext(path)[0] + ".json", text)
        os.utime(name, (time.time() - 60,) * 2)
    daemon = Daemon(ws)
    daemon.dataset("photos", src=ws.src, require_caption=True)
    daemon.start()
    daemon.wait_for("photos", finished=1)
    ws.write(os.path.splitext(paths[1])[0] + ".json", b'{"score": 1, "caption": "came"}')
    daemon.wait_for("photos", finished=2)
    daemon.drain("photos")
    daemon.stop()
    found = texts(ws, os.path.join(ws.out, "photos"))
    equal([found[p][0] for p in paths], ["here", "came"], "captions")


@test
def a_daemon_follows_a_manifest(ws):
    paths = ws.small_pictures(8)
    rows = rows_for(paths)
    path = put(ws, "a.jsonl", lines(rows[:4]))
    daemon = Daemon(ws)
    daemon.dataset("photos", src=ws.src)["source"] = {"path": path, "root": ws.src}
    dataset = os.path.join(ws.out, "photos")
    daemon.start()
    daemon.wait_for("photos", finished=4)
    put(ws, "a.jsonl", lines(rows))
    daemon.wait_for("photos", finished=8)
    rows[0]["caption"] = "another"
    put(ws, "a.jsonl", lines(rows))
    overlay = os.path.join(dataset, ".latentd", "captions.jsonl")
    daemon.drain("photos")
    daemon.wait(lambda: os.path.exists(overlay) or texts(ws, dataset)[paths[0]][0] == "another", "the new caption")
    daemon.stop()
    same_members(records(ws, dataset), paths, "samples")


run_tests()
