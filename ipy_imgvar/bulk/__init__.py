"""Variations of many images: on disk as they are made, in a ledger that survives a kill, here or on a cluster."""

from ipy_imgvar.bulk.result import BulkItem, BulkResult

__all__ = ["BulkItem", "BulkResult"]
