"""The API over TCP and the page that it serves: who may what, and what comes live."""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import warnings

from browser import Browser
from daemon_rig import Daemon
from dashboard_rig import PALE, TOKEN, WRONG, press, start, with_tcp
from harness import SOURCE_DIR, USAGE, Skip, equal, one_line, run_tests, sanitized, test
from remote_server import certificate

EVIL = "<script>alert(1)<!--.jpg"


def ask(port, method, path, body=None, **headers):
    """(status, headers, body)"""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(port), 60)) as connection:
        connection.request(
            method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


@test
def the_page_is_whole_and_may_load_nothing_else(ws):
    daemon = with_tcp(ws)
    port = start(daemon)
    status, headers, page = ask(port, "GET", "/")
    equal(status, 200, "status")
    policy = headers["Content-Security-Policy"]
    for word in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert word in policy, policy
    assert "unsafe" not in policy, policy
    equal(ask(port, "HEAD", "/")[::2], (200, ""), "its head")
    # nothing inline, nothing from elsewhere
    assert not re.search(r"<script(?![^>]*\bsrc=)", page) and "<style" not in page, page
    assert not re.search(r"\son\w+=|\sstyle=", page), page
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    for name in loaded:
        if name.startswith("data:"):
            continue
        status, headers, text = ask(port, "GET", name)
        equal(status, 200, name)
        equal(headers["X-Content-Type-Options"], "nosniff", f"{name}: sniffing")
        assert "http://" not in text and "https://" not in text, f"{name} names another place"
        for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{name} makes markup of text: {word}"
    equal(len(loaded), 5, f"what it loads: {loaded}")
    daemon.stop()


@test
def only_this_machine_by_its_names_is_answered(ws):
    daemon = with_tcp(ws)
    port = start(daemon)
    good = ("localhost", f"localhost:{port}", "127.0.0.1", f"127.1.2.3:{port}", "[::1]", "[::1]:80")
    bad = ("evil.example", f"evil.example:{port}", "localhost.evil.example")
    bad += ("127.0.0.1.evil.example", "localhost:80:80", "localhost:x", "[::1", "")
    bad += ("[::1]x", "128.0.0.1", "x" * 200)
    for host in good:
        equal(ask(port, "GET", "/api/v1/status", Host=host)[0], 200, f"Host: {host}")
    for host in bad:
        for path in ("/", "/api/v1/status", "/metrics", "/api/v1/events"):
            status = ask(port, "GET", path, Host=host)[0]
            assert status in (400, 403), f"{path} with Host: {host}: {status}"
    daemon.stop()


@test
def only_the_own_page_with_the_token_changes_anything(ws):
    daemon = with_tcp(ws)
    port = start(daemon)
    mine, token = f"http://localhost:{port}", f"Bearer {TOKEN}"
    cases = [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": token, "Origin": "http://evil.example"}, 403),
        ({"Authorization": token, "Origin": "null"}, 403),
        ({"Authorization": token, "Origin": "http://localhost:1"}, 403),
        ({"Authorization": token, "Origin": mine}, 200),
        ({"Authorization": token}, 200),
    ]
    for headers, wanted in cases:
        status, _, text = ask(
            port, "POST", "/api/v1/datasets/photos/pause", "{}", Host=f"localhost:{port}", **headers
        )
        equal(status, wanted, f"{headers}: {text}")
        daemon.wait_for_state("paused" if wanted == 200 else "idle", "photos")
        if wanted == 200:
            daemon.resume("photos")
            daemon.wait_for_state("idle", "photos")
    daemon.stop()


@test
def a_page_of_elsewhere_cannot_embed_anything(ws):
    daemon = with_tcp(ws)
    port = start(daemon)
    cases = [
        ("cross-site", "image", 403),
        ("cross-site", "iframe", 403),
        ("same-site", "empty", 403),  # another server on this machine
        ("cross-site", "document", 200),  # a link
        ("same-origin", "image", 200),
        ("none", "document", 200),
    ]
    for site, what, wanted in cases:
        for path in ("/", "/api/v1/status"):
            status = ask(port, "GET", path, Sec_Fetch_Site=site, Sec_Fetch_Dest=what)[0]
            equal(status, wanted, f"{path} from {site} as {what}")
    daemon.stop()


@test
def without_a_token_file_nothing_is_changed_over_tcp(ws):
    daemon = with_tcp(ws, token=False)
    port = start(daemon)
    status, _, text = ask(port, "POST", "/api/v1/pause", "{}", Authorization="Bearer ")
    equal(status, 403, "status")
    assert "token_file" in json.loads(text)["error"]["message"], text
    equal(ask(port, "GET", "/api/v1/status")[0], 200, "reading")
    daemon.stop()


@test
def events_come_until_the_daemon_ends(ws):
    daemon = with_tcp(ws)
    ws.small_pictures(2, folder=ws.path("photos"))
    ws.write(EVIL, b"no picture", ws.path("photos"))
    port = start(daemon)
    daemon.wait_for("photos", finished=2, quarantined=1)
    connection = http.client.HTTPConnection("127.0.0.1", int(port), 60)
    connection.request("GET", "/api/v1/events")
    answer = connection.getresponse()
    equal(answer.headers["Content-Type"], "text/event-stream", "content type")
    lines = []
    for _ in range(2):
        line = answer.readline().decode()
        assert line.startswith("data: "), line
        picture = json.loads(line[6:])
        equal(picture["status"]["datasets"][0]["jobs"]["quarantined"], 1, "failures")
        equal(picture["health"]["healthy"], True, "health")
        lines += picture["log"]
        equal(answer.readline(), b"\n", "end of an event")
    assert lines, "no lines of the log"
    equal(lines, daemon.get("/log")["lines"][: len(lines)], "lines of the log, each once")
    (job,) = daemon.jobs("photos", "quarantined")
    equal(job["source"], EVIL, "what the page shows as text")
    daemon.stop()
    connection.close()


@test
def the_history_outlives_the_daemon(ws):
    daemon = Daemon(ws)
    daemon.dataset("photos")
    ws.small_pictures(3, folder=ws.path("photos"))

    def images(series):
        return sum(stretch["images"] for stretch in daemon.get("/history")[series]["stretches"])

    daemon.start()
    daemon.wait_for("photos", finished=3)
    daemon.wait(lambda: images("hour") == images("day") == 3, "three images in the history")
    daemon.stop()
    daemon.start()
    equal((images("hour"), images("day")), (3, 3), "images before and after the restart")
    ws.small_pictures(2, folder=ws.path("photos"), first=3)
    daemon.wait_for("photos", finished=5)
    daemon.wait(lambda: images("hour") == images("day") == 5, "five images in the history")
    last = daemon.get("/history")["hour"]["stretches"][-1]
    equal(last["todo"], 0, "images to do")
    daemon.stop()


@test
def further_listeners_are_told_to_come_later(ws):
    daemon = with_tcp(ws)
    port = start(daemon)
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), 60)
            stack.callback(connection.close)
            connection.request("GET", "/api/v1/events")
            equal(connection.getresponse().status, 200, "status")
        equal(ask(port, "GET", "/api/v1/events")[0], 503, "status of one too many")
        equal(ask(port, "GET", "/api/v1/status")[0], 200, "others")
    daemon.stop()


