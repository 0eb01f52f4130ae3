# SPDX-License-Identifier: AGPL-3.0-or-later
"""What system tests share: the service in a temporary home, independent clients, bounded waiting."""

from harness.cohue import Cohue, Member, cohue_binary
from harness.dialogue import Dialogue, imap_login, smtp_login, tls_context
from harness.seizure import find_markers
from harness.wait import Timeout, free_port, free_port_offset, wait_until

__all__ = ["Cohue", "Member", "Dialogue", "Timeout", "cohue_binary", "find_markers", "free_port",
           "free_port_offset", "imap_login", "smtp_login", "tls_context", "wait_until"]
