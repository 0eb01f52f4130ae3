# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections at once, each checking every answer(stress.py tells how)."""
