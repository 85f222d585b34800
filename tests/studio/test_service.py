"""The HTTP service: results are those of Python, bad requests get a sentence, limits hold."""

import io
import json
import threading
import zipfile

import numpy as np
import pytest
from imagecodecs import cms_profile
from PIL import Image
from starlette.testclient import TestClient

import jaxharm
from jaxharm.cli.command import warnings_in_one_line
from jaxharm.images import Tags, encode_image, read_image_bytes
from jaxharm.images.spaces import Color, profile_from_png
from jaxharm.studio import notes
from jaxharm.studio.app import make_app
from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import BusyError, LateError, Limits
from jaxharm.studio.models import Models

SIZE = (48, 64)
SHIPPED = {"shipped": "shipped"}


def picture(dtype=np.uint8, size=SIZE, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (*size, channels)).astype(dtype)


def object_mask(size=SIZE):
    values = np.zeros((*size, 1), np.uint8)
    values[10:30, 20:50] = 255
    return values


def png(pixels, tags=None):
    return b"".join(encode_image("a.png", pixels, tags or Tags()))


def by_pillow(kind, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, SIZE[::-1], "gray" if mode != "CMYK" else (0, 10, 20, 30)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client():
    app = make_app(Models(SHIPPED), Limits(upload=2**20, megapixels=0.5), hosts=("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def harmonize(client, composite, mask=None, **fields):
    files = {"composite": ("composite.png", composite)}
    if mask is not None:
        files["mask"] = ("mask.png", mask)
    files |= {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], tuple)}
    # As `jaxharm serve` has it; pytest puts its own in place for every test.
    with warnings_in_one_line(notes.show):
        return client.post("/v1/harmonize", files=files, data=fields)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_result_is_that_of_python_bit_for_bit(client, dtype):
    composite, mask = picture(dtype), object_mask()
    answer = harmonize(client, png(composite), png(mask))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    found = read_image_bytes(answer.content, "answer").pixels
    np.testing.assert_array_equal(found, jaxharm.harmonize(composite, mask[..., 0]))
    assert (found != composite).any()


def test_options_strength_format_and_depth(client):
    composite, mask = picture(), object_mask()
    options = {"blend": "luminance", "red_share": 0.5}
    answer = harmonize(
        client, png(composite), png(mask),
        strength="0.5", options=json.dumps(options), format="tif", depth="16", model="shipped",
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    found = read_image_bytes(answer.content, "answer").pixels
    edit = jaxharm.Edit(blend="luminance", channels=(0.5, 1.0, 1.0))
    deep = composite.astype(np.uint16) * 257
    want = jaxharm.harmonize(deep, mask[..., 0], strength=0.5, options=edit)
    np.testing.assert_array_equal(found, want)


def test_a_cut_out_is_placed(client):
    cutout = picture(channels=4)
    cutout[..., 3] = object_mask()[..., 0]
    plate = picture(size=(80, 100))
    answer = harmonize(
        client, png(cutout), background=("plate.png", png(plate)), at="5,7", scale="0.5"
    )
    assert answer.status_code == 200, answer.text
    want = jaxharm.harmonize(cutout, background=plate, at=(5, 7), scale=0.5)
    np.testing.assert_array_equal(read_image_bytes(answer.content, "answer").pixels, want)


PROFILES = {
    "Adobe RGB": cms_profile("adobergb"),
    "Display P3": profile_from_png(Color(cicp=(12, 13, 0, 1))),
}


@pytest.mark.parametrize("name", PROFILES)
def test_the_profile_is_kept_and_what_was_noted_is_told(client, name):
    profile = PROFILES[name]
    mask = object_mask()
    mask[mask == 255] = 40  # low values, which are taken for the object
    answer = harmonize(client, png(picture(), Tags(icc_profile=profile)), png(mask))
    assert answer.status_code == 200, answer.text
    assert read_image_bytes(answer.content, "answer").icc_profile == profile
    assert any("mask" in note for note in json.loads(answer.headers["x-jaxharm-notes"]))


BAD = {
    "text as png": (b"hello, this is no picture", 400, "cannot read image"),
    "empty": (b"", 400, "empty"),
    "cut off": (png(picture())[:200], 400, "cannot read image"),
    "CMYK": (by_pillow("JPEG", "CMYK"), 400, "CMYK"),
    "a zip": (b"PK\x03\x04" + bytes(100), 400, "cannot read image"),
    "too many pixels": (png(np.zeros((800, 800, 3), np.uint8)), 413, "megapixels"),
    "too many bytes": (bytes(2**20 + 1), 413, "MiB"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_pictures_get_a_sentence(client, what):
    data, status, sentence = BAD[what]
    answer = harmonize(client, data, png(object_mask()))
    assert answer.status_code == status
    error = answer.json()["error"]
    assert sentence in error
    assert "Traceback" not in error


def test_a_bomb_is_refused_by_its_header(client):
    """A picture that says to have 65,000 x 65,000 pixels, in a few bytes."""
    small = bytearray(png(np.zeros((8, 8, 3), np.uint8)))
    small[16:24] = (65000).to_bytes(4, "big") * 2
    answer = harmonize(client, bytes(small), png(object_mask()))
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]


def test_unusual_pictures_are_taken(client):
    for data in (by_pillow("GIF"), by_pillow("JPEG"), by_pillow("PNG", "L"), by_pillow("WEBP")):
        assert harmonize(client, data, png(object_mask())).status_code == 200
    buffer = io.BytesIO()
    frames = [Image.new("RGB", SIZE[::-1], color) for color in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    answer = harmonize(client, buffer.getvalue(), png(object_mask()))
    assert answer.status_code == 200
    assert "2 pictures" in answer.headers["x-jaxharm-notes"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"strength": "2"}, "strength"),
        ({"strength": "much"}, "not a number"),
        ({"strength": "nan"}, "strength"),
        ({"model": "../../etc/passwd"}, "no model"),
        ({"options": "{"}, "not JSON"),
        ({"options": "[]"}, "JSON object"),
        ({"options": '{"nonsense": 1}'}, "unknown option nonsense"),
        ({"options": '{"shading_strength": "x"}'}, "must be a number"),
        ({"format": "exe"}, "format"),
        ({"depth": "12"}, "depth"),
        ({"at": "1"}, "at"),
        ({"nonsense": "1"}, "unknown field nonsense"),
    ],
)
def test_bad_fields_get_a_sentence(client, fields, sentence):
    answer = harmonize(client, png(picture()), png(object_mask()), **fields)
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["error"]


def test_bad_masks_and_forms_get_a_sentence(client):
    for mask, sentence in (
        (np.zeros((*SIZE, 1), np.uint8), "empty"),
        (object_mask((50, 64)), "same size"),
    ):
        answer = harmonize(client, png(picture()), png(mask))
        assert (answer.status_code, sentence in answer.json()["error"]) == (400, True)
    for request in (
        {"content": b"nothing"},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"content-type": "multipart/form-data"}},
        {"json": {}},
        {"files": {"mask": ("m.png", png(object_mask()))}},
    ):
        answer = client.post("/v1/harmonize", **request)
        assert answer.status_code == 400, request
        assert answer.json()["error"]
    assert client.get("/v1/harmonize").status_code == 405
    assert client.get("/nothing").status_code == 404


