"""Our relay with its in-kernel plane beside rtpengine in user space, over a veth pair: CPU of the whole system and delay.

Where the kernel carries packets no process does, so the CPU of all is measured: what a packet takes of it, above what the same
traffic takes from the phones' network to sockets at our end of the wire. That one crosses the wire once, a relayed packet
twice: the second crossing counts as the relay's."""

import json
import os
import statistics
import subprocess
import time

import process
from relay import LOSS_MAX, PORTS, TICK_US, Relay, RtpLoad, expect, wait_for_quiet
from wire import Direct, LEFT, NODE, RIGHT, Wire, WiredNode, WiredPhones, WiredRtpengine

# The node hands streams over once a second; one whose numbers begin anew, as at each run, waits up to four seconds more.
WARM_UP_S = 8


class WiredRelay(Relay):
    """A relay and its calls at the wire. `node` says how many of them the kernel carries, if it can."""

    def __init__(self, server, calls, directory, node=None):
        super().__init__(server, calls, directory)
        self.node = node

    def line(self, left, towards_left, right, towards_right):
        return f"{LEFT}:{left} {NODE}:{towards_left} {RIGHT}:{right} {NODE}:{towards_right}\n"


class Unrelayed(WiredRelay):
    """From the phones' network to sockets at our end."""

    def line(self, left, towards_left, right, towards_right):
        return f"{LEFT}:{left} {NODE}:{towards_left} {NODE}:{right} {LEFT}:{towards_right}\n"


class WiredLoad(RtpLoad):
    """The generator, with its sockets in the phones' network."""

    def run(self, relay, count, seconds, namespaces):
        command = [self.program, relay.list(0, count), seconds, WARM_UP_S, TICK_US]
        places = {**os.environ, "RTP_LOAD_LEFT": namespaces[0], "RTP_LOAD_RIGHT": namespaces[1]}
        pinned = [] if self.cpu is None else ["taskset", "-c", self.cpu]
        load = subprocess.Popen([str(word) for word in [*pinned, *command]], stdout=subprocess.PIPE, text=True, env=places)
        expect(load, "begin")
        carried, before = carried_of(relay), Moment(relay)
        expect(load, "end")
        after = Moment(relay)
        result = json.loads(load.stdout.readline())
        load.wait()
        packets = max(result["received"], 1)
        wall_s = after.at - before.at
        result.update(
            server=relay.name,
            system_us=round(1e6 * (os.cpu_count() * wall_s - (after.idle - before.idle)) / packets, 3),
            process_us=round((after.cpu - before.cpu) / 1000 / packets, 3),
            packets_per_sec=round(packets / wall_s),
            carried=carried,
            steal_ms=after.steal - before.steal,
        )
        result["limit"] = limit(result, count, relay)
        result["good"] = result["limit"] is None
        return result


class Moment:
    """What the counters say now."""

    def __init__(self, relay):
        self.at, self.idle, self.steal = time.monotonic(), process.idle_s(), process.steal_ms()
        self.cpu = process.cpu_ns(relay.pid) if relay.pid else 0


def carried_of(relay):
    return relay.node.carried() if relay.node else None


def limit(result, count, relay):
    """Why a run does not count."""
    if result["strange"] or result["refused"]:
        return f"{result['strange']} packets arrived elsewhere, {result['refused']} were refused"
    if result["lost"] > LOSS_MAX * result["sent"]:
        return f"{result['lost']} packets lost"
    if relay.node and result["carried"] < 0.99 * count:
        return f"the kernel carried {result['carried']} of {count} calls"
    return None


def measure(report, bench, streams, seconds):
    """Rounds of runs: without a relay, ours, theirs; figures are medians of what each takes above the first."""
    wire = bench.own(Wire())
    node = bench.own(WiredNode(bench.directory, bench.server_cpu, bench.callee_port, anchor=True, media_ports=PORTS))
    phones = bench.own(WiredPhones(node, bench.callee_port, wire))
    theirs = bench.own(WiredRtpengine(bench.directory, bench.server_cpu))
    nothing = bench.own(Direct())
    sides = [
        Unrelayed(nothing, nothing, bench.directory),
        WiredRelay(node, phones, bench.directory, node),
        WiredRelay(theirs, theirs, bench.directory),
    ]
    load = WiredLoad(bench.directory, bench.load_cpu)
    ours = f"/proc/{os.getpid()}/ns/net"
    for count in streams:
        good = {side.name: [] for side in sides}
        for side in sides:
            side.grow(count)
        for turn in range(bench.pairs):
            for side in sides if turn % 2 == 0 else reversed(sides):
                wait_for_quiet()
                namespaces = [wire.path, ours if side is sides[0] else wire.path]
                run = load.run(side, count, seconds, namespaces)
                report.raw(f"relay-kernel@{count}", run)
                print(describe(run), flush=True)
                if run["good"]:
                    good[side.name].append(run)
        figures(report, f"relay-kernel@{count}", *(good[side.name] for side in sides))


def figures(report, bench, nothing, ours, theirs):
    runs = min(map(len, (nothing, ours, theirs)))
    named = {
        "cpu_us_per_packet_kernel": "system_us",
        "added_latency_p50_us": "latency_p50_us",
        "added_latency_p99_us": "latency_p99_us",
    }
    for metric, key in named.items():
        alone = statistics.median([run[key] for run in nothing]) if nothing else 0
        above = [[run[key] - alone for run in side] for side in (ours, theirs)]
        report.figure(bench, metric, above[0], "rtpengine", above[1], runs)


def describe(run):
    told = (
        f"relay-kernel {run['server']:<10} {run['streams']:>5} calls {run['packets_per_sec']:>6} packets/s  "
        f"system {run['system_us']:>6.2f} us, process {run['process_us']:>6.2f} us  p50 {run['latency_p50_us']:.0f} "
        f"p99 {run['latency_p99_us']:.0f} p99.9 {run['latency_p999_us']:.0f} us  lost {run['lost']} "
        f"overtaken {run['overtaken']}  steal {run['steal_ms']} ms"
    )
    return told if run["good"] else f"{told}  NOT COUNTED: {run['limit']}"
