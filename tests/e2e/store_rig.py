"""Shards in a bucket of a real S3 server, behind a proxy (s3_rig.py): what is there, and what must be."""

import atexit
import itertools
import os
import shutil
import tempfile

from harness import Skip, equal, same_members, wait_until
from reference import read_dataset
from s3_rig import Missing, Proxy, S3Server

PART = 64 << 10
# of one bucket, so that they are one shard of three parts
ALIKE = {"names": ("rocket.jpg",)}
_servers, _numbers = {}, itertools.count()


def server(ahead_s=0):
    """One for all tests of a clock."""
    if ahead_s not in _servers:
        folder = tempfile.mkdtemp(prefix="latentd-s3-")
        atexit.register(shutil.rmtree, folder, True)
        try:
            _servers[ahead_s] = S3Server(folder, ahead_s)
        except Missing as why:
            raise Skip(str(why)) from None
        atexit.register(_servers[ahead_s].stop)
    return _servers[ahead_s]


class Store:
    """A bucket for one test, the proxy before it, and the options that lead there."""

    def __init__(self, ws, ahead_s=0):
        self.ws, self.server = ws, server(ahead_s)
        self.bucket = self.server.bucket(f"test-{os.getpid()}-{next(_numbers)}")
        self.proxy = Proxy(self.server)
        ws.at_end.append(self.proxy.close)
        ws.environment.update(self.server.environment(self.proxy.url))
        self.url = f"s3://{self.bucket.name}/team"
        # no frames: two dozen tiny pictures are several parts
        self.options = ("--store", self.url, "--s3-part-size", str(PART), "--codec", "none")

    def encode(self, *options, **settings):
        return self.ws.encode(*self.options, *options, **settings)

    def shards(self, name=None):
        return [k for k in self.bucket.keys(f"team/{name or self.ws.name}/train/") if k.endswith(".tar")]

    def fetched(self, name=None):
        """The dataset as a reader of the bucket has it."""
        folder = tempfile.mkdtemp(dir=self.ws.root)
        for key in self.shards(name):
            self.ws.write(key.split("/", 2)[2], self.bucket.get(key), folder)
        return read_dataset(folder)

    def no_upload_is_left(self):
        """After gc. The server counts whole seconds, so one that was just begun is of the next."""
        gc = ("gc", "--out", self.ws.out, "--name", self.ws.name, "--grace", "0")
        wait_until(lambda: self.ws.latentctl(*gc) and not self.bucket.uploads(), "uploads to be forgotten")

    def holds(self, paths, name=None):
        """Each picture once, in the bucket and in the catalog, and nothing begun is left."""
        same_members((s.path for s in self.fetched(name)), paths, "samples in the bucket")
        equal(self.bucket.uploads(), [], "uploads that were begun")
        said = self.ws.latentctl("verify", "--out", self.ws.out, "--name", name or self.ws.name)
        assert f"{len(paths)} sample" in said.out, said.out
