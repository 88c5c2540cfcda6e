#!/usr/bin/python3
"""OpenStack Swift with its S3 interface, all of its servers in this one process, on ports of 127.0.0.1.

    swift_server.py FOLDER [SECONDS]

FOLDER is for the objects and the configuration, on a file system with user attributes. Prints the address of the S3 interface
and serves until its standard input ends; its clock is SECONDS ahead. The access key is test:tester, the secret testing, the region us-east-1.
Exit status 77: Swift is not installed here.
"""

import os
import sys
import time

AHEAD_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0
machine_time = time.time
time.time = lambda: machine_time() + AHEAD_S

try:
    import eventlet

    eventlet.monkey_patch()
    import eventlet.tpool
    import eventlet.wsgi
    from paste.deploy import loadapp
    from swift.common import utils
    from swift.common.ring.builder import RingBuilder
except ImportError as missing:
    print(f"SKIPPED: OpenStack Swift is not installed ({missing})")
    sys.exit(77)

PIPELINE = "catch_errors gatekeeper listing_formats cache bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server"

PLAIN = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "dlo", "versioned_writes", "symlink")
PROXY = f"""
[DEFAULT]
swift_dir = %s
user = %s
[pipeline:main]
pipeline = {PIPELINE}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
min_segment_size = 65536
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
[filter:slo]
use = egg:swift#slo
rate_limit_under_size = 0
[filter:cache]
paste.filter_factory = swift_server:cache_factory
""" + "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in PLAIN)

STORAGE = """
[DEFAULT]
swift_dir = %s
devices = %s
mount_check = false
user = %s
[pipeline:main]
pipeline = app
[app:app]
use = egg:swift#%s
"""


class Cache:
    """In the place of memcached, whose clients wait for it."""

    def __init__(self, app):
        self.app, self.values = app, {}

    def __call__(self, environ, start_response):
        environ["swift.cache"] = self
        return self.app(environ, start_response)

    def get(self, key, *words, **options):
        value, until = self.values.get(key, (None, 0))
        return value if until > time.time() else None

    def set(self, key, value, *words, time=0, **options):
        self.values[key] = value, machine_time() + AHEAD_S + (time or 60)

    def incr(self, key, delta=1, **options):
        self.set(key, (self.get(key) or 0) + delta, **options)
        return self.get(key)

    def delete(self, key, *words, **options):
        self.values.pop(key, None)


def cache_factory(*words, **options):
    return Cache


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def rings(folder, ports):
    for kind, port in ports.items():
        builder = RingBuilder(1, 1, 0)
        builder.add_dev(
            {
                "region": 1,
                "zone": 1,
                "weight": 1.0,
                "ip": "127.0.0.1",
                "port": port,
                "device": "disk",
                "meta": "",
                "replication_ip": "127.0.0.1",
                "replication_port": port,
            }
        )
        builder.rebalance()
        builder.get_ring().save(f"{folder}/{kind}.ring.gz")


def configuration(folder):
    """The files of Swift's own format, and the sockets that their servers get."""
    user = os.environ.get("USER", "root")
    os.makedirs(f"{folder}/disks/disk", exist_ok=True)
    write(f"{folder}/swift.conf", "[swift-hash]\nswift_hash_path_suffix = of-a-test\n")
    utils.set_swift_dir(folder)
    names = ("account", "container", "object")
    sockets = {name: eventlet.listen(("127.0.0.1", 0)) for name in names}
    rings(folder, {name: sockets[name].getsockname()[1] for name in names})
    for name in names:
        write(f"{folder}/{name}.conf", STORAGE % (folder, f"{folder}/disks", user, name))
    write(f"{folder}/proxy.conf", PROXY % (folder, user))
    return sockets


def serve(folder):
    sys.modules["swift_server"] = sys.modules["__main__"]
    sockets = configuration(folder)
    sockets["proxy"] = eventlet.listen(("127.0.0.1", 0))
    log = open(f"{folder}/log", "w")
    for name, socket in sockets.items():
        app = loadapp(f"config:{folder}/{name}.conf", global_conf={"log_name": name})
        eventlet.spawn(eventlet.wsgi.server, socket, app, log=log)
    print(f"http://127.0.0.1:{sockets['proxy'].getsockname()[1]}", flush=True)
    eventlet.tpool.execute(sys.stdin.read)


if __name__ == "__main__":
    serve(os.path.abspath(sys.argv[1]))
    os._exit(0)
