#!/usr/bin/env python3
"""The other commands as a person or a script meets them: help, output, JSON and exit status."""

import os
import signal
import subprocess

from harness import FAILED, NO_DAEMON, OK, QUARANTINED, USAGE, demo_model, equal, one_line, run_tests, test

COMMANDS = ("encode", "plan", "status", "failed", "retry", "verify", "gc", "compact", "reindex")
COMMANDS += ("rebuild", "merge", "export", "import", "model", "inspect", "extract", "bench", "doctor")
STEERING = ("top-errors", "log", "scan", "pause", "resume", "drain", "seal", "reload", "cancel", "priority", "deletions", "nodes")
COMMANDS += ("skipped", "dupes", "decode", "preview", "encode-image", "decode-latent", *STEERING)


@test
def help_names_every_command_and_exit_status(ws):
    for words in (["--help"], ["-h"], ["help"]):
        result = ws.latentctl(*words)
        equal(result.err, "", "stderr")
        for word in (*COMMANDS, "version", "exit status", "130"):
            assert word in result.out, f"{word} is not in the help"
        assert all(len(line) <= 80 for line in result.out.splitlines()), "too wide"


@test
def each_command_explains_itself(ws):
    for command in COMMANDS:
        result = ws.latentctl(command, "--help")
        equal(result.err, "", "stderr")
        assert result.out.startswith(f"usage: latentctl {command} "), result.out
        assert "--help" in result.out, result.out
        equal(ws.latentctl(command, "-h").out, result.out, "-h")
    for option in ("vae", "out", "resolution", "bucketing", "posterior", "dtype", "jobs", "seed"):
        assert f"--{option} " in ws.latentctl("encode", "--help").out, option


@test
def help_and_version_make_nothing(ws):
    for words in (["--help"], ["version"], ["--version"], *([c, "--help"] for c in COMMANDS)):
        ws.latentctl(*words)
    equal(os.listdir(ws.root), [], "files")


@test
def version_is_one_line(ws):
    for word in ("version", "--version"):
        out = ws.latentctl(word).out
        assert out.startswith("latentctl ") and out.count("\n") == 1, out


@test
def a_wrong_command_line_is_said_and_explained(ws):
    equal(ws.latentctl(code=USAGE).out, "", "stdout without a command")
    assert "frob" in ws.latentctl("frob", code=USAGE).errors[0]
    for command in ("verify", "gc", "compact"):
        result = ws.latentctl(command, code=USAGE)
        assert "--out is missing" in result.errors[0], result
        equal(len(result.errors), 2, "number of error lines")
    for command in ("status", "failed", "retry", "verify"):
        ws.latentctl(command, "--frob", code=USAGE)
        ws.latentctl(command, "--out", code=USAGE)
    ws.latentctl("inspect", code=USAGE)
    ws.latentctl("extract", "a.tar", code=USAGE)
    ws.latentctl("extract", "a.tar", "key", "more", code=USAGE)


@test
def options_that_do_not_go_together_are_usage_errors(ws):
    for words in (
        ["status", "--watch", "--json"],
        ["failed", "--json", "--paths"],
        ["skipped", "--json", "--paths"],
        ["pause", "--name", "a", "--encoder", "b"],
        ["nodes", "--drain", "a", "--resume", "a"],
        ["cancel"],
        ["priority", "set", "1001"],
        ["priority", "set"],
    ):
        result = ws.latentctl(*words, code=USAGE)
        assert result.errors[0].startswith(f"latentctl {words[0]}: "), result
        assert result.errors[1].startswith(f"usage: latentctl {words[0]} "), result
    assert "2 words are needed, 1 is there" in result.errors[0], result
    one_line(ws.latentctl("nodes", "--state", "nowhere", code=FAILED), "no state folder nowhere")
    one_line(ws.latentctl("nodes", "--socket", "nowhere", code=NO_DAEMON), "no daemon answers at nowhere")
    if not os.path.exists("/etc/latentd/latentd.yaml"):
        one_line(ws.latentctl("nodes", code=FAILED), "--state", "--socket")


@test
def words_too_many_are_usage_errors(ws):
    ws.small_pictures(1)
    ws.encode()
    for command in ("status", "failed", "retry", "verify"):
        result = ws.latentctl(command, "--out", ws.out, "extra", code=USAGE)
        assert "extra" in result.errors[0], result


@test
def an_empty_output_name_is_a_usage_error(ws):
    for command in ("status", "failed", "retry", "verify"):
        assert "--out" in ws.latentctl(command, "--out", "", code=USAGE).errors[0]


@test
def an_output_that_is_none_is_named(ws):
    os.makedirs(ws.path("empty"))
    for command in ("status", "failed", "retry", "verify"):
        for out in (ws.path("nowhere"), ws.path("empty")):
            result = ws.latentctl(command, "--out", out, code=FAILED)
            equal(len(result.errors), 1, "number of error lines")
            assert out in result.err, result
    equal(os.listdir(ws.path("empty")), [], "what was made in the empty folder")


