"""Many images in a server's batches: files of requests that are answered within a day, at half the price.

`state` holds what must survive a kill, `uploads` brings the requests to the server, `answers` its answers into the
folder, `run` does one after the other, and `report` shows and ends what is under way.
"""

from ipy_imgvar.bulk.batches.report import BatchReport, cancel, status
from ipy_imgvar.bulk.batches.run import run

__all__ = ["BatchReport", "cancel", "run", "status"]
