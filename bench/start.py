"""From the start of the process to the first answered REGISTER, with many lines and bindings stored."""

import hashlib
import json
import re
import socket
import sqlite3
import time

import process
from servers import DOMAIN, PASSWORD

POLL_S = 0.001
REPEAT_S = 0.1


class Phone:
    """One line's phone, over UDP: just enough to be registered."""

    def __init__(self, node, user):
        self.node, self.user, self.sequence = node, user, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(POLL_S)
        self.tag = f"{time.monotonic_ns()}"

    def send(self, authorization=""):
        self.sequence += 1
        port = self.socket.getsockname()[1]
        lines = [
            f"REGISTER sip:{DOMAIN} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{self.tag}x{self.sequence}",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@{DOMAIN}>;tag={self.tag}",
            f"To: <sip:{self.user}@{DOMAIN}>",
            f"Call-ID: {self.tag}",
            f"CSeq: {self.sequence} REGISTER",
            f"Contact: <sip:{self.user}@127.0.0.1:{port}>",
            "Expires: 3600",
            *([authorization] if authorization else []),
            "Content-Length: 0",
        ]
        host, port = self.node.address.split(":")
        self.socket.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), (host, int(port)))

    def receive(self):
        try:
            return self.socket.recv(65_535).decode()
        except (TimeoutError, ConnectionError):
            return None

    def authorization(self, challenge):
        """RFC 2617 with qop=auth, MD5: what every phone knows."""
        realm, nonce = (re.search(rf'{name}="([^"]*)"', challenge).group(1) for name in ("realm", "nonce"))
        uri = f"sip:{DOMAIN}"

        def md5(text):
            return hashlib.md5(text.encode()).hexdigest()

        proof = md5(
            f"{md5(f'{self.user}:{realm}:{PASSWORD}')}:{nonce}:00000001:bench:auth:{md5(f'REGISTER:{uri}')}"
        )
        return (
            f'Authorization: Digest username="{self.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
            f'algorithm=MD5, qop=auth, nc=00000001, cnonce="bench", response="{proof}"'
        )

    def register(self, patience_s=30):
        """Tries from now on, without pause, until it is registered. Seconds to the first answer, and to the 200."""
        began = time.monotonic()
        challenge = None
        while challenge is None:
            if time.monotonic() - began > patience_s or not self.node.alive():
                raise RuntimeError(f"no answer in {patience_s} s, see {self.node.log}")
            self.send()
            challenge = self.receive()
        answered = time.monotonic() - began
        authorization = self.authorization(challenge)
        sent = None
        while True:
            if sent is None or time.monotonic() > sent + REPEAT_S:
                sent = time.monotonic()
                self.send(authorization)
            answer = self.receive()
            if answer and answer.startswith("SIP/2.0 200"):
                return answered, time.monotonic() - began
            if time.monotonic() - began > patience_s:
                raise RuntimeError(f"not registered: {answer}")


def bind_all(node, users):
    """Gives every line the binding that the first one has: the node is down meanwhile."""
    database = sqlite3.connect(node.directory / "data/site.db")
    [[first, key, expires, text]] = database.execute("SELECT line_id, key, expires, binding FROM bindings").fetchall()
    binding = json.loads(text)

    def of(line, name):
        port = 1024 + line % 60_000
        ours = {
            **binding,
            "line": line,
            **{part: re.sub(r":\d+$", f":{port}", binding[part].replace(users[0], name)) for part in ("key", "contact")},
            "call_id": f"{binding['call_id']}{line}",
            "remote": f"127.0.0.1:{port}",
        }
        return line, ours["key"], expires, json.dumps(ours, separators=(",", ":"))

    lines = database.execute("SELECT id, name FROM lines WHERE id <> ?", [first]).fetchall()
    database.executemany("INSERT INTO bindings VALUES (?, ?, ?, ?)", (of(*line) for line in lines))
    database.commit()
    database.close()


def measure(node, user):
    """Starts the node and registers a phone: milliseconds to the first answer, and to the 200."""
    # Counted from before the process exists: loading the program is part of it.
    began = time.monotonic()
    node.serve()
    answered, registered = Phone(node, user).register()
    cpu_ms = process.cpu_ns(node.process.pid) / 1e6
    late = time.monotonic() - began - registered
    # What the kernel read from the disk for the first start is in memory for the others, as after a crash or an update.
    run = {"answered_ms": round(1000 * (answered + late), 1), "registered_ms": round(1000 * (registered + late), 1)}
    run["cpu_ms"] = round(cpu_ms, 1)
    process.wait_until(lambda: node.alive() and node.ready(), 60, "the node is ready")
    run["ready_ms"] = round(1000 * (time.monotonic() - began), 1)
    process.stop(node.process)
    return run