def contents(folder):
    """{path: bytes} of the files in a folder."""
    found = {}
    for at, _, names in os.walk(folder):
        for path in (os.path.join(at, name) for name in names):
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


def mixed(ws):
    """Two datasets; the first with failures."""
    ws.small_pictures(6)
    ws.write("empty.jpg")
    ws.write("text.jpg", b"text")
    ws.encode(code=QUARANTINED)
    ws.encode("--name", "other", "--bucketing", "square", code=QUARANTINED)


@test
def status_tells_what_is_there(ws):
    mixed(ws)
    rows = {row["dataset"]: row for row in ws.latentctl("status", "--out", ws.out, "--json").json}
    equal(sorted(rows), ["other", "set"], "datasets")
    row = rows["set"]
    equal((row["samples"], row["running"]), (6, False), "samples and running")
    equal(row["output"], ws.dataset, "output")
    equal({k: n for k, n in row["jobs"].items() if n}, {"completed": 6, "quarantined": 2}, "jobs")
    folder = os.path.join(ws.dataset, "train")
    files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    equal(row["shards"], len(files), "shards")
    equal(row["shard_bytes"], sum(map(os.path.getsize, files)), "bytes")
    text = ws.latentctl("status", "--out", ws.out, "--name", "set").out
    assert "other" not in text and "2 failed" in text and row["recipe_id"] in text, text


@test
def a_dataset_that_is_not_there_is_named(ws):
    mixed(ws)
    for command in ("status", "failed", "retry", "verify"):
        result = ws.latentctl(command, "--out", ws.out, "--name", "nobody", code=FAILED)
        equal(len(result.errors), 1, "number of error lines")
        assert "nobody" in result.err, result
        equal(result.out, "", f"stdout of {command}")


@test
def failed_lists_each_image_with_its_reason(ws):
    mixed(ws)
    words = ("failed", "--out", ws.out, "--name", "set")
    rows = ws.latentctl(*words, "--json").json
    equal(
        {row["source"]: row["reason"] for row in rows},
        {"empty.jpg": "empty", "text.jpg": "unsupported"},
    )
    for row in rows:
        equal((row["state"], row["attempts"]), ("quarantined", 1), "state and attempts")
        equal(row["path"], ws.path("pictures", row["source"]), "path")
    text = ws.latentctl(*words).out
    for row in rows:
        assert any(
            row["source"] in line and row["reason"] in line for line in text.splitlines()
        ), text
    equal(ws.latentctl(*words, "--reason", "empty", "--json").json, rows[:1], "--reason empty")
    paths = ws.latentctl(*words, "--paths").out.splitlines()
    equal(paths, [row["path"] for row in rows], "--paths")


@test
def without_failures_failed_says_so(ws):
    ws.small_pictures(2)
    ws.encode()
    equal(len(ws.latentctl("failed", "--out", ws.out).out.splitlines()), 1, "number of lines")
    equal(ws.latentctl("failed", "--out", ws.out, "--json").out, "", "JSON")
    out = ws.latentctl("failed", "--out", ws.out, "--reason", "empty").out
    equal(out, "no images have failed for this reason\n", "with a reason")


@test
def retry_says_how_many(ws):
    mixed(ws)
    words = ("retry", "--out", ws.out, "--name", "set")
    assert "2 images" in ws.latentctl(*words).out
    assert "0 images" in ws.latentctl(*words).out
    equal(
        len(ws.latentctl("failed", "--out", ws.out, "--json").json),
        2,
        "failed in the other dataset",
    )
    ws.encode(code=QUARANTINED)
    equal(
        len(ws.latentctl("failed", "--out", ws.out, "--json").json), 4, "failed after the next run"
    )


@test
def retry_makes_no_state_where_it_is_lost(ws):
    mixed(ws)
    os.rename(ws.path("state"), ws.path("lost"))
    before = contents(os.path.join(ws.out, ".latentd"))
    one_line(ws.latentctl("retry", "--out", ws.out, code=FAILED), ws.path("state"))
    assert not os.path.exists(ws.path("state")), "a state folder was made"
    equal(contents(os.path.join(ws.out, ".latentd")), before, "what the output says of itself")


@test
def a_full_disk_behind_stdout_is_a_failure(ws):
    ws.small_pictures(1)
    ws.encode()
    for words in (["--help"], ["version"], ["status", "--out", ws.out]):
        with open("/dev/full", "wb") as full:
            one_line(ws.latentctl(*words, stdout=full, code=FAILED), "standard output")


