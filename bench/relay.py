"""The media relay beside rtpengine in user space: CPU and delay of a packet, memory of a call."""

import json
import statistics
import subprocess
import time

import process
from anchored import Phones
from rtpengine import Rtpengine
from servers import BENCH, Node

# Phones have these ports, two apart, left ones in the first half and right ones in the second; the range of our node
# follows, then rtpengine's, then those of `free_port`.
PHONE_PORTS = (10000, 19999)
PORTS = "20000-25999"
WARM_UP_S = 2
TICK_US = 250
LOSS_MAX = 0.0001
# Other processes may have taken so much of the time of both CPUs.
FOREIGN_MAX = 0.03
QUIET_PATIENCE_S = 60


class Relay:
    """A relay with its calls, and a list of them for `rtp_load`."""

    def __init__(self, server, calls, directory):
        self.server, self.calls, self.directory = server, calls, directory
        self.name, self.pid = server.name, server.process.pid if server.process else None
        self.streams = []

    def grow(self, count):
        """Opens calls until there are `count`."""
        for number in range(len(self.streams), count):
            left = PHONE_PORTS[0] + 2 * number
            right = left + (PHONE_PORTS[1] + 1 - PHONE_PORTS[0]) // 2
            towards_left, towards_right = self.calls.open(left, right)
            self.streams.append(self.line(left, towards_left, right, towards_right))

    def line(self, left, towards_left, right, towards_right):
        """A call as `rtp_load` reads it."""
        return f"127.0.0.1:{left} 127.0.0.1:{towards_left} 127.0.0.1:{right} 127.0.0.1:{towards_right}\n"

    def list(self, first, last):
        path = self.directory / f"{self.name}-{first}-{last}.streams"
        path.write_text("".join(self.streams[first:last]))
        return path


class RtpLoad:
    """The generator, built once."""

    def __init__(self, directory, cpu, speech=()):
        self.program, self.cpu, self.speech = directory / "rtp_load", cpu, speech
        subprocess.run(["cc", "-O2", "-o", self.program, BENCH / "rtp_load.c"], check=True)

    def run(self, relay, first, last, seconds):
        """Two-way media on the calls `first` to `last`; what came of it."""
        command = [self.program, relay.list(first, last), seconds, WARM_UP_S, TICK_US, *self.speech]
        pinned = [] if self.cpu is None else ["taskset", "-c", self.cpu]
        load = subprocess.Popen([str(word) for word in [*pinned, *command]], stdout=subprocess.PIPE, text=True)
        expect(load, "begin")
        before = Moment(relay.pid)
        expect(load, "end")
        after = Moment(relay.pid)
        result = json.loads(load.stdout.readline())
        load.wait()
        wall_ns = after.at - before.at
        packets = max(result["received"], 1)
        generator_ns = 1000 * result["generator_cpu_us"] * result["sent"]
        foreign = (after.busy - before.busy) * 1e9 - (after.cpu - before.cpu) - generator_ns
        result.update(
            server=relay.name,
            cpu_us=round((after.cpu - before.cpu) / 1000 / packets, 3),
            switches_per_packet=round((after.switches - before.switches) / packets, 3),
            cpu_percent=round(100 * (after.cpu - before.cpu) / wall_ns, 1),
            packets_per_sec=round(1e9 * packets / wall_ns),
            steal_ms=after.steal - before.steal,
            foreign=round(max(foreign, 0) / wall_ns / 2, 4),
        )
        result["limit"] = limit(result)
        result["good"] = result["limit"] is None
        return result


class Moment:
    """What the counters say now."""

    def __init__(self, pid):
        self.at, self.cpu, self.switches = time.monotonic_ns(), process.cpu_ns(pid), process.switches(pid)
        self.busy, self.steal = process.busy_s(), process.steal_ms()


def expect(load, word):
    line = load.stdout.readline().strip()
    if line != word:
        raise RuntimeError(f"rtp_load ended with {load.wait()}: {line}")


