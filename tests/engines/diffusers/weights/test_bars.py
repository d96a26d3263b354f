"""Counting the library's bytes without its bars, and its silence."""

import logging
import threading

import pytest

from ipy_imgvar.engines.diffusers.weights.bars import Meter, StoppedError, quiet


def test_bytes_are_counted_once():
    """Of the bars for the network and for the files the further one counts; bars of files don't."""
    meter = Meter()
    network, files, number = (meter.bar_class(unit=unit, total=0) for unit in ("B", "B", "it"))
    threads = [threading.Thread(target=lambda: [network.update(3) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files.update(1000)
    number.update(5000)
    assert meter.bytes == 1200


def test_a_stopped_meter_ends_its_bars():
    """After a stop each call of a bar raises, also its making."""
    meter = Meter()
    bar = meter.bar_class(unit="B")
    meter.stopped.set()
    for call in (bar.update, bar.refresh, meter.bar_class):
        with pytest.raises(StoppedError):
            call()
    assert Meter().bar_class(unit="B").update() is None


def test_other_calls_of_tqdm_do_nothing():
    """Iteration, locks and the methods that only draw are there."""
    bar_class = Meter().bar_class
    with bar_class(["a", "b"], desc="x") as bar:
        assert list(bar) == ["a", "b"]
        bar.set_postfix_str("x", refresh=False)
        bar.set_description("x")
        bar.close()
    bar_class.set_lock(bar_class.get_lock())
    assert bar.n == 2


def test_silence_may_overlap(capsys):
    """Lines below ERROR are dropped while any block is open, and pass again after the last one."""
    logger = logging.getLogger("a.library")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    try:
        with quiet("a.library"):
            with quiet("a.library"):
                logger.warning("one")
            logger.warning("two")
            logger.error("three")
        logger.warning("four")
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "three\nfour\n"
    assert handler.filters == []