# -- other machines


@test
def an_address_that_others_reach_wants_a_token_and_tls(ws):
    daemon = with_tcp(ws)
    api = daemon.config["api"]
    for address in ("127.0.0.1", "example.org:x", "::1:80", ":80"):
        api["listen"] = address
        one_line(daemon.command("--check-config", code=USAGE), "listen", "HOST:PORT")
    others = ("0.0.0.0:8190", "[::]:8190", "192.168.1.2:80", "example.org:80", "127.0.0.1.nip.example:80")
    for address in others:
        api["listen"] = address
        one_line(daemon.command("--check-config", code=USAGE), address, "tls_cert", "behind_proxy")
        api["behind_proxy"] = True
        daemon.command("--check-config")
        del api["token_file"]
        one_line(daemon.command("--check-config", code=USAGE), address, "token_file")
        del api["behind_proxy"]
        api["token_file"] = ws.path("token")
    api["tls_cert"] = ws.path("token")
    one_line(daemon.command("--check-config", code=USAGE), "tls_cert and tls_key", "both or none")
    api["tls_key"] = ws.path("nowhere")
    one_line(daemon.command("--check-config", code=USAGE), "tls_key", "nowhere: No such file")
    api["tls_key"] = ws.path("token")
    api["listen"] = "127.0.0.1:0"
    one_line(daemon.command(code=USAGE), "tls_cert and tls_key", "belong together")
    api["token_file"] = ws.path("nowhere")
    one_line(daemon.command("--check-config", code=USAGE), "token_file", "nowhere: No such file")
    api["token_file"] = ws.path("token")
    os.chmod(ws.path("token"), 0o644)
    one_line(daemon.command("--check-config", code=USAGE), "token_file", "chmod 600")
    one_line(daemon.command(code=USAGE), "token_file", "chmod 600")
    os.chmod(ws.path("token"), 0o640)
    del api["tls_cert"], api["tls_key"]
    daemon.command("--check-config")
    api["hosts"] = ["latents.example.org:443"]
    one_line(daemon.command("--check-config", code=USAGE), "hosts", "without a port")