def limit(result):
    """Why a run does not count."""
    if result["strange"] or result["refused"]:
        return f"{result['strange']} packets arrived elsewhere, {result['refused']} were refused"
    if result["lost"] > LOSS_MAX * result["sent"]:
        return f"{result['lost']} packets lost"
    if result["foreign"] > FOREIGN_MAX:
        return f"other processes took {100 * result['foreign']:.1f} % of the machine"
    return None


def wait_for_quiet():
    """Until other processes leave the machine alone, or patience ends: the run says how much they took."""
    end = time.monotonic() + QUIET_PATIENCE_S
    while time.monotonic() < end:
        busy = process.busy_s()
        time.sleep(0.5)
        if process.busy_s() - busy < 0.05:
            return


def start(bench):
    """Both relays, and the generator."""
    node = bench.own(Node(bench.directory, bench.server_cpu, bench.callee_port, anchor=True, media_ports=PORTS))
    phones = bench.own(Phones(node, bench.callee_port))
    theirs = bench.own(Rtpengine(bench.directory, bench.server_cpu))
    relays = [Relay(node, phones, bench.directory), Relay(theirs, theirs, bench.directory)]
    return relays, RtpLoad(bench.directory, bench.load_cpu)


def measure(report, bench, streams, seconds):
    """Pairs of runs, ours and theirs in turn; their medians become figures."""
    relays, load = start(bench)
    for count in streams:
        good = {relay.name: [] for relay in relays}
        for relay in relays:
            relay.grow(count)
        for pair in range(bench.pairs):
            # Who goes first changes, so that a load that rises or falls meanwhile favours nobody.
            for relay in relays if pair % 2 == 0 else reversed(relays):
                wait_for_quiet()
                run = load.run(relay, 0, count, seconds)
                report.raw(f"relay@{count}", run)
                print(describe(run), flush=True)
                if run["good"]:
                    good[relay.name].append(run)
        figures(report, f"relay@{count}", [good[relay.name] for relay in relays], relays[1].name)


def figures(report, bench, sides, peer):
    runs = min(map(len, sides))
    named = {
        "cpu_us_per_packet_user": "cpu_us",
        "latency_p50_us": "latency_p50_us",
        "latency_p99_us": "latency_p99_us",
    }
    for metric, key in named.items():
        ours, theirs = ([run[key] for run in side] for side in sides)
        report.figure(bench, metric, ours, peer, theirs, runs)


def describe(run):
    told = (
        f"relay {run['server']:<10} {run['streams']:>5} calls {run['packets_per_sec']:>6} packets/s  cpu {run['cpu_us']:>6.2f} us "
        f"({run['cpu_percent']:>4.1f} %)  p50 {run['latency_p50_us']:.0f} p99 {run['latency_p99_us']:.0f} "
        f"p99.9 {run['latency_p999_us']:.0f} us  lost {run['lost']} overtaken {run['overtaken']}  "
        f"switches {run['switches_per_packet']}  generator {run['generator_cpu_us']} us  steal {run['steal_ms']} ms  "
        f"foreign {100 * run['foreign']:.1f} %"
    )
    return told if run["good"] else f"{told}  NOT COUNTED: {run['limit']}"


def memory(report, bench, count, settle_s):
    """KB per anchored call, signalling and media, as the second of two equal waves adds them. All calls have had media
    a moment before; `settle_s` later the transactions that opened them are gone."""
    relays, load = start(bench)
    sizes = {relay.name: [] for relay in relays}
    for wave in range(2):
        for relay in relays:
            relay.grow((wave + 1) * count)
            load.run(relay, wave * count, (wave + 1) * count, 1)
        time.sleep(settle_s)
        for relay in relays:
            sizes[relay.name].append(process.memory_bytes(relay.pid))
    ours, theirs = ((sizes[relay.name][1] - sizes[relay.name][0]) / count / 1000 for relay in relays)
    raw = {"metric": "kb_per_anchored_call", "count": count, "ours": ours, "theirs": theirs, "sizes": sizes}
    report.raw("memory", raw)
    report.figure("memory", "kb_per_anchored_call", [statistics.median([ours])], relays[1].name, [theirs], 1)
