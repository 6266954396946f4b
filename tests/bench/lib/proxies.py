"""nginx, HAProxy and Hancock with the same features on: X-Forwarded-For, keep-alive to the origin, one thread, no access log."""
import os
import signal
import subprocess

from . import world
from .world import DIR, PROXY_CORES, LOAD_CORES, fail, free_port, listening, until

NAME = "bench.localhost"


def _write(name, text):
    path = os.path.join(DIR, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    return path


def start_nginx(name, cores, body):
    """Starts an nginx with one worker; answers the pids that count."""
    base = os.path.join(DIR, name)
    temp = " ".join(f"{kind}_temp_path {base}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    load = "" if "stream {" not in body else "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
    # proxy_temp and the like belong to http only.
    body = body.replace("http {", f"http {{ access_log off; server_tokens off; {temp} ")
    conf = _write(f"{name}/conf", f"""
{load} daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {base}/pid; error_log {base}/error;
events {{ worker_connections 15000; }}
{body}
""")
    p = world.start(name, ["nginx", "-p", base, "-c", conf, "-e", f"{base}/error"], cores)
    def worker():
        found = subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, text=True).stdout.split()
        return [int(f) for f in found]
    return p, until(f"nginx, which said {world.said(name)!r}", worker) + [p.pid]


class Origin:
    """An nginx that answers 128 bytes at /small and 64 KiB at /big."""

    def __init__(self):
        self.port = free_port()
        _write("origin/files/big", "x" * 65536)
        start_nginx("origin", LOAD_CORES, f"""
http {{ keepalive_requests 100000000; keepalive_timeout 600s; open_file_cache max=10; sendfile on; tcp_nopush on;
  client_max_body_size 0;
  server {{ listen 127.0.0.1:{self.port} backlog=4096; root {DIR}/origin/files;
    location = /small {{ return 200 "{'x' * 128}"; }} location = /up {{ return 204; }} }} }}""")
        until("the origin", listening(self.port))


class Proxy:
    def __init__(self, name, port, pids):
        self.name, self.port, self.pids = name, port, pids
        until(name, listening(port))


def nginx(origin):
    port = free_port()
    _, pids = start_nginx("nginx", PROXY_CORES, f"""
http {{ keepalive_requests 100000000; keepalive_timeout 600s; proxy_max_temp_file_size 0; proxy_buffers 16 8k;
  proxy_request_buffering off; client_max_body_size 0;
  upstream o {{ server 127.0.0.1:{origin}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://o; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_set_header Host {NAME};
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}""")
    return Proxy("nginx", port, pids)


def _haproxy(name, connections, more, body):
    # -W is off: a single process; the kernel tells its threads apart anyway.
    conf = _write(f"{name}.cfg", f"""
global
  nbthread 1
  maxconn {connections}
  {more}
defaults
  timeout connect 3s
  timeout client 600s
  timeout server 600s
{body}
""")
    p = world.start(name, ["haproxy", "-db", "-f", conf], PROXY_CORES)
    return [p.pid]


def haproxy(origin, connections=4000):
    port = free_port()
    pids = _haproxy("haproxy", connections, "", f"""
  mode http
  option forwardfor
  http-reuse always
listen x
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header Host {NAME}
  server o 127.0.0.1:{origin} pool-max-conn -1
""")
    return Proxy("haproxy", port, pids)


class Hancock(Proxy):
    """`hancock balancer` as it is shipped; `more` are further arguments."""

    def __init__(self, name="hancock", more=()):
        port, self.admin, self.framed = free_port(), free_port(), free_port()
        address = "127.0.0.1:{}".format
        p = world.start(name, [world.hancock(), "balancer", "--threads", "1", "--http", address(port),
                               "--admin", address(self.admin), "--stream-admin", address(self.framed),
                               "--tcp-bind", "127.0.0.1", "--data-dir", os.path.join(DIR, name + "-data"), *more],
                        PROXY_CORES)
        until(f"{name}, which said {world.said(name)!r}", listening(self.admin), 20)
        super().__init__(name, port, [p.pid])

    def serve(self, origin, **more):
        """Routes NAME to an origin."""
        world.put(self.admin, "/upstream/" + NAME, {"servers": [{"host": "127.0.0.1", "port": origin}], **more})
        return self

    def tcp(self, origin):
        """Opens a TCP port towards an origin; answers it in the shape of a proxy."""
        port = free_port()
        world.put_framed(self.framed, f"PUT upstream {port}", {"servers": [{"host": "127.0.0.1", "port": origin}]})
        return Proxy(self.name, port, self.pids)


def nginx_tcp(origin):
    port = free_port()
    _, pids = start_nginx("nginx", PROXY_CORES, f"""
stream {{ proxy_buffer_size 64k; server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{origin}; }} }}""")
    return Proxy("nginx", port, pids)


def haproxy_tcp(name, origin, tune="", options=""):
    port = free_port()
    pids = _haproxy(name, 4000, tune, f"""
  mode tcp
  {options}
listen x
  bind 127.0.0.1:{port}
  server o 127.0.0.1:{origin}
""")
    return Proxy(name, port, pids)
