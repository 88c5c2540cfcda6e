#!/usr/bin/env python3
"""Shards and samples as the API lists them, and what it draws of them: sources small, latents as colours."""

import os
import struct
import urllib.parse
import zlib

from daemon_rig import Connection, Daemon
from harness import demo_model, equal, run_tests, same_members, test
from serve_rig import png as png_of

SIDE = 192  # of a picture, at most


def png(width, height, color):
    return png_of(width, height, bytes(color) * width * height)


def ask(daemon, path):
    """(status, headers, body)"""
    connection = Connection(daemon.socket)
    try:
        connection.request("GET", f"/api/v1/datasets/{path}")
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def thumbnail(daemon, key, dataset="photos"):
    return ask(daemon, f"{dataset}/thumbnail?key={urllib.parse.quote(key)}")


def preview(daemon, sample, dataset="photos"):
    return ask(daemon, f"{dataset}/preview?shard={sample['shard']}&offset={sample['offset']}")


def pixels(answer):
    """(width, height, rows of RGB bytes) of a picture that was answered."""
    status, headers, body = answer
    equal(status, 200, f"status: {body[:200]}")
    equal(headers["Content-Type"], "image/png", "content type")
    equal(headers["X-Content-Type-Options"], "nosniff", "sniffing")
    equal(headers["Cross-Origin-Resource-Policy"], "same-origin", "who may show it")
    assert headers["Cache-Control"].startswith("private, max-age="), headers["Cache-Control"]
    equal(body[:8], b"\x89PNG\r\n\x1a\n", "signature")
    at, data = 8, b""
    while at < len(body):
        size, name = struct.unpack_from(">I4s", body, at)
        if name == b"IHDR":
            width, height, *kind = struct.unpack_from(">IIBBBBB", body, at + 8)
            equal(kind, [8, 2, 0, 0, 0], "kind of PNG")
        elif name == b"IDAT":
            data += body[at + 8 : at + 8 + size]
        at += 12 + size
    return width, height, unfiltered(zlib.decompress(data), width, height)


