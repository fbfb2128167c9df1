"""Which server an HTTP request asks for, and which page sent it: the headers `Host` and `Origin`."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, Self

_AUTHORITY = re.compile(
    r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9._-]{0,252}[a-z0-9_])?\.?)(?::([0-9]{1,5}))?", re.ASCII
)
_ORIGIN = re.compile(r"(https?)://(.+)")
_MAX_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it is written in a URL: `name` in lower case, without brackets or a dot at the end."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `name`, `name:port`, `[ipv6]` or `[ipv6]:port`; None for anything else, user names included."""
        match = _AUTHORITY.fullmatch(text.lower())
        if match is None:
            return None
        name, port = match[1], None if match[2] is None else int(match[2])
        if port is not None and port > _MAX_PORT:
            return None
        if not name.startswith("["):
            return cls(name.removesuffix("."), port)
        try:
            return cls(str(ipaddress.IPv6Address(name[1:-1])), port)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether the name always means this machine: `localhost`, 127.0.0.0/8 or `::1`.

        An IPv4 address inside an IPv6 one does not count, and neither does 0.0.0.0.
        """
        if self.name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.name)
        except ValueError:
            return False
        return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


@dataclass(frozen=True, slots=True)
class Origin:
    """The scheme and host of the page that sent a request."""

    scheme: Literal["http", "https"]
    host: Host

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `http://name:port` or `https://name:port`; None for anything else, `null` included."""
        match = _ORIGIN.fullmatch(text)
        host = Host.parse(match[2]) if match else None
        if match is None or host is None:
            return None
        return cls("https" if match[1] == "https" else "http", host)

    def is_at(self, host: Host) -> bool:
        """Whether a page of this origin asks for `host` when it asks for its own server."""
        default = DEFAULT_PORTS[self.scheme]
        return self.host.name == host.name and (self.host.port or default) == (host.port or default)
