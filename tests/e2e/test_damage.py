#!/usr/bin/env python3
"""Shards that are damaged, missing, foreign or no shards at all, before verify, inspect and extract."""

import os
import tarfile

from harness import DAMAGED, FAILED, OK, equal, one_line, run_tests, same_members, test
from reference import read_dataset, read_npy, read_shard, shard_files


def shards(ws, n=12):
    """An output with several shards; their files."""
    ws.small_pictures(n)
    ws.encode("--shard-samples", "3")
    return shard_files(ws.dataset)


def change(file, at, data):
    with open(file, "r+b") as shard:
        shard.seek(at)
        shard.write(data)


def flip(file, at):
    with open(file, "rb") as shard:
        shard.seek(at)
        old = shard.read(1)[0]
    change(file, at, bytes([old ^ 1]))


def verify_names(ws, *files):
    """verify finds exactly @files damaged, a line for each."""
    result = ws.verify(code=DAMAGED)
    equal(result.errors, [], "stderr")
    *lines, summary, remedy = result.out.splitlines()
    names = [os.path.relpath(file, ws.out) for file in files]
    equal(len(lines), len(names), "number of lines")
    for name in names:
        assert any(line.startswith(f"{name}: ") for line in lines), (name, lines)
    assert f"{len(names)} shard" in summary, summary
    assert "delete" in remedy and "encode" in remedy, remedy


