"""A Chromium without a window, driven over its DevTools protocol with the standard library alone.

    with Browser(ws) as page:
        page.open("http://127.0.0.1:8190/")
        page.wait("document.title === 'latentd'")
        page.run("document.querySelector('button').click()")
"""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess

from harness import HANGS_AFTER_S, Skip, wait_until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def _runs(program):
    """Ubuntu has a program of that name which only tells that there is a snap."""
    if not shutil.which(program):
        return False
    done = subprocess.run([program, "--version"], capture_output=True, timeout=300)
    return done.returncode == 0


def _evaluation(script):
    return {"expression": script, "returnByValue": True, "awaitPromise": True}


class Browser:
    def __init__(self, ws):
        self.program = next(filter(_runs, PROGRAMS), None)
        if not self.program:
            raise Skip("no Chromium is installed: the dashboard is not seen in a browser")
        self.log, self.number, self.errors = ws.path("browser.log"), 0, []
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
                + ["--remote-debugging-port=0", f"--user-data-dir={ws.path('browser')}"]
                + ["about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": ws.root},
            )
        try:
            port = wait_until(self._port, "the browser to listen")
            self.socket = self._connect(port, wait_until(lambda: self._page(port), "its page"))
        except BaseException:
            self.close()
            raise
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()

    # -- finding it

    def _port(self):
        assert self.process.poll() is None, "the browser ended"
        with open(self.log, encoding="utf-8", errors="replace") as log:
            found = re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", log.read())
        return int(found.group(1)) if found else None

    def _page(self, port):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 60)) as connection:
            connection.request("GET", "/json/list")
            pages = json.loads(connection.getresponse().read())
        urls = [page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"]
        return urls[0] if urls else None

    def _connect(self, port, url):
        connection = socket.create_connection(("127.0.0.1", port), HANGS_AFTER_S)
        path = url.split(f":{port}", 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.file = connection.makefile("rb")
        line = self.file.readline()
        assert b" 101 " in line, line
        while self.file.readline() != b"\r\n":
            pass
        return connection

    # -- messages: text frames, masked as a client's have to be

    def _send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = len(data)
        head = struct.pack("!BB", 0x81, 0x80 | min(size, 126)) if size < 126 else b""
        if size >= 126:
            short = size < 65536
            head = struct.pack("!BBH" if short else "!BBQ", 0x81, 0xFE if short else 0xFF, size)
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def _receive(self):
        text = b""
        while True:
            first, second = self.file.read(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self.file.read(2 if size == 126 else 8), "big")
            piece = self.file.read(size)
            if first & 0x0F in (0, 1):
                text += piece
                if first & 0x80:
                    return json.loads(text)

    def call(self, method, **params):
        message = self._ask(method, **params)
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def _ask(self, method, **params):
        self.number += 1
        self._send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = self._receive()
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:500])
            elif message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            if message.get("id") == self.number:
                return message

    # -- what tests do

    def open(self, url):
        """Until the page is there: before, scripts may still run in the one that was there before it."""
        self.call("Page.navigate", url=url)
        at = f"document.readyState === 'complete' && location.href === {json.dumps(url)}"
        wait_until(lambda: self._ask("Runtime.evaluate", **_evaluation(at)).get("result", {}).get("result", {}).get("value"), f"{url} in the browser")

    def run(self, script):
        answer = self.call("Runtime.evaluate", **_evaluation(script))
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, condition):
        return wait_until(lambda: self.run(condition), f"{condition} in the browser")

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path):
        with open(path, "wb") as file:
            shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
            file.write(base64.b64decode(shot["data"]))
