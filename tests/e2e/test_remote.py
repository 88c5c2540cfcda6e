#!/usr/bin/env python3
"""`latentctl encode --endpoint`: what endpoints may do, and what becomes of images, endpoints and secrets then."""

import os
import random
import signal

from harness import (
    FAILED,
    INTERRUPTED,
    OK,
    QUARANTINED,
    USAGE,
    demo_model,
    equal,
    one_line,
    run_tests,
    same_members,
    sanitized,
    test,
    wait_until,
)
from reference import npy_values, read_dataset, shard_files
from remote_server import MODEL, Endpoint, certificate, is_latent_of, plain_pictures, proxy
from serve_rig import Server

SEED = int(os.environ.get("LATENTD_TEST_SEED") or random.randrange(1 << 32))
FLAKY = 300 if sanitized() else 2000


def encode_there(ws, *endpoints, options=(), code=OK, **settings):
    """latentctl encode on these endpoints, without any model here."""
    words = ["encode", ws.src, "--out", ws.out, "--name", ws.name, "--bucketing", "square"]
    words += ["--resolution", "64", "--max-upscale", "0"]
    for endpoint in endpoints:
        words += ["--endpoint", getattr(endpoint, "url", endpoint)]
    return ws.latentctl(*words, *options, code=code, **settings)


def all_there(ws, paths, **record):
    """Each of @paths is there once, with its own latent and these fields in its record."""
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    for sample in samples:
        assert is_latent_of(npy_values(sample.npy), sample.path), f"{sample.path}: another latent"
        for name, value in record.items():
            got = sample.record["latent"] if name in sample.record["latent"] else sample.record
            equal(got[name], value, name)


def everything_below(*folders):
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(at, name), "rb") as file:
                    yield os.path.join(at, name), file.read()


# -- endpoints of both kinds


@test
def a_latentd_endpoint_encodes_without_any_model_here(ws):
    paths, endpoint = plain_pictures(ws.src, 30), Endpoint(ws)
    encode_there(ws, endpoint, options=["--dtype", "float32"])
    all_there(ws, paths, vae_sha256="ab" * 32, posterior="mean", seed=None, precision="float32")
    assert read_dataset(ws.dataset)[0].record["engine"].startswith("remote/latentd")
    equal(endpoint.requests, 30, "requests")
    ws.verify()
    encode_there(ws, endpoint, options=["--dtype", "float32"])  # nothing is left to do
    equal(endpoint.requests, 30, "requests after a second run")


@test
def what_is_stored_is_raw_or_scaled_as_the_recipe_says(ws):
    plain_pictures(ws.src, 3)
    endpoint = Endpoint(ws)
    for name, options in (("raw", []), ("scaled", ["--scaled"])):
        ws.out = ws.path(name)
        encode_there(ws, endpoint, options=["--dtype", "float32", *options])
    raw, scaled = (
        {s.path: npy_values(s.npy) for s in read_dataset(ws.path(name, ws.name))}
        for name in ("raw", "scaled")
    )
    for path, values in raw.items():
        assert is_latent_of(values, path)
        for a, b in zip(values, scaled[path]):
            assert abs(a * 0.18215 - b) < 1e-6, f"{a} scaled is {b}"


@test
def an_endpoint_that_does_not_tell_its_model_needs_a_declaration(ws):
    paths, endpoint = plain_pictures(ws.src, 5), Endpoint(ws, model=None)
    refused = encode_there(ws, endpoint, code=FAILED)
    one_line(refused, endpoint.url, "latentd serve", "declared:NAME", "posterior draw")
    mean = encode_there(ws, endpoint, options=["--vae", "declared:sd15"], code=USAGE)
    one_line(mean, "posterior mean", "expected posterior draw")
    draw = ["--posterior", "draw", "--vae"]
    unknown = encode_there(ws, endpoint, options=[*draw, "declared:sd99"], code=FAILED)
    one_line(unknown, "sd99", "latentctl model list")
    exact = encode_there(ws, endpoint, options=[*draw, "declared:sd15", "--send", "uint8"], code=USAGE)
    one_line(exact, "send uint8", "expected png")
    equal(endpoint.requests, 0, "requests")
    encode_there(ws, endpoint, options=[*draw, "declared:sd15"])
    all_there(ws, paths, vae_sha256=None, seed=None, precision="unknown", posterior="draw")
    assert read_dataset(ws.dataset)[0].record["engine"].startswith("remote/foreign")
    equal({q.get("posterior") for q in endpoint.seen}, {None}, "posteriors asked for")
    ws.verify()


