"""The words of `--sweep NAME=VALUES`: what they mean, and what is refused, in a notebook and in a terminal."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from cases import cases
from hypothesis import example, given
from hypothesis import strategies as st

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.options import Token, quote
from ipy_imgvar.line.parser import parse
from ipy_imgvar.line.sweeps import axes_of, merged
from ipy_imgvar.magic.values import Names

VARIABLES = {
    "values": [0.2, 0.5],
    "one": 1,
    "pair": [2, 3],
    "axes": {"strength": [0.2], "seed": range(3)},
    "array": np.array([0.2, 0.5]),
    "column": pd.Series([1, 2]),
    "animal": "a cat",
    "endless": itertools.count(),
    "strong": [0.9],
}


def in_notebook(text):
    """Return the axes of the words after --sweep in a magic's line."""
    tokens = parse(split(f"--sweep {text}"))["sweep"]
    return merged([axes_of(token, Names(dict(VARIABLES))) for token in tokens], "--sweep")


def in_terminal(word):
    """Return the axes of a word that a shell passed."""
    return axes_of(Token(word, parts=(word,), option="--sweep"))


def refusal(read, text):
    with pytest.raises(InvalidRequestError) as caught:
        read(text)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(("--sweep", "the axis seed ", "the values of seed "))
    return str(caught.value)


BOTH = {
    "strength=.2,.5,.85": {"strength": [".2", ".5", ".85"]},
    "strength=subtle,strong": {"strength": ["subtle", "strong"]},
    "seed=1..4": {"seed": [1, 2, 3, 4]},
    "seed=1..3,7": {"seed": [1, 2, 3, "7"]},
    "seed=5..5": {"seed": [5]},
    "shift=-2..0": {"shift": [-2, -1, 0]},
    "size=256x512,64": {"size": ["256x512", "64"]},
    "flip=true,false": {"flip": ["true", "false"]},
    "model=org/name,other=x": {"model": ["org/name", "other=x"]},
    'prompt="a cat, sitting","a dog"': {"prompt": ["a cat, sitting", "a dog"]},
    "prompt='1..4'": {"prompt": ["1..4"]},
    'prompt="it\'s"': {"prompt": ["it's"]},
    "prompt=see..then": {"prompt": ["see..then"]},
}


@pytest.mark.parametrize("text", BOTH)
def test_both_doors_read_the_same(text):
    """A word means the same in a notebook and in a terminal, and in a notebook's quotes around all of it."""
    assert in_notebook(text) == in_terminal(text) == BOTH[text]
    assert in_notebook(quote(text)) == BOTH[text]


@pytest.mark.parametrize(
    ("word", "axes"),
    [
        ('prompt="a cat, sitting",a dog', {"prompt": ["a cat, sitting", "a dog"]}),
        ('prompt="say ""hi"""', {"prompt": ['say "hi"']}),
        ("prompt=don't", {"prompt": ["don't"]}),
        ("prompt=5$, 6$", {"prompt": ["5$", "6$"]}),
        ("seed= 1 , 2 ", {"seed": ["1", "2"]}),
    ],
)
def test_a_terminal_has_the_quotes_that_the_shell_left(word, axes):
    """Quotes around a value protect commas and spaces; elsewhere they are letters."""
    assert in_terminal(word) == axes
    assert in_notebook(quote(word)) == axes


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("strength={values}", {"strength": [0.2, 0.5]}),
        ("strength=$values,.9", {"strength": [0.2, 0.5, ".9"]}),
        ("seed={range(3)}", {"seed": [0, 1, 2]}),
        ("seed={one},{pair}", {"seed": [1, 2, 3]}),
        ("strength={array}", {"strength": [0.2, 0.5]}),
        ("seed={column}", {"seed": [1, 2]}),
        ("seed={(x for x in pair)}", {"seed": [2, 3]}),
        ("model={set(['b', 'a'])}", {"model": ["a", "b"]}),
        ("prompt={animal}", {"prompt": ["a cat"]}),
        ("prompt='{animal}, asleep',x", {"prompt": ["a cat, asleep", "x"]}),
        ("prompt='$animal'", {"prompt": ["$animal"]}),
        ("{axes}", {"strength": [0.2], "seed": [0, 1, 2]}),
        ("$axes", {"strength": [0.2], "seed": [0, 1, 2]}),
        ("axes", {"strength": [0.2], "seed": [0, 1, 2]}),
        ("{'seed': range(2)}", {"seed": [0, 1]}),
        (r"prompt=a\ cat,b", {"prompt": ["a cat", "b"]}),
        ("{'seed=1..' + str(one + 1)}", {"seed": [1, 2]}),
        ("strength=strong", {"strength": ["strong"]}),
        ("seed=1..2 --sweep strength=.5", {"seed": [1, 2], "strength": [".5"]}),
    ],
)
def test_a_notebook_has_objects(text, axes):
    """Braces and $ give objects, whose elements are the values; a dictionary gives several axes."""
    assert in_notebook(text) == axes


