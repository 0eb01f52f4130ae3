# SPDX-License-Identifier: AGPL-3.0-or-later
"""The attacker that only sees packets, and the small world that it looks at."""