@test
def a_dataset_encoded_through_serve_is_the_local_one_bit_for_bit(ws):
    ws.pictures(20)
    server = Server(ws, vae=demo_model())
    server.start()
    for name, options in (
        ("local", ["--vae", demo_model()]),
        ("remote", ["--endpoint", f"http://127.0.0.1:{server.port}/"]),
        ("both", ["--vae", demo_model(), "--endpoint", f"http://127.0.0.1:{server.port}/"]),
    ):
        words = ["encode", ws.src, "--out", ws.path(name), "--name", "set", "--resolution", "128"]
        ws.latentctl(*words, "--dtype", "float32", *options)
    local, *others = (read_dataset(ws.path(name, "set")) for name in ("local", "remote", "both"))
    for remote in others:
        equal([s.key for s in remote], [s.key for s in local], "samples, in order")
        for here, there in zip(local, remote):
            equal(there.members.keys(), here.members.keys(), "members")
            for suffix, data in here.members.items():
                if suffix != "json":
                    equal(there.members[suffix], data, f"{here.key}.{suffix}")
            records = [dict(s.record, engine="") for s in (here, there)]
            equal(records[1], records[0], "record but for its engine")
    server.stop()


@test
def a_recipe_of_an_endpoint_goes_on_where_the_local_one_stopped(ws):
    server = Server(ws, vae=demo_model())
    server.start()
    ws.pictures(8)
    ws.encode(vae=demo_model())
    ws.small_pictures(3)
    words = ws.encode_words(vae=demo_model())
    at = words.index("--vae")
    words[at : at + 2] = ["--endpoint", f"http://127.0.0.1:{server.port}/"]
    ws.latentctl(*words)
    engines = {s.record["engine"].split("/")[0] for s in read_dataset(ws.dataset)}
    equal(engines, {"cpu", "remote"}, "engines in one dataset")
    equal(len({s.record["recipe_id"] for s in read_dataset(ws.dataset)}), 1, "recipes")
    server.stop()


# -- what is sent


@test
def an_image_may_be_sent_in_every_way(ws):
    paths = plain_pictures(ws.src, 4)
    for send in ("png", "float16", "float32", "uint8"):
        endpoint, ws.out = Endpoint(ws), ws.path("out", send)
        encode_there(ws, endpoint, options=["--send", send, "--dtype", "float32"])
        all_there(ws, paths)
        equal({q.get("dtype") for q in endpoint.seen if q.shape}, {send} - {"png"}, "dtypes")


@test
def the_wire_is_diffusers_own_or_typed(ws):
    plain_pictures(ws.src, 2)
    for wire, typed in (("exact", False), ("typed", True)):
        endpoint, ws.out = Endpoint(ws), ws.path("out", wire)
        encode_there(ws, endpoint, options=["--wire", wire])
        for headers in endpoint.headers:
            equal(headers.get("Content-Type"), "image/png" if typed else None, "Content-Type")
            equal(headers.get("Accept"), "tensor/binary" if typed else "*/*", "Accept")


# -- faults


RETRIED = [
    "429",
    "503",
    "503 plain",
    "500",
    "400",
    "408",
    "slow",
    "truncated",
    "wrong shape",
    "wrong dtype",
    "NaN",
    "garbage headers",
    "HTML",
    "HTML 200",
]


@test
def what_an_endpoint_does_once_costs_no_image(ws):
    options = ["--scale-up-timeout", "0"]
    for fault in RETRIED:
        ws.src, ws.out = ws.path("in", fault), ws.path("out", fault)
        paths = plain_pictures(ws.src, 3)
        endpoint = Endpoint(ws, [fault, "ok"])
        encode_there(ws, endpoint, options=options)
        all_there(ws, paths)
        equal(endpoint.did[fault], 1, f"requests answered by {fault}")
        ws.latentctl("failed", "--out", ws.out, "--name", ws.name)
        endpoint.down()


