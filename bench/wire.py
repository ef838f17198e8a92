"""A network of its own for the phones: a namespace joined to ours by a veth pair, and relays at our end of it."""

import ctypes
import os
import re
import socket
import subprocess

import process
from anchored import Phones
from rtpengine import Rtpengine
from servers import Node

NAME = "offhook-bench"
INTERFACE = "ohbench0"
NODE, LEFT, RIGHT = "198.19.255.1", "198.19.255.2", "198.19.255.3"
CLONE_NEWNET = 0x40000000


class Wire:
    """The namespace; gone at `stop`."""

    def __init__(self):
        self.stop()
        ip("netns", "add", NAME)
        ip("link", "add", INTERFACE, "type", "veth", "peer", "name", "phones", "netns", NAME)
        ip("addr", "add", f"{NODE}/24", "dev", INTERFACE)
        ip("link", "set", INTERFACE, "up")
        for address in (LEFT, RIGHT):
            ip("-n", NAME, "addr", "add", f"{address}/24", "dev", "phones")
        for interface in ("lo", "phones"):
            ip("-n", NAME, "link", "set", interface, "up")
        self.path = f"/run/netns/{NAME}"

    def socket(self, host, port):
        """A UDP socket at a phone's address."""
        with open("/proc/thread-self/ns/net") as ours, open(self.path) as theirs:
            enter(theirs)
            try:
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            finally:
                enter(ours)
        udp.bind((host, port))
        return udp

    def stop(self):
        subprocess.run(["ip", "netns", "del", NAME], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", INTERFACE], stderr=subprocess.DEVNULL)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()} (this benchmark needs root)")


def enter(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class WiredNode(Node):
    """Our node at the wire, free to load the in-kernel plane."""

    HOST, CALLER, CALLEE, KERNEL = NODE, LEFT, RIGHT, "auto"

    def carried(self):
        """Calls that the kernel carries now."""
        metrics = self.get("/metrics").read().decode()
        return int(float(re.search(r"^offhook_media_kernel_streams (\S+)", metrics, re.M).group(1)))


class WiredPhones(Phones):
    """The phones of `Phones`, at the other end of the wire."""

    def __init__(self, node, callee_port, wire):
        self.wire = wire
        super().__init__(node, callee_port)

    def phone(self, host, port):
        return self.wire.socket(host, port)


class WiredRtpengine(Rtpengine):
    """rtpengine at the wire, in user space."""

    HOST, LEFT, RIGHT = NODE, LEFT, RIGHT


class Direct:
    """No relay: the left phones speak with right ones at our end of the wire."""

    name = "direct"

    def __init__(self):
        self.process = None

    def open(self, left, right):
        return right, left

    def stop(self):
        pass
