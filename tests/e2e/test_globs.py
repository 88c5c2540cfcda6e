#!/usr/bin/env python3
"""Which files of a folder or an archive count: include, exclude, hidden and symlinks, of encode, plan and the daemon."""

import os
import subprocess
import time

from daemon_rig import Daemon
from harness import BUILD_DIR, FAILED, QUARANTINED, USAGE, equal, one_line, run_tests, test
from reference import read_dataset

PICTURES = {".jpg": "grey.jpg", ".png": "grey4.png"}
TREE = ("a/1.jpg", "a/2.png", "a/masks/1.png", "b/3.jpg", "4.jpg", ".hidden/5.jpg", ".6.jpg")


def fill(ws, folder=None, names=TREE):
    """One picture under each of these names, all different and old enough for a daemon that meets them in a scan."""
    folder = folder or ws.src
    for i, name in enumerate(names):
        kind = PICTURES[os.path.splitext(name)[1]]
        (made,) = ws.small_pictures(1, ws.path("made"), first=i, names=(kind,))
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        os.rename(ws.path("made", made), os.path.join(folder, name))
    return folder


def archive(path, folder):
    subprocess.run([os.path.join(BUILD_DIR, "tests", "make_archive"), path, folder], check=True)
    os.utime(path, (time.time() - 60,) * 2)


def paths(dataset):
    return sorted(s.path for s in read_dataset(dataset))


@test
def an_encode_takes_what_is_included_and_not_excluded(ws):
    fill(ws)
    ws.encode("--include", "*.jpg", "--include", "masks/", "--exclude", "/b")
    equal(paths(ws.dataset), ["4.jpg", "a/1.jpg", "a/masks/1.png"], "paths")
    ws.encode("--include", "*.jpg", "--include", "masks/", "--exclude=/b", "--hidden", "take")
    equal(paths(ws.dataset), [".6.jpg", ".hidden/5.jpg", "4.jpg", "a/1.jpg", "a/masks/1.png"], "with hidden ones")


@test
def members_of_archives_are_paths_below_them_in_folders_and_alone(ws):
    inside = fill(ws, ws.path("inside"), TREE[:5])
    os.makedirs(ws.src, exist_ok=True)
    archive(os.path.join(ws.src, "x.tar"), inside)
    archive(os.path.join(ws.src, "y.zip"), inside)
    ws.write("z.tar", b"no archive at all")
    ws.encode("--include", "x.tar/*/*.jpg", "--include", "y.zip", "--exclude", "y.zip/a/**", "--exclude", "z.*")
    wanted = ["x.tar/a/1.jpg", "x.tar/b/3.jpg", "y.zip/4.jpg", "y.zip/b/3.jpg"]
    equal(paths(ws.dataset), wanted, "paths in a folder")
    alone = os.path.join(ws.out, "alone")
    ws.encode("--name", "alone", "--exclude", "masks/", "--include", "a/**", src=[os.path.join(ws.src, "x.tar")])
    equal(paths(alone), ["a/1.jpg", "a/2.png"], "paths of an archive alone")


@test
def a_plan_counts_what_an_encode_would_take(ws):
    fill(ws)
    for words, files in (([], 5), (["--exclude", "a/"], 2), (["--include", "*.png"], 2), (["--hidden", "take"], 7)):
        (found,) = ws.latentctl("plan", ws.src, "--resolution", "128", "--json", *words).json
        equal(found["files"], files, f"files with {words}")


def link_tree(ws, folder):
    """In @folder a file, a link to a file, one to a folder beside it that holds an archive too, and one that leads back."""
    fill(ws, ws.path("store"), ("b.jpg", "deep/c.jpg"))
    archive(ws.path("store", "x.tar"), fill(ws, ws.path("inside"), ("d.png",)))
    fill(ws, folder, ("a.jpg",))
    os.symlink(ws.path("store", "b.jpg"), os.path.join(folder, "file.jpg"))
    os.symlink(ws.path("store"), os.path.join(folder, "folder"))
    os.symlink("..", ws.path("store", "deep", "up"))


@test
def links_are_followed_as_somebody_chose(ws):
    link_tree(ws, ws.src)
    ws.encode()
    equal(paths(ws.dataset), ["a.jpg", "file.jpg"], "with links to files")
    for links, files in (("files", 2), ("none", 1), ("all", 5)):
        (found,) = ws.latentctl("plan", ws.src, "--resolution", "128", "--json", "--symlinks", links).json
        equal(found["files"], files, f"files that a plan counts with --symlinks {links}")
    ws.encode("--symlinks", "none", "--name", "none")
    equal(paths(os.path.join(ws.out, "none")), ["a.jpg"], "without links")
    said = ws.encode("--symlinks", "all", "--name", "all").err
    wanted = ["a.jpg", "file.jpg", "folder/b.jpg", "folder/deep/c.jpg", "folder/x.tar/d.png"]
    equal(paths(os.path.join(ws.out, "all")), wanted, "with all links")
    assert "folder/deep/up\" is a link back to a folder that it is in" in said, said


