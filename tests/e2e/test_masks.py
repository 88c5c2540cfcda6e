#!/usr/bin/env python3
"""encode --masks: the mask of an image, a file or its own alpha, goes through the same geometry, is stored beside the latent
and follows its file."""

import hashlib
import io
import json
import os
import shutil
import tarfile

from bitmaps import bmp, rows_of
from daemon_rig import Daemon
from harness import DAMAGED, FAILED, QUARANTINED, SOURCE_DIR, equal, one_line, run_tests, same_members, test
from latent_files import forge, forged, load_npz, npy
from reference import read_dataset, read_npy, read_shard, shard_files, unzstd, xxh3_128
from url_server import Server, nobody

GOLDEN = os.path.join(SOURCE_DIR, "tests", "golden", "masks")


def golden(name):
    with open(os.path.join(GOLDEN, name), "rb") as file:
        return file.read()


def image(seed=0, size=(230, 150)):
    rows = rows_of(*size)
    rows[0][0] = (seed, seed, seed)
    return bmp(*size, rows)


def mask_of(sample):
    """(bytes, given), checked against what the record says of it."""
    record = sample.record["mask"]
    data = sample.members.get("mask.npy") or unzstd(sample.members["mask.npy.zst"])
    dtype, shape, values = read_npy(data)
    width, height = sample.record["target_size"]
    equal((dtype, tuple(shape)), ("|u1", (height, width)), f"the mask of {sample.key}")
    equal((record["shape"], record["dtype"], record["xxh3_128"]), ([height, width], "uint8", xxh3_128(values)), "record")
    return bytes(values), record["given"]


def masks(ws, dataset=None):
    return {s.key: mask_of(s) for s in read_dataset(dataset or ws.dataset)}


def latents(ws):
    return {s.key: s.npy for s in read_dataset(ws.dataset)}


@test
def every_variant_has_what_pillow_makes_of_the_mask(ws):
    rows = json.loads(golden("masks.json"))
    for name in ("grey.png", "bits.png"):
        ws.write(name[:4] + ".bmp", image(len(name)))
        ws.write(name[:4] + "-mask.png", golden(name))
    target = ("--vae", "fake", "--out", ws.out, "--name", ws.name)
    ws.latentctl("encode", ws.src, *target, "--resolutions", "128,192", "--flip", "--masks", "beside")
    samples, found = read_dataset(ws.dataset), 0
    equal(len(samples), 8, "samples: a mask is no image of its own")
    for sample in samples:
        record = sample.record
        (top, left), (width, height) = record["crop_top_left"], record["target_size"]
        if record["flip"]:
            left = record["resized_size"][0] - left - width
        for row in rows:
            where = (row["file"][:4] + ".bmp", row["resized"], row["crop"], row["flip"])
            if where == (sample.path, record["resized_size"], [left, top, width, height], record["flip"]):
                values, given = mask_of(sample)
                equal((hashlib.sha256(values).hexdigest(), given), (row["sha256"], True), sample.key)
                found += 1
    equal(found, len(rows), "goldens that were met")
    ws.verify()


@test
def an_image_without_a_mask_counts_as_a_whole(ws):
    ws.write("a.bmp", image())
    ws.encode("--masks", "beside")
    equal(masks(ws), {"a": (b"\xff" * (128 * 128), False)}, "mask")
    ws.encode("--name", "without")
    assert "mask" not in read_dataset(ws.path("out", "without"))[0].record


@test
def a_mask_that_is_none_fails_its_image_by_a_reason(ws):
    ws.write("good.bmp", image())
    for name, data in (("size", golden("grey.png")), ("broken", b"no picture"), ("cut", golden("grey.png")[:300]), ("empty", b"")):
        ws.write(f"{name}.bmp", image(ord(name[0]), (230, 151 if name == "size" else 150)))
        ws.write(f"{name}-mask.png", data)
    ws.encode("--masks", "beside", code=QUARANTINED)
    equal(ws.failed(), {b"size.bmp": "mask_size", b"broken.bmp": "mask", b"cut.bmp": "mask", b"empty.bmp": "mask"}, "failed")
    rows = ws.latentctl("failed", "--out", ws.out, "--name", ws.name, "--json").json
    assert any("230x150 pixels, where the image has 230x151" in row["message"] for row in rows), rows
    same_members(masks(ws), ["good"], "samples")
    ws.write("broken-mask.png", golden("bits.png"))
    ws.encode("--masks", "beside", code=QUARANTINED)
    equal(masks(ws)["broken"][1], True, "the mended mask")
    same_members(ws.failed(), [b"size.bmp", b"cut.bmp", b"empty.bmp"], "failed still")