@test
def a_large_body_whose_upload_is_cut_off_is_sent_again(ws):
    # 12 MiB each: far more than the sockets on the way hold
    paths = plain_pictures(ws.src, 3, side=1024)
    endpoint = Endpoint(ws, ["closes mid-upload", "ok"])
    words = ["encode", ws.src, "--out", ws.out, "--name", ws.name, "--bucketing", "square"]
    ws.latentctl(*words, "--resolution", "1024", "--send", "float32", "--endpoint", endpoint.url)
    all_there(ws, paths)
    equal(endpoint.did["closes mid-upload"], 1, "uploads cut off")


@test
def a_stuck_request_is_given_up_and_tried_again(ws):
    paths, endpoint = plain_pictures(ws.src, 3), Endpoint(ws, ["stuck", "ok"])
    encode_there(ws, endpoint, options=["--timeout", "2s"])
    all_there(ws, paths)


@test
def an_image_that_every_endpoint_refuses_is_listed_with_the_servers_words(ws):
    for fault, words in (
        ("400", "CUDA out of memory"),
        ("413", "the picture is too large"),
        ("415", "no PNG here"),
        ("422", "not this one"),
    ):
        ws.src, ws.out = ws.path("in", fault), ws.path("out", fault)
        plain_pictures(ws.src, 2)
        endpoints = [Endpoint(ws, fault), Endpoint(ws, fault)]
        encode_there(ws, *endpoints, code=QUARANTINED)
        rows = ws.latentctl("failed", "--out", ws.out, "--name", ws.name, "--json").json
        equal([row["reason"] for row in rows], ["refused"] * 2, f"reasons of {fault}")
        for row in rows:
            assert words in row["message"], row["message"]
        # each to each, in both wires
        assert sum(e.requests for e in endpoints) <= 8, "refused images are sent again and again"


@test
def an_endpoint_that_nobody_may_use_ends_the_run_with_what_to_do(ws):
    plain_pictures(ws.src, 2)
    for fault, word in (("401", "token"), ("403", "token"), ("404", "404"), ("redirect", "/elsewhere")):
        endpoint = Endpoint(ws, fault)
        result = encode_there(ws, endpoint, code=FAILED)
        assert word in result.err and endpoint.url in result.err, result.err
        assert endpoint.requests < 5, "it is asked again and again"
        equal(ws.failed(), {}, "images that are blamed")


@test
def one_bad_endpoint_among_good_ones_costs_nothing(ws):
    for fault in ("401", "404", "500", "redirect", "HTML 200", "wrong shape"):
        ws.src, ws.out = ws.path("in", fault), ws.path("out", fault)
        paths = plain_pictures(ws.src, 20)
        encode_there(ws, Endpoint(ws, fault), Endpoint(ws))
        all_there(ws, paths)


@test
def endpoints_that_are_not_there_are_named(ws):
    plain_pictures(ws.src, 2)
    endpoint = Endpoint(ws)
    endpoint.down()
    result = encode_there(ws, endpoint, code=FAILED)
    one_line(result, endpoint.url)
    equal(os.path.exists(ws.out), False, "an output was made")


@test
def one_endpoint_of_several_is_enough_to_begin(ws):
    paths, away, there = plain_pictures(ws.src, 10), Endpoint(ws), Endpoint(ws)
    away.down()
    encode_there(ws, away, there)
    all_there(ws, paths)


@test
def one_that_will_never_do_does_not_hide_the_others(ws):
    paths = plain_pictures(ws.src, 4)
    untrusted = Endpoint(ws, tls=certificate(ws, "own"))
    encode_there(ws, untrusted, Endpoint(ws))
    all_there(ws, paths)


