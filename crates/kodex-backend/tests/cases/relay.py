"""Carries bytes between the pipes of a worker and a Unix socket, where the raw client sits.

It knows nothing of the protocol. The end of either side is passed on to the other.
"""

import os
import socket
import sys
import threading

client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])


def from_host():
    while data := os.read(0, 65536):
        client.sendall(data)
    # The host has closed the worker's input: the worker is over.
    os._exit(0)


threading.Thread(target=from_host, daemon=True).start()
while data := client.recv(65536):
    while data:
        data = data[os.write(1, data):]
# The client has closed the host's input. It may want the process to exit with a status; otherwise
# the process lives on until it is ended.
if os.path.exists(sys.argv[1] + ".exit"):
    os._exit(int(open(sys.argv[1] + ".exit").read()))
os.close(1)
threading.Event().wait()