@test
def a_mask_that_changes_or_goes_is_brought_in_without_encoding(ws):
    for i, name in enumerate("abc"):
        ws.write(f"{name}.bmp", image(i))
        ws.write(f"{name}-mask.png", golden("grey.png"))
    ws.encode("--masks", "beside", "--flip")
    before, was = latents(ws), masks(ws)
    ws.write("a-mask.png", golden("bits.png"))
    os.unlink(os.path.join(ws.src, "b-mask.png"))
    result = ws.encode("--masks", "beside", "--flip")
    assert "encoded again" not in result.out and "4 captions or masks changed" in result.err, result
    now = masks(ws)
    equal(latents(ws), before, "latents")
    equal(sorted(k for k in now if now[k] != was[k]), ["a", "a-f", "b", "b-f"], "changed")
    equal((now["b"], now["b-f"][1]), ((b"\xff" * (128 * 128), False), False), "without a file")
    ws.write("c-mask.png", b"no picture")
    result = ws.encode("--masks", "beside", "--flip")
    assert '"c.bmp": its mask changed, and cannot be used' in result.err, result
    equal(masks(ws), now, "masks")
    assert "cannot be used" in ws.encode("--masks", "beside", "--flip").err, "it stays on the list"
    ws.verify()


@test
def a_mask_that_changed_before_a_kill_is_not_forgotten_for_a_caption(ws):
    ws.write("a.bmp", image())
    ws.write("a-mask.png", golden("grey.png"))
    ws.encode("--masks", "beside")
    was, told = masks(ws), os.path.join(ws.dataset, ".latentd", "captions.jsonl")
    ws.write("a-mask.png", golden("bits.png"))
    # A shard is opened when the run begins, and then to be compared.
    process = ws.start_and_stop("open:2", *shard_files(ws.dataset), *ws.encode_words("--masks", "beside"))
    assert os.path.exists(told), "it stands still before it knows of the mask"
    process.kill()
    process.wait()
    ws.write("given.jsonl", b'{"key": "a", "caption": "given"}\n', ws.root)
    ws.latentctl("captions", "set", ws.path("given.jsonl"), "--out", ws.out)
    assert "1 caption brought" in ws.latentctl("compact", "--out", ws.out).out
    assert not os.path.exists(told), "readers are told of what is stored"
    equal((masks(ws), read_dataset(ws.dataset)[0].members["txt"]), (was, b"given"), "mask and caption before its source is seen")
    ws.encode("--masks", "beside")
    assert masks(ws) != was, "the mask is forgotten"
    equal(read_dataset(ws.dataset)[0].members["txt"], b"given", "caption")
    ws.verify()


@test
def a_folder_of_masks_has_them_by_name(ws):
    folder = ws.path("masks")
    ws.write("sub/a.bmp", image())
    ws.write("sub/a.png", golden("grey.png"), folder)
    ws.write("b-mask.png", golden("bits.png"))  # here an image like others
    ws.encode("--masks", folder)
    equal({key: given for key, (_, given) in masks(ws).items()}, {"sub/a": True, "b-mask": False}, "masks")
    one_line(ws.encode("--masks", ws.path("nowhere"), code=FAILED), "the folder of masks")
    os.mkdir(ws.path("unmounted"))
    one_line(ws.encode("--masks", ws.path("unmounted"), code=FAILED), "is empty, as if its disk were not mounted")
    equal({key: given for key, (_, given) in masks(ws).items()}, {"sub/a": True, "b-mask": False}, "masks")


@test
def a_member_of_an_archive_has_the_mask_beside_it(ws):
    members = [("b-mask.png", golden("bits.png"))]
    members += [("a.bmp", image()), ("a-mask.png", golden("grey.png")), ("b.bmp", image(1)), ("c.bmp", image(2))]
    for file, mode in (("set.tar", "w"), ("packed.tar.gz", "w:gz")):  # masks behind their images, and before
        with tarfile.open(ws.write(file, b""), mode) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    ws.encode("--masks", "beside")
    found = masks(ws)
    for name in ("set", "packed"):
        equal([found[f"{name}/{key}"][1] for key in "abc"], [True, True, False], f"masks of {name}")
        equal([found[f"{name}/{key}"] == found[f"set/{key}"] for key in "abc"], [True] * 3, "equal ones")