class Encrypted(http.client.HTTPConnection):
    """To a server whose certificate is in @trust, by what @connect makes."""

    def __init__(self, trust, connect):
        super().__init__("localhost", timeout=60)
        self.connect_to = connect
        self.tls = ssl.create_default_context(cafile=trust)

    def connect(self):
        self.sock = self.tls.wrap_socket(self.connect_to(), server_hostname="localhost")


def talk(connection, method, path, body=None, **headers):
    """(status, headers, body, but of events the first line)"""
    with contextlib.closing(connection):
        connection.request(
            method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        endless = answer.headers["Content-Type"] == "text/event-stream"
        text = answer.readline() if endless else answer.read()
        return answer.status, answer.headers, text.decode()


def port_of(daemon, url):
    return int(re.search(re.escape(url) + r":(\d+)/", daemon.says("dashboard at ")).group(1))


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@test
def others_read_with_the_token_over_tls_and_change_with_it_alone(ws):
    daemon = with_tcp(ws)
    cert, key = certificate(ws, "api")
    daemon.config["api"].update(listen="0.0.0.0:0", tls_cert=cert, tls_key=key)
    daemon.config["api"]["hosts"] = ["latents.example.org"]
    daemon.start()
    port = port_of(daemon, "https://0.0.0.0")

    def there(*words, **headers):
        connect = lambda: socket.create_connection(("127.0.0.1", port), 60)
        return talk(Encrypted(cert, connect), *words, **headers)

    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port), 60) as plain:
        try:
            old.wrap_socket(plain)
            raise AssertionError("TLS 1.1 is spoken")
        except (ssl.SSLError, OSError):
            pass
    token, person = f"Bearer {TOKEN}", basic("latentd", TOKEN)
    for path in ("/", "/dashboard.js", "/healthz", "/metrics", "/api/v1/status", "/api/v1/events"):
        status, headers, text = there("GET", path)
        equal(status, 401, f"{path} without the token")
        assert "Basic" in str(headers.get_all("WWW-Authenticate")), headers
        assert TOKEN not in text, text
    for path in ("/", "/healthz", "/metrics", "/api/v1/status"):
        for given in (token, person):
            equal(there("GET", path, Authorization=given)[0], 200, f"{path} with {given}")
        for given in ("Bearer x", basic("latentd", "x"), basic("root", TOKEN), basic("", ""), TOKEN):
            equal(there("GET", path, Authorization=given)[0], 401, f"{path} with {given}")
    # a browser sends Basic by itself, whatever page made it: not enough for a change
    pause = ("POST", "/api/v1/datasets/photos/pause", "{}")
    status, headers, _ = there(*pause, Authorization=person)
    equal((status, headers.get_all("WWW-Authenticate")), (401, ["Bearer"]), "a change with Basic")
    mine = "https://latents.example.org"
    equal(there(*pause, Authorization=token, Origin="https://evil.example")[0], 403, "another page")
    equal(there(*pause, Authorization=token, Origin=mine, Host=mine[8:])[0], 200, "a change")
    for host in ("latents.example.org", "Latents.example.org:8190", "192.168.1.2:8190", "[fe80::1]"):
        equal(there("GET", "/healthz", Authorization=token, Host=host)[0], 200, host)
    for host in ("evil.example", "x.latents.example.org", "192.168.1.2.evil.example", "[fe80::x]"):
        equal(there("GET", "/healthz", Authorization=token, Host=host)[0], 403, host)
    daemon.stop()


@test
def what_a_proxy_says_of_its_clients_is_not_believed(ws):
    daemon = with_tcp(ws)
    daemon.config["api"].update(behind_proxy=True)
    port = start(daemon)
    says = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    says |= {"X-Forwarded-Host": "localhost", "X-Forwarded-User": "root"}
    equal(ask(port, "GET", "/api/v1/status", **says)[0], 401, "without the token")
    says["Authorization"] = f"Bearer {TOKEN}"
    equal(ask(port, "GET", "/api/v1/status", **says)[0], 200, "with the token")
    equal(ask(port, "GET", "/api/v1/status", Host="evil.example", **says)[0], 403, "a name")
    daemon.stop()


