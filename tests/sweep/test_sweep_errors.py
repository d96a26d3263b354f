"""A sweep's errors, and what is said and asked before it is made."""

import pytest
from loopback import CANARY
from painter import Painter, pixel

from ipy_imgvar import Client, Sweep, last
from ipy_imgvar.engines.patch import masks
from ipy_imgvar.errors import (
    AuthenticationError,
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    RequestTimeoutError,
    ServerError,
)
from ipy_imgvar.planning.plan import Plan


def sweep_with(painter, over, **settings):
    with Client(painter) as client:
        return client.sweep(pixel(), over=over, **settings)


def failing(error, *seeds):
    return Painter(fails=lambda request: error if request.seed in seeds else None)


def test_one_failure_stops_no_other():
    """A combination that fails is named, the others are made, and `partial` is the sweep with a hole."""
    painter = failing(ServerError("the server broke", status=500), 1)
    with pytest.raises(ServerError) as caught:
        sweep_with(painter, {"seed": [0, 1, 2], "strength": [0.25]})
    assert str(caught.value) == (
        "1 of 3 combinations failed (image of 70 bytes, seed 1, strength 0.25); the first: the server broke"
    ).replace("70", str(len(pixel())))
    partial = caught.value.partial
    assert isinstance(partial, Sweep)
    assert [cell[0] is None for cell in partial.grid] == [False, True, False]
    assert (partial.status, last().status) == ("failed", "failed")


def test_a_message_is_bounded():
    """Of many failures five are named, and of a long prompt the beginning."""
    painter = Painter(fails=lambda _: EngineError("no"))
    with pytest.raises(EngineError) as caught:
        sweep_with(painter, {"prompt": [f"{number} {'long ' * 500}" for number in range(60)]})
    assert "and 55 more" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (AuthenticationError("the key is wrong", status=401), 1),
        (ConnectionFailedError("the connection was refused"), 2),
        (RequestTimeoutError("it took too long"), 20),
        (ServerError("broke", status=500), 20),
    ],
    ids=["key", "connection", "time", "server"],
)
def test_requests_that_would_fail_too_are_not_sent(error, asked):
    """After a refused key, or two failures to connect in a row, the engine's other combinations are not tried."""
    painter = failing(error, *range(20))
    with pytest.raises(type(error)) as caught:
        sweep_with(painter, {"seed": range(20)})
    assert len(painter.requests) == asked
    assert (f"and {20 - asked} more were not tried" in str(caught.value)) == (asked < 20)


def test_other_models_go_on():
    """Where an account may not use one model, the combinations of the others are made."""
    refused = AuthenticationError("your organization must be verified", status=403)
    painter = Painter(fails=lambda request: refused if request.model == "large" else None)
    with pytest.raises(AuthenticationError, match="and 2 more were not tried") as caught:
        sweep_with(painter, {"model": ["large", "small"], "seed": range(3)})
    assert [each.combination["model"] for each in caught.value.partial] == ["small"] * 3


@pytest.mark.parametrize(
    ("settings", "over", "name"),
    [
        ({"options": {"route": "variations"}}, {"strength": [0.2, 0.8]}, "strength"),
        ({"options": {"route": "edits"}, "prompt": "a cat"}, {"strength": [0.2, 0.8]}, "strength"),
        ({"options": {"route": "edits"}}, {"fit": ["crop", "pad"]}, "fit"),
    ],
)
def test_an_axis_without_effect_is_refused(api, photo, settings, over, name):
    """Values that a server would never see are refused, since their pictures would differ by chance only."""
    with (
        Client("openai", api_base=api.base, api_key=CANARY) as client,
        pytest.raises(InvalidRequestError, match=f"^{name} has no effect on the engine openai"),
    ):
        client.sweep(photo, over=over, size=1024, **settings)
    assert not api.requests


def test_other_engines_go_on(monkeypatch):
    """Where one engine's key is refused, the other engines make theirs."""
    monkeypatch.setattr("ipy_imgvar.client.make_engine", lambda name, _: Painter(name))
    painter = failing(AuthenticationError("no", status=401), *range(5))
    with pytest.raises(AuthenticationError) as caught:
        sweep_with(painter, {"seed": range(5), "engine": ["painter", "other"]})
    assert [each.combination["engine"] for each in caught.value.partial] == ["other"] * 5


