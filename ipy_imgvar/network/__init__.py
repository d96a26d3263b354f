"""Connections: guarded, cut short when asked, and unpacked within a bound."""
