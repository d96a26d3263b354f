"""The images API's form and JSON, as pure functions."""

import base64
import json
import time
from contextlib import suppress
from email.parser import BytesParser
from email.policy import HTTP

import pytest
from cases import slow
from hypothesis import example, given
from hypothesis import strategies as st
from loopback import USAGE, answer_of

from ipy_imgvar.api import answers, forms, refusals

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1000, 1000) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            TEXTS | st.sampled_from(["b64_json", "url", "data", '"b64_json']), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def plain(body):
    """Read an answer the slow way: each entry's picture or address."""
    found = []
    for entry in json.loads(body)["data"]:
        encoded = entry.get("b64_json") if isinstance(entry, dict) else None
        if isinstance(encoded, str):
            found.append(base64.b64decode(encoded))
        else:
            found.append(entry.get("url") or None)
    return found


def quick(body):
    return [
        item.url or (item.read() if item.encoded is not None else None)
        for item in answers.read_answer(body).items
    ]


@st.composite
def written_answers(draw):
    """Answers of any order, spacing and escaping, with pictures, addresses and nulls."""
    data = st.binary(min_size=1, max_size=300)
    entries = []
    for _ in range(draw(st.integers(1, 5))):
        entry = dict(draw(st.dictionaries(TEXTS, TEXTS | st.none(), max_size=3)))
        kind = draw(st.sampled_from(["b64", "url", "null"]))
        entry["b64_json"] = base64.b64encode(draw(data)).decode() if kind == "b64" else None
        if kind == "url" or draw(st.booleans()):
            entry["url"] = (
                draw(st.sampled_from(["http://x/1.png", "/a", "data:image/png;base64,AA=="]))
                if (kind == "url")
                else None
            )
        keys = draw(st.permutations(list(entry)))
        entries.append({key: entry[key] for key in keys})
    answer = {"data": entries, "usage": USAGE, "created": 1, **draw(st.dictionaries(TEXTS, JSON, max_size=3))}
    answer["data"] = entries
    answer = {key: answer[key] for key in draw(st.permutations(list(answer)))}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")]))
    text = json.dumps(
        answer,
        separators=separators,
        indent=draw(st.sampled_from([None, 2])),
        ensure_ascii=draw(st.booleans()),
    )
    if draw(st.booleans()):
        text = text.replace("/", "\\/")
    if draw(st.booleans()):
        text = text.replace("+", "\\u002B")
    return text.encode()


@given(written_answers())
def test_answers_read_as_json_does(body):
    """Cutting the pictures out gives what json.loads and b64decode give, for any order, spacing and escapes."""
    assert quick(body) == plain(body)
    assert quick(bytearray(body)) == plain(body)


@given(written_answers(), st.data())
def test_broken_answers_never_surprise(body, data):
    """A damaged answer gives pictures or a ValueError, never anything else, and salvage never raises."""
    cut = data.draw(st.integers(0, len(body)))
    junk = data.draw(st.binary(max_size=5))
    damaged = body[:cut] + junk + body[cut + data.draw(st.integers(0, 10)) :]
    for each in (body[:cut], damaged):
        answers.salvage(each)
        try:
            answer = answers.read_answer(each)
        except ValueError:
            continue
        for item in answer.items:
            if item.encoded is not None:
                with suppress(ValueError):
                    item.read()


@given(JSON)
@example({"data": [{"b64_json": {"b64_json": "x"}}]})
@example({"b64_json": "AAAA", "data": [{"url": "cut:0"}]})
@example({"data": [{"b64_json": "cut:7"}]})
def test_any_json(value):
    """Any JSON is an answer or a ValueError, and any JSON is a refusal of one line."""
    body = json.dumps(value).encode()
    with suppress(ValueError):
        answers.read_answer(body)
    error = refusals.read_error(body, "application/json")
    assert "\n" not in error.message
    assert len(error.message) <= 400


WORDS = st.sampled_from(
    ["error", "message", "detail", "loc", "location", "msg", "validation", "code", "param", "title"]
)
REFUSALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=15,
)


@given(REFUSALS)
@example({"detail": [{"loc": 5}]})
@example({"detail": [{"loc": True, "msg": None}]})
@example({"error": {"detail": [{"location": 0.5, "message": []}], "code": {}, "param": []}})
def test_any_refusal(value):
    """Whatever types stand under the names that refusals have, it is one line with texts for code and parameter."""
    error = refusals.read_error(json.dumps(value).encode())
    assert "\n" not in error.message
    assert all(each is None or isinstance(each, str) for each in (error.code, error.param))


