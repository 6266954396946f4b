"""Load, always from the load cores: wrk for HTTP, `tcpload` of the test kit for TCP."""
import re
import subprocess

from .figures import Sample, cpu
from .proxies import NAME
from .world import LOAD_CORES, fail, on

UNITS = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}


def wrk(proxy, path, seconds, connections=32, close=False, headers=()):
    """One run; CPU counts per 100,000 requests."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {NAME}"]
    for header in [*headers, *(["Connection: close"] if close else [])]:
        argv += ["-H", header]
    before = cpu(proxy.pids)
    said = subprocess.run(on(LOAD_CORES, [*argv, f"http://127.0.0.1:{proxy.port}{path}"]), capture_output=True, text=True).stdout
    after = cpu(proxy.pids)
    wrong = re.search(r"Non-2xx.*|Socket errors.*", said)
    answered = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said)
    if wrong or not answered or answered[1] == "0":
        fail(f"{proxy.name} failed requests: {said}")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    requests = int(answered[1])
    seconds = float(answered[2]) * (1e-3 if answered[3] == "ms" else 1)
    return Sample(before, after, requests / 1e5, requests / seconds, float(p99[1]) * UNITS[p99[2]])


class Tcp:
    """Source, sink and echo behind the proxies, and clients in front of them."""

    def __init__(self, program, world):
        self.program, self.port = program, world.free_port()
        world.start("tcp-origin", [program, "serve", f"127.0.0.1:{self.port}"], LOAD_CORES)
        world.until("the TCP origin", world.listening(self.port))

    def _run(self, proxy, *argv):
        before = cpu(proxy.pids)
        ran = subprocess.run(on(LOAD_CORES, [self.program, *argv]), capture_output=True, text=True)
        after = cpu(proxy.pids)
        if ran.returncode != 0:
            fail(f"{proxy.name}: {ran.stderr}")
        return before, after, [float(word) for word in ran.stdout.split()]

    def bulk(self, proxy, gigabytes, streams=2):
        """CPU per GB (10^9 bytes) that the origin sends."""
        before, after, (seconds,) = self._run(proxy, "bulk", f"127.0.0.1:{proxy.port}", str(streams), str(int(gigabytes * 1e9 / streams)))
        return Sample(before, after, gigabytes, gigabytes / seconds, None)

    def chat(self, proxy, trips, connections=32):
        """CPU per 100,000 round trips of 64 bytes."""
        each = trips // connections
        before, after, (seconds, p99) = self._run(proxy, "chat", f"127.0.0.1:{proxy.port}", str(connections), str(each))
        done = each * connections
        return Sample(before, after, done / 1e5, done / seconds, p99 * 1e3)