@test
def a_precision_that_endpoints_do_not_give_is_refused(ws):
    plain_pictures(ws.src, 1)
    endpoint = Endpoint(ws)
    result = encode_there(ws, endpoint, options=["--precision", "bf16"], code=FAILED)
    one_line(result, "precision bf16", "f32 only")
    equal(endpoint.requests, 0, "requests")


@test
def https_where_http_is_spoken_is_named(ws):
    plain_pictures(ws.src, 1)
    url = Endpoint(ws).url.replace("http://", "https://")
    one_line(encode_there(ws, url, code=FAILED), "is it http://?")


@test
def three_flaky_endpoints_encode_every_image_once(ws):
    chance = random.Random(SEED)
    print(f"LATENTD_TEST_SEED={SEED}")
    ways = [
        ["503", "500", "truncated"],
        ["429", "closes mid-upload", "NaN", "garbage headers"],
        ["wrong shape", "400", "HTML", "HTML 200", "wrong dtype"],
    ]

    def flaky(faults):
        return lambda n: chance.choice(faults) if chance.random() < 0.3 else "ok"

    paths = plain_pictures(ws.src, FLAKY)
    endpoints = [Endpoint(ws, flaky(faults)) for faults in ways]
    options = ["--scale-up-timeout", "0", "--send", "uint8"]
    # Two of them may say 400 to one image: then it is blamed, as it must be. It is tried again.
    result = encode_there(ws, *endpoints, options=options, code=None)
    while result.code == QUARANTINED:
        assert set(ws.failed().values()) <= {"refused", "non_finite"}, ws.failed()
        ws.latentctl("retry", "--out", ws.out, "--name", ws.name)
        result = encode_there(ws, *endpoints, options=options, code=None)
    equal(result.code, OK, "exit status")
    all_there(ws, paths)
    ws.verify()
    for endpoint, faults in zip(endpoints, ways):
        assert any(endpoint.did[fault] for fault in faults), f"{endpoint.did}: nothing was tried"


@test
def a_run_that_is_killed_loses_nothing_and_does_nothing_twice(ws):
    paths, endpoints = plain_pictures(ws.src, 200), [Endpoint(ws), Endpoint(ws)]
    words = ["--out", ws.out, "--name", ws.name, "--bucketing", "square", "--resolution", "64"]
    for endpoint in endpoints:
        endpoint.delay_s = 0.02
        words += ["--endpoint", endpoint.url]
    for wanted in (40, 90):
        process = ws.start("encode", ws.src, *words, "--max-upscale", "0", "--shard-samples", "16")
        wait_until(lambda: sum(e.given for e in endpoints) >= wanted, "latents")
        process.kill()
        process.communicate()
    encode_there(ws, *endpoints, options=["--shard-samples", "16"])
    all_there(ws, paths)
    # What was in flight is asked for again, nothing else.
    assert sum(e.given for e in endpoints) < 2 * len(paths), "it began anew"


@test
def an_interrupted_run_ends_at_once_and_goes_on(ws):
    paths, endpoint = plain_pictures(ws.src, 50), Endpoint(ws, "stuck")
    words = ["--out", ws.out, "--name", ws.name, "--bucketing", "square", "--resolution", "64"]
    process = ws.start("encode", ws.src, *words, "--endpoint", endpoint.url, "--max-upscale", "0")
    wait_until(lambda: endpoint.in_flight > 0, "a request")
    process.send_signal(signal.SIGINT)
    equal(ws.finish(process).code, INTERRUPTED, "exit status")
    endpoint.plan = "ok"
    encode_there(ws, endpoint)
    all_there(ws, paths)


# -- secrets, TLS, proxies


@test
def a_token_is_sent_and_stands_nowhere(ws):
    token = "hf_SecretTokenThatNobodyMaySee"
    paths, endpoint = plain_pictures(ws.src, 5), Endpoint(ws, token=token)
    file = ws.write("token", token.encode() + b"\n", ws.root)
    os.chmod(file, 0o600)
    without = encode_there(ws, endpoint, code=FAILED)
    one_line(without, "401", "token")
    encode_there(ws, endpoint, options=["--token-file", file])
    all_there(ws, paths)
    os.unlink(file)
    wrong = ws.write("wrong", b"hf_AnotherSecret", ws.root)
    os.chmod(wrong, 0o600)
    plain_pictures(ws.src, 1, first=5)
    refused = encode_there(ws, endpoint, options=["--token-file", wrong], code=FAILED)
    assert "AnotherSecret" not in refused.err + refused.out
    os.unlink(wrong)
    for result in ws.history:
        assert token not in result.err + result.out, result
    for path, data in everything_below(ws.out, ws.path("state")):
        assert b"SecretToken" not in data and b"AnotherSecret" not in data, path


