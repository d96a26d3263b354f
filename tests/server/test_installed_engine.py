"""The images API with an engine of another package."""

import pytest


@pytest.fixture
def base(installed_engine, start):  # noqa: ARG001
    """Return the base of a server with that engine."""
    return start("posterise-one").base


def test_its_models_are_listed_and_used(base, http, png):
    """Each of its models is listed and can be asked for, and any other one is refused with their names."""
    assert [each["id"] for each in http.get(f"{base}/models").json()["data"]] == ["soft", "hard"]
    assert http.get(f"{base}/models/hard").json()["id"] == "hard"
    assert "only soft, hard" in http.get(f"{base}/models/odd").json()["error"]["message"]
    form = {"size": "64x64", "n": "2", "seed": "7", "response_format": "b64_json"}
    made = [
        http.post(f"{base}/images/variations", files={"image": png}, data={**form, "model": model}).json()
        for model in ("soft", "hard")
    ]
    assert [len(each["data"]) for each in made] == [2, 2]
    assert made[0]["data"] != made[1]["data"]
    answer = http.post(f"{base}/images/variations", files={"image": png}, data={**form, "model": "odd"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_one_run_at_a_time(installed_engine, start):  # noqa: ARG001
    """A device that has room for one run gets one, whatever the server would do at once."""
    assert start("posterise-one", runs=4).service.queue._runs == 1
    assert start("posterise", runs=4).service.queue._runs == 4
