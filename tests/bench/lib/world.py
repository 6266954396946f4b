"""Processes of a bench: started on cores of their own, ended with it. Loopback only."""
import atexit
import functools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CORES = sorted(os.sched_getaffinity(0))
# The proxy has a core to itself, load and origins share the others; with a single core everything shares it.
PROXY_CORES = CORES[-1:]
LOAD_CORES = CORES[:-1] or CORES
# Negative on a busy machine: less of what others do gets between (root only). The kernel weighs sessions before processes.
NICE = int(os.environ.get("NICE", 0))
DIR = tempfile.mkdtemp(prefix="hancock-bench-")
# nginx drops its rights and reads from here.
os.chmod(DIR, 0o755)
_running = []


def _session_nice(nice):
    try:
        with open("/proc/self/autogroup", "w") as f:
            f.write(str(nice))
    except OSError:
        pass


if NICE:
    _session_nice(NICE)


@atexit.register
def _end():
    if NICE:
        _session_nice(0)
    for p in _running:
        p.terminate()
    for p in _running:
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            p.kill()
    shutil.rmtree(DIR, ignore_errors=True)


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def need(*packages):
    """Installs what is missing of Debian's packages."""
    script = '. packaging/debian.sh; find_rust; install_missing "$@"'
    subprocess.run(["bash", "-ec", script, "bench", *packages], cwd=ROOT, check=True)
    os.environ["PATH"] += ":" + os.path.expanduser("~/.cargo/bin") + ":/usr/sbin:/sbin"


def on(cores, argv):
    return ["nice", "-n", str(NICE), "taskset", "-c", ",".join(map(str, cores)), *argv]


def start(name, argv, cores, **more):
    """Starts a process; what it says goes to a file in DIR."""
    log = open(os.path.join(DIR, name + ".log"), "ab")
    p = subprocess.Popen(on(cores, argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL, **more)
    _running.append(p)
    return p


def stop(p):
    p.terminate()
    p.wait(15)
    _running.remove(p)


def said(name):
    with open(os.path.join(DIR, name + ".log"), errors="replace") as f:
        return f.read()[-2000:]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, ask, seconds=60):
    """Waits until `ask` answers something, which is returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = ask()
            if answer:
                return answer
        except OSError:
            pass
        time.sleep(0.05)
    fail(f"waited {seconds} s for {what}")


def listening(port):
    def ask():
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return ask


def put(port, path, document):
    """A document for Hancock's admin interface."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method="PUT")
    urllib.request.urlopen(request, timeout=10).read()


def put_framed(port, line, document):
    """A document for Hancock's framed protocol."""
    body = json.dumps(document).encode()
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(line.encode() + b"\n" + struct.pack(">I", len(body)) + body)
        answer = s.recv(4096)
    if struct.unpack(">I", answer[4:8])[0] != 0:
        fail(f"{line}: {answer[8:]!r}")


@functools.cache
def hancock():
    """The binary to measure: HANCOCK, or the dist build, which is made first."""
    given = os.environ.get("HANCOCK")
    if given:
        return os.path.realpath(given)
    need()
    subprocess.run(["cargo", "build", "--quiet", "--profile", "dist", "--bin", "hancock"], cwd=ROOT, check=True)
    return os.path.join(target(), "dist", "hancock")


def target():
    return os.path.realpath(os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target")))


def tcpload():
    """The TCP load client; it needs nothing but the compiler."""
    need()
    out = os.path.join(DIR, "tcpload")
    source = os.path.join(ROOT, "tests", "testkit", "src", "bin", "tcpload.rs")
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", out, source], check=True)
    return out


def machine():
    """What figures have to carry with them."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    u = os.uname()
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    given = os.environ.get("HANCOCK")
    binary = f"a binary of {time.strftime('%H:%M', time.gmtime(os.path.getmtime(given)))} UTC beside " if given else ""
    return (f"{binary}commit {commit}, {when} UTC, {u.sysname} {u.release}, {len(CORES)} cores, load {load}; "
            f"proxy on core {PROXY_CORES}, load and origins on {LOAD_CORES}, niceness {NICE}")
