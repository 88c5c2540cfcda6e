#!/usr/bin/python3
"""OpenStack Swift with its S3 interface, all of its servers in this one process, on ports of 127.0.0.1.

    swift_server.py FOLDER

FOLDER is for the objects and the configuration, on a file system with user attributes. Prints the address of the S3 interface
and serves until its standard input ends. The access key is test:tester, the secret testing, the region us-east-1.
Exit status 77: Swift is not installed here.
"""

import os
import sys

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

PLAIN = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "slo", "dlo", "versioned_writes", "symlink")
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
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
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
