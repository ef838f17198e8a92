"""Measures the media of `offhook load`: CPU per RTP stream beside SIPp, and how many two-way calls this machine carries."""

import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import process
from tester import BINARY, OURS, SCENARIOS, THEIRS, Side

# A stream is 50 packets a second.
PACKETS_PER_SECOND = 50
# Calls are answered by scenarios of ours on this address, so that both sides have all ports for media.
CALLEE = "127.0.0.2"
# Seconds until the calls are up, and that are measured.
RAMP_S, MEASURED_S = 4, 8
# Two-way calls that are tried, one number after the other until one is too many.
CALLS = (500, 1000, 1500, 2000, 2500, 3000, 4000, 5000)


def sound(directory):
    """A second of a square wave in mu-law, where scenarios look for it."""
    path = Path(directory) / "sound.raw"
    path.write_bytes((b"\x90" * 8 + b"\x10" * 8) * 500)
    return path


def datagrams():
    """Datagrams that left this machine's UDP sockets so far."""
    rows = [line.split() for line in process.read("/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("OutDatagrams")])


def cpu_per_stream(report, bench):
    """CPU of a caller that streams, per stream and second. Nobody reads what comes: full sockets cost both the same."""
    count, results = 200, {OURS: [], THEIRS: []}
    for _ in range(bench.pairs):
        for name in results:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sink.bind(("127.0.0.1", 0))
                run = one_way(bench, name, count, sink.getsockname()[1])
            report.raw("load.streams", run)
            print(f"streams {name:<13} {run['cpu_us_per_stream_second']:>8.1f} us  good {run['good']}", flush=True)
            if run["good"]:
                results[name].append(run["cpu_us_per_stream_second"])
    ours, theirs = results[OURS], results[THEIRS]
    runs = min(len(ours), len(theirs))
    report.figure("load", "load.cpu_us_per_rtp_stream_second", ours, THEIRS, theirs, runs)


def one_way(bench, name, count, sink):
    """One run with `count` streams."""
    port = process.free_port()
    answering = Side(
        OURS, ["-sf", SCENARIOS / "answer.xml", "-p", port, "-mp", sink], bench.server_cpu, bench.directory, bench.shim, []
    )
    listening = f":{port:04X} "
    process.wait_until(lambda: listening in process.read("/proc/net/udp"), 5, "the callee listens")
    hold_ms = (RAMP_S + MEASURED_S + 4) * 1000
    arguments = [f"127.0.0.1:{port}", "-r", count // 2, "-m", count, "-l", count, "-d", hold_ms]
    scenario = Path(bench.directory) / "streams.xml"
    scenario.write_text((SCENARIOS / "streams.xml").read_text().replace("sound.raw", str(sound(bench.directory))))
    calling = Side(name, ["-sf", scenario], bench.load_cpu, bench.directory, bench.shim, arguments)
    time.sleep(RAMP_S)
    cpu, sent, began = process.cpu_ns(calling.process.pid), datagrams(), time.monotonic()
    time.sleep(MEASURED_S)
    cpu, sent, took = process.cpu_ns(calling.process.pid) - cpu, datagrams() - sent, time.monotonic() - began
    process.stop(calling.process, patience_s=3)
    process.stop(answering.process, patience_s=3)
    wanted = count * PACKETS_PER_SECOND * took
    return {
        "caller": name, "streams": count, "sent": sent, "wanted": round(wanted), "seconds": round(took, 2),
        "cpu_us_per_stream_second": round(cpu / 1000 / max(sent, 1) * PACKETS_PER_SECOND, 2),
        "cpu_percent": round(cpu / 1e7 / took, 1), "good": abs(sent / wanted - 1) < 0.03, "steal_ms": process.steal_ms(),
    }


def carried(report, bench):
    """The most calls at once with sound both ways at which both sides find every stream good: caller, callee and the
    network between them are all on this machine."""
    best, judged = 0, [
        "--require", "failed == 0", "--require", "rtp_loss_percent < 0.1", "--require", "mos.min > 4",
    ]
    for count in CALLS:
        run = two_way(bench, count, judged)
        report.raw("load.two_way", run)
        print(f"two-way calls {count:>6}  good {run['good']}  {run}", flush=True)
        if not run["good"]:
            break
        best = count
    report.figure("load", "load.two_way_g711_calls", [best], None, [], 1)


def two_way(bench, count, judged):
    directory = Path(tempfile.mkdtemp(dir=bench.directory))
    port, program = process.free_port(), os.environ.get("BENCH_OFFHOOK", BINARY)
    path = sound(directory)
    for name in ("streams", "talks"):
        (directory / f"{name}.xml").write_text((SCENARIOS / f"{name}.xml").read_text().replace("sound.raw", str(path)))

    def start(role, scenario, address, more):
        results = ["--json", directory / f"{role}.json", "-nostdin", "-i", address, "-sf", directory / f"{scenario}.xml"]
        # Above what tests on this machine use.
        results += ["-min_rtp_port", 33_000]
        return process.spawn([program, "load", *results, *judged, *more], None, directory / role, cwd=directory)

    callee = start("callee", "talks", CALLEE, ["-p", port, "-m", count])
    listening = f":{port:04X} "
    process.wait_until(lambda: listening in process.read("/proc/net/udp"), 5, "the callee listens")
    arguments = [f"{CALLEE}:{port}", "-r", count // RAMP_S, "-m", count, "-l", count, "-d", (RAMP_S + MEASURED_S) * 1000]
    caller = start("caller", "streams", "127.0.0.1", arguments)
    time.sleep(RAMP_S + 1)
    idle, began = process.idle_s(), time.monotonic()
    time.sleep(MEASURED_S - 2)
    idle, took = process.idle_s() - idle, time.monotonic() - began
    codes = [caller.wait(timeout=60)]
    try:
        codes.append(callee.wait(timeout=20))
    except subprocess.TimeoutExpired:
        process.stop(callee, patience_s=3)
        codes.append(None)
    media = {}
    for role in ("caller", "callee"):
        path = directory / f"{role}.json"
        if not path.exists():
            continue
        heard = json.loads(path.read_text())["media"]
        media[role] = {"lost": heard["lost"], "received": heard["received"], "mos_min": heard["mos"]["min"],
                       "jitter_ms_max": heard["jitter_ms"]["max"]}
    return {"calls": count, "good": codes == [0, 0], "codes": codes, "idle_percent": round(100 * idle / took / os.cpu_count(), 1),
            **media}


def run(report, bench):
    cpu_per_stream(report, bench)
    carried(report, bench)