@test
def one_flipped_byte_anywhere_is_found(ws):
    file = shards(ws)[0]
    with open(file, "rb") as shard:
        whole = shard.read()
    with tarfile.open(file) as tar:
        members = tar.getmembers()
    places = [0, 100, 156, 300, len(whole) - 1, len(whole) - 1500]
    places += [m.offset_data + m.size // 2 for m in members[:3] if m.size]
    places += [members[1].offset_data + members[1].size]  # padding
    for at in places:
        flip(file, at)
        verify_names(ws, file)
        change(file, 0, whole)
    ws.verify()


@test
def a_truncated_shard_is_found(ws):
    file = shards(ws)[1]
    size = os.path.getsize(file)
    for keep in (size - 1, size - 1024, size // 2, 512, 0):
        os.truncate(file, keep)
        verify_names(ws, file)


@test
def a_longer_shard_is_found(ws):
    file = shards(ws)[0]
    with open(file, "ab") as shard:
        shard.write(b"x" * 512)
    verify_names(ws, file)


@test
def missing_and_exchanged_shards_are_found(ws):
    files = shards(ws)
    os.remove(files[0])
    verify_names(ws, files[0])
    a, b = [f for f in files[1:] if os.path.dirname(f) == os.path.dirname(files[0])][:2]
    os.rename(a, ws.path("x"))
    os.rename(b, a)
    os.rename(ws.path("x"), b)
    verify_names(ws, files[0], a, b)


@test
def a_shard_that_is_a_folder_or_a_fifo_is_found(ws):
    files = shards(ws)
    for file in files[:2]:
        os.remove(file)
    os.mkdir(files[0])
    os.mkfifo(files[1])
    verify_names(ws, *files[:2])


@test
def a_foreign_tar_beside_the_shards_is_quarantined_by_the_next_run(ws):
    files = shards(ws)
    foreign = os.path.join(os.path.dirname(files[0]), "000099.tar")
    with tarfile.open(foreign, "w") as tar:
        tar.add(files[0], "picture.jpg")
    assert "000099.tar" in ws.verify().out
    (line,) = ws.encode().errors
    assert "000099.tar" in line and "quarantine" in line, line
    equal(shard_files(ws.dataset), files, "shards")
    equal(ws.verify().out.count("\n"), 1, "lines of verify")
    kept = os.listdir(os.path.join(ws.dataset, ".latentd", "quarantine"))
    equal(len(kept), 1, "number of files in quarantine")


@test
def a_copy_of_a_shard_is_not_taken_in_twice(ws):
    files = shards(ws)
    samples = len(read_dataset(ws.dataset))
    with open(files[0], "rb") as shard:
        ws.write(os.path.join(os.path.dirname(files[0]), "000099.tar"), shard.read(), "")
    (line,) = ws.encode().errors
    assert "000099.tar" in line, line
    equal(len(read_dataset(ws.dataset)), samples, "number of samples")
    ws.verify()


@test
def a_shard_that_lost_its_state_and_is_damaged_is_encoded_again(ws):
    files = shards(ws)
    paths = [s.path for s in read_dataset(ws.dataset)]
    flip(files[0], os.path.getsize(files[0]) // 2)
    os.rename(ws.path("state"), ws.path("lost"))
    result = ws.encode("--shard-samples", "3")
    equal(sum("quarantine" in line for line in result.errors), 1, "lines about the damaged one")
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")
    ws.verify()


# -- inspect, extract


@test
def inspect_lists_what_a_shard_holds(ws):
    for file in shards(ws):
        samples = read_shard(file)
        lines = ws.latentctl("inspect", file).out.splitlines()
        equal([line.split()[0] for line in lines[:-1]], [s.key for s in samples], "keys")
        assert str(len(samples)) in lines[-1], lines[-1]
        equal(ws.latentctl("inspect", file, "--json").json, [s.record for s in samples], "records")


@test
def extract_writes_the_members_of_one_sample(ws):
    ws.golden("odd_420.jpg", "a/b c.jpg")
    ws.write("a/b c.txt", b"a caption")
    ws.encode()
    (sample,) = read_dataset(ws.dataset)
    printed = ws.latentctl(
        "extract", sample.shard, sample.key, "--to", ws.path("x")
    ).out.splitlines()
    wanted = [ws.path("x", f"{sample.key}.{suffix}") for suffix in ("json", "latent.npy", "txt")]
    same_members(printed, wanted, "files printed")
    with open(wanted[0], "rb") as file:
        equal(file.read(), sample.members["json"], "the JSON")
    with open(wanted[1], "rb") as file:
        equal(read_npy(file.read()), read_npy(sample.npy), "the latent")
    with open(wanted[2], "rb") as file:
        equal(file.read(), b"a caption", "the caption")


@test
def extract_overwrites_nothing(ws):
    file = shards(ws)[0]
    key = read_shard(file)[0].key
    mine = ws.write(f"{key}.txt", b"mine", ws.path("x"))
    one_line(ws.latentctl("extract", file, key, "--to", ws.path("x"), code=FAILED), mine)
    with open(mine, "rb") as kept:
        equal(kept.read(), b"mine", "the file that was there")
    equal(os.listdir(os.path.dirname(mine)), [os.path.basename(mine)], "files")


@test
def what_verify_says_about_damage_repairs_it(ws):
    files = shards(ws)
    paths = [s.path for s in read_dataset(ws.dataset)]
    flip(files[0], os.path.getsize(files[0]) // 2)
    os.truncate(files[1], 700)
    verify_names(ws, *files[:2])
    for file in files[:2]:
        os.remove(file)
    ws.encode("--shard-samples", "3")
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")
    ws.verify()


@test
def extract_of_a_damaged_sample_writes_nothing(ws):
    file = shards(ws)[0]
    sample = read_shard(file)[0]
    with tarfile.open(file) as tar:
        member = next(m for m in tar if m.name.endswith(".zst"))
    flip(file, member.offset_data + member.size // 2)
    result = ws.latentctl("extract", file, sample.key, "--to", ws.path("x"), code=None)
    equal(result.code, DAMAGED, "exit status")
    one_line(result, sample.key, file)
    assert not os.path.exists(ws.path("x"))


@test
def extract_of_a_key_that_is_not_there(ws):
    file = shards(ws)[0]
    for key in ("nobody", "../escape", "/etc/passwd", ""):
        result = ws.latentctl("extract", file, key, "--to", ws.path("x"), code=FAILED)
        equal(len(result.errors), 1, "number of error lines")
        assert not os.path.exists(ws.path("x"))


def no_shards(ws):
    """Files that are no shards, by kind."""
    files = {"text": ws.write("text.tar", b"this is not a tar\n" * 100, ws.root)}
    files["empty"] = ws.write("empty.tar", b"", ws.root)
    files["zeros"] = ws.write("zeros.tar", bytes(10240), ws.root)
    files["folder"] = ws.path("folder.tar")
    os.mkdir(files["folder"])
    files["fifo"] = ws.path("fifo.tar")
    os.mkfifo(files["fifo"])
    files["passwd"] = "/etc/passwd"
    files["nothing"] = ws.path("nothing.tar")
    files["directory"] = ws.root
    files["foreign"] = ws.path("foreign.tar")
    ws.golden("odd_420.jpg", "a.jpg")
    with tarfile.open(files["foreign"], "w") as tar:
        tar.add(os.path.join(ws.src, "a.jpg"), "a.jpg")
    return files


@test
def what_is_no_shard_gets_one_line(ws):
    for kind, file in no_shards(ws).items():
        for words in (["inspect", file], ["extract", file, "a", "--to", ws.path("x")]):
            result = ws.latentctl(*words, code=None)
            if kind == "zeros" and words[0] == "inspect":
                assert result.code in (OK, FAILED, DAMAGED), result
                continue
            assert result.code in (FAILED, DAMAGED), f"{kind}: {result}"
            equal(len(result.errors), 1, f"number of error lines for {kind}")
    assert not os.path.exists(ws.path("x"))


@test
def what_is_no_shard_is_named(ws):
    for kind, file in no_shards(ws).items():
        if kind != "zeros":
            result = ws.latentctl("inspect", file, code=None)
            assert file in result.err, f"{kind}: {result}"


@test
def a_damaged_tar_ends_with_the_status_of_damage_everywhere(ws):
    file = shards(ws)[0]
    key = read_shard(file)[-1].key
    os.truncate(file, 1000)
    one_line(ws.latentctl("inspect", file, code=DAMAGED), file)
    one_line(ws.latentctl("extract", file, key, "--to", ws.path("x"), code=DAMAGED), file)
    verify_names(ws, file)


@test
def a_foreign_tar_with_evil_names_is_not_extracted(ws):
    path = ws.path("evil.tar")
    picture = ws.golden("odd_420.jpg", "a.jpg")
    for name in ("../evil", "/tmp/evil-latentd", "a/../../evil"):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for suffix in ("json", "latent.npy.zst", "txt"):
                info = tar.gettarinfo(picture, f"{name}.{suffix}")
                with open(picture, "rb") as file:
                    tar.addfile(info, file)
        ws.latentctl("extract", path, name, "--to", ws.path("x"), code=FAILED)
        assert not os.path.exists(ws.path("evil.json")) and not os.path.exists(ws.path("x"))


run_tests()
