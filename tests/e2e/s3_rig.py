#!/usr/bin/env python3
"""A real S3 server (OpenStack Swift, swift_server.py), a client of its own that looks into buckets, and a proxy that does harm.

    server = S3Server(folder)            Skip where Swift is not installed
    bucket = server.bucket("latents")
    bucket.keys("prefix/"), bucket.get(key), bucket.put(key, data)
    proxy = Proxy(server)                proxy.url; proxy.harm = lambda request: ...
    environment = server.environment(proxy.url)

A harm is called for each request, on its thread, with .method, .target, .headers and .number (from 1) and gives None to let it
pass, or one of:

    (503, "SlowDown")            this status with an <Error> of this code; with a third item as the reply's Date
    "reset"                      the connection is closed before the server is asked
    "lost"                       the server is asked, and the connection closed instead of its answer
    a function                   the server is asked, and this called; then as "lost"
    ("fault", "InternalError")   the server is asked; the answer is a 200 with an <Error>

    s3_rig.py run COMMAND...     runs it with a server in its environment: AWS_*, and S3_TEST_URL=s3://BUCKET
"""

import datetime
import hashlib
import hmac
import http.client
import http.server
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse

KEY_ID, SECRET, REGION = "test:tester", "testing", "us-east-1"
BEGINS_WITHIN_S = 300


class Missing(Exception):
    """No such server here."""


def signed(method, target, host, body=b"", now=None):
    """Headers of Signature Version 4, written from Amazon's description and not from ours."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    path, _, query = target.partition("?")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": time}
    names = ";".join(sorted(headers))
    pairs = sorted(p if "=" in p else p + "=" for p in query.split("&") if p)
    canonical = "\n".join(
        [method, path, "&".join(pairs), *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, digest]
    )
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in [day, REGION, "s3", "aws4_request", text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": "AWS4-HMAC-SHA256 " + credential}


class Bucket:
    def __init__(self, server, name):
        self.server, self.name = server, name

    def ask(self, method, key="", query="", body=b""):
        target = "/" + urllib.parse.quote(f"{self.name}/{key}".rstrip("/"), safe="/-._~")
        target += "?" + query if query else ""
        connection = http.client.HTTPConnection(self.server.host, timeout=BEGINS_WITHIN_S)
        try:
            headers = signed(method, target, self.server.host, body, self.server.now())
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        assert reply.status < 300, f"{method} {target}: {reply.status} {text}"
        return text

    def keys(self, prefix=""):
        query, more, keys = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="-._~"), "", []
        while more is not None:
            text = self.ask("GET", query=query + more).decode()
            keys += re.findall("<Key>(.*?)</Key>", text)
            token = re.search("<NextContinuationToken>(.*?)</NextContinuationToken>", text)
            more = "&continuation-token=" + urllib.parse.quote(token[1], safe="-._~") if token else None
        return keys

    def uploads(self):
        return re.findall("<Key>(.*?)</Key>", self.ask("GET", query="uploads=").decode())

    def get(self, key):
        return self.ask("GET", key)

    def put(self, key, data):
        self.ask("PUT", key, body=data)

    def delete(self, key):
        self.ask("DELETE", key)


class S3Server:
    """@ahead_s: of its clock before ours."""

    def __init__(self, folder, ahead_s=0):
        program = os.path.join(os.path.dirname(os.path.realpath(__file__)), "swift_server.py")
        python = "/usr/bin/python3"  # that Swift's packages are for
        if not os.path.exists(python):
            raise Missing("no /usr/bin/python3")
        os.makedirs(folder, exist_ok=True)
        try:
            os.setxattr(folder, "user.swift", b"1")
        except OSError as error:
            raise Missing(f"Swift needs user attributes, which {folder} cannot have: {error.strerror}") from None
        self.ahead = datetime.timedelta(seconds=ahead_s)
        self.stderr = os.path.join(folder, "stderr")
        with open(self.stderr, "w") as err:
            self.process = subprocess.Popen(
                [python, program, folder, str(ahead_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self.url = self.process.stdout.readline().strip()
        if not self.url.startswith("http"):
            code = self.process.wait()
            if code == 77:
                raise Missing(self.url)
            raise AssertionError(f"{program} ended with {code}: {open(self.stderr).read()}")
        self.host = self.url[len("http://") :]

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + self.ahead

    def bucket(self, name):
        bucket = Bucket(self, name)
        bucket.ask("PUT")
        return bucket

    def environment(self, url=None, **other):
        """Of a program that uses it, and nothing that the machine itself may have."""
        return {
            "AWS_ENDPOINT_URL_S3": url or self.url,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            **other,
        }

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Request:
    def __init__(self, handler, number, body):
        self.method, self.target = handler.command, handler.path
        self.headers, self.number, self.body = handler.headers, number, body

    @property
    def path(self):
        return urllib.parse.unquote(self.target.partition("?")[0])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fault(self, status, code, *date):
        text = f"<Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
        headers = [("Content-Length", str(len(text)))]
        self.answer(status, headers + [("Date", value) for value in date], text)

    def hang_up(self):
        self.close_connection = True

    def pass_on(self, body):
        connection = http.client.HTTPConnection(self.server.to, timeout=BEGINS_WITHIN_S)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        leave = ("transfer-encoding", "connection", "content-length")
        headers = [(n, v) for n, v in reply.getheaders() if n.lower() not in leave]
        length = reply.getheader("content-length") if self.command == "HEAD" else str(len(text))
        return reply.status, [*headers, ("Content-Length", length or "0")], text

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        harm = self.server.proxy.judge(self, body)
        if harm == "reset":
            return self.hang_up()
        if isinstance(harm, tuple) and harm[0] != "fault":
            return self.fault(*harm)
        answer = self.pass_on(body)
        if callable(harm):
            harm()
        if harm == "lost" or callable(harm):
            return self.hang_up()
        if harm:
            return self.fault(200, harm[1])
        return self.answer(*answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words):
        """Clients that are killed hang up."""


class Proxy:
    def __init__(self, server, address="127.0.0.1"):
        self.httpd = Listener((address, 0), Handler)
        self.httpd.to, self.httpd.proxy = server.host, self
        self.url = f"http://{address}:{self.httpd.server_address[1]}"
        self.lock, self.harm, self.asked = threading.Lock(), lambda request: None, []
        self.thread = threading.Thread(target=self.httpd.serve_forever, daemon=True)
        self.thread.start()

    def judge(self, handler, body):
        with self.lock:
            request = Request(handler, len(self.asked) + 1, body)
            self.asked.append(request)
            harm = self.harm
        return harm(request)

    def sent(self, method, part=""):
        with self.lock:
            return [r for r in self.asked if r.method == method and part in r.target]

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


def run(command):
    with tempfile.TemporaryDirectory() as folder:
        try:
            server = S3Server(folder)
        except Missing as why:
            print(why)
            return 77
        try:
            server.bucket("contract")
            url = {"S3_TEST_URL": "s3://contract"}
            plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
            return subprocess.call(command, env={**plain, **server.environment(), **url})
        finally:
            server.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(run(sys.argv[2:]))
