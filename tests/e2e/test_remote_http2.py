#!/usr/bin/env python3
"""`latentctl encode --endpoint` with a server of HTTP/2: one connection for many requests, and what ends streams and
connections there is no image's fault. Skipped where the Python package h2 (python3-h2) is not there."""

from harness import OK, equal, run_tests, same_members, test
from http2_server import Http2Endpoint
from reference import npy_values, read_dataset
from remote_server import is_latent_of, plain_pictures


def encode_there(ws, endpoint, *options):
    words = ["encode", ws.src, "--out", ws.out, "--name", ws.name, "--bucketing", "square"]
    words += ["--resolution", "64", "--max-upscale", "0", "--ca-file", endpoint.ca_file]
    ws.latentctl(*words, "--endpoint", endpoint.url, *options, code=OK)


def all_there(ws, paths):
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    for sample in samples:
        assert is_latent_of(npy_values(sample.npy), sample.path), f"{sample.path}: another latent"
    equal(ws.failed(), {}, "images that are blamed")


@test
def many_requests_share_one_connection(ws):
    paths = plain_pictures(ws.src, 60)
    # A latentd has one more, for the command's own question.
    for foreign, connections in ((False, 2), (True, 1)):
        ws.out, endpoint = ws.path("out", str(foreign)), Http2Endpoint(ws, foreign=foreign)
        endpoint.together = 2  # the limit begins there
        declared = ["--vae", "declared:sd15", "--posterior", "draw"]
        encode_there(ws, endpoint, "--send", "float32", *(declared if foreign else []))
        all_there(ws, paths)
        equal(endpoint.posts, 60, "requests")
        assert endpoint.most >= 2, "one request after another"
        equal(endpoint.connections, connections, "connections")


@test
def a_stream_that_is_reset_or_refused_is_tried_again(ws):
    paths = plain_pictures(ws.src, 20)
    endpoint = Http2Endpoint(ws, {0: "rst", 3: "refused", 9: "rst", 12: "503"})
    encode_there(ws, endpoint)
    all_there(ws, paths)
    equal(endpoint.given, 20, "latents")
    equal(endpoint.posts, 24, "requests")


@test
def a_connection_that_says_goaway_is_made_anew(ws):
    paths = plain_pictures(ws.src, 20)
    endpoint = Http2Endpoint(ws, {0: "goaway", 7: "goaway"})
    encode_there(ws, endpoint)
    all_there(ws, paths)
    assert endpoint.given >= 20, "some were lost on the way, none was made up"
    assert endpoint.connections >= 4, "a connection that was given up was used again"


run_tests()