def test_a_list_of_refusals():
    """Of a list, as Google sends it, the first refusal is read."""
    assert (
        refusals.read_error(b'[{"error": {"code": 404, "message": "no such model"}}]').message
        == "no such model"
    )


def test_half_a_key_is_not_left():
    """A text is cleaned before it is cut, so that no part of a key remains at its end."""
    body = json.dumps({"error": {"message": "x" * 390 + "SECRETSECRET"}}).encode()
    assert (
        "SECR" not in refusals.read_error(body, clean=lambda text: text.replace("SECRETSECRET", "*")).message
    )


@pytest.mark.parametrize("empty", ['""', '" \\n"', "null", '"\\u0020"'])
def test_an_empty_field_is_an_absent_one(empty):
    """Beside empty base64 an address counts, and beside an empty address base64; both empty is a problem."""
    for more in ("", ', "b64_json": "QUJD"'):
        body = f'{{"data": [{{"b64_json": {empty}, "url": "http://x/1.png"}}, {{"url": {empty}{more}}}]}}'.encode()
        first, second = answers.read_answer(body).items
        assert (first.url, first.encoded) == ("http://x/1.png", None)
        assert (second.read() == b"ABC") if more else "neither" in second.problem
    assert answers.salvage(b'{"data": [{"b64_json": ""}, {"b64_json": "QUJD"}, {"b64') == [
        answers.Item(encoded=b"QUJD")
    ]


@given(st.binary(max_size=200), st.sampled_from(["", "text/html", "application/json"]))
def test_any_bytes(body, kind):
    """Any bytes make a refusal of one line."""
    assert "\n" not in refusals.read_error(body, kind).message


@pytest.mark.parametrize("number", ["0", "7", "9" * 5000])
def test_a_text_that_looks_like_a_cut_is_no_picture(number):
    """A text that reads as the mark of a cut-out picture, below a key that is escaped, is no picture and no crash."""
    body = b'{"data": [{"b64\\u005fjson": "cut:%s"}]}' % number.encode()
    assert answers.read_answer(body).items[0].encoded is None


def test_escaped_quotes_take_time_in_proportion():
    """A text of many escaped quotes is looked at once, not once for each of them."""

    class Counted(bytearray):
        looked_at = 0

        def __getitem__(self, place):
            found = super().__getitem__(place)
            Counted.looked_at += len(found) if isinstance(place, slice) else 1
            return found

    body = Counted(b'{"data": [{"b64_json": "' + b'\\"' * 5000 + b'"}]}')
    assert answers.read_answer(body).items[0].encoded == b'"' * 5000
    assert Counted.looked_at < 10 * len(body)


@pytest.mark.parametrize("entry", [b"{},", slow(b'{"b64_json":""},'), slow(b"[],"), slow(b'"b64_json",')])
def test_an_answer_of_too_many_parts_is_not_read(entry):
    """An answer that would become many times its size is refused before it is read."""
    body = b'{"type": "image.completed", "data": [' + entry * 150_000 + b"1]}"
    with pytest.raises(ValueError, match="more than 100,000 fields"):
        answers.read_answer(body)
    assert len(answers.salvage(body)) <= 100_000


def test_salvage_gives_whole_pictures_only():
    """Of an answer that broke off, each picture whose text is complete is given, and no other."""
    pictures = [bytes([number]) * 50 for number in range(3)]
    body = json.dumps(answer_of(*pictures)).encode()
    for cut in range(len(body)):
        whole = sum(base64.b64encode(each) + b'"' in body[:cut] for each in pictures)
        assert [item.read() for item in answers.salvage(body[:cut])] == pictures[:whole]


