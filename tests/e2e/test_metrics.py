"""The metrics of the API: their form, and what docs/monitoring/ makes of them."""

import contextlib
import json
import os
import re
import shutil
import subprocess

from daemon_rig import Connection, Daemon
from harness import BUILD_DIR, SOURCE_DIR, Skip, equal, run_tests, same_members, test

MONITORING = os.path.join(SOURCE_DIR, "docs", "monitoring")
OPEN = "application/openmetrics-text"
SAMPLE = re.compile(r'([a-z_:]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\S+)')


def metrics(path_of_socket, accept=None):
    """(content type, text)"""
    with contextlib.closing(Connection(path_of_socket)) as connection:
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        equal(answer.status, 200, "status")
        return answer.headers["Content-Type"], answer.read().decode()


@contextlib.contextmanager
def busy_server(ws):
    """What a busy daemon would say: tests/component/api_test_server.c."""
    folder = ws.path("server")
    os.makedirs(folder)
    program = os.path.join(BUILD_DIR, "tests", "api_test_server")
    with subprocess.Popen(
        [program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        equal(process.stdout.readline(), "ready\n", "first line of the server")
        yield os.path.join(folder, "api.sock")
        process.stdin.close()


class Families:
    """The text, taken apart; wrong form is an AssertionError."""

    def __init__(self, text, is_open):
        self.types, self.samples = {}, {}
        lines = text.split("\n")
        equal(lines.pop(), "", "after the last line")
        if is_open:
            equal(lines.pop(), "# EOF", "last line")
        family = None
        for line in lines:
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                assert family not in self.types, f"{family} comes twice"
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                equal(name, family, "name in TYPE")
                self.types[name] = kind
            else:
                match = SAMPLE.fullmatch(line)
                assert match, f"no sample: {line}"
                name, labels, value = match.groups()
                self._check_name(name, family, is_open, line)
                float(value)
                assert (name, labels) not in self.samples, f"twice: {line}"
                self.samples[name, labels] = value

    def _check_name(self, name, family, is_open, line):
        kind = self.types[family]
        if kind == "histogram":
            ends = ("_bucket", "_sum", "_count")
        elif kind == "counter" and is_open:
            ends = ("_total",)
        else:
            ends = ("",)
            assert (kind == "counter") == name.endswith("_total"), f"a {kind}: {line}"
        assert name in [family + end for end in ends], f"{line} is not of {family}"

    def names(self):
        return {name for name, _ in self.samples}


@test
def both_formats_have_the_same_samples_in_their_own_form(ws):
    with busy_server(ws) as server:
        kind, text = metrics(server)
        open_kind, open_text = metrics(server, OPEN + ";version=1.0.0,text/plain;q=0.5")
    equal(kind, "text/plain; version=0.0.4; charset=utf-8", "content type")
    equal(open_kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "content type")
    families, open_families = Families(text, False), Families(open_text, True)
    equal(families.samples, open_families.samples, "samples")
    wanted = {
        ("latentd_samples", 'dataset="photos",state="available"'): "34000",
        ("latentd_images_total", 'dataset="photos",outcome="failed"'): "4",
        ("latentd_dataset_state", 'dataset="old scans",state="blocked"'): "1",
        ("latentd_stage_limits", 'stage="decode"'): "1",
        ("latentd_stage_limits", 'stage="encode"'): "0",
        ("latentd_stage_seconds_count", 'stage="decode"'): "5000",
        ("latentd_stage_seconds_bucket", 'stage="decode",le="+Inf"'): "5000",
        ("latentd_stage_seconds_bucket", 'stage="decode",le="60.0"'): "4900",
        ("latentd_stage_seconds_bucket", 'stage="decode",le="0.025"'): "0",
        ("latentd_stage_seconds_sum", 'stage="decode"'): "61.5",
        ("latentd_encoder_busy_ratio", 'encoder="cpu"'): "0.38",
        ("latentd_encoder_batch_images", 'encoder="cpu"'): "7.5",
        ("latentd_healthy", None): "1",
        ("latentd_node_images_total", 'node="gpu1"'): "5000",
        ("latentd_node_drains", 'node="gpu1"'): "0",
    }
    for sample, value in wanted.items():
        equal(families.samples.get(sample), value, str(sample))


@test
def promtool_finds_nothing_wrong(ws):
    if not shutil.which("promtool"):
        raise Skip("promtool (Debian: prometheus) is not installed: nobody else reads the metrics")
    with busy_server(ws) as server:
        _, text = metrics(server)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
    done = subprocess.run(
        ["promtool", "check", "rules", os.path.join(MONITORING, "alerts.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    equal(done.returncode, 0, f"promtool check rules: {done.stdout}{done.stderr}")


def named_in(text):
    return set(re.findall(r"latentd_[a-z_]+", text))


@test
def alerts_and_dashboard_name_only_metrics_that_are_there(ws):
    with busy_server(ws) as server:
        families = Families(metrics(server)[1], False)
    # the test server has no endpoints: their families are there without samples
    known = families.names() | set(families.types)
    for name in ("alerts.yaml", "grafana.json"):
        with open(os.path.join(MONITORING, name), encoding="utf-8") as file:
            named = named_in(file.read())
        assert named, f"{name} names no metric"
        equal(named - known, set(), f"metrics that {name} names and nobody has")
    with open(os.path.join(MONITORING, "grafana.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    numbers = [panel["id"] for panel in dashboard["panels"]]
    same_members(numbers, list(range(1, len(numbers) + 1)), "numbers of panels")
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


@test
def a_daemon_counts_what_it_does(ws):
    daemon = Daemon(ws)
    daemon.dataset("photos")
    ws.small_pictures(3, folder=ws.path("photos"))
    ws.write("text.jpg", b"text", ws.path("photos"))
    daemon.start()
    daemon.wait_for("photos", finished=3, quarantined=1)
    samples = Families(metrics(daemon.socket)[1], False).samples
    daemon.stop()
    equal(samples["latentd_images_total", 'dataset="photos",outcome="encoded"'], "3", "encoded")
    equal(samples["latentd_images_total", 'dataset="photos",outcome="failed"'], "1", "failed")
    equal(samples["latentd_encoder_images_total", 'encoder="fake",outcome="encoded"'], "3", "it")
    for stage in ("decode", "resize", "encode", "write"):
        equal(samples["latentd_stage_images_total", f'stage="{stage}"'], "3", stage)
    for stage in ("open", "read"):
        equal(samples["latentd_stage_images_total", f'stage="{stage}"'], "4", stage)


if __name__ == "__main__":
    run_tests()
