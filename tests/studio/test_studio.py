"""The studio's back end without a browser: pictures, scenes, looks, views; and studies."""

import csv
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import jaxharm
from jaxharm.errors import InputError
from jaxharm.images import Tags, encode_image, read_image_bytes, write_image
from jaxharm.studio.app import make_app
from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import Limits
from jaxharm.studio.models import Models
from jaxharm.studio.study import Study

SIZE = (60, 80)


def png(pixels):
    return b"".join(encode_image("a.png", pixels, Tags()))


@pytest.fixture(scope="module")
def client():
    app = make_app(Models({"shipped": "shipped"}), Limits(), pages=True, hosts=("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def pictures():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    composite = np.stack([60 + x, 200 - y, 90 + y + x // 2], -1).astype(np.uint8)
    composite[20:50, 30:60] //= 2
    mask = np.zeros((*SIZE, 1), np.uint8)
    mask[20:50, 30:60] = 255
    return composite, mask


def add(client, pixels):
    answer = client.post("/studio/pictures", files={"picture": ("p.png", png(pixels))})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def scene(client, pictures):
    composite, mask = (add(client, pixels)["picture"] for pixels in pictures)
    answer = client.post("/studio/scenes", json={"composite": composite, "mask": mask})
    assert answer.status_code == 200, answer.text
    return answer.json()["scene"]


def view(client, scene, region=(0, 0, 80, 60, 80), **look):
    said = {"scene": scene, "region": list(region), **look}
    answer = client.post("/studio/view", json=said)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


def test_pages_load_nothing_from_elsewhere(client):
    for path in ("/", "/static/site.css", "/static/studio.js", "/static/study.html"):
        text = client.get(path).text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_a_look_is_shown_changed_and_saved(client, scene, pictures):
    composite, mask = pictures[0], pictures[1][..., 0]
    made = client.post("/studio/looks", json={"scene": scene, "model": "shipped"}).json()
    red = made["editable"]["curves"]["red"]
    before, after = view(client, scene), view(client, scene, model="shipped")
    assert abs(before - composite).mean() < 3  # a JPEG
    assert abs(before - after).max() > 10
    curves = {"red": [min(1.0, value + 0.2) for value in red]}
    changed = view(client, scene, model="shipped", curves=curves)
    assert (changed - after)[20:50, 30:60, 0].mean() > 10
    assert abs(changed - after)[:10].mean() < 3

    def save(**said):
        said = {"scene": scene, "model": "shipped", **said}
        answer = client.post("/studio/result", json=said)
        assert answer.status_code == 200, answer.text
        return read_image_bytes(answer.content, "result").pixels

    np.testing.assert_array_equal(save(), jaxharm.harmonize(composite, mask))
    np.testing.assert_array_equal(
        save(strength=0.3, options={"blend": "color"}),
        jaxharm.harmonize(composite, mask, strength=0.3, blend="color"),
    )
    # Curves that come back unchanged keep every bit.
    np.testing.assert_array_equal(save(curves={"red": red}), jaxharm.harmonize(composite, mask))
    answer = client.post(
        "/studio/file",
        json={"scene": scene, "model": "shipped", "file": "parameters.json", "curves": curves},
    )
    assert 'filename="parameters.json"' in answer.headers["content-disposition"]
    assert save(curves=curves).shape == composite.shape


def test_a_region_shows_what_the_whole_shows(client, scene):
    whole = view(client, scene, model="shipped")
    part = view(client, scene, (20, 10, 60, 50, 40), model="shipped")
    assert part.shape == (40, 40, 3)
    assert abs(part - whole[10:50, 20:60]).mean() < 6
    outside = view(client, scene, (0, 0, 20, 15, 20), model="shipped")
    assert abs(outside - whole[:15, :20]).mean() < 6


@pytest.mark.parametrize(
    ("path", "said", "status", "sentence"),
    [
        ("view", {"region": [0, 0, 5]}, 400, "a region is"),
        ("view", {"region": [90, 0, 95, 5, 5]}, 400, "outside"),
        ("view", {"region": [0, 0, "x", 5, 5]}, 400, "a region is"),
        ("view", {"region": [0, 0, 9, 9, 1e400]}, 400, ""),
        ("looks", {"model": "none"}, 400, "no model"),
        ("looks", {"model": "shipped", "options": []}, 400, "JSON object"),
        ("looks", {"model": "shipped", "strength": "x"}, 400, "must be a number"),
        ("looks", {"model": "shipped", "curves": {"red": [0.5]}}, 400, "knots"),
        ("looks", {"model": "shipped", "curves": {"red": "x"}}, 400, "list of numbers"),
        ("looks", {"model": "shipped", "curves": {"cyan": []}}, 400, "the curves are"),
        ("looks", {"model": "shipped", "strokes": [[0, 0, 0.1, 0.1]]}, 400, "no shading map"),
        ("looks", {"model": "shipped", "strokes": [[0]]}, 400, "a stroke is"),
        ("result", {"model": "shipped", "format": "exe"}, 400, "format"),
        ("result", {"model": "shipped", "depth": 9}, 400, "depth"),
        ("result", {"model": "shipped", "depth": 16, "format": "jpg"}, 400, "8 bits only"),
        ("file", {"model": "shipped", "file": "../x"}, 400, "saves no"),
        ("scenes", {"composite": None}, 400, "choose a composite"),
        ("scenes", {"composite": "gone"}, 410, "load it again"),
        ("scenes", {"composite": "gone", "at": 5}, 410, "load it again"),
    ],
)
def test_bad_requests_get_a_sentence(client, scene, path, said, status, sentence):
    import json

    text = json.dumps({"scene": scene, **said})
    headers = {"content-type": "application/json"}
    answer = client.post(f"/studio/{path}", content=text, headers=headers)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]


def test_scenes_that_are_gone_and_texts_that_are_no_json(client):
    answer = client.post("/studio/view", json={"scene": "gone", "region": [0, 0, 1, 1, 1]})
    assert answer.status_code == 410
    for content in (b"{", b"[]", b"[" * 100000, b"\xff"):
        answer = client.post("/studio/view", content=content)
        assert (answer.status_code, "JSON" in answer.json()["error"]) == (400, True)


def test_pictures_make_room_for_newer_ones():
    limits = Limits(memory=100_000)
    app = make_app(Models({"shipped": "shipped"}), limits, pages=True, hosts=("testserver",))
    with TestClient(app) as client:
        names = [add(client, np.zeros((100, 100, 3), np.uint8) + k)["picture"] for k in range(5)]
        assert client.get(f"/studio/pictures/{names[0]}").status_code == 410
        assert client.get(f"/studio/pictures/{names[-1]}").status_code == 200


def study_in(folder, methods=("ours", "theirs", "third"), images=("a", "b"), checks=("c",)):
    for method in (*methods, "checks/good", "checks/bad"):
        (folder / method).mkdir(parents=True)
        for name in checks if "/" in method else images:
            write_image(
                folder / method / f"{name}.png", np.full((8, 8, 3), 10 * len(method), np.uint8)
            )
    return folder


def rate(client, rater, choose, most=100):
    """Votes until the end; `choose` is given the pictures of both sides, by their gray value."""
    for count in range(most):
        told = client.post("/study/next", json={"rater": rater}).json()
        if told["pair"] is None:
            return count
        shown = {}
        for side in ("left", "right"):
            address = f"/study/pictures/{told['pair']}/{side}?rater={rater}"
            picture = Image.open(io.BytesIO(client.get(address).content))
            shown[side] = int(np.asarray(picture)[0, 0, 0])
        said = {"rater": rater, "pair": told["pair"], "winner": choose(shown)}
        for _ in range(2):  # a second click
            assert client.post("/study/vote", json=said).status_code == 200
    return most


def test_votes_are_counted_once_and_read_by_the_ranking(tmp_path, capsys):
    from jaxharm.__main__ import main

    folder = study_in(tmp_path)
    app = make_app(None, Limits(), study=folder, hosts=("testserver",))
    with TestClient(app) as client:
        # The longer a method's name, the brighter its pictures: the good check is the brightest.
        assert rate(client, "careful", lambda shown: max(shown, key=shown.get)) == 7
        assert rate(client, "careless", lambda shown: min(shown, key=shown.get)) == 7
        assert rate(client, "careful", lambda shown: "tie") == 0
    with (folder / "votes.csv").open() as file:
        votes = list(csv.DictReader(file))
    assert len(votes) == 12
    assert {vote["winner"] for vote in votes if vote["rater"] == "careful"} == {"theirs", "third"}
    with (folder / "checks.csv").open() as file:
        passed = {row["rater"]: row["passed"] for row in csv.DictReader(file)}
    assert passed == {"careful": "yes", "careless": "no"}
    arguments = ["votes", str(folder / "votes.csv")]
    assert main([*arguments, "--checks", str(folder / "checks.csv")]) == 0
    told = capsys.readouterr()
    assert "left out: 6 votes of careless" in told.err
    assert "theirs" in told.out.splitlines()[2]


def test_orders_differ_by_rater_and_stay(tmp_path):
    images = tuple("abcdefghij")
    folder = study_in(tmp_path, ("ours", "theirs"), images, ("x", "y"))
    study, again = (Study(folder, Desk(Limits())) for _ in range(2))
    assert study.order("anna") == again.order("anna")
    assert study.order("anna") != study.order("berta")
    assert len(study.order("anna")) == 12
    assert sum(pair.check for pair in study.order("anna")) == 2
    lefts = {study.sides(f"rater{k}", study.pairs[0])[0] for k in range(20)}
    assert lefts == {"ours", "theirs"}


def test_a_cut_line_is_taken_away_and_bad_studies_are_said(tmp_path):
    folder = study_in(tmp_path / "study")
    Study(folder, Desk(Limits()))
    votes = folder / "votes.csv"
    votes.write_text(votes.read_text() + "a,ours,theirs,ours,anna,1.0\nb,ours,the")
    Study(folder, Desk(Limits()))
    assert votes.read_text().endswith("anna,1.0\n")
    with pytest.raises(InputError, match="is no folder"):
        Study(tmp_path / "none", Desk(Limits()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to compare"):
        Study(tmp_path / "empty", Desk(Limits()))


@pytest.mark.parametrize(
    "said", [{"rater": "../x"}, {"rater": ""}, {"rater": 5}, {"rater": "a" * 50}, {}]
)
def test_bad_raters_are_refused(tmp_path, said):
    app = make_app(None, Limits(), study=study_in(tmp_path), hosts=("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/study/next", json=said).status_code == 400
        said = {"rater": "anna", "pair": "none", "winner": "left"}
        assert client.post("/study/vote", json=said).status_code == 410
