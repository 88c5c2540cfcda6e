#!/usr/bin/env python3
"""sigv4_make.py SUITE >sigv4.json: AWS's signature version 4 test suite as one file.

SUITE is the folder aws4_testsuite as botocore's source distribution has it (tests/unit/auth/, Apache License 2.0,
"AWS Signature Version 4 Test Suite, Copyright 2019 Amazon.com, Inc. or its affiliates"). Left out: normalize-path, which is
for services other than S3, and the three requests in which a header is given twice or on several lines, which requests
of ours never have; and get-vanilla-with-session-token, whose request lacks the token that it signs (post-sts-token has one).
"""
import json
import pathlib
import sys
import urllib.parse

LEFT_OUT = ("get-header-key-duplicate", "get-header-value-multiline", "get-header-value-order", "get-vanilla-with-session-token")


def case(req):
    head, _, body = req.read_bytes().decode().replace("\r\n", "\n").partition("\n\n")
    line, *headers = head.split("\n")
    method, rest = line.split(" ", 1)
    target = rest.rsplit(" ", 1)[0]
    path, _, query = target.partition("?")
    authz = req.with_suffix(".authz").read_text().strip()
    return {"name": req.stem, "method": method, "path": urllib.parse.unquote(path),
            "query": [[urllib.parse.unquote(x) for x in (pair + "=").split("=")[:2]] for pair in query.split("&") if pair],
            "headers": [header.split(":", 1) for header in headers if header],
            "body": body, "canonical": req.with_suffix(".creq").read_text().replace("\r\n", "\n"), "authorization": authz}


suite = pathlib.Path(sys.argv[1])
cases = [case(req) for req in sorted(suite.rglob("*.req")) if "normalize-path" not in req.parts and req.stem not in LEFT_OUT]
json.dump(cases, sys.stdout, indent=1, ensure_ascii=True)
print()