def unfiltered(data, width, height):
    step, rows, above = 3 * width, [], bytes(3 * width)
    for y in range(height):
        kind, *line = data[y * (step + 1) : (y + 1) * (step + 1)]
        for x in range(step):
            left, up = line[x - 3] if x >= 3 else 0, above[x]
            corner = above[x - 3] if x >= 3 else 0
            near = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            line[x] = (line[x] + (0, left, up, (left + up) // 2, near)[kind]) & 255
        above = bytes(line)
        rows.append(above)
    return rows


def sealed(daemon, name="photos", **jobs):
    daemon.wait_for(name, **jobs)
    daemon.drain(name)
    return daemon.get(f"/datasets/{name}/samples")["samples"]


@test
def the_newest_shards_and_samples_are_listed(ws):
    daemon = Daemon(ws)
    daemon.dataset("photos", recipe={"bucketing": "square"})
    ws.small_pictures(4, folder=ws.path("photos"))
    daemon.start()
    daemon.wait_for("photos", finished=4)
    equal(daemon.get("/datasets/photos/shards"), {"shards": []}, "before the first")
    equal(daemon.get("/datasets/photos/samples"), {"samples": []}, "before the first")
    samples = sealed(daemon, finished=4)
    (shard,) = daemon.get("/datasets/photos/shards")["shards"]
    about = daemon.about("photos")
    equal((shard["samples"], shard["replaced"], shard["state"]), (4, 0, "whole"), "the shard")
    equal(shard["bytes"], about["shard_bytes"], "its bytes")
    equal(shard["bytes"], os.path.getsize(os.path.join(ws.out, "photos", shard["path"])), "on disk")
    assert 0 <= about["last_shard"]["sealed_at"] - shard["sealed_at"] < 3600000, (shard, about)
    same_members([s["source"] for s in samples], [j["source"] for j in daemon.jobs("photos", "completed")], "samples")
    equal({s["shard"] for s in samples}, {shard["id"]}, "their shard")
    # further ones are newer, and stand before
    daemon.resume("photos")
    ws.small_pictures(2, folder=ws.path("photos"), first=4)
    newer = sealed(daemon, finished=6)
    shards = daemon.get("/datasets/photos/shards")["shards"]
    equal([s["samples"] for s in shards], [2, 4], "shards, newest first")
    equal(shards[1], shard, "the old one")
    equal([s["shard"] for s in newer], [shards[0]["id"]] * 2 + [shard["id"]] * 4, "samples")
    equal(daemon.get("/datasets/photos/shards?limit=1")["shards"], shards[:1], "the newest one")
    equal(daemon.get("/datasets/photos/samples?limit=3")["samples"], newer[:3], "three samples")
    daemon.stop()


@test
def sources_are_shown_small_by_their_keys_alone(ws):
    daemon = Daemon(ws)
    daemon.dataset("photos")
    daemon.dataset("others", output={"path": ws.path("other")})
    folder = ws.path("photos")
    ws.write("wide.png", png(400, 100, (200, 30, 60)), folder)
    ws.write("tiny.png", png(3, 1, (200, 30, 60)), folder)
    ws.golden("orientation_6.jpg", "turned.jpg", folder)
    ws.write("bad.jpg", b"\xff\xd8\xff", folder)
    ws.write("secret.png", png(64, 64, (1, 2, 3)), ws.root)
    daemon.start()
    daemon.wait_for("photos", finished=3, quarantined=1)
    width, height, rows = pixels(thumbnail(daemon, "wide"))
    equal((width, height), (SIDE, 48), "size")
    equal(set(zip(*[iter(rows[20])] * 3)), {(200, 30, 60)}, "colours")
    equal(pixels(thumbnail(daemon, "tiny"))[:2], (3, 1), "a tiny one is not enlarged")
    width, height, _ = pixels(thumbnail(daemon, "turned"))
    stored = next(j for j in daemon.jobs("photos", "encoded") if j["key"] == "turned")
    assert height > width, f"{stored['source']} is upright, but {width}x{height} here"
    # the same again, from memory
    again = thumbnail(daemon, "wide")
    os.remove(os.path.join(folder, "wide.png"))
    equal(thumbnail(daemon, "wide")[2], again[2], "while it is remembered")
    # what cannot be shown says why
    for key, why in (("bad", b"not"), ("nobody", b"no image")):
        status, headers, body = thumbnail(daemon, key)
        equal((status, headers["Content-Type"]), (404, "application/json"), f"{key}: {body}")
    for key in ("../secret.png", "../secret", "/etc/passwd", f"{ws.root}/secret.png", "", "wide\x00"):
        status = thumbnail(daemon, key)[0]
        assert status in (400, 404), f"{key!r}: {status}"
    equal(thumbnail(daemon, "wide", "others")[0], 404, "of another dataset")
    equal(ask(daemon, "photos/thumbnail")[0], 400, "without a key")
    equal(ask(daemon, "photos/thumbnail?path=wide.png")[0], 400, "by a path")
    daemon.stop()


@test
def latents_are_shown_in_the_colours_of_their_sources(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    recipe = {"vae": demo_model(), "bucketing": "square", "resolution": 64}
    daemon.dataset("photos", recipe=recipe)
    daemon.dataset("others", recipe=recipe, output={"path": ws.path("other")})
    colors = {"red": (230, 30, 30), "blue": (20, 40, 220), "light": (240, 240, 235)}
    for name, color in colors.items():
        ws.write(f"{name}.png", png(64, 64, color), ws.path("photos"))
    daemon.start()
    samples = sealed(daemon, finished=3)
    seen = {}
    for sample in samples:
        answer = preview(daemon, sample)
        width, height, rows = pixels(answer)
        equal((width, height), (8, 8), "pixels, those of the latent")
        equal(answer[1]["Latentd-Colors"], "fitted", "colours")
        middle = [row[6:18] for row in rows[2:6]]
        seen[sample["key"]] = [sum(sum(r[c::3]) for r in middle) / 16 for c in range(3)]
        equal(preview(daemon, sample)[2], answer[2], "the second time")
    for name, got in seen.items():
        nearest = min(colors, key=lambda n: sum((a - b) ** 2 for a, b in zip(colors[n], got)))
        equal(nearest, name, f"what {name} looks like, {got},")
    # only what the catalog has
    one = samples[0]
    for wrong in ({"offset": one["offset"] + 1}, {"shard": one["shard"] + 1}, {"offset": 10**14}):
        equal(preview(daemon, {**one, **wrong})[0], 404, f"{wrong}")
    equal(preview(daemon, one, "others")[0], 404, "of another dataset")
    for query in ("", "?shard=1", "?offset=0", "?shard=-1&offset=0", "?shard=x&offset=0"):
        equal(ask(daemon, f"photos/preview{query}")[0], 400, query)
    # the sources are gone and nothing is remembered: false colours, but no failure
    daemon.stop()
    for name in colors:
        os.remove(os.path.join(ws.path("photos"), f"{name}.png"))
    daemon.start()
    daemon.wait(lambda: daemon.about("photos")["scan"]["began_at"], "the first scan")
    for _ in range(2):  # the colours are made, and kept
        answer = preview(daemon, one)
        equal(pixels(answer)[:2], (8, 8), "without sources")
        equal(answer[1]["Latentd-Colors"], "false", "colours without sources")
    # a damaged shard is no reason to die
    path = os.path.join(ws.out, "photos", daemon.get("/datasets/photos/shards")["shards"][0]["path"])
    daemon.stop()
    os.truncate(path, 1000)
    daemon.start()
    daemon.wait(lambda: daemon.about("photos")["scan"]["began_at"], "the first scan")
    equal(preview(daemon, one)[0], 404, "of a damaged shard")
    equal(daemon.health()[0], 200, "health")
    daemon.stop()


if __name__ == "__main__":
    run_tests()
