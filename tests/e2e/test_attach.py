#!/usr/bin/env python3
"""latentctl attach: arrays by key join the samples of a dataset."""

import json
import os
import struct
import tarfile

from daemon_rig import Daemon
from harness import DAMAGED, FAILED, OK, QUARANTINED, USAGE, equal, one_line, run_tests, same_members, test, wait_until
from latent_files import npy
from reference import read_dataset, read_npy, shard_files, unzstd


def encoded(ws, n=6, *options):
    """Keys of small pictures that are encoded."""
    ws.small_pictures(n)
    ws.encode("--shard-samples", "3", *options)
    return sorted(sample.key for sample in read_dataset(ws.dataset))


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    return path


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def attach(ws, name, source, *options, code=OK):
    return ws.latentctl("attach", name, source, "--out", ws.out, *options, code=code)


def attached(ws, name):
    """{key: (dtype, shape, bytes)} of the samples that have it."""
    found = {}
    for sample in read_dataset(ws.dataset):
        for suffix, data in sample.members.items():
            if suffix.split(".")[0] == name:
                found[sample.key] = read_npy(unzstd(data) if suffix.endswith(".zst") else data)
    return found


def latents(ws):
    return {s.key: s.members["latent.npy.zst"] for s in read_dataset(ws.dataset)}


@test
def tensors_of_a_file_join_their_samples_and_latents_stay_byte_for_byte(ws):
    keys = encoded(ws)
    before = latents(ws)
    tensors = {key: ("F32", [2, 2], floats(i, -i, 0.5, 1e30)) for i, key in enumerate(keys)}
    tensors[keys[1]] = ("F16", [3], struct.pack("<3e", 0.25, -65504, 6e-8))
    tensors[keys[2]] = ("BF16", [1], floats(1.5)[2:])
    source = write_safetensors(ws.path("te.safetensors"), tensors)
    shards = len(shard_files(ws.dataset))
    assert f"would be attached to 6 samples in {shards} shards" in attach(ws, "clip", source, "--dry-run").out
    equal(attached(ws, "clip"), {}, "after a dry run")
    result = attach(ws, "clip", source)
    assert f"attached to 6 samples in {shards} shards, 0 had it already; 0 samples are not in" in result.out, result.out
    wanted = {key: ("<f4", (2, 2), data) for key, (_, _, data) in tensors.items()}
    wanted[keys[1]] = ("<f2", (3,), tensors[keys[1]][2])
    wanted[keys[2]] = ("<f4", (1,), floats(1.5))
    equal(attached(ws, "clip"), wanted, "arrays")
    equal(latents(ws), before, "latents")
    ws.verify()
    files = shard_files(ws.dataset)
    assert "attached to 0 samples in 0 shards, 6 had it already" in attach(ws, "clip", source).out
    equal(shard_files(ws.dataset), files, "shards that have everything")
    result = ws.latentctl("export", ws.out, "--to", "npz", "--into", ws.path("npz"))
    assert "not carried: arrays attached to 6 samples" in result.out, result.out


@test
def what_is_missing_or_foreign_is_counted_and_what_there_is_is_replaced(ws):
    keys = encoded(ws, 7)
    for i, key in enumerate(keys[:4]):
        ws.write(f"{key}.npy", npy([float(i)], (1,)), ws.path("arrays"))
    ws.write("nobody.npy", npy([0.0], (1,)), ws.path("arrays"))
    os.rename(ws.path("arrays", f"{keys[0]}.npy"), ws.path("elsewhere"))
    os.symlink(ws.path("elsewhere"), ws.path("arrays", f"{keys[0]}.npy"))
    os.symlink(ws.path("arrays"), ws.path("link"))
    result = attach(ws, "t5", ws.path("link"), code=QUARANTINED)
    one_line(result, "1 key", '"nobody"')
    assert "attached to 4 samples" in result.out and "; 3 samples are not in" in result.out, result.out
    same_members(attached(ws, "t5"), keys[:4], "samples that have one")
    os.remove(ws.path("arrays", "nobody.npy"))
    for key in keys[1:3]:
        os.remove(ws.path("arrays", f"{key}.npy"))
    os.remove(ws.path("arrays", f"{keys[0]}.npy"))
    ws.write(f"{keys[0]}.npy", npy([9.0], (1,)), ws.path("arrays"))
    assert "attached to 1 sample in 1 shard, 1 had it already" in attach(ws, "t5", ws.path("arrays"), code=QUARANTINED).out
    found = attached(ws, "t5")
    equal(struct.unpack("<f", found[keys[0]][2]), (9.0,), "the array that is another now")
    same_members(found, keys[:4], "samples that have one")
    ws.encode()
    ws.latentctl("compact", "--out", ws.out)
    equal(attached(ws, "t5"), found, "arrays after a merge of shards")
    ws.verify()


