#!/usr/bin/env python3
"""bucket_figures.py BUILD PHOTO.jpg [N [LATENCY_MS]]: what images in a bucket cost, as objects and in archives.

N (400) images, each PHOTO with a comment of its own, as objects, in a tar, a zip and a tar.gz, from a store in memory whose every answer takes
LATENCY_MS (20) longer. For each: requests and bytes for an image, images a second and CPU of `latentctl encode` with the fake encoder,
all of a run from its list to its shards. The store is Python: at some 500 requests a second it is what is measured. For docs/benchmarks.md.
"""

import hashlib
import http.server
import io
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
import zipfile
from xml.sax.saxutils import escape

BUILD, PHOTO = os.path.abspath(sys.argv[1]), open(sys.argv[2], "rb").read()
N, LATENCY_S = int((sys.argv[3:] or [400])[0]), float((sys.argv[4:] or [20])[0]) / 1000


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects, lock, requests, sent = {}, threading.Lock(), 0, 0

    def log_message(self, *_):
        pass

    def say(self, status, body, **headers):
        with Store.lock:
            Store.requests, Store.sent = Store.requests + 1, Store.sent + len(body)
        time.sleep(LATENCY_S)
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        key = urllib.parse.unquote(path)[len("/b/") :]
        if not key:
            return self.list(dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
        data, tag = self.objects[key]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted:
            return self.say(200, data, ETag=tag)
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        return self.say(206, data[first : last + 1], ETag=tag, Content_Range=f"bytes {first}-{last}/{len(data)}")

    def list(self, query):
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = sorted(key for key in self.objects if key > after)
        items = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.objects[key][1])}</ETag><Size>{len(self.objects[key][0])}</Size></Contents>"
            for key in keys[:1000]
        )
        more = f"<NextContinuationToken>{keys[999]}</NextContinuationToken>" if len(keys) > 1000 else ""
        cut = str(len(keys) > 1000).lower()
        self.say(200, f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{items}</ListBucketResult>".encode())


def tar(members, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def encode(objects, url):
    Store.objects = {key: (data, f'"{hashlib.md5(data).hexdigest()}"') for key, data in objects}
    Store.requests = Store.sent = 0
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
    }
    with tempfile.TemporaryDirectory() as out:
        words = [f"{BUILD}/daemon/latentctl", "encode", "s3://b", "--out", out, "--vae", "fake", "--resolution", "256"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        run = subprocess.run(words, env=environment, capture_output=True, text=True)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode != 0:
        sys.exit(f"latentctl encode ended with {run.returncode}: {run.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Store.requests / N, Store.sent / N / len(PHOTO), N / wall, cpu / N * 1000


def main():
    http.server.ThreadingHTTPServer.request_queue_size = 256
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    comment = lambda i: b"\xff\xfe\x00\x0a" + b"%08d" % i
    members = [(f"{i:05}.jpg", PHOTO[:2] + comment(i) + PHOTO[2:]) for i in range(N)]
    print(f"{N} images of {len(PHOTO)} bytes, {LATENCY_S * 1000:g} ms an answer")
    for kind, objects in (
        ("objects", members),
        ("tar", [("0.tar", tar(members, "w"))]),
        ("zip", [("0.zip", zipped(members))]),
        ("tar.gz", [("0.tar.gz", tar(members, "w:gz"))]),
    ):
        requests, sent, rate, cpu = encode(objects, url)
        print(f"{kind:8} {requests:6.2f} requests {sent:5.2f} x its bytes {rate:7.1f} images/s {cpu:6.2f} ms of CPU an image")


if __name__ == "__main__":
    main()
