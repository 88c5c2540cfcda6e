#!/usr/bin/env python3
"""A bucket that is far away: every answer comes after some time, all bodies share one line, and each
connection has its own pace. It keeps names, sizes and hashes only.

    slow_store.py --latency-ms 200 --megabytes-per-s 50 COMMAND...     runs it with AWS_* and S3_TEST_URL of the store
        [--each-megabytes-per-s 20]                                    of one connection
"""

import argparse
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse


class Line:
    def __init__(self, rate):
        self.rate, self.free_at, self.lock = rate, 0.0, threading.Lock()

    def carry(self, size):
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + size / self.rate
            until = self.free_at
        time.sleep(max(0.0, until - time.monotonic()))


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects, uploads, lock = {}, {}, threading.Lock()
    latency, line, each = 0.0, None, 0.0

    def setup(self):
        super().setup()
        self.own = Line(self.each)

    def log_message(self, *_):
        pass

    def take(self):
        left = size = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 20))
            self.line.carry(len(piece))
            self.own.carry(len(piece))
            left -= len(piece)
        return size

    def answer(self, status=200, body="", **headers):
        time.sleep(self.latency)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def split(self):
        path, _, query = self.path.partition("?")
        return path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def do_HEAD(self):
        path, _ = self.split()
        if path not in self.objects:
            return self.answer(404)
        size, sha256 = self.objects[path]
        return self.answer(Content_Length=str(size), ETag='"e"', x_amz_meta_sha256=sha256)

    def do_GET(self):
        self.answer(body="<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

    def do_PUT(self):
        path, query = self.split()
        size, sha256 = self.take(), self.headers.get("x-amz-meta-sha256", "")
        with self.lock:
            if "uploadId" in query:
                self.uploads[query["uploadId"]][0] += size
            else:
                self.objects[path] = (size, sha256)
        self.answer(ETag='"e"')

    def do_POST(self):
        path, query = self.split()
        self.take()
        with self.lock:
            if "uploads" in query:
                name = f"u{len(self.uploads)}"
                self.uploads[name] = [0, self.headers.get("x-amz-meta-sha256", "")]
                body = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            else:
                self.objects[path] = tuple(self.uploads[query["uploadId"]])
                body = "<CompleteMultipartUploadResult/>"
        self.answer(body=body)

    def do_DELETE(self):
        self.answer(204)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=200)
    parser.add_argument("--megabytes-per-s", type=float, default=50)
    parser.add_argument("--each-megabytes-per-s", type=float, default=float("inf"))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    Store.latency, Store.line = options.latency_ms / 1000, Line(options.megabytes_per_s * 1e6)
    Store.each = options.each_megabytes_per_s * 1e6
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    clean = {name: value for name, value in os.environ.items() if not re.match(r"AWS_|.*_proxy$", name, re.IGNORECASE)}
    clean.update(
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.server_port}",
        S3_TEST_URL="s3://far",
    )
    return subprocess.run(options.command, env=clean, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
