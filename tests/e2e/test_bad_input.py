#!/usr/bin/env python3
"""Bad models, images and command lines: each gets one clear line, nothing is lost, the rest is encoded."""

import json
import os
import socket

from harness import FAILED, QUARANTINED, USAGE, demo_model, equal, one_line, run_tests
from harness import same_members, test
from reference import paths_in, shard_files


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
    os.remove(
        os.path.join(
            model_with(ws, lambda config, weights: b""), "diffusion_pytorch_model.safetensors"
        )
    )
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

    refused(ws, model_with(ws, change), "encoder.conv_in.weight", "decoder")


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
    ws.write("tiff.tif", b"II*\x00\x08\x00\x00\x00" + bytes(64))
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
        "gif.gif": "corrupt",
        "tiff.tif": "unsupported",
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
        equal(
            len(rows), sum(1 for r in bad.values() if r == reason), f"lines of failed for {reason}"
        )
    ws.verify()


@test
def a_second_run_does_not_try_bad_images_again(ws):
    bad, _ = bad_images(ws)
    ws.encode(code=QUARANTINED)
    result = ws.encode(code=QUARANTINED)
    equal(result.errors, [], "stderr of the second run")
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
    equal(ws.encode(code=QUARANTINED).errors, [], "stderr")
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
    names = [
        b"a b.jpg",
        b"new\nline.jpg",
        b"\xff\xfe.jpg",
        b"\x1b[31mred.jpg",
        b"100%.jpg",
        b'q".jpg',
    ]
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
    one_line(ws.encode(src=[ws.src, ws.src + "/."], code=FAILED), ws.src + "/.")


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
def impossible_values_are_usage_errors(ws):
    ws.small_pictures(1)
    for words in (
        ["--resolution", "0"],
        ["--resolution", "130"],
        ["--resolution", "1000000"],
        ["--jobs", "257"],
        ["--threads", "1025"],
        ["--memory", "1MiB"],
        ["--seed", "9223372036854775808"],
        ["--shard-samples", "0"],
        ["--shard-size", "0"],
        ["--name", "a/b"],
        ["--name", ".hidden"],
        ["--name", ""],
        ["--name", "x" * 101],
        ["--name", "new\nline"],
        ["--out", ""],
        ["--vae", ""],
        ["--state", ""],
    ):
        one_line(ws.encode(*words, code=USAGE), words[0])
        nothing_was_made(ws)
    assert not os.path.exists(ws.path("state")), "a state folder was made"


run_tests()