@test
def a_manifest_names_the_masks_of_files_and_urls(ws):
    rows = {"a.bmp": "masks/a.png", "b.bmp": None, "c.bmp": "masks/c.png", "d.bmp": "../d.png", "e.bmp": "ftp://b/e.png"}
    for i, name in enumerate([*rows, "web/f.bmp"]):
        ws.write(name, image(i))
    ws.write("masks/a.png", golden("grey.png"))
    ws.write("b-mask.png", golden("bits.png"))
    with Server(ws.path("pictures", "web")) as server:
        rows[server.url + "f.bmp"] = "./masks//a.png"
        lines = "".join(json.dumps({"path": path, "mask": mask}) + "\n" for path, mask in rows.items())
        words = ("--masks", "beside", "--private-hosts")
        list_ = ws.write("list.jsonl", lines.encode())
        ws.encode(*words, src=[list_], code=QUARANTINED)
        equal(ws.failed(), {name.encode(): "mask" for name in ("c.bmp", "d.bmp", "e.bmp")}, "failed")
        found = {s.path: mask_of(s) for s in read_dataset(ws.dataset)}
        equal([found[path][1] for path in ("a.bmp", "b.bmp", server.url + "f.bmp")], [True] * 3, "masks")
        equal(found["a.bmp"], found[server.url + "f.bmp"], "equal masks")
        ws.write("masks/c.png", golden("bits.png"))
        ws.write("masks/a.png", golden("bits.png"))
        result = ws.encode(*words, src=[list_], code=QUARANTINED)
        assert "2 captions or masks changed" in result.err, result
        found = {s.path: mask_of(s) for s in read_dataset(ws.dataset)}
        equal(len(set(found.values())), 1, "different masks")
        equal(len(found), 4, "samples")
        same_members(ws.failed(), [b"d.bmp", b"e.bmp"], "failed still")
    ws.verify()


@test
def a_mask_that_is_a_url_is_fetched_with_its_image(ws):
    for i, name in enumerate("abc"):
        ws.write(f"{name}.bmp", image(i))
    ws.write("web/d.bmp", image(3))
    for name in ("grey.png", "bits.png"):
        ws.write(f"web/{name}", golden(name))
    ws.write("web/empty.png", b"")
    answers = iter([503, 200])
    with Server(ws.path("pictures", "web")) as server:
        server.ways["late.png"] = lambda h: h.say(next(answers, 200), golden("grey.png"))
        masks_of = {"a.bmp": "grey.png", "b.bmp": "none.png", "c.bmp": "empty.png", server.url + "d.bmp": "late.png"}
        lines = "".join(json.dumps({"path": path, "mask": server.url + mask}) + "\n" for path, mask in masks_of.items())
        words = ("--masks", "beside", "--private-hosts")
        server.ways["none.png"] = lambda h: h.say(404)
        ws.encode(*words, src=[ws.write("list.jsonl", lines.encode())], code=QUARANTINED)
        equal(ws.failed(), {b"b.bmp": "not_found", b"c.bmp": "mask"}, "failed")
        found = {s.path: mask_of(s) for s in read_dataset(ws.dataset)}
        same_members(found, ["a.bmp", server.url + "d.bmp"], "samples")
        equal(len(set(found.values())), 1, "different masks")
        assert found["a.bmp"][1], "given"
        asked = len(server.asked)
        ws.encode(*words, src=[ws.path("pictures", "list.jsonl")], code=QUARANTINED)
        equal(server.asked[asked:], [], "requests of a second run")
        ws.write("list.jsonl", lines.replace("grey.png", "bits.png").encode())
        result = ws.encode(*words, src=[ws.path("pictures", "list.jsonl")], code=QUARANTINED)
        assert "1 caption or mask changed" in result.err or "1 captions or masks changed" in result.err, result
        assert mask_of(next(s for s in read_dataset(ws.dataset) if s.path == "a.bmp")) != found["a.bmp"], "the mask of another URL"
    ws.verify()