@test
def closed_standard_streams_harm_nothing(ws):
    ws.small_pictures(3)
    script = '"$0" "$@" <&- >&- 2>&-'
    command = [os.path.join(ws.programs, "latentctl"), *ws.encode_words()]
    subprocess.run(["sh", "-c", script, *command], env=ws.environment, check=True)
    ws.verify()


@test
def verify_reads_everything(ws):
    mixed(ws)
    lines = ws.verify().out.splitlines()
    equal(len(lines), 2, "number of lines")
    for line in lines:
        assert "6 samples" in line and "0 shards damaged" in line, line
    equal(
        len(ws.latentctl("verify", "--out", ws.out, "--name", "other").out.splitlines()), 1, "lines"
    )


@test
def reading_commands_write_nothing_to_the_output(ws):
    mixed(ws)

    def snapshot():
        found = {}
        for at, _, names in os.walk(ws.out):
            found.update(
                {os.path.join(at, name): os.stat(os.path.join(at, name)) for name in names}
            )
        return {path: (st.st_ino, st.st_mtime_ns, st.st_size) for path, st in found.items()}

    before = snapshot()
    for command in ("status", "failed", "verify"):
        ws.latentctl(command, "--out", ws.out)
    equal(snapshot(), before, "the output's files")


@test
def reading_commands_work_while_a_run_is_at_work(ws):
    ws.small_pictures(60)
    ws.encode("--name", "first")
    process = ws.start(*ws.encode_words("--jobs", "1", vae=demo_model()))
    try:
        while process.poll() is None:
            for command in ("status", "failed", "verify"):
                ws.latentctl(command, "--out", ws.out)
    finally:
        ws.finish(process)
    equal(process.returncode, OK, "exit status")


@test
def quiet_prints_the_result_only(ws):
    ws.small_pictures(3)
    result = ws.encode("--quiet")
    equal((len(result.out.splitlines()), result.err), (1, ""), "what it prints")


@test
def options_may_stand_anywhere_and_with_an_equals_sign(ws):
    ws.small_pictures(2)
    ws.small_pictures(1, folder=ws.path("more"), first=2)
    ws.latentctl(
        "encode",
        f"--out={ws.out}",
        "--vae=fake",
        ws.src,
        "--resolution=128",
        "--name=set",
        "--max-upscale=0",
        "--",
        ws.path("more"),
    )
    row = ws.status()
    equal((row["dataset"], row["samples"]), ("set", 3), "dataset and samples")


@test
def a_closed_pipe_is_no_crash(ws):
    ws.small_pictures(40)
    ws.encode()
    shard = next(
        os.path.join(at, n)
        for at, _, names in os.walk(ws.dataset)
        for n in names
        if n.endswith(".tar")
    )
    process = ws.start("inspect", shard, "--json")
    process.stdout.close()
    process.stderr.close()
    assert process.wait() in (-signal.SIGPIPE, OK, FAILED), process.returncode


@test
def bench_measures_an_encoder_alone(ws):
    words = ["bench", "encode", "--vae", demo_model(), "--size", "64x48", "--batch", "2"]
    words += ["--device", "cpu"]
    result = ws.latentctl(*words, "--rounds", "2", "--threads", "1", "--json").json[0]
    equal((result["size"], result["batch"]), ([64, 48], 2), "what was measured")
    equal(len(result["rounds"]), 2, "rounds")
    equal(min(result["rounds"]), result["seconds_per_image"], "the fastest round")
    layers = result["seconds_by_layer"]
    rounding = 1e-6 * (len(layers) + 1)
    assert 0 < sum(layers.values()) <= result["seconds_per_image"] * 1.01 + rounding, result
    assert result["engine"].startswith("winograd-"), result["engine"]
    assert result["tflops"] > 0 and result["peak_memory"] > 1 << 20, result
    text = ws.latentctl(*words, "--rounds", "1", env={**ws.environment, "LATENTD_CPU": "direct"}).out
    assert "engine onednn-" in text and "float32" in text and "3x3 convolutions" in text, text


@test
def bench_says_what_it_cannot_measure(ws):
    ws.latentctl("bench", code=USAGE)
    ws.latentctl("bench", "decode", "--vae", demo_model(), code=USAGE)
    ws.latentctl("bench", "encode", code=USAGE)
    one_line(ws.latentctl("bench", "encode", "--vae", ws.path("none"), code=FAILED), "none")
    one_line(ws.latentctl("bench", "encode", "--vae", "sdxl", code=FAILED), "hf download")
    words = ["bench", "encode", "--vae", demo_model()]
    one_line(ws.latentctl(*words, "--device", "cuda", code=USAGE), "cpu")
    one_line(ws.latentctl(*words, "--memory-limit", "1MiB", code=FAILED), "512x512", "MiB")
    fast = {**ws.environment, "LATENTD_CPU": "fast"}
    one_line(ws.latentctl(*words, code=FAILED, env=fast), "LATENTD_CPU")


run_tests()
