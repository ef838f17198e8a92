"""Calls with media through our node: two phones in one, which speak just the SIP that it takes to open and end them."""

import re
import socket

from rtpengine import description, media_port

REPLY_S = 5


class Phones:
    """The caller at the peer `caller` and the callee at the peer `callee`, for calls one after the other."""

    def __init__(self, node, callee_port, codecs=(None, None)):
        self.node = (node.HOST, node.port)
        self.caller = self.phone(node.CALLER, 0)
        self.callee = self.phone(node.CALLEE, callee_port)
        for each in (self.caller, self.callee):
            each.settimeout(REPLY_S)
        self.codecs = codecs
        self.calls = 0

    def open(self, left, right):
        """Joins two phones, each the port it has at its host; the ports of the relay that they send to."""
        self.calls += 1
        self._send(self.caller, self._request("INVITE", 1, description(left, self.codecs[0], self.caller.getsockname()[0])))
        invite = self._receive(self.callee, "INVITE ")
        ok = response(invite, right, description(right, self.codecs[1], self.callee.getsockname()[0]), self.callee.getsockname())
        self._send(self.callee, ok)
        answer = self._receive(self.caller, "SIP/2.0 200")
        self._send(self.caller, self._request("ACK", 1, None, answer))
        self._receive(self.callee, "ACK ")
        return media_port(answer), media_port(invite)

    def phone(self, host, port):
        """A socket for SIP."""
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((host, port))
        return udp

    def stop(self):
        self.caller.close()
        self.callee.close()

    def _send(self, socket, message):
        socket.sendto(message.encode(), self.node)

    def _receive(self, socket, start):
        while True:
            message = socket.recv(65536).decode()
            if message.startswith(start):
                return message
            if re.match(r"SIP/2.0 [3-6]", message):
                raise RuntimeError(f"the node refused a call: {message.splitlines()[0]}")

    def _request(self, method, number, body, answer=None):
        host, port = self.caller.getsockname()
        node = "{}:{}".format(*self.node)
        target = re.search(r"^Contact:.*?<([^>]*)>", answer, re.M | re.I).group(1) if answer else f"sip:5550123@{node}"
        to = header(answer, "To") if answer else f"To: <sip:5550123@{node}>"
        return message(
            [
                f"{method} {target} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK-{method}-{self.calls}",
                "Max-Forwards: 70",
                f"From: <sip:5550100@{host}:{port}>;tag=caller{self.calls}",
                to,
                f"Call-ID: anchored-{self.calls}@bench",
                f"CSeq: {number} {method}",
                f"Contact: <sip:5550100@{host}:{port}>",
            ],
            body,
        )


def header(text, name):
    return re.search(rf"^{name}:[^\r]*", text, re.M | re.I).group(0)


def response(request, tag, body, address):
    """200 to an INVITE."""
    vias = re.findall(r"^Via:[^\r]*", request, re.M | re.I)
    to = header(request, "To")
    tagged = to if ";tag=" in to else f"{to};tag=callee{tag}"
    same = [header(request, name) for name in ("From", "Call-ID", "CSeq")]
    contact = "Contact: <sip:{}:{}>".format(*address)
    return message(["SIP/2.0 200 OK", *vias, tagged, *same, contact], body)


def message(lines, body):
    body = body or ""
    typed = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *typed, f"Content-Length: {len(body)}", "", body])
