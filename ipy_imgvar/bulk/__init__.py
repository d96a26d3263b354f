"""Variations of many images: made here or on a cluster, and listed in a ledger that survives a kill."""

from ipy_imgvar.bulk.result import BulkItem, BulkResult

__all__ = ["BulkItem", "BulkResult"]