def test_names_with_paths_are_shown_without_them_and_nothing_is_written(
    client, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = {"composite": ("../../../etc/secret.png", b"no picture"), "mask": ("m.png", b"")}
    answer = client.post("/v1/harmonize", files=files)
    assert "etc" not in answer.json()["error"]
    assert "secret.png" in answer.json()["error"]
    assert not list(tmp_path.iterdir())


def test_other_sites_and_other_names_are_refused(client):
    answer = client.post("/v1/harmonize", headers={"origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.json()["error"][:8]) == (403, "requests")
    assert client.get("/health", headers={"host": "elsewhere.example"}).status_code == 400
    headers = client.get("/health").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_models_health_and_metrics(client):
    (shipped,) = client.get("/v1/models").json()
    assert shipped["license"] == "Apache-2.0"
    assert {control["name"] for control in shipped["controls"]} >= {"blend", "shading_strength"}
    assert client.get("/health").json() == {"status": "ok", "version": jaxharm.__version__}
    harmonize(client, png(picture()), png(object_mask()))
    harmonize(client, b"no picture", png(object_mask()))
    told = client.get("/metrics").text
    assert 'jaxharm_seconds_count{what="harmonize"}' in told
    assert 'jaxharm_refused_total{why="400"}' in told


def test_what_was_not_foreseen_shows_no_trace(client, monkeypatch, caplog):
    def breaks(*arguments, **options):
        raise RuntimeError("a secret")

    monkeypatch.setattr("jaxharm.studio.service.scene_of", breaks)
    answer = harmonize(client, png(picture()), png(object_mask()))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


def test_many_requests_at_once_are_made_or_refused(client):
    composite, mask = png(picture()), png(object_mask())
    answers, lock = [], threading.Lock()

    def ask():
        answer = harmonize(client, composite, mask)
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(made) + len(refused) == 200
    assert made
    assert {answer.content for answer in made} == {made[0].content}
    for answer in refused:
        assert "busy" in answer.json()["error"]
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_the_desk_refuses_what_waits_too_long(anyio_backend):
    import asyncio

    desk, go = Desk(Limits(workers=1, waiting=1, seconds=0.3)), threading.Event()
    first = asyncio.create_task(desk.do("work", go.wait))
    second = asyncio.create_task(desk.do("work", go.wait))
    await asyncio.sleep(0.05)
    with pytest.raises(BusyError, match="busy"):
        await desk.do("work", go.wait)
    with pytest.raises(LateError, match="longer than"):
        await first
    with pytest.raises(LateError):
        await second
    go.set()
    await asyncio.sleep(0.1)
    assert await desk.do("work", lambda: 5) == 5
    desk.close()


def test_a_zip_bomb_as_png_is_no_picture(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(10**7))
    answer = harmonize(client, buffer.getvalue(), png(object_mask()))
    assert answer.status_code == 400