@test
def images_wait_for_a_server_of_masks_that_is_down(ws):
    ws.write("a.bmp", image())
    line = json.dumps({"path": "a.bmp", "mask": nobody() + "a.png"})
    result = ws.encode("--masks", "beside", "--private-hosts", "--host-patience", "1s", src=[ws.write("list.jsonl", line.encode())], code=None)
    assert result.code == FAILED and not ws.failed(), result


@test
def a_mask_in_capitals_or_of_webdataset_is_a_mask(ws):
    members = []
    for i, ending in enumerate(("-mask.png", "-mask.PNG", "-MASK.PNG", "-Mask.png", ".mask.png")):
        members += [(f"{i}.bmp", image(i)), (f"{i}{ending}", golden("grey.png")), (f"{i}.txt", b"caption")]
    with tarfile.open(ws.path("set.tar"), "w") as tar:
        for name, data in members:
            ws.write(name, data)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    os.rename(ws.path("set.tar"), os.path.join(ws.src, "set.tar"))
    ws.encode("--masks", "beside")
    found = masks(ws)
    same_members(found, [f"{folder}{i}" for folder in ("", "set/") for i in range(5)], "samples")
    assert all(given for _, given in found.values()), [key for key, (_, given) in found.items() if not given]


@test
def equal_images_have_each_their_own(ws):
    for name, mask in (("a", "grey.png"), ("b", "bits.png"), ("c", None)):
        ws.write(f"{name}.bmp", image())
        if mask:
            ws.write(f"{name}-mask.png", golden(mask))
    assert "2 images copied" in ws.encode("--masks", "beside").out
    equal(len(set(masks(ws).values())), 3, "number of masks")
    equal(len(set(latents(ws).values())), 1, "number of latents")
    assert "3 images copied" in ws.encode("--name", "without").out
    assert not any("mask" in s.record or "mask.npy.zst" in s.members for s in read_dataset(ws.path("out", "without")))
    ws.verify()


@test
def they_come_along_wherever_their_sample_goes(ws):
    for i in range(6):
        ws.write(f"p{i}.bmp", image(i))
        ws.write(f"p{i}-mask.png", golden(("grey.png", "bits.png")[i % 2]))
    ws.encode("--masks", "beside")
    before = masks(ws)
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out, ws.src)
    ws.encode("--masks", "beside")
    ws.latentctl("repack", "--shard-samples", "4", "--order", "shuffled", "--codec", "none", "--out", ws.out)
    equal(masks(ws), before, "masks")
    ws.latentctl("repack", "--codec", "planes", "--out", ws.out)
    equal(masks(ws), before, "masks")
    ws.latentctl("merge", ws.path("merged"), ws.out)
    equal(masks(ws, ws.path("merged", ws.name)), before, "masks")
    ws.latentctl("repack", "--format", "mds", "--out", ws.out)
    ws.verify()
    ws.latentctl("repack", "--format", "wds", "--codec", "zstd", "--out", ws.out)
    equal(masks(ws), before, "masks")


@test
def a_mask_that_is_another_than_the_record_says_is_damage(ws):
    ws.write("a.bmp", image())
    ws.encode("--masks", "beside", "--codec", "none")
    (file,) = shard_files(ws.dataset)
    with open(file, "r+b") as shard:
        at = shard.read().index(b"a.mask.npy") + 512 + 1000
        shard.seek(at)
        shard.write(b"\x00")
    shutil.rmtree(ws.path("state"))
    result = ws.latentctl("rebuild", ws.out, ws.src, code=DAMAGED)
    assert "the mask is not the one that its .json says" in result.out + result.err, result


