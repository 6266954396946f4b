"""What the further cases need besides the harness: origins that answer byte for byte, clients that read message by message."""
import contextlib
import socket
import threading

from harness import PROXY


class RawOrigin:
    """Reads one request at a time and answers what `answer(head, body)` returns; None hangs up, `last` hangs up afterwards."""

    def __init__(self, answer, last=False, host="127.0.0.1"):
        self.answer, self.last, self.host = answer, last, host
        self.seen = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._s = socket.socket(family)
        self._s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._s.bind((host, 0))
        self._s.listen(64)
        self.port = self._s.getsockname()[1]
        threading.Thread(target=self._loop, daemon=True).start()

    def srv(self, **kw):
        return dict({"host": self.host, "port": self.port}, **kw)

    def _loop(self):
        while True:
            try:
                c, _ = self._s.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(c,), daemon=True).start()

    def _one(self, c):
        with contextlib.suppress(OSError), c:
            reader = Messages(c)
            while True:
                got = reader.message()
                if got is None:
                    return
                self.seen.append(got)
                out = self.answer(*got)
                if out is None:
                    return
                c.sendall(out)
                if self.last:
                    c.shutdown(socket.SHUT_WR)
                    return

    def shutdown(self):
        with contextlib.suppress(OSError):
            self._s.shutdown(socket.SHUT_RDWR)
        self._s.close()


class Messages:
    """HTTP messages of one connection."""

    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def _fill(self):
        d = self.sock.recv(65536)
        self.buf += d
        return bool(d)

    def _upto(self, mark):
        while mark not in self.buf:
            if not self._fill():
                return None
        out, _, self.buf = self.buf.partition(mark)
        return out

    def _take(self, n):
        while len(self.buf) < n:
            if not self._fill():
                return None
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def _chunks(self):
        out = b""
        while True:
            size = int(self._upto(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._upto(b"\r\n"):
                    pass
                return out
            out += self._take(size)
            self._take(2)

    def message(self, bodiless=False):
        """-> (head, body), or None when the peer hung up."""
        head = self._upto(b"\r\n\r\n")
        if head is None:
            return None
        low = head.lower()
        if bodiless:
            return head, b""
        if b"\r\ntransfer-encoding: chunked" in low:
            return head, self._chunks()
        length = header(head, "content-length")
        if length is not None:
            return head, self._take(int(length))
        if low.startswith(b"http/") and low.split(b" ")[1] not in (b"204", b"304"):
            while self._fill():
                pass
            out, self.buf = self.buf, b""
            return head, out
        return head, b""


def headers(head, name):
    """All values of a header, in order."""
    lines = (x.partition(b":") for x in head.split(b"\r\n")[1:])
    return [v.strip().decode("latin1") for k, _, v in lines if k.decode("latin1").lower() == name]


def header(head, name):
    return (headers(head, name) or [None])[0]


class Client:
    """One connection to the data port that stays open."""

    def __init__(self, timeout=8, addr=None):
        self.s = socket.create_connection(addr or (PROXY.hostname, PROXY.port), timeout=timeout)
        self.reader = Messages(self.s)

    def ask(self, text, bodiless=False):
        self.s.sendall(text)
        return self.reader.message(bodiless)

    def closed(self):
        """The other side has hung up, and said nothing more."""
        try:
            return self.reader.buf == b"" and self.s.recv(1) == b""
        except ConnectionResetError:
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


def get(name, target="/", version="1.1", method="GET", extra=b""):
    name, target = (x.encode() if isinstance(x, str) else x for x in (name, target))
    return b"%s %s HTTP/%s\r\nHost: %s\r\n%s\r\n" % (method.encode(), target, version.encode(), name, extra)


def ok(body=b"ok", extra=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), extra) + body


def code(head):
    return int(head.split(b" ")[1])