@test
def arrays_outlive_new_captions_and_the_loss_of_the_state(ws):
    keys = encoded(ws, 3, "--codec", "none")
    source = write_safetensors(ws.path("te.safetensors"), {key: ("F32", [1], floats(1)) for key in keys})
    attach(ws, "te", source)
    before = attached(ws, "te")
    same_members(before, keys, "samples that have one")
    ws.write("given.jsonl", json.dumps({"key": keys[0], "caption": "x"}).encode(), ws.root)
    ws.latentctl("captions", "set", ws.path("given.jsonl"), "--out", ws.out)
    ws.latentctl("compact", "--out", ws.out)
    os.rename(ws.path("state"), ws.path("lost"))
    ws.latentctl("rebuild", ws.out, ws.src)
    equal(attached(ws, "te"), before, "arrays")
    equal([s.record["caption"] for s in read_dataset(ws.dataset) if s.key == keys[0]], ["x"], "caption")
    ws.verify()


@test
def a_kill_in_its_middle_costs_nothing(ws):
    keys = encoded(ws, 9)
    source = write_safetensors(ws.path("te.safetensors"), {key: ("F32", [1], floats(1)) for key in keys})
    process = ws.start_and_stop("rename:5", ws.out, "attach", "te", source, "--out", ws.out)
    process.kill()
    ws.finish(process)
    attach(ws, "te", source)
    same_members(attached(ws, "te"), keys, "samples that have one")
    equal(len(read_dataset(ws.dataset)), 9, "samples")
    ws.verify()


@test
def what_cannot_be_attached_is_one_line(ws):
    keys = encoded(ws, 3)
    good = write_safetensors(ws.path("te.safetensors"), {key: ("F32", [1], floats(1)) for key in keys})
    for name in ("latent", "txt", "meta", "Clip", "a.b", "a_name_too_long", ""):
        one_line(attach(ws, name, good, code=FAILED), "no name for arrays")
    one_line(attach(ws, "te", ws.path("none"), code=FAILED), "none")
    os.mkdir(ws.path("empty"))
    one_line(attach(ws, "te", ws.path("empty"), code=FAILED), "KEY.npy")
    integers = write_safetensors(ws.path("i.safetensors"), {keys[0]: ("I64", [1], bytes(8))})
    one_line(attach(ws, "te", integers, code=FAILED), keys[0], "float32")
    with open(ws.path("cut.safetensors"), "wb") as cut, open(good, "rb") as whole:
        cut.write(whole.read()[:-1])
    one_line(attach(ws, "te", ws.path("cut.safetensors"), code=FAILED), "cut.safetensors")
    ws.write(f"{keys[0]}.npy", b"\x93NUMPY nonsense", ws.path("bad"))
    one_line(attach(ws, "te", ws.path("bad"), code=FAILED), f"{keys[0]}.npy", "not a .npy")
    ws.latentctl("attach", "te", "--out", ws.out, code=USAGE)
    equal(attached(ws, "te"), {}, "arrays")


