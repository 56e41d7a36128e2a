"""OpenStack Swift with its S3 interface: account, container, object and proxy server in one process, one device.

    python swift_server.py FOLDER OBJECTS ACCESS_KEY

The secret key comes from the variable SECRET_KEY. Once it serves, its port stands in FOLDER/port.
The content goes to the folder OBJECTS. Neither a memcache nor any system package is needed.
"""

import os
import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402 (after the patch)
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.utils import NullLogger, set_swift_dir  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

SWIFT = """
[swift-hash]
swift_hash_path_suffix = tests
[storage-policy:0]
name = only
default = yes
policy_type = replication
[swift-constraints]
max_file_size = 5368709122
"""

STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {devices}
mount_check = false
disable_fallocate = true
[app:main]
use = egg:swift#{kind}
"""

PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth bulk slo versioned_writes copy symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:copy]
use = egg:swift#copy
[filter:symlink]
use = egg:swift#symlink
"""


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o600)
    return path


def make_ring(folder: Path, kind: str, port: int) -> None:
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    address = {"ip": "127.0.0.1", "port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "disk", **address})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def serve(configuration: Path, socket: eventlet.greenio.GreenSocket) -> eventlet.greenthread.GreenThread:
    application = loadapp(str(configuration))
    return eventlet.spawn(
        wsgi.server, socket, application, NullLogger(), protocol=SwiftHttpProtocol, capitalize_response_headers=False
    )


def main(folder: Path, devices: Path, access_key: str, secret: str) -> None:
    account, user = access_key.split(":")
    (devices / "disk").mkdir()
    write(folder / "swift.conf", SWIFT)
    set_swift_dir(str(folder))
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in ("account", "container", "object", "proxy")}
    for kind in ("account", "container", "object"):
        make_ring(folder, kind, sockets[kind].getsockname()[1])
        serve(write(folder / f"{kind}.conf", STORAGE.format(folder=folder, devices=devices, kind=kind)), sockets[kind])
    proxy = write(folder / "proxy.conf", PROXY.format(folder=folder, account=account, user=user, secret=secret))
    serving = serve(proxy, sockets["proxy"])
    write(folder / "starting", str(sockets["proxy"].getsockname()[1])).rename(folder / "port")
    serving.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], os.environ["SECRET_KEY"])