def test_base64_is_read_strictly():
    """White space is passed over and anything else is an error, since skipping it would change the picture."""
    data = bytes(range(256))
    text = base64.b64encode(data)
    assert answers.Item(encoded=base64.encodebytes(data)).read() == data
    assert answers.Item(encoded=b"data:image/png;base64," + text).read() == data
    for broken in (text[:-1], text[:9] + b"*" + text[9:], text.replace(b"+", b"-"), b"", b"data:", b"="):
        with pytest.raises(ValueError, match="b64_json"):
            answers.Item(encoded=broken).read()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    fields=st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), TEXTS, max_size=5),
    files=st.lists(st.tuples(st.sampled_from(["image", "image[]", "mask"]), NAMES, st.binary()), max_size=3),
)
def test_forms_are_read_by_others(fields, files):
    """A form with any fields, file names and bytes is read by another parser as it was meant."""
    kind, body = forms.multipart(
        fields, [(name, filename, data, "image/png") for name, filename, data in files]
    )
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + kind.encode() + b"\r\nMIME-Version: 1.0\r\n\r\n" + body
    )
    boundary = kind.partition("boundary=")[2].encode()
    contents = [part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(b"--" + boundary)[1:-1]]
    parts = list(message.iter_parts()) if fields or files else []
    assert len(parts) == len(fields) + len(files)
    assert contents == [value.encode() for value in fields.values()] + [data for _, _, data in files]
    for part, name in zip(parts, [*fields, *(name for name, _, _ in files)], strict=True):
        assert part.get_param("name", header="content-disposition") == name
    assert b"filename*" not in body
    assert all(b"\r\n" not in line for line in body.split(b"\r\n"))


def test_names_of_files_are_escaped():
    """A quote or a line break in a file's name can't break out of its header, and no name is too odd to send."""
    _, body = forms.multipart({}, [("image", 'a"b\r\nX: y\udcff日本.png', b"x", "image/png")])
    head = body.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert len(head) == 3
    assert 'filename="a%22b%0D%0AX: y?日本.png"'.encode() in head[1]


def test_form_fields():
    """Numbers, flags and lists are written as forms have them, and a None is left out."""
    body = {"n": 2, "stream": True, "off": False, "user": None, "s": "x", "list": [1, "é"], "f": 0.5}
    expected = {"n": "2", "stream": "true", "off": "false", "s": "x", "list": '[1, "\\u00e9"]', "f": "0.5"}
    assert forms.form_fields(body) == expected


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ('{"error": {"message": "m", "code": "c", "param": "p"}}', "", "m"),
        ('{"detail": "Not Found"}', "", "Not Found"),
        (
            '{"detail": [{"loc": ["body", "n"], "msg": "too large"}, {"msg": "x"}]}',
            "",
            "body.n: too large; x",
        ),
        ('{"detail": [{"loc": 5, "msg": "m"}, {"loc": true, "msg": null}, 7, null, "x"]}', "", "5: m; x"),
        ('{"detail": [{"loc": ["a", null, [1], 2], "msg": {"x": 1}, "message": "n"}]}', "", "a.2: n"),
        ('{"detail": {"msg": "m"}}', "", "m"),
        ('{"error": true, "message": "m"}', "", "m"),
        ('{"error": {"message": ["a", "b"]}}', "", "a; b"),
        ('{"error": {"message": {"x": 1}}, "title": "t"}', "", "t"),
        ('{"error": ["a", {"msg": "b"}]}', "", "a; b"),
        ('{"error": "plain"}', "", "plain"),
        ('{"title": "t", "validation": [{"location": ["body"], "message": "v"}]}', "", "body: v"),
        ("<html><head><title>A\nB</title></head></html>", "text/html", "A B"),
        ("<h1>No <b>way</b></h1>", "", "No way"),
        ("<p>x</p>", "text/html", ""),
        ("line 1\nline 2", "text/plain", "line 1 line 2"),
        ('"text"', "", "text"),
        ("7", "", ""),
        ("x" * 999, "", "x" * 397 + "..."),
    ],
)
def test_refusals(body, kind, message):
    """A refusal's message is found in whichever shape it comes."""
    assert refusals.read_error(body.encode(), kind).message == message


def test_many_escapes_take_no_longer_than_their_length():
    """A text of escaped quotes is searched once: four times as long takes less than eight times the work."""

    def cpu_s(size):
        body = b'{"data": [{"b64_json": "' + b'\\"' * size + b'"}]}'
        began = time.process_time()
        assert len(answers.salvage(body)[0].encoded) == size
        return time.process_time() - began

    cpu_s(1000)
    assert cpu_s(400_000) < 8 * max(cpu_s(100_000), 0.01)


@given(st.lists(st.sampled_from(['"', "\\", "x"]), max_size=12))
def test_where_a_text_ends(pieces):
    """Quotes and backslashes in any order are escaped and read back as what they were."""
    text = "".join(pieces) or "x"
    (item,) = answers.read_answer(
        json.dumps({"data": [{"b64_json": text, "url": "http://x/"}]}).encode()
    ).items
    assert item.encoded == text.encode()