def nginx_of_the_manual(ws, port):
    """nginx with what docs/API.md has for it, at a socket of its own: (words, socket, certificate)"""
    with open(os.path.join(SOURCE_DIR, "docs", "API.md"), encoding="utf-8") as manual:
        (server,) = re.findall(r"```nginx\n(.*?)```", manual.read(), re.DOTALL)
    cert, key = certificate(ws, "latents")
    mine = ws.path("nginx.sock")
    changes = {"listen 443 ssl;": f"listen unix:{mine} ssl;", "127.0.0.1:8190": f"127.0.0.1:{port}"}
    changes |= {"/etc/ssl/latents.pem": cert, "/etc/ssl/private/latents.key": key}
    for old, new in changes.items():
        assert old in server, f"{old!r} is not in docs/API.md"
        server = server.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {ws.path(kind)}; " for kind in kinds)
    text = f"daemon off; master_process off; error_log stderr; pid {ws.path('nginx.pid')}; events {{}}\n"
    text += f"http {{ access_log off; {paths}\n{server}\n}}\n"
    file = ws.write("nginx.conf", text.encode(), ws.root)
    return ["nginx", "-e", "stderr", "-p", ws.root, "-c", file], mine, cert


@test
def nginx_stands_in_front_as_the_manual_has_it(ws):
    path = os.environ["PATH"] + ":/usr/sbin"
    if not shutil.which("nginx", path=path):
        raise Skip("there is no nginx (nginx-light)")
    daemon = with_tcp(ws)
    daemon.config["api"].update(hosts="latents.example.org", behind_proxy=True)
    words, mine, cert = nginx_of_the_manual(ws, start(daemon))
    log = open(ws.path("nginx.log"), "wb")
    proxy = subprocess.Popen(words, env={**os.environ, "PATH": path}, stderr=log)
    ws.at_end.append(lambda: (proxy.kill(), proxy.wait(), log.close()))

    def connect():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(mine)
        return s

    def there(*words, **headers):
        headers = {"Host": "latents.example.org", **headers}
        return talk(Encrypted(cert, connect), *words, **headers)

    def answers():
        assert proxy.poll() is None, f"nginx has ended: see {log.name}"
        with contextlib.suppress(OSError):
            return there("GET", "/healthz")[0]
        return None

    equal(daemon.wait(answers, "nginx to answer"), 401, "who has no token")
    person, token = basic("latentd", TOKEN), f"Bearer {TOKEN}"
    equal(there("GET", "/", Authorization=person)[0], 200, "the page")
    status, _, line = there("GET", "/api/v1/events", Authorization=person)
    equal((status, line[:6]), (200, "data: "), "events come when they are sent")
    pause = ("POST", "/api/v1/datasets/photos/pause", "{}")
    equal(there(*pause, Authorization=person)[0], 401, "a change as a browser sends it by itself")
    equal(there(*pause, Authorization=token, Origin="https://evil.example")[0], 403, "another page")
    status, _, text = there(*pause, Authorization=token, Origin="https://latents.example.org")
    equal(status, 200, f"a change: {text}")
    daemon.wait_for_state("paused", "photos")
    daemon.stop()


# -- in a browser