@test
def a_token_goes_nowhere_unencrypted_and_is_nobody_elses(ws):
    plain_pictures(ws.src, 1)
    file = ws.write("token", b"secret\n", ws.root)
    os.chmod(file, 0o600)
    options = ["--token-file", file]
    result = encode_there(ws, "http://gpu7.example:8188/", options=options, code=USAGE)
    one_line(result, "unencrypted", "gpu7.example")
    os.chmod(file, 0o644)
    one_line(encode_there(ws, Endpoint(ws), options=options, code=USAGE), "chmod 600")
    os.unlink(file)
    one_line(encode_there(ws, Endpoint(ws), options=options, code=USAGE), "No such file")
    one_line(ws.encode(*options, code=USAGE), "--endpoint")


@test
def a_certificate_that_nobody_vouches_for_is_refused(ws):
    pair = certificate(ws, "own")
    paths, endpoint = plain_pictures(ws.src, 3), Endpoint(ws, tls=pair)
    result = encode_there(ws, endpoint, code=FAILED)
    assert "certificate" in result.err, result.err
    other = Endpoint(ws, tls=certificate(ws, "other", "elsewhere.example"))
    options = ["--ca-file", ws.path("other.pem")]
    assert "localhost" in encode_there(ws, other, options=options, code=FAILED).err
    equal(endpoint.requests + other.requests, 0, "requests")
    encode_there(ws, endpoint, options=["--ca-file", pair[0]])
    all_there(ws, paths)


@test
def a_proxy_is_used_when_it_is_given(ws):
    paths, endpoint = plain_pictures(ws.src, 3), Endpoint(ws)
    address, passed = proxy(ws)
    encode_there(ws, endpoint, options=["--proxy", address])
    all_there(ws, paths)
    assert any(url.startswith(endpoint.url) for url in passed), passed


@test
def a_proxy_may_want_a_user_and_a_password_that_nobody_sees(ws):
    paths = plain_pictures(ws.src, 3)
    address, passed = proxy(ws, credentials="me:Proxy:Secret%41+/@")
    good = ws.write("proxy-auth", b"me:Proxy:Secret%41+/@\n", ws.root)
    wrong = ws.write("wrong-auth", b"me:Other:Secret\n", ws.root)
    for file in (good, wrong):
        os.chmod(file, 0o600)
    tls = certificate(ws, "own")
    for name, endpoint in (("http", Endpoint(ws)), ("https", Endpoint(ws, tls=tls))):
        ws.out = ws.path("out", name)
        options = ["--proxy", address, "--ca-file", tls[0]]
        for more in ([], ["--proxy-auth-file", wrong]):
            result = encode_there(ws, endpoint, options=[*options, *more], code=FAILED)
            one_line(result, "407", "--proxy-auth-file")
        equal(endpoint.requests, 0, "requests")
        encode_there(ws, endpoint, options=[*options, "--proxy-auth-file", good])
        all_there(ws, paths)
    assert any(url.startswith("localhost:") for url in passed), passed
    os.chmod(good, 0o644)
    open_to_all = [*options, "--proxy-auth-file", good]
    one_line(encode_there(ws, endpoint, options=open_to_all, code=USAGE), "chmod 600")
    os.unlink(good)
    os.unlink(wrong)
    for result in ws.history:
        assert "Secret" not in result.err + result.out, result
    for path, data in everything_below(ws.path("out"), ws.path("state")):
        assert b"Proxy:Secret" not in data and b"Other:Secret" not in data, path


