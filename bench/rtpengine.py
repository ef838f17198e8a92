"""rtpengine in user space, and its control protocol (NG: bencode over UDP), as far as two offers and answers need it."""

import socket

import process
from servers import Server

PORTS = (26000, 31999)
REPLY_S = 3


class Rtpengine(Server):
    """One forwarding thread, no kernel table, nothing recorded."""

    HOST, LEFT, RIGHT = "127.0.0.1", "127.0.0.1", "127.0.0.1"

    def __init__(self, directory, cpu):
        super().__init__("rtpengine", directory, cpu)
        self.run([
            *["rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--config-file=none", "--table=-1"],
            *[f"--listen-ng={self.address}", f"--interface={self.HOST}", "--num-threads=1"],
            *[f"--port-min={PORTS[0]}", f"--port-max={PORTS[1]}", "--timeout=3600", "--silent-timeout=3600"],
        ])
        listening = f":{self.port:04X} "
        process.wait_until(lambda: self.alive() and listening in process.read("/proc/net/udp"), 10, "rtpengine listens")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", self.port))
        self.socket.settimeout(REPLY_S)
        self.cookie, self.calls = 0, 0

    def open(self, left, right):
        """Joins two phones, each the port it has at its host; the ports of the relay that they send to."""
        self.calls += 1
        call = {"call-id": f"bench-{self.calls}", "from-tag": "left", "ICE": "remove", "flags": ["trust-address"]}
        call["replace"] = ["origin", "session-connection"]
        for_right = self._ask({**call, "command": "offer", "sdp": description(left, host=self.LEFT)})
        for_left = self._ask({**call, "command": "answer", "to-tag": "right", "sdp": description(right, host=self.RIGHT)})
        return media_port(for_left["sdp"]), media_port(for_right["sdp"])

    def _ask(self, question):
        self.cookie += 1
        cookie = b"%d " % self.cookie
        self.socket.send(cookie + encode(question))
        while True:
            reply = self.socket.recv(65536)
            if reply.startswith(cookie):
                break
        answer, _ = decode(reply, len(cookie))
        if answer.get("result") != "ok":
            raise RuntimeError(f"rtpengine: {answer}")
        return answer


def description(port, codec=None, host="127.0.0.1"):
    """What a phone at `host` offers or answers: PCMU, or another codec."""
    payload_type, rtpmap = (codec.payload_type, codec.rtpmap) if codec else (0, "PCMU/8000")
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {rtpmap}\r\na=ptime:20\r\n"
    )


def media_port(sdp):
    """The port of the first media section."""
    return int(sdp.split("m=audio ")[1].split()[0])


def encode(value):
    if isinstance(value, str):
        value = value.encode()
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"


def decode(data, at):
    """The value that begins at `at`, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        values, at = [], at + 1
        while data[at : at + 1] != b"e":
            value, at = decode(data, at)
            values.append(value)
        return (values if kind == b"l" else dict(zip(values[::2], values[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end
