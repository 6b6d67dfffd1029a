"""Keeps a Python process on this machine: connections and name look-ups beyond it end it loudly.

Python imports a module of this name as it starts, if it finds one; so with this folder in PYTHONPATH the processes that
a test starts are kept too. It sees what Python code does by sockets, and no other programs.
"""

import ipaddress
import sys

CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


class Outside(BaseException):
    """No Exception: nobody is to take it for a network that is down."""


def is_here(host):
    """Whether a host's name or address is this machine's own."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def stay_here(event, arguments):
    """The audit hook: raise Outside for what leaves this machine."""
    if event not in CONNECTIONS | LOOKUPS:
        return
    target = arguments[1] if event in CONNECTIONS else arguments[0]
    host = target[0] if isinstance(target, tuple) else target  # a path is the address of a socket on this machine
    if (event in LOOKUPS or isinstance(target, tuple)) and not is_here(host):
        raise Outside(f"{event} to {target!r}: tests stay on this machine")


sys.addaudithook(stay_here)