@test
def a_password_in_a_url_is_refused_and_not_repeated(ws):
    plain_pictures(ws.src, 1)
    for options in (["--proxy", "http://me:Hidden1@gpu7/"], ["--endpoint", "http://me:Hidden1@h/"]):
        result = encode_there(ws, Endpoint(ws), options=options, code=USAGE)
        one_line(result, "a URL with a user", "without user")
        assert "Hidden1" not in result.err, result.err


@test
def proxies_of_the_environment_are_used_unless_told_otherwise(ws):
    plain_pictures(ws.src, 2)
    address, passed = proxy(ws)
    for name, env, options, used in (
        ("by", {"http_proxy": address}, [], True),
        ("but not there", {"http_proxy": address, "no_proxy": "localhost"}, [], False),
        ("none", {"http_proxy": address}, ["--proxy", "none"], False),
        ("given", {"http_proxy": "http://localhost:1/"}, ["--proxy", address], True),
        ("capitals", {"HTTP_PROXY": address}, [], False),
    ):
        ws.out = ws.path("out", name)
        passed.clear()
        encode_there(ws, Endpoint(ws), options=options, env={**ws.environment, **env})
        equal(bool(passed), used, f"{name}: through the proxy")


@test
def another_model_behind_a_second_endpoint_is_not_used(ws):
    paths, first = plain_pictures(ws.src, 10), Endpoint(ws)
    vae = dict(MODEL["recipe_vae"], weights_sha256="cd" * 32)
    second = Endpoint(ws, model=dict(MODEL, recipe_vae=vae))
    encode_there(ws, first, second)
    all_there(ws, paths, vae_sha256="ab" * 32)
    equal(second.requests, 0, "requests to another model")


OTHER_MODEL = dict(
    MODEL, name="other", recipe_vae=dict(MODEL["recipe_vae"], weights_sha256="cd" * 32)
)


@test
def a_server_that_comes_back_with_another_model_is_noticed_at_its_reply(ws):
    paths, endpoint = plain_pictures(ws.src, 30), Endpoint(ws)

    def plan(n):
        if n == 10:
            endpoint.model = OTHER_MODEL
        return "ok"

    endpoint.plan = plan
    result = encode_there(ws, endpoint, code=FAILED)
    assert "another model" in result.err and "weights cdcdcdcdcdcd" in result.err, result.err
    equal(ws.failed(), {}, "images that are blamed")
    assert len(read_dataset(ws.dataset)) <= 10, "latents of the other model are stored"
    endpoint.model, endpoint.plan = MODEL, "ok"
    encode_there(ws, endpoint)
    all_there(ws, paths, vae_sha256="ab" * 32)


@test
def a_latentd_of_another_name_is_not_taken_for_the_declared_model(ws):
    paths = plain_pictures(ws.src, 5)
    draw = ["--posterior", "draw", "--vae"]
    server = Server(ws, vae=demo_model())
    server.start()
    url = f"http://127.0.0.1:{server.port}/"
    result = encode_there(ws, url, options=[*draw, "declared:sd15"], code=FAILED)
    assert "it is a latentd with the model" in result.err, result.err
    server.stop()
    result = encode_there(ws, Endpoint(ws), options=[*draw, "declared:sd15"], code=FAILED)
    assert "the model scripted, and sd15 is declared" in result.err, result.err
    equal(ws.failed(), {}, "images that are blamed")
    ws.out = ws.path("named")
    named = Endpoint(ws, model=dict(MODEL, name="sdxl-vae-fp16-fix"))
    encode_there(ws, named, options=[*draw, "declared:sdxl-fp16-fix"])
    all_there(ws, paths, vae_sha256=None, posterior="draw")


@test
def shards_of_endpoints_are_those_of_one_encode(ws):
    plain_pictures(ws.src, 40)
    made = []
    for name in ("one", "two"):
        ws.out = ws.path(name)
        encode_there(ws, Endpoint(ws), *([Endpoint(ws)] if name == "two" else []))
        made.append([open(file, "rb").read() for file in shard_files(ws.dataset)])
    equal(made[0] == made[1], True, "the same bytes")


run_tests()
