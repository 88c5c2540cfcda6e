"""A web server for tests of what is fetched: the files of a folder, and whatever else a test wants it to say."""

import http.server
import os
import socket
import threading


class Server:
    """Serves the files of a folder; a path in `ways` is answered by that function instead."""

    def __init__(self, folder):
        outer = self
        self.folder, self.ways, self.asked, self.lock = folder, {}, [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0].lstrip("/")
                with outer.lock:
                    outer.asked.append((path, self.headers["User-Agent"]))
                if path in outer.ways:
                    outer.ways[path](self)
                else:
                    with open(os.path.join(outer.folder, path), "rb") as file:
                        self.say(200, file.read())

            def say(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def count(self, path):
        with self.lock:
            return sum(p == path for p, _ in self.asked)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.httpd.shutdown()
        self.httpd.server_close()


def nobody():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/"
