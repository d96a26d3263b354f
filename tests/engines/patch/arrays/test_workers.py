import threading

import pytest

from ipy_imgvar.engines.patch.arrays.workers import Workers


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_every_chunk_is_done_once(threads, count):
    """Each chunk is done once, however many threads there are."""
    done = []
    Workers(threads, None).each(done.append, range(count))
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_chunk_that_fails_is_told(threads):
    """An exception in a chunk comes out in the calling thread, whichever thread it struck."""

    def fail(chunk):
        if chunk == 3:
            raise ValueError(chunk)

    with pytest.raises(ValueError, match="3"):
        Workers(threads, None).each(fail, range(8))
    assert not [thread for thread in threading.enumerate() if thread.name == "imgvar-patch"]


def test_check_runs_in_the_calling_thread():
    """What asks for cancellation is called by the thread that called the engine."""
    callers = set()
    Workers(4, lambda: callers.add(threading.get_ident())).each(lambda _: None, range(50))
    assert callers == {threading.get_ident()}
