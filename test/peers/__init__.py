# SPDX-License-Identifier: AGPL-3.0-or-later
"""Debian's own mail and DNS servers as peers, each in a cell of its own: the machine's /etc and services stay untouched."""

from peers.cell import Cell, layer, peers_available
from peers.dns import Knot
from peers.dovecot import Dovecot
from peers.mta import Exim, OpenSMTPD, Postfix
from peers.rspamd import Rspamd

__all__ = ["Cell", "Dovecot", "Exim", "Knot", "OpenSMTPD", "Postfix", "Rspamd", "layer", "peers_available"]
