"""A line that is as slow, as lossy or as dead as a test wants: two network namespaces of this machine, and between them a relay of packets.

The relay is a process that reads packets from a TUN device in one namespace and writes them to that in the other. The kernel's own netem
would do the same, but few kernels have it: those of small virtual machines and of CI do not. Which packets are lost is the same each time.
"""
from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys

from . import hosts, places

NEAR, FAR = "10.214.0.1", "10.214.0.2"  # in these namespaces alone
_DEVICE = "/dev/net/tun"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_RELAY = os.path.join(os.path.dirname(__file__), "relay.py")


def why_not():
    """Return why there can be no such line here, in one sentence; empty when there can."""
    if not places.am_root():
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "not installed: ip (Debian: iproute2)"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "this machine has no %s" % _DEVICE
    name = hosts.namespace("try")
    if hosts.run("ip", "netns", "add", name, check=False).returncode:
        return "this container may make no network namespaces"
    hosts.run("ip", "netns", "del", name)
    return ""


class Wire:
    """``with Wire() as wire: with wire.near(): ...``: connections made there to :data:`FAR` go over the line.

    It begins as a perfect one, see :meth:`shape`.
    """

    def __enter__(self):
        hosts.reap()
        ends = []
        try:
            for name, address in (("near", NEAR), ("far", FAR)):
                space = hosts.namespace(name)
                hosts.run("ip", "netns", "add", space)
                hosts.run("ip", "-n", space, "link", "set", "lo", "up")
                with hosts.inside(name):
                    ends.append(_tun())
                hosts.run("ip", "-n", space, "addr", "add", address + "/30", "dev", "wire")
                hosts.run("ip", "-n", space, "link", "set", "wire", "up")
            argv = [sys.executable, _RELAY, *map(str, ends)]
            self._relay = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True, pass_fds=ends, start_new_session=True)
        except BaseException:
            self._remove()
            raise
        finally:
            for end in ends:
                os.close(end)
        return self

    def __exit__(self, *exc):
        self._relay.stdin.close()
        self._relay.wait(10)
        self._remove()

    def shape(self, delay=0.0, loss=0.0, rate=0, lost_answers=None):
        """Make the line so from now on.

        :param delay: seconds of each packet, either way. :param loss: share of the packets, 1 is a dead line.
        :param rate: bytes a second of either way, 0 for no limit. :param lost_answers: share lost of what comes back, where it is another.
        """
        lost = [loss, loss if lost_answers is None else lost_answers]
        self._relay.stdin.write(json.dumps({"delay": delay, "loss": lost, "rate": rate}) + "\n")
        self._relay.stdin.flush()

    def cut(self):
        """Lose every packet from now on; nobody is told."""
        self.shape(loss=1)

    def cut_answers(self):
        """Lose every packet that comes back from now on: what is sent arrives, and whoever sent it never hears so."""
        self.shape(lost_answers=1)

    def near(self):
        """Be at this end for a while: connections of this thread and those it starts, and processes they start."""
        return hosts.inside("near")

    def far(self):
        """Be at the other end, where :data:`FAR` is this machine itself."""
        return hosts.inside("far")

    def _remove(self):
        for name in ("near", "far"):
            hosts.run("ip", "netns", "del", hosts.namespace(name), check=False)


def _tun():
    device = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"wire", _IFF_TUN | _IFF_NO_PI))
    return device
