#!/usr/bin/env python3
"""`latentd --check-config`: a configuration is checked completely, and nothing is started or made."""

import os
import subprocess

from harness import FAILED, HANGS_AFTER_S, OK, SOURCE_DIR, USAGE, demo_model, equal, run_tests, test

GOOD = """state_dir: state
api: {socket: latentd.sock}
datasets:
  - name: photos
    source: {path: src}
    output: {path: out}
    recipe: {vae: %s, resolution: 128}
encoders: {type: cpu}
"""


def latentd(ws, *words, code=OK):
    result = subprocess.run(
        [os.path.join(ws.programs, "latentd"), *words],
        capture_output=True,
        text=True,
        cwd=ws.root,
        env=ws.environment,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert result.returncode == code, f"exit status {result.returncode}: {result.stderr}"
    return result


def check(ws, text, code=OK):
    with open(ws.path("latentd.yaml"), "w", encoding="utf-8") as file:
        file.write(text)
    before = sorted(os.listdir(ws.root))
    result = latentd(ws, "--check-config", "--config", "latentd.yaml", code=code)
    equal(sorted(os.listdir(ws.root)), before, "files afterwards")
    return result


@test
def a_good_configuration_is_said_to_be_good(ws):
    os.makedirs(ws.path("src"), exist_ok=True)
    result = check(ws, GOOD % demo_model())
    equal(result.stderr, "", "stderr")
    assert "latentd.yaml is good: 1 dataset, 1 encoder" in result.stdout, result.stdout


@test
def what_is_wrong_is_named_with_its_place(ws):
    os.makedirs(ws.path("src"), exist_ok=True)
    os.makedirs(ws.path("empty"))
    ws.write("file", folder=ws.root)
    good = GOOD % demo_model()
    for text, message in (
        (
            good.replace("state_dir", "stat_dir"),
            ':1:1: unknown setting "stat_dir": did you mean state_dir?',
        ),
        (
            good.replace("128", "many"),
            ':7:%d: resolution: "many": expected a multiple of 8'
            % (good.splitlines()[6].index("128") + 1),
        ),
        (good.replace("path: src", "path: file"), ":5:13: source: "),
        (good.replace(demo_model(), "gone"), ":7:19: vae: there is no file or folder "),
        (good.replace(demo_model(), "empty"), ":4:5: dataset photos: "),
        (good + good[good.index("datasets") :], ':9:1: "datasets" stands here for the second time'),
        (good.replace("type: cpu", "type: gpu"), ':8:18: type: "gpu": expected cpu or fake'),
    ):
        result = check(ws, text, code=USAGE)
        equal(result.stdout, "", "stdout")
        assert result.stderr.startswith("latentd: "), result.stderr
        assert f"latentd.yaml{message}" in result.stderr, (message, result.stderr)
        equal(len(result.stderr.splitlines()), 1, "lines")


@test
def a_file_that_is_not_there_is_named(ws):
    result = latentd(ws, "--check-config", "--config", "gone.yaml", code=FAILED)
    assert "gone.yaml" in result.stderr, result.stderr


@test
def the_example_is_refused_only_for_what_is_not_there(ws):
    example = os.path.join(SOURCE_DIR, "config", "latentd.example.yaml")
    result = latentd(ws, "--check-config", "--config", example, code=USAGE)
    assert "there is no" in result.stderr, result.stderr


@test
def wrong_words_are_wrong_usage(ws):
    assert "unknown option --conf" in latentd(ws, "--conf", "x", code=USAGE).stderr
    assert '--part "3/2": expected I/N' in latentd(ws, "--part", "3/2", code=USAGE).stderr
    equal(
        latentd(ws, "--complete", "", "--che").stdout,
        "--check-config\tcheck it and end\n",
        "completion",
    )
    equal(latentd(ws, "--complete", "--config", "").stdout, "@file\n", "completion of a file")


if __name__ == "__main__":
    run_tests()
