#!/usr/bin/env python3
"""`latentctl doctor`: each thing that goes wrong is found, and said with what helps."""

import json
import os
import subprocess
import threading

from daemon_rig import Daemon
from harness import FAILED, OK, Skip, demo_model, equal, run_tests, test
from remote_server import Endpoint
from s3_server import BUCKET, S3Server
from serve_rig import Server
from url_server import nobody


def ask(ws, daemon, code=OK, launch=(), **options):
    """{what: [finding, ...]}"""
    daemon.write()
    command = [os.path.join(ws.programs, "latentctl"), "doctor", "--config", daemon.file, "--json"]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings |= {"env": ws.environment, "cwd": "/", **options}
    result = ws.finish(subprocess.Popen([*launch, *command], **settings))
    equal(result.code, code, "exit status")
    found = {}
    for line in result.out.splitlines():
        finding = json.loads(line)
        assert finding["grade"] == "ok" or finding["remedy"], finding
        found.setdefault(finding["what"], []).append(finding)
    return found


def only(found, what, grade, *words):
    (finding,) = found[what]
    equal(finding["grade"], grade, f"{finding}: grade")
    for word in words:
        assert word in finding["text"], finding
    return finding


def healthy(ws):
    daemon = Daemon(ws)
    daemon.dataset(recipe={"vae": demo_model()})
    daemon.config["encoders"] = [{"type": "cpu"}]
    ws.small_pictures(4, folder=ws.path("set"))
    return daemon


@test
def where_nothing_is_wrong_nothing_is_bad(ws):
    daemon = healthy(ws)
    found = ask(ws, daemon)
    equal({f["grade"] for all in found.values() for f in all} - {"ok", "warning"}, set(), "grades")
    only(found, "source", "ok", "4 images in 4 folders")
    only(found, "watches", "ok", "4 wanted")
    only(found, "daemon", "ok", "not running")
    assert not os.path.exists(daemon.state_dir) and not os.path.exists(ws.out), "something was made"


@test
def people_are_told_in_lines(ws):
    daemon = healthy(ws)
    daemon.write()
    out = ws.latentctl("doctor", "--config", daemon.file).out
    for line in out.splitlines():
        assert line.startswith(("  ok  ", "  !   ", "                 -> ")), line


@test
def an_archive_is_a_source(ws):
    daemon = Daemon(ws)
    archive = daemon.dataset(src=ws.path("set.tar"))["source"]["path"]
    os.rmdir(archive)
    with open(archive, "wb") as file:
        file.write(bytes(10240))
    only(ask(ws, daemon), "source", "ok", archive, "10.0 KiB")


@test
def a_daemon_that_runs_is_found(ws):
    daemon = healthy(ws)
    daemon.config["encoders"] = [{"type": "fake"}]
    daemon.config["datasets"][0]["recipe"]["vae"] = "fake"
    daemon.start()
    found = ask(ws, daemon)
    only(found, "daemon", "ok", "it runs and answers")
    only(found, "queue", "ok")
    daemon.stop()


@test
def wrong_settings_are_named_with_line_and_column(ws):
    daemon = healthy(ws)
    daemon.config["memory_limit"] = "much"
    only(ask(ws, daemon, FAILED), "settings", "bad", f"{daemon.file}:", "memory_limit", "much")


@test
def what_the_service_may_not_do_is_found(ws):
    daemon = healthy(ws)
    os.chmod(ws.path("set", "1"), 0o700)
    os.makedirs(ws.out, mode=0o755)
    os.makedirs(daemon.state_dir, mode=0o755)
    launch = ()
    if os.geteuid() == 0:
        launch = ("setpriv", "--reuid=65534", "--clear-groups", "--")
        version = [*launch, os.path.join(ws.programs, "latentctl"), "version"]
        able = subprocess.run(version, stdout=subprocess.DEVNULL)
        if able.returncode != 0:
            raise Skip("another user cannot run the programs that were built here")
    else:
        for folder in (ws.path("set", "1"), ws.out, daemon.state_dir):
            os.chmod(folder, 0)
    found = ask(ws, daemon, FAILED, launch)
    only(found, "source", "bad", "may not be read in 1 places", ws.path("set", "1"))
    only(found, "output", "bad", ws.out, "cannot be written to")
    only(found, "state", "bad", daemon.state_dir, "cannot be written to")


