"""The servers that are measured: our node, and Kamailio in two roles. Each on a free port of 127.0.0.1, one CPU."""

import http.client
import os
import subprocess
from pathlib import Path

import process

BENCH = Path(__file__).resolve().parent
OFFHOOK = Path(os.environ.get("BENCH_OFFHOOK", BENCH.parent / "target/release/offhook"))
DOMAIN = "bench.test"
PASSWORD = "bench-password"
CALLER = "127.0.0.2"  # the address that the peer `caller` calls from


class Server:
    """A running server: `name`, `address` (host:port) and `process`."""

    def __init__(self, name, directory, cpu):
        self.name, self.directory, self.cpu = name, Path(directory) / name, cpu
        self.directory.mkdir(parents=True)
        self.port = process.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = self.directory / "log"
        self.process = None

    def run(self, command, **options):
        self.process = process.spawn(command, self.cpu, self.log, **options)

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended, see {self.log}")
        return True

    def stop(self):
        if self.process is not None:
            process.stop(self.process)


class Node(Server):
    """Our node: durable records, limits out of the way, media only if asked for. MD5 because SIPp 3.6 knows nothing else."""

    HOST, CALLER, CALLEE = "127.0.0.1", CALLER, "127.0.0.1"
    KERNEL = "off"  # the in-kernel media plane

    def __init__(self, directory, cpu, callee_port, users=(), anchor=False, media_ports="10000-30999", transcode="on refusal"):
        super().__init__("offhook", directory, cpu)
        self.http = process.free_port()
        (self.directory / "offhook.toml").write_text(f"""
[sip]
listen = ["udp://{self.HOST}:{self.port}"]
digest = "md5"
session_expires_secs = 1800
[http]
listen = "127.0.0.1:{self.http}"
websocket_sip = false
body_max_bytes = 67108864
[media]
anchor = {str(anchor).lower()}
transcode = "{transcode}"
kernel = "{self.KERNEL}"
silence_secs = 0 # calls rest between runs
ports = "{media_ports}" # none of those that `free_port` gives
[storage]
data = "{self.directory}/data"
[limits]
calls = 200000
bindings = 1000000
requests_per_source_per_sec = 1000000
requests_burst = 1000000
auth_failures_per_source_per_min = 10000
[edge] # all of a bench's users are one source
requests_per_network_per_sec = 0
requests_per_account_per_sec = 0
stray_points = 0
[log]
level = "warn"
""")
        lines = "".join(f'[tenants.default.lines.{user}]\npassword = "{PASSWORD}"\n' for user in users)
        (self.directory / "site.toml").write_text(f"""
[tenants.default]
domains = ["{DOMAIN}"]
[tenants.default.peers.caller]
sources = ["{self.CALLER}"]
may_call = "outside"
calls_max = 100000
[tenants.default.peers.callee]
host = "{self.CALLEE}"
port = {callee_port}
transport = "udp"
prefixes = [""]
calls_max = 100000
{lines}""")
        self.serve()
        try:
            self.prepare()
        except BaseException:
            self.stop()
            raise

    def serve(self):
        """Starts the process."""
        self.run([OFFHOOK, "serve"], cwd=self.directory)

    def prepare(self):
        """Waits until it is ready, and gives it its lines and peers."""
        process.wait_until(lambda: self.alive() and self.ready(), 30, "the node is ready")
        applied = subprocess.run(
            [OFFHOOK, "apply", "--yes", "site.toml"],
            cwd=self.directory,
            capture_output=True,
            text=True,
        )
        if applied.returncode:
            raise RuntimeError(f"offhook apply: {applied.stderr.strip()}")

    def ready(self):
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def get(self, path):
        """What the API answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=1)
        connection.request("GET", path)
        return connection.getresponse()


class Kamailio(Server):
    """Kamailio, one child, its fast allocator in both pools."""

    def __init__(self, role, directory, cpu, callee_port):
        super().__init__(f"kamailio-{role}", directory, cpu)
        defines = [f"PORT={self.port}", f'NEXT_HOP="sip:127.0.0.1:{callee_port}"']
        self.run([
            *["kamailio", "-DD", "-E", "-x", "fm", "-X", "fm", "-m", "2048", "-M", "8"],
            *["-w", self.directory, "-Y", self.directory, "-P", self.directory / "pid"],
            *(word for define in defines for word in ("-A", define)),
            *["-f", BENCH / "kamailio" / f"{role}.cfg"],
        ])
        listening = f":{self.port:04X} "
        process.wait_until(lambda: self.alive() and listening in process.read("/proc/net/udp"), 10, "Kamailio listens")
