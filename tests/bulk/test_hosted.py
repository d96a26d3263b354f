"""Bulk runs against a real server on this machine: what is posted, what is paid for, and who waits."""

import random
import re
import subprocess
import time
from itertools import pairwise

import pytest
from cases import slow

from ipy_imgvar import Client

SMALL = {"size": 64}


@pytest.fixture
def client(server):
    with Client("openai", api_base=server.base, api_key="none") as client:
        yield client


def test_every_item_is_posted_once_and_counted(client, server, make_folder, tmp_path, look):
    """Without trouble there is a POST an item, and the usage is summed, in the result and item by item."""
    said = []
    result = client.map(str(make_folder(20)), out_dir=tmp_path / "out", on_notice=said.append, **SMALL)
    assert len(result.done) == 20
    assert len(said) == 1
    assert f"127.0.0.1:{server.server_address[1]}" in said[0]
    assert set(server.posts.values()) == {1}
    assert result.usage == {"total_tokens": 60}
    assert result[0].usage == {"total_tokens": 3}
    assert "total_tokens 60" in result.summary()
    assert "none" not in (tmp_path / "out" / "ledger.jsonl").read_text()
    assert all(record["request"]["server"] in server.base for record in look.records(tmp_path / "out"))


def test_another_path_of_a_server_is_another_service(server, make_folder, tmp_path):
    """Pictures of a base are not those of another base on the same host, in the run and in its plan."""
    folder = str(make_folder(2))
    host = server.base.removesuffix("/v1")

    def counts(base):
        with Client("openai", api_base=base, api_key="none") as client:
            to_do = client.plan(folder, out_dir=tmp_path / "out", **SMALL).out_dir.counts.to_do
            return to_do, len(client.map(folder, out_dir=tmp_path / "out", **SMALL).done)

    assert counts(f"{host}/openai/v1") == (2, 2)
    assert counts(f"{host.replace('http://', 'http://user:word@')}/openai/v1") == (0, 0)
    assert counts(f"{host}/azure/v1") == (2, 2)


def test_a_ledger_of_an_older_version_goes_on(client, server, make_folder, tmp_path):
    """A record that names its server without the path is compared by that name."""
    folder, ledger = str(make_folder(2)), tmp_path / "out" / "ledger.jsonl"
    client.map(folder, out_dir=tmp_path / "out", **SMALL)
    written = ledger.read_text()
    older = re.sub(r', ?"base_sha256": ?"\w{16}"', "", written)
    assert len(older) < len(written)
    ledger.write_text(older)
    assert client.plan(folder, out_dir=tmp_path / "out", **SMALL).out_dir.counts.done == 2
    assert len(client.map(folder, out_dir=tmp_path / "out", **SMALL).skipped) == 2
    ledger.write_text(older.replace("127.0.0.1:", "127.0.0.2:"))
    assert len(client.map(folder, out_dir=tmp_path / "out", **SMALL).done) == 2
    assert sum(server.posts.values()) == 4


@pytest.mark.slow
def test_a_flaky_server_loses_nothing(client, server, make_folder, tmp_path, look):
    """With 20 % 429, 5 % 500 and 2 % cut short, each item ends once; a cut one is not paid twice unless asked again."""
    rng = random.Random(1)  # noqa: S311 - no secret

    def plan(*_):
        draw = rng.random()
        return 429 if draw < 0.2 else 500 if draw < 0.25 else "cut" if draw < 0.27 else 200

    server.plan = plan
    folder = make_folder(100)
    result = client.map(str(folder), out_dir=tmp_path / "out", max_retry_count=20, **SMALL)
    cut = server.answers["cut"]
    assert cut > 0
    assert [len(result.done), len(result.failed)] == [100 - cut, cut]
    assert all("broke off" in each.error for each in result.failed)
    # Each POST is a picture, a refusal that was tried again, or an answer that was cut short.
    assert sum(server.posts.values()) == 100 + server.answers[429] + server.answers[500]
    items = [each["item"] for each in look.records(tmp_path / "out")]
    assert len(items) == len(set(items)) == 100
    server.plan = lambda *_: 200
    before = sum(server.posts.values())
    again = client.map(str(folder), out_dir=tmp_path / "out", **SMALL)
    assert [len(again.done), len(again.skipped)] == [cut, 100 - cut]
    assert sum(server.posts.values()) == before + cut
    assert len(look.pictures(tmp_path / "out")) == 100


