"""A router's side of a first guest, over RADIUS, and no more of it: answers Disconnect-Requests, logs a guest in, reports it.

router.py disconnects ADDRESS SECRET              answers each with "no such session", until it is ended
router.py login SERVER ADDRESS SECRET CODE MAC    exits with 0 if the code is let in
router.py start SERVER ADDRESS SECRET CODE MAC    reports it as online
router.py steady SERVER ADDRESS SECRET SECONDS    asks a hundred times a second whether the server is there, each time once; exits with 0 if
                                                  every answer came
"""

import hashlib
import hmac
import os
import socket
import struct
import sys
import time

ACCESS_REQUEST, ACCESS_ACCEPT, ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, STATUS_SERVER = 1, 2, 4, 5, 12
DISCONNECT_REQUEST, DISCONNECT_NAK = 40, 42


def attribute(kind, value):
    if isinstance(value, str):
        value = value.encode()
    return bytes([kind, len(value) + 2]) + value


def packet(code, number, authenticator, attributes):
    return struct.pack("!BBH", code, number, 20 + len(attributes)) + authenticator + attributes


def digest(code, number, authenticator, attributes, secret):
    return hashlib.md5(packet(code, number, authenticator, attributes) + secret).digest()


def disconnects(address, secret):
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind((address, 3799))
    while True:
        request, peer = port.recvfrom(4096)
        code, number, length = struct.unpack("!BBH", request[:4])
        wanted = digest(code, number, bytes(16), request[20:length], secret)
        if code != DISCONNECT_REQUEST or wanted != request[4:20]:
            continue
        # Error-Cause: Session Context Not Found
        attributes = attribute(101, struct.pack("!I", 503))
        signature = digest(DISCONNECT_NAK, number, request[4:20], attributes, secret)
        port.sendto(packet(DISCONNECT_NAK, number, signature, attributes), peer)


def ask(server, address, port, request):
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.bind((address, 0))
    asking.settimeout(2)
    for _ in range(5):
        asking.sendto(request, (server, port))
        try:
            return asking.recv(4096)
        except TimeoutError:
            continue
    sys.exit(f"no answer from {server}:{port}")


def of_the_guest(address, code, mac):
    return (
        attribute(1, code)
        + attribute(4, socket.inet_aton(address))
        + attribute(5, struct.pack("!I", 7))
        + attribute(31, mac)
        + attribute(44, "80300001")
        + attribute(8, socket.inet_aton("10.5.50.2"))
    )


def login(server, address, secret, code, mac):
    authenticator = os.urandom(16)
    padded = code.encode().ljust(-(-len(code) // 16) * 16, b"\0")
    hidden, former = b"", authenticator
    for at in range(0, len(padded), 16):
        mask = hashlib.md5(secret + former).digest()
        former = bytes(a ^ b for a, b in zip(padded[at : at + 16], mask))
        hidden += former
    attributes = attribute(80, bytes(16)) + of_the_guest(address, code, mac) + attribute(2, hidden)
    signature = hmac.new(secret, packet(ACCESS_REQUEST, 1, authenticator, attributes), "md5").digest()
    attributes = attribute(80, signature) + attributes[18:]
    answer = ask(server, address, 1812, packet(ACCESS_REQUEST, 1, authenticator, attributes))
    if answer[4:20] != digest(answer[0], 1, authenticator, answer[20:], secret):
        sys.exit("the answer is signed with another secret")
    if answer[0] != ACCESS_ACCEPT:
        sys.exit(f"not let in: {answer[20:]!r}")


def start(server, address, secret, code, mac):
    attributes = attribute(40, struct.pack("!I", 1)) + of_the_guest(address, code, mac)
    authenticator = digest(ACCOUNTING_REQUEST, 2, bytes(16), attributes, secret)
    answer = ask(server, address, 1813, packet(ACCOUNTING_REQUEST, 2, authenticator, attributes))
    if answer[0] != ACCOUNTING_RESPONSE:
        sys.exit(f"not acknowledged: {answer!r}")


def steady(server, address, secret, seconds):
    waiting = []
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        number = len(waiting) % 256
        authenticator = os.urandom(16)
        signature = hmac.new(secret, packet(STATUS_SERVER, number, authenticator, attribute(80, bytes(16))), "md5").digest()
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asking.bind((address, 0))
        asking.connect((server, 1812))
        asking.send(packet(STATUS_SERVER, number, authenticator, attribute(80, signature)))
        waiting.append(asking)
        time.sleep(0.01)
    answered = 0
    for asking in waiting:
        asking.settimeout(max(0.001, until + 10 - time.monotonic()))
        try:
            answered += asking.recv(4096)[0] == ACCESS_ACCEPT
        except OSError:
            pass
    print(f"  {answered} of {len(waiting)} requests were answered", flush=True)
    sys.exit(answered != len(waiting))


if sys.argv[1] == "disconnects":
    disconnects(sys.argv[2], sys.argv[3].encode())
elif sys.argv[1] == "steady":
    steady(sys.argv[2], sys.argv[3], sys.argv[4].encode(), sys.argv[5])
else:
    verb, server, address, secret, code, mac = sys.argv[1:]
    {"login": login, "start": start}[verb](server, address, secret.encode(), code, mac)
