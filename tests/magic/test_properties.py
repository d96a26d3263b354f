"""Any text as a line: a usage error or a reading, nothing else; and quoted arguments come back as they were."""

import pytest
from cases import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.options import MAGIC_OPTIONS, Token, quote
from ipy_imgvar.line.parser import parse
from ipy_imgvar.magic.completion import candidates
from ipy_imgvar.magic.values import Names, value_of

#: The bits that the grammar treats in its own way; no call with an effect can be spelt with them.
PIECES = st.sampled_from(
    [
        *"\"'\\{}$#;= -\t\n*?[]~:",
        *(
            "-n",
            "--size",
            "--user=",
            "-o",
            "--out-file",
            "--history",
            "--api-key",
            "-Image",
            "x",
            "y.png",
            "64",
        ),
        *("{x}", "{", "{{", "{x:03}", "{'a'}", "$x", "../", "\ud800", "猫", "\0", "–"),  # noqa: RUF001
    ]
)
LINES = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=40))
USER = next(option for option in MAGIC_OPTIONS if option.dest == "user")
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@MANY
@given(LINES)
def test_any_text_is_read_or_refused(line):
    """Splitting and sorting any text gives tokens or an InvalidRequestError of one line."""
    try:
        found = parse(split(line))
    except InvalidRequestError as exc:
        message = str(exc)
    else:
        message = "read"
        assert all(isinstance(token, Token) for tokens in found.values() for token in tokens)
    assert len(message.splitlines()) == 1


@pytest.mark.slow
@MANY
@given(st.lists(st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=6).map("".join)), max_size=5))
def test_quoted_arguments_come_back(arguments):
    """What `quote` writes is split into as many tokens, each of which means the same text."""
    tokens = split(" ".join(map(quote, arguments)))
    assert [value_of(token, USER, Names({"x": 1})) for token in tokens] == arguments


@cases(2_000, 200, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3))
def test_quoted_option_values_come_back(arguments):
    """After `--user=` too, a quoted text is the value and never an image."""
    for argument in arguments:
        found = parse(split(f"--user={quote(argument)} {quote('-' + argument)}"))
        assert value_of(found["user"][0], USER, Names({})) == argument
        assert value_of(found["image"][0], USER, Names({})) == "-" + argument


@cases(1_000, 100, suppress_health_check=list(HealthCheck))
@given(LINES)
def test_completion_answers_any_text(line):
    """Completing any text gives words or leaves it to IPython."""
    for in_body in (False, True):
        found = candidates(line, Names({"x": b""}), in_body=in_body)
        assert found is None or all(isinstance(word, str) for word in found[1])


#: No braces here: what stands in them is evaluated.
HARMLESS = st.lists(
    st.sampled_from(
        [
            *"\"'\\#;= -\t$",
            "-n",
            "--size",
            "-o",
            "--history",
            "--quiet",
            "zz",
            "zz.png",
            "64",
            "猫",
            "\ud800",
            "--mask",
        ]
    ),
    max_size=10,
).map("".join)


@cases(
    300,
    100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(HARMLESS)
def test_any_line_in_the_shell_is_one_line_at_most(shell, line):
    """In a real shell a line without an image ends in a usage error of one line."""
    magic = shell.shell.magics_manager.magics["line"]["imagevariation"]
    message = "read"
    try:
        magic(line)
    except UsageError as exc:
        message = str(exc)
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "#", "$x", "-n", "{x}", "}", "{{", "a b", "it's", '"', "'\"", "\\", "a\\", ";", "x;"]
)
def test_special_texts_come_back(text):
    """Texts that the grammar treats in its own way survive quoting."""
    (token,) = split(quote(text))
    assert value_of(token, USER, Names({"x": 1})) == text
