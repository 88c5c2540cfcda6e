"""The service manager's end of NOTIFY_SOCKET, in a test.

    with Listener(ws.path("notify")) as listener:
        ... NOTIFY_SOCKET=listener.path ...
        listener.wait_for(READY="1")
        listener.rest()                      all messages, with those that nobody waited for

Messages are taken from the socket as they come, as systemd does: where few may wait, whoever tells would have to.
"""

import os
import queue
import socket
import threading

from harness import HANGS_AFTER_S

MARK, END = b"MARK=1", b""


class Listener:
    """Every message as a dict, in the order of their coming."""

    def __init__(self, path):
        self.path, self.messages, self.came = path, [], queue.Queue()
        if os.path.exists(path):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.send(END)
        self.thread.join()
        self.socket.close()

    def take(self):
        while (text := self.socket.recv(65536)) != END:
            self.came.put(text)

    def send(self, text):
        """As if it came from a service."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(text, self.path)

    def noted(self, text):
        self.messages.append(dict(line.split("=", 1) for line in text.decode().splitlines()))
        return self.messages[-1]

    def wait_for(self, **wanted):
        """The next message that has these; None: whatever it is."""
        while True:
            message = self.noted(self.came.get(timeout=HANGS_AFTER_S))
            if all(k in message and v in (None, message[k]) for k, v in wanted.items()):
                return message

    def rest(self):
        """What came until now, looked at or not."""
        self.send(MARK)
        while (text := self.came.get(timeout=HANGS_AFTER_S)) != MARK:
            self.noted(text)
        return self.messages

    def keys(self):
        return {key for message in self.messages for key in message}
