#!/usr/bin/env python3
"""What goes wrong outside of latentd: each bad thing gets one clear line, nothing is lost, the rest is encoded."""

import json
import os
import shutil
import signal
import socket

from harness import BUSY, FAILED, OK, QUARANTINED, USAGE, Skip, demo_model, equal, gap, run_tests
from harness import same_members, test, wait_until
from reference import read_dataset, shard_files


def paths_in(dataset):
    return [s.path for s in read_dataset(dataset)]


def one_line(result, *words):
    """The only line on stderr, which must have every one of @words in it."""
    equal(len(result.errors), 1, "number of error lines")
    for word in words:
        assert word in result.err, f"{word!r} is not in: {result.err}"


def nothing_was_made(ws):
    assert not os.path.exists(ws.out), f"{ws.out} was made"


# -- models


def model_with(ws, change):
    """A copy of the demo model after change(config, weights) -> new weights."""
    folder = ws.path("model")
    os.makedirs(folder)
    with open(os.path.join(demo_model(), "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(demo_model(), "diffusion_pytorch_model.safetensors"), "rb") as file:
        weights = change(config, file.read())
    ws.write("config.json", json.dumps(config).encode(), folder)
    ws.write("diffusion_pytorch_model.safetensors", weights, folder)
    return folder


def refused(ws, model, *words):
    ws.small_pictures(1)
    one_line(ws.encode(vae=model, code=FAILED), model, *words)
    nothing_was_made(ws)


@test
def a_model_that_is_not_there(ws):
    refused(ws, ws.path("nowhere"))


@test
def a_folder_without_a_model(ws):
    os.makedirs(ws.path("model"))
    refused(ws, ws.path("model"), "config.json")


@test
def a_model_without_weights(ws):
    os.remove(os.path.join(model_with(ws, lambda config, weights: b""), "diffusion_pytorch_model.safetensors"))
    refused(ws, ws.path("model"), "diffusion_pytorch_model.safetensors")


@test
def a_config_that_is_no_json(ws):
    model = model_with(ws, lambda config, weights: weights)
    ws.write("config.json", b'{"latent_channels": 4,\n', model)
    refused(ws, model, "config.json", "line 2")


@test
def truncated_weights(ws):
    refused(ws, model_with(ws, lambda config, weights: weights[: len(weights) // 2]), "truncated")


@test
def weights_without_a_whole_header(ws):
    refused(ws, model_with(ws, lambda config, weights: weights[:100]), ".safetensors")


@test
def empty_weights(ws):
    refused(ws, model_with(ws, lambda config, weights: b""), ".safetensors")


@test
def weights_that_do_not_fit_the_config(ws):
    def change(config, weights):
        config["latent_channels"] *= 4
        return weights

    refused(ws, model_with(ws, change), "shape", "config")


@test
def weights_that_lack_a_tensor(ws):
    def change(config, weights):
        # Same length, so that the header's offsets stay right.
        return weights.replace(b'"encoder.conv_in.weight"', b'"encoder.conv_xx.weight"')

    refused(ws, model_with(ws, change), "encoder.conv_in.weight", "missing")


@test
def weights_with_a_nan_cost_the_images_and_say_so(ws):
    def change(config, weights):
        size = int.from_bytes(weights[:8], "little")
        begin, end = json.loads(weights[8 : 8 + size])["encoder.conv_in.bias"]["data_offsets"]
        return weights[: 8 + size + begin] + b"\xff" * (end - begin) + weights[8 + size + end :]

    paths = ws.small_pictures(3)
    result = ws.encode(vae=model_with(ws, change), code=None)
    assert result.code in (FAILED, QUARANTINED), result
    if result.code == QUARANTINED:
        equal(set(ws.failed().values()), {"non_finite"}, "reasons")
        equal(len(result.errors), len(paths), "number of error lines")
    else:
        one_line(result, "encoder.conv_in.bias")


# -- images


def bad_images(ws):
    """One image of each bad kind among good ones: {path: reason}, [good paths]."""
    good = ws.small_pictures(10)
    rocket = os.path.join(ws.src, ws.golden("rocket.jpg", "good.jpg"))
    with open(rocket, "rb") as file:
        jpeg = file.read()
    ws.write("zero.jpg")
    ws.write("truncated.jpg", jpeg[: len(jpeg) // 2])
    ws.write("headless.jpg", jpeg[:20])
    ws.write("text.jpg", b"this is not a picture\n")
    ws.write("gif.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    with open(ws.golden("rgb16.png", "cut.png"), "r+b") as file:
        file.truncate(400)
    os.mkfifo(os.path.join(ws.src, "fifo.jpg"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(ws.src, "socket.png"))
    os.symlink("circle.jpg", os.path.join(ws.src, "circle.jpg"))
    bad = {
        "zero.jpg": "empty",
        "truncated.jpg": "truncated",
        "headless.jpg": "truncated",
        "text.jpg": "unsupported",
        "gif.gif": "unsupported",
        "cut.png": "truncated",
        "fifo.jpg": "not_regular",
        "socket.png": "not_regular",
        "circle.jpg": "unreadable",
    }
    return bad, [*good, "good.jpg"]


@test
def each_bad_image_gets_a_line_and_the_rest_is_encoded(ws):
    bad, good = bad_images(ws)
    result = ws.encode(code=QUARANTINED)
    same_members(paths_in(ws.dataset), good, "samples")
    equal({os.fsdecode(p): reason for p, reason in ws.failed().items()}, bad, "failed")
    equal(len(result.errors), len(bad), "number of error lines")
    for path, reason in bad.items():
        (line,) = [line for line in result.errors if f'"{path}"' in line]
        assert reason in line, line
    equal(ws.status()["jobs"]["quarantined"], len(bad), "quarantined in status")
    for reason in set(bad.values()):
        rows = ws.latentctl("failed", "--out", ws.out, "--reason", reason).out.splitlines()
        equal(len(rows), sum(1 for r in bad.values() if r == reason), f"lines of failed for {reason}")
    ws.verify()


@test
def a_second_run_does_not_try_bad_images_again(ws):
    bad, _ = bad_images(ws)
    ws.encode(code=QUARANTINED)
    result = ws.encode(code=QUARANTINED)
    equal(result.err, "", "stderr of the second run")
    equal(len(ws.failed()), len(bad), "number of failed images")


@test
def a_repaired_image_is_encoded_after_retry(ws):
    bad, good = bad_images(ws)
    ws.encode(code=QUARANTINED)
    before = {f: os.stat(f).st_ino for f in shard_files(ws.dataset)}
    for path in bad:
        os.unlink(os.path.join(ws.src, path))
        ws.golden("odd_420.jpg" if path.endswith("jpg") else "rgb16.png", path)
    ws.latentctl("retry", "--out", ws.out)
    equal(ws.failed(), {}, "failed after retry")
    # gif.gif is a PNG now: the name makes it a candidate, the content decides.
    ws.encode()
    same_members(paths_in(ws.dataset), [*good, *bad], "samples")
    equal({f: os.stat(f).st_ino for f in before}, before, "the old shards")
    ws.verify()


@test
def retry_by_reason_takes_only_those(ws):
    ws.write("a.jpg")
    ws.write("b.jpg", b"text")
    ws.golden("odd_420.jpg", "c.jpg")
    ws.encode(code=QUARANTINED)
    out = ws.latentctl("retry", "--out", ws.out, "--reason", "empty").out
    assert "1 image" in out, out
    equal(ws.failed(), {b"b.jpg": "unsupported"}, "failed after retry --reason empty")
    ws.golden("odd_422_progressive.jpg", "a.jpg")
    equal(ws.encode(code=QUARANTINED).err, "", "stderr")
    same_members(paths_in(ws.dataset), ["a.jpg", "c.jpg"], "samples")


@test
def a_changed_bad_file_is_tried_again_by_itself(ws):
    ws.write("a.jpg", b"text")
    ws.golden("odd_420.jpg", "b.jpg")
    ws.encode(code=QUARANTINED)
    ws.golden("odd_422_progressive.jpg", "a.jpg")
    ws.encode()
    same_members(paths_in(ws.dataset), ["a.jpg", "b.jpg"], "samples")
    equal(ws.failed(), {}, "failed")


@test
def many_failures_do_not_flood_the_terminal(ws):
    for i in range(60):
        ws.write(f"{i}.jpg", b"text")
    ws.golden("odd_420.jpg", "good.jpg")
    result = ws.encode(code=QUARANTINED)
    assert 2 <= len(result.errors) < 40, f"{len(result.errors)} lines"
    assert "latentctl failed" in result.errors[-1], result.errors[-1]
    equal(len(ws.failed()), 60, "number of failed images")
    same_members(paths_in(ws.dataset), ["good.jpg"], "samples")


@test
def when_every_image_is_bad_there_is_no_shard(ws):
    ws.write("a.jpg", b"text")
    one_line(ws.encode(code=QUARANTINED), "a.jpg")
    equal(shard_files(ws.dataset), [], "shards")
    ws.verify()


@test
def a_folder_named_like_an_image_is_walked_into(ws):
    ws.golden("odd_420.jpg", "a.jpg")
    ws.golden("odd_420.jpg", "album.jpg/b.jpg")
    one_line(ws.encode(), '"album.jpg"', "folder")
    same_members(paths_in(ws.dataset), ["a.jpg", "album.jpg/b.jpg"], "samples")


@test
def odd_names_of_bad_files_are_quoted_and_listed(ws):
    names = [b"a b.jpg", b"new\nline.jpg", b"\xff\xfe.jpg", b"\x1b[31mred.jpg", b"100%.jpg", b'q".jpg']
    for name in names:
        ws.write(os.fsdecode(name), b"text")
    result = ws.encode(code=QUARANTINED)
    equal(len(result.errors), len(names), "number of error lines")
    for text in (result.err, ws.latentctl("failed", "--out", ws.out).out):
        text.encode("utf-8")  # no surrogates: what was not UTF-8 has been escaped
        assert "\x1b" not in text, repr(text)
        equal(len(text.splitlines()), len(names), "number of lines")
    same_members(ws.failed(), names, "failed")


@test
def an_unreadable_file_is_one_failure(ws):
    good = ws.small_pictures(5)
    secret = ws.golden("odd_420.jpg", "secret.jpg")
    os.chmod(secret, 0)
    user = ws.unprivileged()
    os.makedirs(ws.out)
    os.chmod(ws.out, 0o777)
    one_line(ws.encode(code=QUARANTINED, **user), "secret.jpg", "unreadable", "Permission denied")
    same_members(paths_in(ws.dataset), good, "samples")
    equal(ws.failed(), {b"secret.jpg": "unreadable"}, "failed")
    os.chmod(secret, 0o644)
    ws.latentctl("retry", "--out", ws.out, **user)
    ws.encode(**user)
    same_members(paths_in(ws.dataset), [*good, "secret.jpg"], "samples")


@test
def an_unreadable_folder_is_noted(ws):
    good = ws.small_pictures(5)
    ws.golden("odd_420.jpg", "closed/a.jpg")
    os.chmod(os.path.join(ws.src, "closed"), 0)
    user = ws.unprivileged()
    os.makedirs(ws.out)
    os.chmod(ws.out, 0o777)
    one_line(ws.encode(code=None, **user), "closed")
    same_members(paths_in(ws.dataset), good, "samples")


@test
def a_file_that_vanishes_is_gone_and_not_a_failure(ws):
    good = ws.small_pictures(3)
    os.symlink("nowhere", os.path.join(ws.src, "dangling.jpg"))
    one_line(ws.encode(), "dangling.jpg", "gone")
    same_members(paths_in(ws.dataset), good, "samples")
    equal(ws.failed(), {}, "failed")


# -- sources and the command line


@test
def a_source_that_is_not_there(ws):
    one_line(ws.encode(src=[ws.path("nowhere")], code=FAILED), "nowhere", "no such folder")
    nothing_was_made(ws)


@test
def a_source_that_is_a_file(ws):
    path = ws.golden("odd_420.jpg", "a.jpg")
    one_line(ws.encode(src=[path], code=FAILED), "a.jpg", "not a folder")
    nothing_was_made(ws)


@test
def one_bad_source_among_good_ones_stops_before_anything_is_made(ws):
    ws.small_pictures(2)
    one_line(ws.encode(src=[ws.src, ws.path("nowhere")], code=FAILED), "nowhere")
    nothing_was_made(ws)


@test
def a_source_without_images(ws):
    ws.write("readme.txt", b"no images")
    one_line(ws.encode(code=FAILED), "no images", ws.src)


@test
def a_source_given_twice(ws):
    ws.small_pictures(2)
    one_line(ws.encode(src=[ws.src, ws.src + "/."], code=FAILED), "twice")


@test
def wrong_options_are_usage_errors(ws):
    ws.small_pictures(1)
    for words in (
        ["--frob"],
        ["--resolution", "many"],
        ["--resolution", "-8"],
        ["--resolution"],
        ["--bucketing", "round"],
        ["--posterior", "mode"],
        ["--dtype", "int8"],
        ["--order", "random"],
        ["--seed", "18446744073709551616"],
        ["--quiet=yes"],
        ["-x"],
    ):
        one_line(ws.encode(*words, code=USAGE), words[0].split("=")[0], "--help")
    for words in (
        ["encode"],
        ["encode", ws.src],
        ["encode", ws.src, "--vae", "fake"],
        ["encode", ws.src, "--out", ws.out],
        ["encode", "--vae", "fake", "--out", ws.out],
    ):
        one_line(ws.latentctl(*words, code=USAGE), "missing")
    nothing_was_made(ws)


@test
@gap("values that no run can have end with 1, not with 2, and after the output was made")
def impossible_values_are_usage_errors(ws):
    ws.small_pictures(1)
    for words in (["--resolution", "130"], ["--shard-samples", "0"], ["--name", "a/b"]):
        one_line(ws.encode(*words, code=USAGE), words[0])
        nothing_was_made(ws)


@test
def impossible_values_are_refused(ws):
    ws.small_pictures(1)
    for words in (
        ["--resolution", "0"],
        ["--resolution", "130"],
        ["--resolution", "1000000"],
        ["--shard-samples", "0"],
        ["--shard-size", "0"],
        ["--name", "a/b"],
        ["--name", ".hidden"],
        ["--name", ""],
        ["--name", "x" * 101],
    ):
        result = ws.encode(*words, code=None)
        assert result.code in (FAILED, USAGE), result
        one_line(result, words[0])
        equal(shard_files(ws.dataset), [], "shards")


# -- outputs


def recovers(ws, paths, **settings):
    """The same command, undisturbed, does everything."""
    ws.encode(**settings)
    same_members(paths_in(ws.dataset), paths, "samples")
    ws.verify()
    leftovers = os.listdir(os.path.join(ws.dataset, ".latentd"))
    assert leftovers == ["dataset.json"] or not os.listdir(
        os.path.join(ws.dataset, ".latentd", "partial")
    ), leftovers


@test
def an_output_that_is_a_file(ws):
    ws.small_pictures(1)
    ws.write("out", b"mine", ws.root)
    one_line(ws.encode(code=FAILED), ws.out)
    one_line(ws.encode(out=ws.path("out", "below"), code=FAILED), ws.out)
    with open(ws.out, "rb") as file:
        equal(file.read(), b"mine", "the file")


@test
def an_output_without_permission(ws):
    ws.small_pictures(2)
    os.makedirs(ws.out)
    os.chmod(ws.out, 0o555)
    user = ws.unprivileged()
    one_line(ws.encode(code=FAILED, **user), ws.out, "Permission denied")
    os.chmod(ws.out, 0o777)
    ws.encode(**user)
    equal(len(read_dataset(ws.dataset)), 2, "number of samples")


@test
def an_output_on_a_read_only_file_system(ws):
    paths = ws.small_pictures(3)
    os.makedirs(ws.out)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$ctl" "$@"'
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words())
    equal(result.code, FAILED, "exit status")
    one_line(result, ws.out, "Read-only file system")
    recovers(ws, paths)


@test
def an_output_that_became_read_only(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    more = ws.small_pictures(3, first=3)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$ctl" "$@"'
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words())
    equal(result.code, FAILED, "exit status")
    one_line(result, ws.out, "Read-only file system")
    for command in ("status", "failed", "verify"):
        equal(ws.in_own_mounts(script, ws.out, command, "--out", ws.out).code, OK, command)
    recovers(ws, paths + more)


@test
def a_full_disk_loses_nothing(ws):
    paths = ws.small_pictures(30)
    os.makedirs(ws.out)
    script = """mount -t tmpfs -o size=100k tmpfs "$1" && cd "$1" && shift || exit 99
        "$ctl" "$@" >/dev/null; code=$?
        mount -o remount,size=100M . && "$ctl" "$@" >/dev/null && cp -a . "../copy"; exit $code"""
    result = ws.in_own_mounts(script, ws.out, *ws.encode_words("--shard-samples", "4"))
    if result.code == 99:
        raise Skip("no tmpfs here")
    equal(result.code, FAILED, "exit status with a full disk")
    one_line(result, "No space left on device")
    same_members(paths_in(ws.path("copy", "set")), paths, "samples after there was room again")


@test
def a_full_state_disk_loses_nothing(ws):
    paths = ws.small_pictures(40)
    os.makedirs(ws.path("disk"))
    script = """disk=$1; shift
        mount -t tmpfs -o size=150k tmpfs "$disk" || exit 99
        "$ctl" "$@" >/dev/null; code=$?
        mount -o remount,size=100M "$disk" && "$ctl" "$@" >/dev/null || exit 98; exit $code"""
    words = ws.encode_words("--state", ws.path("disk", "state"))
    result = ws.in_own_mounts(script, ws.path("disk"), *words)
    if result.code == 99:
        raise Skip("no tmpfs here")
    equal(result.code, FAILED, "exit status with a full disk")
    equal(len(result.errors), 1, "number of error lines")
    same_members(paths_in(ws.dataset), paths, "samples after there was room again")


@test
def an_output_of_another_recipe_is_refused_and_unharmed(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    before = {f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}
    for words, differs in (
        (["--posterior", "moments"], "posterior"),
        (["--resolution", "192"], "resolution"),
        (["--filter", "box"], "filter"),
        (["--dtype", "float32"], "dtype"),
    ):
        one_line(ws.encode(*words, code=FAILED), ws.dataset, "recipe", differs, "--name")
    one_line(ws.encode(vae=demo_model(), code=FAILED), ws.dataset, "weights_sha256")
    equal({f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}, before, "shards")
    recovers(ws, paths)


@test
@gap("the message is cut after 511 bytes, before the remedy")
def the_remedy_is_named_for_another_model_too(ws):
    ws.small_pictures(1)
    ws.encode()
    one_line(ws.encode(vae=demo_model(), code=FAILED), ws.dataset, "--name")


@test
def the_same_weights_in_another_folder_are_the_same_recipe(ws):
    ws.small_pictures(2)
    ws.encode(vae=demo_model())
    before = {f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}
    shutil.copytree(demo_model(), ws.path("copy"))
    ws.encode(vae=ws.path("copy"))
    equal({f: os.stat(f).st_mtime_ns for f in shard_files(ws.dataset)}, before, "shards")


@test
def a_damaged_dataset_file_is_named(ws):
    ws.small_pictures(2)
    ws.encode()
    ws.write("set/.latentd/dataset.json", b"garbage", ws.out)
    one_line(ws.encode(code=FAILED), "dataset.json")


@test
def a_second_run_on_the_same_output_is_told_who_has_it(ws):
    paths = ws.small_pictures(30)
    first = ws.start(*ws.encode_words("--jobs", "1", vae=demo_model()))
    lock = os.path.join(ws.out, ".latentd", "lock")

    def owned():
        with open(lock, "rb") as file:
            return b"%d" % first.pid in file.read()

    wait_until(lambda: first.poll() is not None or (os.path.exists(lock) and owned()), "the lock")
    first.send_signal(signal.SIGSTOP)
    try:
        one_line(ws.encode(code=BUSY, vae=demo_model()), str(first.pid), ws.out)
        one_line(ws.latentctl("retry", "--out", ws.out, code=BUSY), str(first.pid))
        running = ws.latentctl("status", "--out", ws.out, code=None)
        assert running.code == FAILED or str(first.pid) in running.out, running
    finally:
        first.send_signal(signal.SIGCONT)
    equal(ws.finish(first).code, OK, "exit status of the first run")
    same_members(paths_in(ws.dataset), paths, "samples")


@test
def garbage_in_the_lock_does_no_harm(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    for garbage in (b"", b"\x00\xff" * 200, b"{}", b'{"host": 1, "pid": "x", "state": []}', b"[" * 5000):
        ws.write(".latentd/lock", garbage, ws.out)
        one_line(ws.latentctl("status", "--out", ws.out, code=FAILED), "lock")
        recovers(ws, paths)


@test
def an_output_that_lost_its_lock_finds_its_state_again(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    shutil.rmtree(os.path.join(ws.out, ".latentd"))
    recovers(ws, paths)


@test
def a_deleted_state_folder_costs_no_encode(ws):
    paths = ws.small_pictures(12)
    ws.encode("--shard-samples", "3")
    before = {f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns) for f in shard_files(ws.dataset)}
    shutil.rmtree(ws.path("state"))
    equal(ws.latentctl("status", "--out", ws.out, code=FAILED).out, "", "stdout of status")
    recovers(ws, paths)
    after = {f: (os.stat(f).st_ino, os.stat(f).st_mtime_ns) for f in shard_files(ws.dataset)}
    equal(after, before, "shards")
    equal(ws.encode().err, "", "stderr of the next run")


@test
def a_damaged_database_is_named(ws):
    ws.small_pictures(2)
    ws.encode()
    (state,) = os.listdir(ws.path("state", "latentd"))
    database = ws.path("state", "latentd", state, "queue.db")
    ws.write(database, b"garbage" * 1000, "")
    one_line(ws.encode(code=FAILED), database)
    one_line(ws.latentctl("status", "--out", ws.out, code=FAILED), database)


@test
@gap("the queue goes on believing in shards that are no longer there, and encode ends with 0")
def an_output_that_was_deleted_is_encoded_again(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    shutil.rmtree(ws.out)
    recovers(ws, paths)


@test
@gap("the queue goes on believing in shards that are no longer there, and encode ends with 0")
def a_deleted_shard_is_encoded_again(ws):
    paths = ws.small_pictures(9)
    ws.encode("--shard-samples", "3")
    os.remove(shard_files(ws.dataset)[0])
    recovers(ws, paths)


@test
@gap("verify looks for the shards at the old place")
def a_moved_output_is_still_whole(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    os.rename(ws.out, ws.path("moved"))
    ws.out = ws.path("moved")
    ws.verify()
    recovers(ws, paths)


@test
@gap("both copies share one state folder: what one gets the other never does")
def a_copied_output_is_an_output_of_its_own(ws):
    paths = ws.small_pictures(4)
    ws.encode()
    shutil.copytree(ws.out, ws.path("copy"))
    more = ws.small_pictures(3, first=4)
    for folder in (ws.path("copy"), ws.out):
        ws.encode(out=folder)
        same_members(paths_in(os.path.join(folder, "set")), paths + more, f"samples of {folder}")


@test
@gap("encode says that all samples are there, and the second output is empty")
def two_outputs_do_not_share_a_state_folder(ws):
    paths = ws.small_pictures(2)
    ws.encode("--state", ws.path("mine"))
    result = ws.encode("--state", ws.path("mine"), out=ws.path("other"), code=None)
    if result.code == OK:
        same_members(paths_in(ws.path("other", "set")), paths, "samples of the other output")
    else:
        one_line(result, ws.out)


@test
def no_place_for_the_state(ws):
    ws.small_pictures(1)
    bare = {k: v for k, v in ws.environment.items() if k not in ("HOME", "XDG_STATE_HOME")}
    one_line(ws.encode(code=FAILED, env=bare), "XDG_STATE_HOME", "--state")
    ws.encode("--state", ws.path("mine"), env=bare)
    equal(len(read_dataset(ws.dataset)), 1, "number of samples")
    assert os.path.exists(ws.path("mine", "queue.db"))


# -- decode workers


def own_programs(ws):
    """latentctl in a folder of its own, where latentd-decode may be missing or wrong."""
    os.makedirs(ws.path("bin"))
    shutil.copy(os.path.join(ws.programs, "latentctl"), ws.path("bin"))
    decode, ws.programs = os.path.join(ws.programs, "latentd-decode"), ws.path("bin")
    return decode


@test
def without_latentd_decode_nothing_is_lost(ws):
    paths = ws.small_pictures(3)
    decode = own_programs(ws)
    one_line(ws.encode(code=FAILED), "latentd-decode")
    equal(ws.latentctl("failed", "--out", ws.out, "--json").json, [], "failed")
    shutil.copy(decode, ws.path("bin"))
    recovers(ws, paths)


@test
def a_latentd_decode_that_cannot_run(ws):
    paths = ws.small_pictures(3)
    decode = own_programs(ws)
    for script in (b"not a program", b"#!/bin/sh\nexit 1\n", b"#!/bin/sh\nsleep 0.2; exit 1\n"):
        path = ws.write("bin/latentd-decode", script, ws.root)
        os.chmod(path, 0o755)
        one_line(ws.encode(code=FAILED), "latentd-decode")
    shutil.copy(decode, ws.path("bin"))
    recovers(ws, paths)


def maps_its_slot(pid):
    """Whether a worker is beyond its start: one that dies before is taken for one that cannot run."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            return "latentd-slot" in file.read()
    except OSError:
        return False


@test
def a_worker_that_is_killed_costs_nothing(ws):
    paths = ws.small_pictures(80)
    process = ws.start(*ws.encode_words("--jobs", "2", vae=demo_model()))
    killed = set()
    while process.poll() is None and len(killed) < 5:
        ready = [pid for pid in ws.workers() if pid not in killed and maps_its_slot(pid)]
        for pid in ready[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    result = ws.finish(process)
    assert len(killed) >= 3, f"only {len(killed)} workers could be killed"
    equal(result.code, OK, "exit status")
    same_members(paths_in(ws.dataset), paths, "samples")
    ws.no_worker_is_left()


run_tests()
