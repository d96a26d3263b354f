import threading

import numpy as np  # noqa: F401 - loads the BLAS that is limited
import pytest
from threadpoolctl import threadpool_info

from ipy_imgvar.engines.patch.arrays.blas import single_threaded_blas


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _several_threads():
    if blas_threads() == {1}:
        pytest.skip("BLAS has one thread here anyway")


def test_one_thread_inside():
    """BLAS has one thread inside the guard and its former number after it."""
    before = blas_threads()
    with single_threaded_blas():
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_nesting():
    """An inner guard does not lift the outer one's limit."""
    with single_threaded_blas():
        with single_threaded_blas():
            pass
        assert blas_threads() == {1}


def test_overlap_in_the_wrong_order():
    """Two runs that overlap leave no limit behind, although the first to enter leaves first and lives on."""
    before = blas_threads()
    first_in, second_in, first_out, end = (threading.Event() for _ in range(4))

    def first():
        with single_threaded_blas():
            first_in.set()
            second_in.wait()
        first_out.set()
        end.wait()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        first_in.wait()
        with single_threaded_blas():
            second_in.set()
            first_out.wait()
            assert blas_threads() == {1}
        assert blas_threads() == before
    finally:
        end.set()
        thread.join()


def test_exception_lifts_the_limit():
    """An exception inside the guard lifts the limit."""
    before = blas_threads()
    with pytest.raises(RuntimeError, match="stop"), single_threaded_blas():
        raise RuntimeError("stop")
    assert blas_threads() == before