def test_connections_that_fail_now_and_then_go_on():
    """A connection that fails once does not stop the sweep."""
    painter = failing(ConnectionFailedError("reset"), 1, 3, 5)
    with pytest.raises(ConnectionFailedError, match="3 of 6 combinations failed"):
        sweep_with(painter, {"seed": range(6)})
    assert len(painter.requests) == 6


class TestConfirmation:
    """A sweep above 64 pictures, or a hosted one."""

    def test_sixty_four_are_made(self):
        """Up to 64 pictures on this machine are made without a word."""
        said = []
        assert len(sweep_with(Painter(), {"seed": range(32)}, n=2, on_notice=said.append)) == 64
        assert not said

    @pytest.mark.parametrize("confirm", [None, False, lambda _: False], ids=["none", "false", "function"])
    def test_more_are_refused(self, confirm):
        """Above 64, one line says what would be made and how to confirm it, and nothing is made."""
        painter = Painter()
        with pytest.raises(InvalidRequestError) as caught:
            sweep_with(painter, {"seed": range(65)}, confirm=confirm)
        line = str(caught.value)
        assert "above 64 it needs confirm=True (--yes on a line)" in line
        assert "makes 65 pictures" in line
        assert caught.value.field == "confirm"
        assert not painter.requests

    def test_a_function_gets_the_plan(self):
        """A function is asked with the plan, and the plan's lines are said before the first picture."""
        plans, said = [], []

        def confirm(plan):
            plans.append(plan)
            return True

        painter = Painter()
        made = sweep_with(
            painter,
            {"seed": range(65)},
            confirm=confirm,
            on_notice=lambda line: said.append((line, len(painter.requests))),
        )
        assert len(made) == 65
        assert isinstance(plans[0], Plan)
        assert (plans[0].pictures, plans[0].combinations) == (65, 65)
        # A line's own files are written by its door, so what is said leaves them to `--dry-run`.
        told = [line for line in plans[0].lines() if not line.startswith("writes: ")]
        assert [line for line, _ in said] == told
        assert {count for _, count in said} == {0}

    def test_a_hosted_sweep_says_where_it_goes(self):
        """A hosted sweep of any size says first what it sends, and needs no word up to 64."""
        said = []
        sweep_with(Painter(hosted=True), {"seed": range(2)}, on_notice=said.append)
        assert any("paint.example:443" in line for line in said)

    def test_another_value_is_refused(self):
        """A confirmation that is neither a truth value nor a function is refused, also for a small sweep."""
        with pytest.raises(InvalidRequestError, match="confirm is 'yes'; allowed: True, or a function"):
            sweep_with(Painter(), {"seed": [1]}, confirm="yes")


def test_one_warning_counts_the_whole_sweep(photo, monkeypatch):
    """What the offline engine says of its means counts all combinations that promise a new arrangement."""
    monkeypatch.setattr(masks, "network_mask", lambda *_, **__: None)
    with Client("patch") as client:
        made = client.sweep(photo, over={"strength": [0.2, 0.5, 0.85], "seed": [1, 2]}, size=64)
    (line,) = [each for each in made.warnings if "visible breaks" in each]
    assert " 4 of 4 are another framing" in line


def test_texts_of_an_axis_are_told_apart():
    """A plan quotes prompts with spaces, and an error sets the combinations that failed apart by semicolons."""
    painter = Painter(fails=lambda _: EngineError("no"))
    over = {"prompt": ["a cat, asleep", "awake"]}
    with Client(painter) as client:
        assert 'prompt "a cat, asleep", awake = 2 combinations' in str(client.plan(pixel(), over=over))
    with pytest.raises(EngineError, match=r"prompt a cat, asleep; image of \d+ bytes, prompt awake\)"):
        sweep_with(painter, over)


def test_a_plan_says_that_a_large_sweep_has_to_be_confirmed():
    """The plan of more than 64 pictures says that the sweep needs a confirmation, one of 64 does not."""
    with Client(Painter()) as client:
        for count, said in ((64, False), (65, True)):
            plan = client.plan(pixel(), over={"seed": range(count)})
            assert any("needs confirm=True" in note for note in plan.notes) == said


def test_an_engine_among_the_arguments():
    """An engine given to a call of a client is refused with where it belongs."""
    with (
        Client(Painter()) as client,
        pytest.raises(InvalidRequestError, match=r"the client has the engine: Client"),
    ):
        client.sweep(pixel(), over={"seed": [1]}, engine="patch")