@test
def a_person_sees_what_goes_on_and_steers(ws):
    daemon = with_tcp(ws)
    ws.small_pictures(2, folder=ws.path("photos"))
    ws.write(EVIL, b"no picture", ws.path("photos"))
    with Browser(ws) as page:
        port = start(daemon)
        daemon.wait_for("photos", finished=2, quarantined=1)
        page.open(f"http://localhost:{port}/")
        page.wait("document.querySelectorAll('#stages tr').length === 6")
        equal(page.run("document.querySelector('#state').textContent"), "running", "state")
        # the file's name is text, wherever it stands
        page.wait("document.querySelector('#failures details') !== null")
        page.run("document.querySelector('#failures summary').click()")
        page.wait("document.querySelector('#failures li') !== null")
        shown = page.run("document.querySelector('#failures li').firstChild.textContent")
        equal(shown.strip(), EVIL, "name of the failed file")
        equal(page.run("document.querySelectorAll('script').length"), 3, "scripts")
        # what was said comes as text too, and once
        page.wait("document.querySelector('#log .warning') !== null")
        log = "[...document.querySelectorAll('#log li')].map((e) => e.textContent)"
        equal(len([t for t in page.run(log) if "photos: " + EVIL in t]), 1, "lines about it")
        daemon.post("/reload")
        page.wait("document.querySelector('#log').textContent.includes('read again: 0 changes')")
        # without the token a click says why nothing happens
        page.run("document.querySelector('.dataset button').click()")
        page.wait("document.querySelector('#message').textContent.includes('token')")
        equal(daemon.about("photos")["state"] != "paused", True, "not paused")
        page.errors.clear()  # the browser reports the 401
        page.run(
            f"document.querySelector('#token').value = '{TOKEN}';"
            "document.querySelector('#token-form button').click()"
        )
        # by keyboard, which stays where it is
        page.run("document.querySelector('.dataset button').focus()")
        press(page, "Enter", 13)
        page.wait("document.querySelector('.dataset button').textContent === 'Resume'")
        page.wait("document.querySelector('.dataset button').ariaDisabled === null")
        equal(page.run("document.activeElement.textContent"), "Resume", "where the keyboard is")
        equal(daemon.about("photos")["state"], "paused", "state")
        # as wide as it is, and everything has a name
        for width in (400, 1280):
            page.size(width, 900)
            wide = page.run("document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} wide on a screen of {width}"
        nameless = "[...document.querySelectorAll('button, input, img, svg, progress, ul')].filter("
        nameless += "(e) => !(e.textContent.trim() || e.getAttribute('aria-label')"
        nameless += " || e.labels?.length || e.classList.contains('list'))).length"
        equal(page.run(nameless), 0, "elements that a screen reader cannot name")
        equal(page.errors, [], "errors in the browser's console")
    daemon.stop()


@test
def what_is_wrong_stands_on_the_page_with_what_to_do(ws):
    daemon = with_tcp(ws)
    (photos,) = daemon.config["datasets"]
    ws.small_pictures(3, folder=ws.path("photos"))
    with Browser(ws) as page:
        page.size(1280, 900)
        port = start(daemon)
        daemon.wait_for("photos", finished=3)
        daemon.wait_for_state("idle", "photos")
        page.open(f"http://localhost:{port}/")
        page.wait("document.querySelectorAll('#stages tr').length === 6")
        page.wait("document.querySelector('#limit').textContent === 'There is nothing to do.'")
        problems = "[...document.querySelectorAll('#problems li')].map((e) => e.textContent)"
        unconfined = daemon.status()["daemon"]["decode_warning"]  # as in some containers
        equal(page.run(problems), [unconfined] if unconfined else [], "problems")
        equal(page.run(WRONG), [], "roles")
        again = "[...document.querySelectorAll('.dataset button')].find((b) => b.textContent === 'Try again')"
        assert page.run(f"{again}.hidden"), "there is nothing to try again"
        # settings that are wrong, then a source that vanishes
        photos["priority"] = "high"
        daemon.write()
        daemon.post("/reload", code=409)
        problem = "document.querySelector('#problems').textContent.includes"
        page.wait(f"{problem}('reload failed, the old settings are in force: ')")
        equal(page.run("document.querySelector('#state').textContent"), "running", "state")
        os.rename(ws.path("photos"), ws.path("away"))
        page.wait(f"{problem}('No such file or directory: it is waited for; mount it, or mend its path')")
        page.wait("document.querySelector('#state').textContent === 'running, not healthy'")
        page.wait("document.querySelector('#limit').textContent === ''")
        equal(page.run(f"{again}.hidden"), False, "whether it can be tried again")
        # what is read out is what is new: the lines stay the same elements
        page.run("document.querySelector('#problems').firstChild.mark = 1; window.seen = last; 0")
        page.wait("window.seen !== last")
        equal(page.run("document.querySelector('#problems').firstChild.mark"), 1, "the first line")
        equal(page.run(WRONG), [], "roles")
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            equal(page.run(PALE), [], f"text that can hardly be read, {scheme}")
        page.size(400, 900)
        wide = page.run("document.documentElement.scrollWidth")
        assert wide <= 400, f"the page is {wide} wide on a screen of 400"
        os.rename(ws.path("away"), ws.path("photos"))
        page.wait("document.querySelector('#state').textContent === 'running'")
        equal(page.errors, [], "errors in the browser's console")
    daemon.stop()


@test
def a_page_that_was_sent_away_comes_back_by_itself(ws):
    daemon = with_tcp(ws)
    with contextlib.ExitStack() as listeners, Browser(ws) as page:
        port = start(daemon)
        for _ in range(16):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), 60)
            listeners.callback(connection.close)
            connection.request("GET", "/api/v1/events")
            equal(connection.getresponse().status, 200, "status")
        page.open(f"http://localhost:{port}/")
        page.wait("document.querySelector('#state')?.textContent.startsWith('the daemon does not answer')")
        listeners.close()
        page.wait("document.querySelector('#state').textContent === 'running'")
    daemon.stop()