@test
def a_damaged_shard_is_named_and_the_others_get_theirs(ws):
    keys = encoded(ws)
    source = write_safetensors(ws.path("te.safetensors"), {key: ("F32", [1], floats(1)) for key in keys})
    path = shard_files(ws.dataset)[0]
    with tarfile.open(path) as tar:
        latent = next(member for member in tar if ".latent." in member.name)
    with open(path, "r+b") as file:
        file.seek(latent.offset_data + latent.size // 2)
        file.write(b"damaged")
    whole = [s.key for s in read_dataset(ws.dataset) if s.shard != path]
    result = attach(ws, "te", source, code=DAMAGED)
    one_line(result, os.path.relpath(path, ws.dataset))
    same_members(attached(ws, "te"), whole, "samples that have one")


@test
def a_name_that_a_column_has_already_is_no_damage(ws):
    keys = encoded(ws, 4, "--format", "mds", "--columns", "caption=text")
    files = shard_files(ws.dataset)
    path = write_safetensors(ws.path("t.safetensors"), {key: ("F32", [1], floats(1)) for key in keys})
    result = attach(ws, "text", path, code=QUARANTINED)
    for line in result.errors:
        assert "two columns would be called text: not rewritten" in line and ".mds.zstd" in line, line
    assert result.errors and "damaged" not in result.err, result.err
    equal(shard_files(ws.dataset), files, "shards")
    ws.verify()
    # The same where a repack asks for it.
    attach(ws, "prompt", path)
    result = ws.latentctl("repack", "--out", ws.out, "--columns", "caption=prompt", code=QUARANTINED)
    assert "would be called prompt: not rewritten" in result.err and "damaged" not in result.err, result.err
    ws.verify()


@test
def files_of_a_folder_may_have_the_names_of_the_images(ws):
    """Whatever the keys are: these are cleaned, or have a tail because they would end as a variant's."""
    names = ["a b.jpg", "cat-f.jpg", "sub/v1.2.jpg", "plain.jpg", "n\udcff.jpg"]
    for i, name in enumerate(names):
        os.rename(os.path.join(ws.src, *ws.small_pictures(1, first=i)), ws.write(name))
    ws.encode()
    keys = {s.path: s.key for s in read_dataset(ws.dataset)}
    assert keys["cat-f.jpg"] != "cat-f" and keys["a b.jpg"] != "a b", keys
    for i, name in enumerate(names):
        ws.write(name[:-4] + ".npy", npy([float(i)], (1,)), ws.path("te"))
        ws.write(name[:-4] + ".txt", b"text %d" % i, ws.path("texts"))
    ws.write("nobody b.npy", npy([0.0], (1,)), ws.path("te"))
    result = attach(ws, "te", ws.path("te"), code=QUARANTINED)
    one_line(result, "1 key", '"nobody b"')
    found = attached(ws, "te")
    same_members(found, keys.values(), "samples that have one")
    ws.latentctl("captions", "set", ws.path("texts"), "--out", ws.out)
    ws.latentctl("compact", "--out", ws.out)
    for sample in read_dataset(ws.dataset):
        i = names.index(os.fsdecode(sample.path))
        equal(found[sample.key][2], floats(i), f"array of {names[i]}")
        equal(sample.record["caption"], f"text {i}", f"caption of {names[i]}")


# -- while a daemon runs


def given(ws):
    path = os.path.join(ws.dataset, ".latentd", "given-arrays.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


@test
def a_daemon_takes_arrays_while_it_runs_and_has_them_after_a_restart(ws):
    daemon = Daemon(ws)
    daemon.dataset("set", src=ws.src, output={"shard_samples": 3})
    ws.small_pictures(6)
    daemon.start()
    daemon.wait_for("set", completed=6)
    # Shards are not rewritten again soon after the first indexes.
    wait_until(lambda: os.path.exists(os.path.join(ws.dataset, ".latentd", "wids.json")), "indexes")
    before = latents(ws)
    keys = sorted(before)
    tensors = {key: ("F32", [1], floats(i)) for i, key in enumerate(keys)}
    write_safetensors(ws.path("te.safetensors"), tensors)
    assert "te of 6 images would be attached" in attach(ws, "te", "te.safetensors", "--dry-run").out
    equal(given(ws), None, "what is kept after a dry run")
    assert "te of 6 images is attached when" in attach(ws, "te", "te.safetensors").out
    ws.write("nobody.npy", npy([0.0], (1,)), ws.path("other"))
    ws.write(f"{keys[0]}.npy", npy([7.0], (1,)), ws.path("other"))
    one_line(attach(ws, "other", "other", code=QUARANTINED), "1 key that set does not have", '"nobody"')
    attach(ws, "gone", "other", code=QUARANTINED)
    one_line(attach(ws, "latent", "other", code=FAILED), "no name for arrays")
    one_line(attach(ws, "te", "nowhere", code=FAILED), "nowhere")
    one_line(attach(ws, "te", ws.src, code=FAILED), "KEY.npy")
    ws.write("nobody.npy", npy([0.0], (1,)), ws.path("nobody"))
    assert "nothing of it is for an image of set" in attach(ws, "te", "nobody", code=QUARANTINED).out
    wanted = {"te": ws.path("te.safetensors"), "other": ws.path("other"), "gone": ws.path("other")}
    equal(given(ws), wanted, "what is kept")
    equal(attached(ws, "te"), {}, "arrays that are there at once")
    daemon.stop()
    about = given(ws)
    about["gone"] = ws.path("removed")
    ws.write("given-arrays.json", json.dumps(about).encode(), os.path.join(ws.dataset, ".latentd"))
    daemon.run("--once")
    equal({key: data for key, (_, _, data) in attached(ws, "te").items()}, {key: floats(i) for i, key in enumerate(keys)})
    same_members(attached(ws, "other"), keys[:1], "samples that have the other one")
    equal(given(ws), None, "what is kept")
    assert "arrays gone of" in daemon.said() and "give them again" in daemon.said(), daemon.said()
    equal(latents(ws), before, "latents, byte for byte")
    daemon.run("--once")
    ws.latentctl("verify", "--out", ws.out)


run_tests()