@test
def a_folder_without_images_and_too_large_a_limit_are_found(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.config["memory_limit"] = "16TiB"
    found = ask(ws, daemon, FAILED)
    only(found, "source", "warning", "no image")
    only(found, "memory", "bad", "16.0 TiB")


def with_disk(ws, daemon, code, script):
    """What is found where the output is a file system of its own, that the @script mounts."""
    os.makedirs(ws.out)
    launch = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    launch += ["sh", "-c", f'{script} && exec "$@"', "sh"]
    env = dict(ws.environment, out=ws.out)
    able = subprocess.run([*launch, "true"], env=env, capture_output=True)
    if able.returncode != 0:
        raise Skip(f"mounts do not work here: {able.stderr.decode().strip()}")
    return ask(ws, daemon, code, launch, env=env)


@test
def a_file_system_that_does_not_say_how_large_it_is_lacks_no_room(ws):
    found = with_disk(ws, healthy(ws), OK, 'mount -t tmpfs -o size=0 tmpfs "$out"')  # without a limit
    only(found, "output", "ok", ws.out)


@test
def a_full_disk_is_found(ws):
    fill = 'mount -t tmpfs -o size=1m tmpfs "$out" && head -c 1000k /dev/zero >"$out/ballast"'
    found = with_disk(ws, healthy(ws), FAILED, fill)
    only(found, "output", "bad", ws.out, "is full", "nothing new is begun")


@test
def a_damaged_queue_is_found(ws):
    daemon = healthy(ws)
    os.makedirs(daemon.state_dir)
    with open(os.path.join(daemon.state_dir, "queue.db"), "wb") as file:
        file.write(b"this is no database" * 1000)
    only(ask(ws, daemon, FAILED), "queue", "bad", "queue.db")


@test
def a_gpu_that_cannot_be_used_is_found(ws):
    daemon = healthy(ws)
    daemon.config["encoders"] = [{"type": "cuda"}]
    env = dict(ws.environment, LATENTD_CUDA_PLUGIN=ws.path("none.so"))
    only(ask(ws, daemon, FAILED, env=env), "gpu", "bad", "none.so")


@test
def each_endpoint_is_asked(ws):
    daemon = healthy(ws)
    server = Server(ws, vae=demo_model()).start()
    foreign = Endpoint(ws, model=None)
    nobody = Endpoint(ws)
    nobody.down()
    token = ws.write("token", b"secret-of-mine\n", ws.root)
    os.chmod(token, 0o600)
    refuses = Endpoint(ws, token="another")
    urls = [f"http://127.0.0.1:{server.port}/", foreign.url, nobody.url]
    endpoints = [{"url": url} for url in urls] + [{"url": refuses.url, "token_file": token}]
    daemon.config["encoders"] = [{"type": "remote", "endpoints": endpoints}]
    found = ask(ws, daemon, FAILED)
    texts = [f"{f['grade']}: {f['text']}" for f in found["endpoint"]]
    equal([t.split(":")[0] for t in texts], ["ok", "ok", "bad", "bad"], f"{texts}: grades")
    assert "latentd" in texts[0] and "no latentd" in texts[1], texts
    assert "cannot be reached" in texts[2] and "401" in texts[3], texts
    assert "secret-of-mine" not in json.dumps(found), found


@test
def a_bucket_is_asked_for_ten_seconds(ws):
    daemon = healthy(ws)
    with S3Server(ws.path("set")) as server:
        ws.environment.update(server.environment)
        daemon.config["datasets"][0]["source"]["path"] = f"s3://{BUCKET}"
        only(ask(ws, daemon), "source", "ok", f"s3://{BUCKET}", "can be listed")
        leave = threading.Event()
        ws.at_end.append(leave.set)
        server.list = lambda h, query: leave.wait()
        waits = f"waiting for the list of s3://{BUCKET}"
        only(ask(ws, daemon, FAILED), "source", "bad", "no answer within 10 s", waits)
        assert f"latentctl doctor: {waits}" in ws.history[-1].err, ws.history[-1]
        leave.set()
        ws.environment["AWS_ENDPOINT_URL_S3"] = nobody()
        only(ask(ws, daemon, FAILED), "source", "bad", "no answer within 10 s", waits, "connect")


run_tests()
