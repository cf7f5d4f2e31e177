"""A router's dynamic-authorisation port (RFC 5176), by pyrad. It prints its port, then each request that it takes as a line
of JSON. It knows the one session 80300001: an order about it is done (and a Disconnect ends it), any other is refused with
cause 503. What does not carry the right authenticator gets no answer and no line."""
import json
import os
import signal
import sys

import pyrad.packet
from pyrad.dictionary import Dictionary
from pyrad.server import RemoteHost, Server

NAMES = {pyrad.packet.DisconnectRequest: "disconnect", pyrad.packet.CoARequest: "coa"}
REFUSALS = {pyrad.packet.DisconnectRequest: pyrad.packet.DisconnectNAK, pyrad.packet.CoARequest: pyrad.packet.CoANAK}


def say(line):
    print(json.dumps(line), flush=True)


class Nas(Server):
    online = True

    def answer(self, request):
        if request.message_authenticator and not request.verify_message_authenticator():
            return
        said = {name: str(request[name][0]) for name in request.keys() if name != "Message-Authenticator"}
        known = self.online and said.get("Acct-Session-Id", "80300001") == "80300001"
        reply = self.CreateReplyPacket(request)
        if not known:
            reply.code = REFUSALS[request.code]
            reply["Error-Cause"] = 503
        if request.message_authenticator:
            reply.add_message_authenticator()
        if request.code == pyrad.packet.DisconnectRequest:
            self.online = not known and self.online
        say({"order": NAMES[request.code], "message_authenticator": bool(request.message_authenticator), **said})
        self.SendReplyPacket(request.fd, reply)

    HandleDisconnectPacket = answer
    HandleCoaPacket = answer


# A forgotten one ends by itself.
signal.alarm(120)
dictionary = Dictionary(os.path.join(os.path.dirname(__file__), "pyrad.dictionary"))
nas = Nas(coaport=0, auth_enabled=False, acct_enabled=False, coa_enabled=True, dict=dictionary,
          hosts={"127.0.0.1": RemoteHost("127.0.0.1", sys.argv[1].encode(), "spotgate")})
nas.BindToAddress("127.0.0.1")
say(nas.coafds[0].getsockname()[1])
nas.Run()