@pytest.mark.slow
def test_a_429_slows_everybody(client, server, make_folder, tmp_path):
    """After a 429 nobody posts until the time that the server named has passed."""
    server.retry_after_s = 1.5
    server.plan = lambda name, number: 429 if name == "p004.png" and number == 1 else 200
    result = client.map(str(make_folder(40)), out_dir=tmp_path / "out", max_workers=2, **SMALL)
    assert len(result.done) == 40
    times = sorted(server.times)
    assert max(later - earlier for earlier, later in pairwise(times)) > 1.2
    assert sum(server.posts.values()) == 41


@pytest.mark.parametrize("case", [(500, None, 1), slow((500, 2, 3)), (429, 0, 1), (429, 2, 3)])
def test_tries_are_counted_for_each_item(client, server, photo_path, tmp_path, case):
    """`max_retry_count` counts for each item; a 5xx is not tried again unless it says so."""
    kind, retries, posts = case
    server.plan = lambda *_: kind
    server.retry_after_s = 0.01
    result = client.map(photo_path, out_dir=tmp_path / "out", max_retry_count=retries, **SMALL)
    assert len(result.failed) == 1
    assert str(kind) in result[0].error
    assert sum(server.posts.values()) == posts


def test_a_429_is_waited_out_where_nothing_was_said(client, server, make_folder, tmp_path):
    """Left alone, an item outlasts a few 429s, since they cost nothing."""
    server.plan = lambda name, number: 429 if number < 4 else 200  # noqa: ARG005
    server.retry_after_s = 0.01
    assert len(client.map(str(make_folder(3)), out_dir=tmp_path / "out", **SMALL).done) == 3


def test_a_quota_that_is_used_up_is_not_waited_for(client, server, make_folder, tmp_path):
    """A 429 that says that a quota is used up invites no further try, so its item fails at once."""
    server.plan = lambda *_: 429
    server.refusal = "You exceeded your current quota"
    result = client.map(str(make_folder(2)), out_dir=tmp_path / "out", max_workers=1, **SMALL)
    assert len(result.failed) == 2
    assert server.answers[429] == 2


def test_nobody_is_paid_where_nothing_can_be_kept(client, server, make_folder, tmp_path):
    """A folder that takes no more files ends each item before its picture is asked for."""
    out = tmp_path / "out"
    paths = sorted(make_folder(3).iterdir())

    def images():
        out.rename(tmp_path / "away")  # The ledger stays open; new files have nowhere to go.
        out.write_text("a file is in the way")
        yield from paths

    result = client.map(images(), out_dir=out, **SMALL)
    out.unlink()
    (tmp_path / "away").rename(out)
    assert ["nothing was asked for" in each.error for each in result] == [True] * 3
    assert not server.posts


KILLED = """
import sys
from ipy_imgvar import Client
Client("openai", api_base=sys.argv[3], api_key="none").map(sys.argv[1], out_dir=sys.argv[2], size=64, max_workers=4)
"""


@pytest.mark.slow
def test_killed_at_twenty_instants_nothing_is_paid_twice(server, make_folder, tmp_path, look, start_python):
    """Killed with -9 at 20 random instants, a run ends complete, and what the ledger had was never posted again."""
    server.delay_s = 0.03
    folder, out = make_folder(160), tmp_path / "out"
    rng = random.Random(8)  # noqa: S311 - no secret
    instants = 0
    while instants < 20:
        known = {each["item"].rpartition("/")[2]: None for each in look.records(out)} if out.exists() else {}
        posts = {name: server.posts[name] for name in known}
        total = sum(server.posts.values())
        process = start_python(KILLED, folder, out, server.base, stderr=subprocess.DEVNULL)
        while process.poll() is None and sum(server.posts.values()) == total and len(known) < 160:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.04))
        process.kill()
        process.wait()
        instants += 1
        assert {name: server.posts[name] for name in known} == posts
    process = start_python(KILLED, folder, out, server.base)
    assert process.wait(200) == 0
    items = [each["item"] for each in look.records(out)]
    assert len(items) == len(set(items)) == 160
    assert len(look.pictures(out)) == 160
    assert not look.half_files(out)
    # What was under way at a kill, at most one task for each of four threads, may be posted again; nothing else.
    assert sum(server.posts.values()) <= 160 + 20 * 4
