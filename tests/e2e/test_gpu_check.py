#!/usr/bin/env python3
"""scripts/gpu-check.sh without a GPU: the engine's programs are stand-ins, latentctl is itself with host_plugin.c."""

import json
import os
import signal
import stat
import subprocess

from harness import HANGS_AFTER_S, demo_model, equal, run_tests, test, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "gpu-check.sh")
PLUGIN = os.path.join(os.environ["LATENTD_BUILD_DIR"], "tests", "host_plugin.so")

BENCH = """#!/bin/sh
case "$*" in
*--model-to*) : >"$2/config.json"; exit ;;
esac
part=encoder
case "$*" in
*--decode*) part=decoder ;;
esac
for side in 64 512; do
	echo "{\\"engine\\": \\"cuda/0.1.0 made up float16\\", \\"part\\": \\"$part\\", \\"width\\": $side, \\"height\\": $side, \\"batch\\": 4, \\
\\"computed_batch\\": 4, \\"banded\\": false, \\"images_per_second\\": 12.50, \\"tflops\\": 1.5, \\"latency_ms\\": 9, \\
\\"first_s\\": 1, \\"arena_mb\\": 1, \\"workspace_mb\\": 2, \\"weights_mb\\": 3, \\"start_s\\": 1.25, \\"weights_s\\": 0.5}" |
		tr -d '\\n'
	echo
done
"""
TESTS = """#!/bin/sh
case $1 in
kernels) echo 'ok pixels float32: error 0, limit 1e-05' ;;
goldens) echo 'ok one'; echo 'FAILED another "quoted" \\ one: error 1'; exit 1 ;;
decoder) echo 'ok golden demo_vae float32'; echo 'golden demo_vae float32: PSNR 99.0 dB' ;;
encoder) echo "SKIPPED the rest: $TEST_CUDA_SECONDS seconds are over"; exit 75 ;;
engine) echo 'ok begun'; touch "$GPU_CHECK_OUT/hangs"; exec sleep 1000 ;;
esac
"""


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def environment(ws, **more):
    build, tools = ws.path("build"), ws.path("tools")
    for folder in (build, tools):
        os.makedirs(folder, exist_ok=True)
    write(os.path.join(build, "test_cuda_engine"), TESTS)
    write(os.path.join(build, "bench_cuda"), BENCH)
    write(os.path.join(tools, "nvidia-smi"), "#!/bin/sh\necho 'made up, 1.0, 9.0'\n")
    write(os.path.join(tools, "nvcc"), "#!/bin/sh\necho 'Cuda compilation tools'\necho end\n")
    write(os.path.join(tools, "compute-sanitizer"), "#!/bin/sh\nexit 3\n")
    return {
        **ws.environment,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "GPU_CHECK_OUT": ws.path("report"),
        "GPU_CHECK_BUILD": build,
        "GPU_CHECK_PROGRAMS": ws.programs,
        "GPU_CHECK_FILES": f"10 64 {demo_model()}",
        "LATENTD_CUDA_PLUGIN": PLUGIN,
        "XDG_CACHE_HOME": ws.path("cache"),
        **more,
    }


def report(ws):
    with open(ws.path("report", "gpu-report.json"), encoding="utf-8") as file:
        found = json.load(file)
    return {phase["name"]: phase for phase in found["phases"]}


@test
def phases_end_as_their_programs_do_and_the_report_says_so(ws):
    phases = ("kernels", "goldens", "encoder", "bench", "decoder", "start", "files", "memcheck")
    done = subprocess.run((SCRIPT, *phases), env=environment(ws), capture_output=True,
                          text=True, timeout=HANGS_AFTER_S, check=False)
    found = report(ws)
    equal({name: phase["status"] for name, phase in found.items()}, {
        "kernels": "ok", "goldens": "failed", "encoder": "partial", "bench": "ok", "decoder": "ok", "start": "ok",
        "files": "ok", "memcheck": "skipped"}, f"statuses {done.stdout}{done.stderr}")
    equal(done.returncode, 1, "the exit status")
    equal((found["goldens"]["checks_ok"], found["goldens"]["checks_failed"]), (1, 1), "checks")
    assert 'FAILED another "quoted" \\ one' in found["goldens"]["log"], found["goldens"]["log"]
    equal(found["start"]["results"][0]["start_s"], 1.25, "the start")
    (files,) = found["files"]["results"]
    assert files["images_per_second"] >= 0 and "of_engine" in files, files
    with open(ws.path("report", "gpu-report.txt"), encoding="utf-8") as file:
        text = file.read()
    equal({line["part"] for line in found["decoder"]["results"]}, {"decoder"}, "what the bench computed")
    for words in ("made up, 1.0, 9.0", "decoding, float16", "PSNR 99.0 dB", "goldens    failed", "FAILED another", "12.5", "files"):
        assert words in text, text
    left = {name for name in os.listdir(ws.path("report")) if name.startswith("files")}
    equal(left, {"files.log", "files.status"}, "what is left of files")


@test
def a_phase_that_hangs_is_ended_and_the_next_one_runs(ws):
    done = subprocess.run((SCRIPT, "engine", "kernels"), env=environment(ws, GPU_CHECK_LIMIT="15"),
                          capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False)
    found = report(ws)
    equal({name: phase["status"] for name, phase in found.items()},
          {"kernels": "ok", "engine": "timeout"}, f"statuses {done.stdout}{done.stderr}")
    equal(found["engine"]["checks_ok"], 1, "what it said before")


@test
def whoever_ends_it_ends_its_programs_and_has_a_report(ws):
    process = subprocess.Popen((SCRIPT, "kernels", "engine"), env=environment(ws),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: os.path.exists(ws.path("report", "hangs")), "the phase that hangs")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=HANGS_AFTER_S)  # the pipe closes when all of them are gone
    finally:
        process.kill()
    equal(report(ws)["kernels"]["status"], "ok", "what was done before")


@test
def a_phase_that_is_none_is_refused(ws):
    done = subprocess.run((SCRIPT, "kernel"), env=environment(ws), capture_output=True, text=True,
                          timeout=HANGS_AFTER_S, check=False)
    equal(done.returncode, 2, "the exit status")
    assert "no phase kernel; there are: build kernels" in done.stderr, done.stderr


run_tests()