@test
def a_daemon_follows_a_mask(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(masks="beside")["source"]["path"]
    ws.write("a.bmp", image(), src)
    ws.write("a-mask.png", golden("grey.png"), src)
    daemon.run("--once")
    before = masks(ws, ws.path("out", "set"))
    equal([given for _, given in before.values()], [True], "masks")
    ws.write("a-mask.png", golden("bits.png"), src)
    daemon.run("--once")
    now = masks(ws, ws.path("out", "set"))
    assert now.keys() == before.keys() and now != before, now.keys()
    ws.verify()


@test
def a_daemon_follows_a_mask_on_a_server_of_its_own_network(ws):
    ws.write("a.bmp", image())
    for name in ("grey.png", "bits.png"):
        ws.write(f"web/{name}", golden(name))
    with Server(ws.path("pictures", "web")) as server:

        def masked_by(name):
            ws.write("list.jsonl", json.dumps({"path": "a.bmp", "mask": server.url + name}).encode())
            daemon.run("--once")
            return masks(ws, ws.path("out", "set"))["a"]

        daemon = Daemon(ws)
        daemon.dataset(masks="beside")["source"] = {"path": ws.path("pictures", "list.jsonl"), "private_hosts": True}
        before = masked_by("grey.png")
        assert before[1] and masked_by("bits.png") != before, before


@test
def a_daemon_that_runs_hears_of_a_mask(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(masks="beside")["source"]["path"]
    ws.write("a.bmp", image(), src)
    daemon.start()
    daemon.wait_for(finished=1)
    daemon.post("/datasets/set/seal")
    daemon.wait_for(completed=1)
    equal(masks(ws, ws.path("out", "set"))["a"][1], False, "given")
    ws.write("a-mask.png", golden("grey.png"), src)
    daemon.drain()
    found = masks(ws, ws.path("out", "set"))
    equal({key: given for key, (_, given) in found.items()}, {"a": True}, "given")
    daemon.stop()


@test
def a_daemon_waits_for_a_folder_of_masks_as_for_a_source(ws):
    folder = ws.path("masks")
    daemon = Daemon(ws)
    src = daemon.dataset(masks=folder)["source"]["path"]
    ws.write("a.bmp", image(), src)
    daemon.run("--once", code=FAILED)
    assert "the folder of masks" in daemon.said() and "set: given up" in daemon.said(), daemon.said()
    daemon.start()
    daemon.wait_for_state("blocked")
    os.mkdir(folder)
    daemon.wait(lambda: "is empty, as if its disk were not" in (daemon.about()["why"] or ""), "the empty folder to be told")
    ws.write("a.png", golden("grey.png"), ws.path("disk"))
    os.rename(ws.path("disk"), folder)
    daemon.wait_for(finished=1)
    daemon.drain()
    equal({key: given for key, (_, given) in masks(ws, ws.path("out", "set")).items()}, {"a": True}, "given")
    daemon.stop()


@test
def alpha_of_any_kind_is_what_pillow_makes_of_it(ws):
    rows = {row["file"]: row for row in json.loads(golden("alpha.json"))}
    for name in rows:
        ws.golden(name, name)
    ws.encode("--resolution", "64", "--masks", "alpha", code=None)
    not_built = set(ws.failed())
    assert all(name.endswith((b".avif", b".jxl")) for name in not_built), not_built
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], [name for name in rows if name.encode() not in not_built], "images")
    for sample in samples:
        row, (top, left), (width, height) = rows[sample.path], sample.record["crop_top_left"], sample.record["target_size"]
        equal((sample.record["resized_size"], [left, top, width, height]), (row["resized"], row["crop"]), sample.path)
        values, given = mask_of(sample)
        equal((hashlib.sha256(values).hexdigest(), given), (row["sha256"], row["given"]), sample.path)
    ws.verify()


@test
def alpha_goes_through_the_geometry_of_each_variant(ws):
    """As the same picture does as a file, which is held against Pillow above; the picture is drawn as without."""
    ws.write("a.png", golden("alpha.png"))
    ws.write("a-mask.png", golden("grey.png"))
    options = ("--resolutions", "128,192", "--flip", "--crops", "2", "--max-upscale", "0", "--vae", "fake", "--out", ws.out)
    found = {}
    for where in ("beside", "none", "alpha"):
        name = f"with-{where}"
        words = ("--alpha", "#0ac83c", "--masks", where, "--exclude", "*-mask.png" if where != "beside" else "nothing")
        ws.latentctl("encode", ws.src, *options, "--name", name, *words)
        found[where] = read_dataset(ws.path("out", name))
    equal(len(found["alpha"]), 12, "samples")
    equal(*({s.key: mask_of(s) for s in found[where]} for where in ("alpha", "beside")), "masks")
    equal(*({s.key: s.npy for s in found[where]} for where in ("alpha", "none")), "latents")
    assert len({values for values, given in map(mask_of, found["alpha"]) if given}) > 8


