"""A latentd endpoint that speaks HTTP/2 over TLS and nothing else, with the h2 package (Debian's python3-h2).

    endpoint = Http2Endpoint(ws, plan, foreign)     plan: {number of the POST: "rst", "refused", "goaway", "503"}
    endpoint.url, endpoint.ca_file
    endpoint.together = 4                   answers wait until so many requests are open on one connection
    endpoint.connections, endpoint.posts, endpoint.most (open at once on one connection)

Latents are those of remote_server.
"""

import contextlib
import json
import socket
import ssl
import sys
import threading

from harness import Skip
from remote_server import MODEL, Query, certificate, identity_of, latent_of, packed

PATIENCE = 60  # s until an answer no longer waits for company


def package():
    """The h2 package: this Python's, or Debian's, which is of no other."""
    try:
        import h2.connection
    except ImportError:
        sys.path.append("/usr/lib/python3/dist-packages")
        try:
            import h2.connection
        except ImportError:
            raise Skip("the Python package h2 (python3-h2) is not here") from None
    import h2.config
    import h2.errors
    import h2.events

    return h2


class Http2Endpoint:
    def __init__(self, ws, plan=(), foreign=False):
        self.foreign = foreign
        self.h2, self.plan = package(), dict(plan)
        self.lock = threading.Lock()
        self.connections = self.posts = self.given = self.most = 0
        self.together = 1
        pair = certificate(ws, "http2")
        self.ca_file = pair[0]
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*pair)
        self.tls.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"https://localhost:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self.accept, daemon=True).start()
        ws.at_end.append(self.listener.close)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError), client:
            client.settimeout(PATIENCE)
            with self.tls.wrap_socket(client, server_side=True) as stream:
                assert stream.selected_alpn_protocol() == "h2", "HTTP/2 was not asked for"
                with self.lock:
                    self.connections += 1
                Connection(self, stream).run()


class Connection:
    def __init__(self, owner, stream):
        self.owner, self.stream = owner, stream
        config = owner.h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = owner.h2.connection.H2Connection(config)
        self.open = {}  # stream id: (headers, body)
        self.whole = []  # ids of requests that can be answered, in order
        self.over = False

    def flush(self):
        self.stream.sendall(self.h2.data_to_send())

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while not self.over and (data := self.stream.recv(1 << 16)):
            for event in self.h2.receive_data(data):
                self.handle(event)
            if len(self.whole) >= self.owner.together:
                # Once they have met they need not wait again.
                self.owner.together = 1
                while self.whole and not self.over:
                    self.answer(self.whole.pop(0))
            self.flush()

    def handle(self, event):
        events = self.owner.h2.events
        if isinstance(event, events.RequestReceived):
            self.open[event.stream_id] = (dict(event.headers), bytearray())
            with self.owner.lock:
                self.owner.most = max(self.owner.most, len(self.open))
        elif isinstance(event, events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.open:
                self.open[event.stream_id][1].extend(event.data)
        elif isinstance(event, events.StreamEnded):
            if self.open[event.stream_id][0][":method"] == "POST":
                self.whole.append(event.stream_id)
            else:
                self.reply(event.stream_id, 200, json.dumps(MODEL).encode())
        elif isinstance(event, events.StreamReset):
            self.open.pop(event.stream_id, None)
            self.whole = [i for i in self.whole if i != event.stream_id]

    def answer(self, stream_id):
        headers, body = self.open[stream_id]
        with self.owner.lock:
            what = self.owner.plan.get(self.owner.posts, "ok")
            self.owner.posts += 1
        codes = self.owner.h2.errors.ErrorCodes
        if what in ("rst", "refused"):
            self.open.pop(stream_id)
            code = codes.INTERNAL_ERROR if what == "rst" else codes.REFUSED_STREAM
            self.h2.reset_stream(stream_id, code)
        elif what == "goaway":  # what is open is not answered
            self.h2.close_connection(codes.NO_ERROR, last_stream_id=max(0, stream_id - 2))
            self.over = True
        elif what == "503":
            self.reply(stream_id, 503, b"{}", **{"retry-after": "1"})
        else:
            query = Query(headers[":path"])
            values, shape = latent_of(query, bytes(body))
            dtype = query.get("reply") or "float16"
            said = {"shape": json.dumps(shape), "dtype": dtype}
            if not self.owner.foreign:
                said.update(identity_of(MODEL))
            self.reply(stream_id, 200, packed(values, dtype), **said)
            with self.owner.lock:
                self.owner.given += 1

    def reply(self, stream_id, status, body, **headers):
        self.open.pop(stream_id)
        fields = [(":status", str(status)), ("content-length", str(len(body))), *headers.items()]
        self.h2.send_headers(stream_id, fields)
        self.h2.send_data(stream_id, body, end_stream=True)
