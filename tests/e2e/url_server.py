"""A web server for tests of what is fetched: the files of a folder, and whatever else a test wants it to say."""

import http.server
import os
import socket
import threading


class Server:
    """
    Serves the files of a folder; a path in `ways` is answered by that function instead. `tags` are the ETags of paths and `dates`
    their Last-Modified; a conditional request with one of them is answered with 304.
    """

    def __init__(self, folder):
        outer = self
        self.folder, self.ways, self.tags, self.dates = folder, {}, {}, {}
        self.asked, self.statuses, self.lock = [], [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # and HEAD
                path = self.path.split("?")[0].lstrip("/")
                with outer.lock:
                    outer.asked.append((path, self.headers["User-Agent"]))
                outer.answer(self)

            do_HEAD = do_GET

            def say_file(self, path):
                tag, date = outer.tags.get(path), outer.dates.get(path)
                headers = {k: v for k, v in (("ETag", tag), ("Last_Modified", date)) if v}
                if tag and self.headers["If-None-Match"] == tag or date and self.headers["If-Modified-Since"] == date:
                    self.say(304, **headers)
                else:
                    with open(os.path.join(outer.folder, path), "rb") as file:
                        self.say(200, file.read(), **headers)

            def say(self, status, body=b"", **headers):
                with outer.lock:
                    outer.statuses.append((self.path.split("?")[0].lstrip("/"), status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers and status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body if self.command != "HEAD" else b"")
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # somebody had enough

            def log_message(self, *args):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *args):
                pass  # somebody closed the connection

        self.httpd = Quiet(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def answer(self, h):
        path = h.path.split("?")[0].lstrip("/")
        if path in self.ways:
            self.ways[path](h)
        else:
            h.say_file(path)

    def count(self, path):
        with self.lock:
            return sum(p == path for p, _ in self.asked)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.httpd.shutdown()
        self.httpd.server_close()


_taken = []  # ports that nobody else gets meanwhile


def nobody():
    """An address that refuses connections."""
    _taken.append(socket.socket())
    _taken[-1].bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{_taken[-1].getsockname()[1]}/"
