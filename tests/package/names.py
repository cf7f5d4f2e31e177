"""A name server on 127.0.0.1 that says of every name that it is 127.0.0.1."""

import socket

port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
port.bind(("127.0.0.1", 53))
while True:
    question, peer = port.recvfrom(4096)
    end = 12
    while question[end]:
        end += 1 + question[end]
    asked = question[12 : end + 5]
    is_address = asked[-4:-2] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if is_address else b""
    header = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0"
    port.sendto(header + asked + answer, peer)
