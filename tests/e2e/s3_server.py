"""A bucket on a web server for tests of what is read from one: lists and objects of a folder, for requests that are signed rightly.

Signatures are checked by what Amazon's description of Signature Version 4 says, with code of its own. What a real server
does is tested where shards are stored.
"""

import hashlib
import hmac
import os
import re
import urllib.parse
from xml.sax.saxutils import escape

from url_server import Server

KEY_ID, SECRET, REGION, BUCKET = "AKIDTEST", "secret/of+tests", "eu-test-1", "pictures"
PAGE = 3  # objects, so that small folders have several pages


def _digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def is_signed(h):
    """Whether the request of handler @h carries a signature of ours."""
    found = re.match(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)$",
        h.headers.get("Authorization", ""),
    )
    if not found or found[1] != KEY_ID or found[3] != REGION:
        return False
    path, _, query = h.path.partition("?")
    pairs = sorted(p if "=" in p else p + "=" for p in query.split("&") if p)
    headers = [f"{name}:{h.headers[name].strip()}" for name in found[4].split(";")]
    canonical = "\n".join([h.command, path, "&".join(pairs), *headers, "", found[4], h.headers["x-amz-content-sha256"]])
    scope = f"{found[2]}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", h.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in (found[2], REGION, "s3", "aws4_request"):
        key = _digest(key, part)
    return hmac.compare_digest(_digest(key, text).hex(), found[5])


class S3Server(Server):
    """
    `ways` are of keys; what is not signed rightly is refused before. `ranges` are those that were given, (first, last), `fails`
    says of which requests for ranges, by their number, there is a 503 instead, and `before` is called before each.
    """

    def __init__(self, folder):
        super().__init__(folder)
        self.knows_ranges, self.ranges, self.wanted = True, [], 0
        self.fails, self.before = lambda number: False, lambda: None
        self.environment = {
            "AWS_ENDPOINT_URL_S3": self.url.rstrip("/"),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def fault(self, h, status, code):
        h.say(status, f"<Error><Code>{code}</Code><Message>of the test</Message></Error>".encode())

    def answer(self, h):
        path, _, query = h.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
        if not is_signed(h):
            self.fault(h, 403, "SignatureDoesNotMatch")
        elif bucket != BUCKET:
            self.fault(h, 404, "NoSuchBucket")
        elif not key:
            self.list(h, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
        elif key in self.ways:
            self.ways[key](h)
        elif not os.path.isfile(os.path.join(self.folder, key)):
            self.fault(h, 404, "NoSuchKey")
        else:
            self.say_object(h, key)

    def say_object(self, h, key):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", h.headers.get("Range", "")) if self.knows_ranges else None
        if wanted:
            with self.lock:
                self.wanted += 1
                fails = self.fails(self.wanted - 1)
            if fails:
                return self.fault(h, 503, "SlowDown")
            self.before()
        with open(os.path.join(self.folder, key), "rb") as file:
            data = file.read()
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        if h.headers.get("If-Match", tag) != tag:
            return self.fault(h, 412, "PreconditionFailed")
        if not wanted:
            return h.say(200, data, ETag=tag)
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        if first > last:
            return self.fault(h, 416, "InvalidRange")
        with self.lock:
            self.ranges.append((first, last))
        return h.say(206, data[first : last + 1], ETag=tag, Content_Range=f"bytes {first}-{last}/{len(data)}")

    def keys(self):
        found = [os.path.relpath(os.path.join(at, name), self.folder) for at, _, names in os.walk(self.folder) for name in names]
        return sorted([*found, *(key for key in self.ways if key not in found)], key=str.encode)

    def list(self, h, query):
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = [key for key in self.keys() if key.startswith(query["prefix"]) and key.encode() > after.encode()]
        page, items = keys[:PAGE], []
        for key in page:
            path = os.path.join(self.folder, key)
            said = urllib.parse.quote_plus(key, safe="/*") if query.get("encoding-type") == "url" else escape(key)
            data = open(path, "rb").read() if os.path.isfile(path) else b""
            items.append(
                f"<Contents><Key>{said}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag><Size>{len(data)}</Size></Contents>"
            )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > PAGE else ""
        truncated = str(len(keys) > PAGE).lower()
        encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        body = f"<ListBucketResult>{encoding}<IsTruncated>{truncated}</IsTruncated>{more}{''.join(items)}</ListBucketResult>"
        h.say(200, body.encode())