@test
def equal_images_have_equal_alpha_whatever_is_copied(ws):
    for name in "abc":
        ws.write(f"{name}.png", golden("alpha.png"))
    ws.encode("--name", "without")
    told = ws.encode("--masks", "alpha")  # of the other dataset's records, which have none
    assert "3 images copied" in told.out, told.out
    own = ws.encode("--masks", "alpha", "--flip", "--name", "own")
    assert "2 images copied" in own.out, own.out
    for dataset, each in ((ws.dataset, 1), (ws.path("out", "own"), 2)):
        found = masks(ws, dataset)
        equal((len(found), len(set(found.values()))), (3 * each, each), "masks")
        assert all(given for _, given in found.values())
    ws.verify()


@test
def changed_alpha_is_a_changed_image_and_a_changed_caption_leaves_it(ws):
    ws.write("a.png", golden("alpha.png"))
    ws.encode("--masks", "alpha")
    before = masks(ws)
    ws.write("a.txt", b"a caption")
    ws.encode("--masks", "alpha")
    equal([s.record["caption"] for s in read_dataset(ws.dataset)], ["a caption"], "caption")
    equal(masks(ws), before, "mask")
    ws.golden("grey_alpha.png", "a.png")
    assert "encoded again" in ws.encode("--masks", "alpha").out
    ((key, (values, given)),) = masks(ws).items()
    assert key == "a" and given and values != before["a"][0]
    ws.verify()


@test
def alpha_of_members_and_of_many_files_is_read_of_what_is_open(ws):
    """More than are kept open at once."""
    with tarfile.open(ws.write("set.tar.gz", b""), "w:gz") as tar:
        for i in range(300):
            info, data = tarfile.TarInfo(f"{i}.png"), golden("alpha.png") + b"%d" % i
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    for i in range(300):
        ws.write(f"same/{i}.png", golden("alpha.png"))
    ws.encode("--masks", "alpha", "--resolution", "64")
    found = masks(ws)
    equal((len(found), len(set(found.values()))), (600, 1), "masks")


@test
def where_alpha_is_the_mask_no_file_is_one(ws):
    ws.write("a.png", golden("alpha.png"))
    ws.write("a-mask.png", golden("grey.png"))
    for where, images in (("alpha", 2), ("beside", 1)):
        (plan,) = ws.latentctl("plan", ws.src, "--masks", where, "--max-upscale", "0", "--json").json
        equal(plan["images"], images, f"images of a plan, {where}")
    ws.encode("--masks", "alpha")
    equal({key: given for key, (_, given) in masks(ws).items()}, {"a": True, "a-mask": False}, "given")


@test
def a_daemon_takes_alpha(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(masks="alpha")["source"]["path"]
    ws.write("a.png", golden("alpha.png"), src)
    ws.write("b.bmp", image(), src)
    daemon.run("--once")
    equal({key: given for key, (_, given) in masks(ws, ws.path("out", "set")).items()}, {"a": True, "b": False}, "given")
    ws.verify()


@test
def sd_scripts_gets_it_as_its_alpha_mask(ws):
    record, values = forged("a.jpg")
    mask = bytes(i % 256 for i in range(128 * 64))
    record["mask"] = {"shape": [64, 128], "dtype": "uint8", "given": True, "xxh3_128": xxh3_128(mask)}
    forge(ws, [(record, values)])
    (file,) = shard_files(ws.dataset)
    with tarfile.open(file) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]
    members.append((record["key"] + ".mask.npy", npy(mask, (64, 128), "B").replace(b"'<B1'", b"'|u1'")))
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    with open(file, "rb") as shard:
        data = shard.read().rstrip(b"\0")
    with open(file, "wb") as shard:
        shard.write(data + bytes(-len(data) % 512 + 1024))
    told = ws.latentctl("export", ws.out, "--to", "kohya", "--into", ws.path("kohya"))
    assert "not carried: masks" not in told.out, told.out
    dtype, shape, got = load_npz(ws.path("kohya", "a_0100x0060_sd.npz"))["alpha_mask"]
    equal((dtype, tuple(shape)), ("<f4", (64, 128)), "alpha_mask")
    assert max(abs(a - b / 255) for a, b in zip(got, mask)) < 1e-7
    told = ws.latentctl("export", ws.out, "--to", "npz", "--into", ws.path("npz"))
    assert "not carried: masks of 1 of them" in told.out, told.out


run_tests()