@test
def a_link_to_a_disk_that_is_not_there_deletes_nothing(ws):
    link_tree(ws, ws.src)
    words = ("--symlinks", "all", "--on-delete", "remove")
    ws.encode(*words)
    os.rename(ws.path("store"), ws.path("unmounted"))
    os.unlink(os.path.join(ws.src, "file.jpg"))
    said = ws.encode(*words).err
    assert "folder\" is a link that leads nowhere" in said and "cannot be read" in said, said
    equal(ws.status()["samples"], 5, "samples while the disk is not there")
    os.mkdir(ws.path("store"))  # its mount point
    said = ws.encode(*words).err
    assert "folder\" is a link to a folder that is empty, as if its disk were not mounted" in said, said
    equal(ws.status()["samples"], 5, "samples while the disk is not mounted")
    os.rmdir(ws.path("store"))
    os.rename(ws.path("unmounted"), ws.path("store"))
    ws.encode(*words)
    equal(ws.status()["samples"], 4, "samples when it is back and one link is deleted")


@test
def a_listing_that_was_killed_keeps_what_it_found_and_goes_on(ws):
    names = [f"{i // 10:03}/{i % 10}.jpg" for i in range(1200)]
    for name in names:
        ws.write(name)  # nothing in it: it is the listing that matters
    # Each folder is opened once, in order; a page of 1000 is in the queue when the 111th is.
    process = ws.start_and_stop("open:111", ws.src, *ws.encode_words())
    process.kill()
    process.wait()
    equal(ws.status()["jobs"]["available"], 1000, "jobs after the kill")
    ws.encode("--on-delete", "remove", code=QUARANTINED)
    jobs = ws.status()["jobs"]
    equal((jobs["quarantined"], jobs["available"], jobs["gone"]), (1200, 0, 0), "quarantined, available, gone")


@test
def a_pattern_that_is_none_or_leaves_nothing_is_refused(ws):
    fill(ws)
    one_line(ws.encode("--exclude", "!a", code=USAGE), "--exclude", '"!a"', "a pattern like *.jpg")
    one_line(ws.encode("--include", "*.webp", code=FAILED), "no images below", "--include and --exclude")


@test
def many_files_that_are_excluded_afterwards_are_not_taken_for_deleted(ws):
    names = [f"a/{i}.jpg" for i in range(14)] + [f"b/{i}.jpg" for i in range(20)] + ["c/1.jpg"]
    fill(ws, names=names)
    ws.encode()
    (line,) = ws.encode("--on-delete", "remove", "--exclude", "a").errors
    assert "14 files" in line and "--on-delete-all" in line, line
    equal(ws.status()["samples"], 35, "samples after an exclude that takes many")
    ws.encode("--on-delete", "remove", "--exclude", "c/")
    equal(ws.status()["samples"], 34, "samples after one that takes a few")
    ws.encode("--on-delete", "remove", "--on-delete-all", "--exclude", "a", "--exclude", "c/")
    equal(paths(ws.dataset), sorted(names[14:34]), "paths after it was confirmed")


@test
def a_daemon_hears_of_what_is_chosen_alone_and_a_reload_changes_that(ws):
    daemon = Daemon(ws)
    source = daemon.dataset()["source"]
    fill(ws, source["path"])
    source.update(include=["*.jpg", "*.tar"], exclude="b/", hidden="take")
    daemon.start()
    daemon.wait_for(finished=4)
    fill(ws, ws.path("later"), ("b/7.jpg", "a/8.jpg", "9.png"))
    archive(ws.path("later", "x.tar"), fill(ws, ws.path("inside"), ("a/1.jpg", "b/1.jpg")))
    os.rename(ws.path("later"), os.path.join(source["path"], "later"))
    daemon.wait_for(finished=6)
    source.update(exclude=["b/", "later/x.tar"], include=["*.jpg", "*.png", "*.tar"])
    daemon.write()
    daemon.post("/reload")
    daemon.wait_for(finished=9)
    daemon.drain()
    daemon.stop()
    wanted = [".6.jpg", ".hidden/5.jpg", "4.jpg", "a/1.jpg", "a/2.png", "a/masks/1.png"]
    wanted += ["later/9.png", "later/a/8.jpg", "later/x.tar/a/1.jpg"]
    equal(paths(os.path.join(ws.out, "set")), sorted(wanted), "paths")


@test
def a_daemon_looks_from_time_to_time_into_folders_behind_links(ws):
    daemon = Daemon(ws)
    source = daemon.dataset()["source"]
    link_tree(ws, source["path"])
    source.update(symlinks="all", rescan="1s")
    daemon.start()
    daemon.wait_for(finished=5)
    assert "is a link to a folder" in daemon.about()["watch"]["note"]
    fill(ws, ws.path("store"), ("deep/later.jpg",))
    daemon.wait_for(finished=6)
    daemon.drain()
    daemon.stop()
    wanted = ["a.jpg", "file.jpg", "folder/b.jpg", "folder/deep/c.jpg", "folder/deep/later.jpg", "folder/x.tar/d.png"]
    equal(paths(os.path.join(ws.out, "set")), wanted, "paths")


run_tests()