@test
def what_is_stored_is_seen_with_pictures_and_history(ws):
    daemon = with_tcp(ws)
    ws.small_pictures(3, folder=ws.path("photos"))
    ws.write("empty.jpg", b"", ws.path("photos"))
    with Browser(ws) as page:
        page.size(1280, 900)
        port = start(daemon)
        daemon.wait_for("photos", finished=3, quarantined=1)
        daemon.drain("photos")
        page.open(f"http://localhost:{port}/")
        page.wait("document.querySelectorAll('#samples img').length === 3")
        page.run("document.querySelector('#samples').scrollIntoView()")
        page.wait("[...document.querySelectorAll('#samples img')].every((i) => i.complete && i.naturalWidth > 0)")
        equal(page.run(WRONG), [], "roles")
        # latents of the fake encoder are of no colours; that there are sources is said by the daemon alone
        colors = "(await fetch(document.querySelector('#samples img').src, { method: 'HEAD' })).headers.get('Latentd-Colors')"
        told = page.run(f"(async () => {colors})()")
        page.wait(f"document.querySelector('.false-colors').hidden === {json.dumps(told == 'fitted')}")
        shards = daemon.get("/datasets/photos/shards")["shards"]
        equal(page.run("document.querySelectorAll('#shards tr').length"), len(shards), "shards")
        page.wait("document.querySelector('#todo-chart svg') !== null")
        label = page.run("document.querySelector('#rate-chart svg').getAttribute('aria-label')")
        assert label.startswith("Images a second, last hour: now "), label
        # by keyboard alone: from the top to the day's charts
        page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
        for _ in range(10):
            press(page, "Tab", 9)
            if page.run("document.activeElement.id") == "show-day":
                break
        equal(page.run("document.activeElement.id"), "show-day", "where Tab leads")
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        equal(outline, "solid", "that it is seen where one is")
        press(page, "Enter", 13)
        page.wait("document.querySelector('#show-day').getAttribute('aria-pressed') === 'true'")
        page.wait("document.querySelector('#rate-chart svg').getAttribute('aria-label').includes('last day')")
        # the failed one is opened, tried again by a click, and found failed once more
        page.wait("document.querySelector('#failures details') !== null")
        page.run("document.querySelector('#failures summary').click()")
        page.wait("document.querySelector('#failures li') !== null")
        page.run(f"document.querySelector('#token').value = '{TOKEN}'; document.querySelector('#token-form button').click()")
        page.run("document.querySelector('#failures details button').click()")
        page.wait("document.querySelector('#message').textContent === 'retry: done (1)'")
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            equal(page.run(PALE), [], f"text that can hardly be read, {scheme}")
        for width in (400, 1280):
            page.size(width, 900)
            wide = page.run("document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} wide on a screen of {width}"
        equal(page.errors, [], "errors in the browser's console")
    daemon.stop()


@test
def thousands_of_failures_are_listed_by_and_by(ws):
    daemon, many = with_tcp(ws), 2000 if sanitized() else 10000
    folder = ws.path("photos")
    for i in range(many):
        with open(os.path.join(folder, f"{i:05d}.jpg"), "wb") as file:
            os.utime(file.fileno(), (1e9, 1e9))
    with Browser(ws) as page:
        port = start(daemon)
        daemon.wait_for("photos", quarantined=many)
        page.open(f"http://localhost:{port}/")
        page.wait("document.querySelector('#failures details') !== null")
        page.wait(f"document.querySelector('#failures summary').textContent.endsWith('{many:,}')")
        page.run("document.querySelector('#failures summary').click()")
        page.wait("document.querySelectorAll('#failures li').length === 200")
        for n in (400, 600):
            page.run("document.querySelector('#failures details > div button').click()")
            page.wait(f"document.querySelectorAll('#failures li').length === {n}")
        # a daemon that is slow to list them is not asked again meanwhile
        never = "window.asked = 0; window.fetch = () => { window.asked++; return new Promise(() => {}); };"
        equal(page.run(f"{never} ['a', 'b'].forEach((key) => drawFailures(key, last.datasets)); window.asked"), 1, "questions")
        equal(page.errors, [], "errors in the browser's console")
    daemon.stop()


if __name__ == "__main__":
    run_tests()
