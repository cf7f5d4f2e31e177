"""Logs in with pyrad, which takes no answer without a Message-Authenticator, and prints what came back as JSON."""
import json
import os
import sys

import pyrad.packet
from pyrad.client import Client
from pyrad.dictionary import Dictionary

auth, accounting, secret = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
dictionary = Dictionary(os.path.join(os.path.dirname(__file__), "pyrad.dictionary"))
client = Client("127.0.0.1", authport=auth, acctport=accounting, secret=secret, dict=dictionary, enforce_ma=True,
                retries=2, timeout=3)


def login(code, password, mac):
    request = client.CreateAuthPacket(code=pyrad.packet.AccessRequest, User_Name=code, NAS_Identifier="front-desk",
                                      Calling_Station_Id=mac)
    request["User-Password"] = request.PwCrypt(password)
    request["Proxy-State"] = [b"first", b"second"]
    request.add_message_authenticator()
    reply = client.SendPacket(request)
    return {
        "accept": reply.code == pyrad.packet.AccessAccept,
        "session_timeout": reply.get("Session-Timeout", [None])[0],
        "message": reply.get("Reply-Message", [None])[0],
        "proxy_states": [state.decode() for state in reply["Proxy-State"]],
    }


def account():
    request = client.CreateAcctPacket(User_Name="abc-123", NAS_Identifier="front-desk", Acct_Status_Type=1,
                                      Acct_Session_Id="80300001")
    return client.SendPacket(request).code == pyrad.packet.AccountingResponse


print(json.dumps({
    "good": login("abc-123", "abc-123", "3C:06:30:AA:19:01"),
    "bad": login("unknown", "unknown", "3C:06:30:AA:19:02"),
    "accounting": account(),
}))
