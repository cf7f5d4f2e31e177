"""Follows docs/first-guest.md in a booted Debian, block by block, as it stands there. As root.

guide.py PID ROOT BINARY

PID is process 1 of that Debian, ROOT its folder, BINARY a spotgate to be the sandbox Nexudus. What is not there is made up for: the
sandbox in place of Nexudus, router.py in place of the router; commands that go to a router are left out.
"""

import json
import pathlib
import re
import subprocess
import sys
import time

INIT, ROOT, BINARY = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
HERE = pathlib.Path(__file__).parent
CODE, MAC = "kx7q-91mp", "3C:06:30:AA:19:5F"
SERVER, ROUTER = "192.168.88.2", "192.168.88.1"
NEXUDUS = "127.0.0.1:8088"
#: Where commands go that are for another machine.
ELSEWHERE = ("scp ", "ssh ")
helpers = []


def fail(text):
    sys.exit(f"docs/first-guest.md: {text}")


def within(*command, namespaces=("--net",), **options):
    return ["nsenter", "--target", INIT, *namespaces, "--", *command], options


def helper(*command):
    command, _ = within(*command)
    helpers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))


def router(*arguments):
    command, _ = within(sys.executable, str(HERE / "router.py"), *arguments)
    subprocess.run(command, check=True, timeout=20)


def shell(block, stdin=""):
    """Runs a block in the one root shell of the guide: its variables, folder and umask outlast it."""
    kept = 'export -p > /root/.guide; echo "umask $(umask); cd \'$PWD\'" >> /root/.guide'
    script = f"cd /root; [ ! -e .guide ] || . ./.guide\nset -eu\n{block}\n{kept}"
    command, _ = within(
        *("env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        *("DEBIAN_FRONTEND=noninteractive", "bash", "-c", script),
        namespaces=("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"),
    )
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    print("".join(f"  $ {line}\n" for line in block.splitlines()), end="")
    print("".join(f"    {line}\n" for line in (done.stdout + done.stderr).splitlines()), end="", flush=True)
    return done


def succeed(block, stdin="", says=()):
    done = shell(block, stdin)
    if done.returncode != 0:
        fail(f"exit code {done.returncode}:\n{block}")
    for wanted in says:
        if not re.search(wanted, done.stdout + done.stderr):
            fail(f"nothing like {wanted!r} was said by:\n{block}")
    return done


def sections():
    text = (HERE.parent.parent / "docs/first-guest.md").read_text()
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        yield title, re.findall(r"^```(\w*)\n(.*?)^```$", body, flags=re.M | re.S)


def ready():
    wait = "for _ in $(seq 50); do systemctl is-active spotgate && exit; sleep 0.2; done; exit 1"
    if shell(f"( {wait} )").returncode != 0:
        fail("the service does not start")


def follow():
    # The network of the guide: both addresses are this machine's, and what goes to the router comes back from it.
    for address in (SERVER, ROUTER):
        command, _ = within("ip", "address", "add", f"{address}/32", "dev", "lo")
        subprocess.run(command, check=True)
    tokens = [{
        "Id": 1, "BusinessId": 1, "AccessCode": CODE, "Description": None, "MinutesIncluded": 60, "MinutesLeft": 60,
        "ValidFrom": None, "ValidTo": "2030-12-31T20:00:00Z", "UserLimit": 1, "MacAddress": None, "UpdatedOn": "2026-11-01T08:00:00Z",
    }]
    (ROOT / "root/nexudus.json").write_text(json.dumps(tokens))
    helper(BINARY, "sandbox", "--listen", NEXUDUS, "--tokens", str(ROOT / "root/nexudus.json"))

    guide = dict(sections())
    (status,) = guide["1. Install"]
    install, status = status[1].splitlines()
    succeed(install)
    ready()
    succeed(status, says=[r"Active: active \(running\)"])

    secrets, password = guide["2. Write the secrets"]
    succeed(secrets[1])
    succeed(password[1], stdin="demo\n")

    (configuration,) = guide["3. Write the configuration"]
    text = configuration[1].replace('"wifi@example.org"', f'"demo@example.org"\nbase_url = "http://{NEXUDUS}"')
    (ROOT / "etc/spotgate/spotgate.toml").write_text(text)

    check, restart = guide["4. Check, and restart"]
    succeed(check[1], says=["fine"])
    succeed(restart[1])
    ready()
    succeed(restart[1].splitlines()[1], says=["ready"])
    succeed("systemctl reload spotgate\nsleep 1\njournalctl --unit spotgate --lines 3", says=["reloaded"])

    (doctor,) = guide["5. Let the doctor look"]
    succeed(doctor[1], says=["ok +sign in", "ok +clock", "ok +dates", "ok +role AccessToken-List", "ok +role AccessToken-Read", "warn +disconnect front-desk"])

    commands, upload, doctor = guide["6. Set up the router"]
    succeed(commands[1])
    here = [line for line in upload[1].splitlines() if not line.startswith(ELSEWHERE)]
    secret = (ROOT / "etc/spotgate/secrets/front-desk").read_text().strip()
    script = (ROOT / "root/front-desk.rsc").read_text()
    if secret not in script or not (ROOT / "root/hotspot-pages/login.html").exists():
        fail("the router's files lack something")
    succeed("\n".join(here))
    helper(sys.executable, str(HERE / "router.py"), "disconnects", ROUTER, secret)
    time.sleep(0.5)
    succeed(doctor[1], says=["ok +disconnect front-desk"])

    explain, look = guide["7. The first guest"]
    succeed(explain[1], says=[r"allow for \d+ s"])
    router("login", SERVER, ROUTER, secret, CODE, MAC)
    print("  the guest is let in", flush=True)
    router("start", SERVER, ROUTER, secret, CODE, MAC)
    sessions, decisions, tokens = look[1].splitlines()
    succeed(sessions, says=[rf"(?i){MAC}.*online|online.*{MAC}"])
    succeed(decisions, says=["allow"])
    succeed(tokens, says=["time left"])

    (demo,) = guide["Try it without both"]
    succeed(demo[1])


try:
    follow()
finally:
    for process in helpers:
        process.terminate()
        process.wait(timeout=10)