def test_the_equals_of_an_option_may_stand_before_the_word():
    """`--sweep=seed=1..2` is the same as with a space."""
    (token,) = parse(split("--sweep=seed=1..2,'7'"))["sweep"]
    assert axes_of(token, Names({})) == {"seed": [1, 2, "7"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strength", "--sweep is 'strength'; allowed: NAME=VALUES, such as strength=.2,.5,.85 or seed=1..4"),
        ("=1", "allowed: NAME=VALUES"),
        ("seed=", "'seed' has no values; write them after the ="),
        ("seed=1,,2", "a value is empty; write A,B"),
        ("seed=1,", "a value is empty"),
        ("seed=4..1", "4..1 runs backwards; write 1..4"),
        ("seed=1..", "'1..' is no range; allowed: two whole numbers, as in 1..4"),
        ("strength=.2...8", "is no range"),
        ("seed=1..9..2", "is no range"),
        ("seed=1..10001", "the axis seed has more than 10,000 values; allowed: at most 10,000 pictures"),
        ("seed=1..99999999999999999999", "the axis seed has more than 10,000 values"),
    ],
)
def test_a_wrong_word_is_one_line(text, message):
    """What can't be read is one line that names the word or its axis, and the remedy."""
    assert message in refusal(in_notebook, text)
    assert message in refusal(in_terminal, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strength=values", "values is a variable: write strength={values}"),
        ("seed=$nothing", "there is no variable nothing"),
        ("seed={axes}", "a dictionary stands alone"),
        ("{values}", "it has no =, so it must be a dictionary"),
        ("{dict()}", "the dictionary names no axis"),
        ("{dict(seed=[])}", "the axis seed has no values; give at least one"),
        ("{{1: [2]}}", "--sweep is"),
        ("seed={endless}", "more than 10,000 values"),
        ("seed={(1 / x for x in [0])}", "the values of seed can't be read (ZeroDivisionError"),
        ("seed=1 --sweep seed=2", "--sweep seed is given twice"),
        ("seed=1 --sweep fit=pad --sweep size=64", "3 axes ('seed, fit, size'); allowed: two in a line"),
        ("{axes} --sweep size=64", "more in Python: client.sweep(image, over={...})"),
    ],
)
def test_a_wrong_object_is_one_line(text, message):
    """Objects that are no values, and more than two axes, are one line."""
    assert message in refusal(in_notebook, text)


@pytest.mark.parametrize("word", ["seed={a}", "seed={range(1,4)}", "{axes}", "$axes", "seed=$x"])
def test_a_terminal_has_no_expressions(word):
    """In a terminal, braces and $ are said to be a notebook's."""
    assert "braces and $ are for a notebook; here, write the values" in refusal(in_terminal, word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ('prompt="a cat', 'the quote " is never closed'),
        ('prompt="a"b', "a comma or the end follows a closing quote"),
    ],
)
def test_a_quote_has_an_end(word, message):
    """A quote that is open, or ends inside a value, is one line."""
    assert message in refusal(in_terminal, word)


def written(values):
    """Return values as a person quotes them in a CSV file."""
    return ",".join('"' + value.replace('"', '""') + '"' for value in values)


TEXTS = st.text(min_size=1, max_size=10).filter(lambda text: text.strip())


@cases(2_000, 200)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_quoted_values_come_back(values):
    """What is quoted is read back, from a terminal's word and from a magic's."""
    word = f"prompt={written(values)}"
    assert in_terminal(word) == {"prompt": values}
    assert in_notebook(quote(word)) == {"prompt": values}


PIECES = st.lists(
    st.sampled_from(
        [*"\"'\\=,.{}$ -;#1", "..", "1..4", "seed=", "strength=", "{one}", "$one", "{", "é", "\0"]
    ),
    max_size=12,
).map("".join)


@cases(5_000, 500)
@given(st.one_of(st.text(max_size=20), PIECES))
@example("seed=1..\u0664")
@example("seed=\u00b2..3")
def test_any_word_is_read_or_refused(text):
    """Any text gives lists of values, or an InvalidRequestError of one line."""
    for read in (in_terminal, in_notebook):
        try:
            axes = read(text)
        except InvalidRequestError as exc:
            assert len(str(exc).splitlines()) == 1  # noqa: PT017 - one of two outcomes
        except KeyError:
            # The text ended or changed the option itself, so that no --sweep was left.
            assert read is in_notebook
        else:
            assert all(values and isinstance(name, str) for name, values in axes.items())
            assert not re.fullmatch(r"\s*", next(iter(axes)))
