"""The studio in a browser, as a person uses it; needs Playwright and Chromium, and is skipped elsewhere.

JAXHARM_SHOTS=DIR keeps pictures of the pages.
"""

import base64
import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.random_variables import random_variables

import jaxharm
from jaxharm import registry
from jaxharm.images import read_image, write_image
from jaxharm.weights.portable import save_weights

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("playwright") and CHROMIUM),
    reason="needs Chromium, and pip install playwright",
)
SHOTS = os.environ.get("JAXHARM_SHOTS")
SIZES = {"wide": (1400, 900), "narrow": (420, 800)}
SIZE = (300, 400)


def small_models():
    """Name, small config and random variables of every model that the studio offers controls for."""
    for entry in registry.entries():
        if entry.controls and entry.listed:
            config = entry.config().tiny()
            module = registry.build_model(entry.name, config)
            image = np.zeros((1, config.default_size, config.default_size, 3), np.float32)
            inputs = image, image[..., :1] + 1
            variables = random_variables(module, *inputs, background=image, train=False)
            output = module.apply(variables, *inputs, background=image, train=False)
            yield entry, config, variables, output


def weights_with_a_map(folder):
    """Random weights of a model with a map to paint on."""
    found = next(found for found in small_models() if "shading" in found[3].aux)
    save_weights(folder, found[0].name, *found[1:3], {"license": "CC0-1.0"})


def weights_with_stages(folder):
    """Random weights of a model whose stage can be chosen."""
    found = next(
        found
        for found in small_models()
        if any(control.name == "stage" for control in found[0].controls().controls)
    )
    save_weights(folder, found[0].name, *found[1:3], {"license": "CC0-1.0"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures: a composite with its mask, a cut-out, a background."""
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / 300
    waves = np.stack([np.sin(4 * x + k) * np.cos(3 * y - k) for k in (0, 1, 2)], -1)
    plate = (127 + 70 * waves).astype(np.uint8)
    inside = np.hypot(x - 0.6, y - 0.5) < 0.25
    composite = plate.copy()
    composite[inside] = (composite[inside] * 0.5 + [100, 30, 0]).astype(np.uint8)
    mask = (inside * 255).astype(np.uint8)[..., None]
    write_image(folder / "composite.png", composite)
    write_image(folder / "object_mask.png", mask)
    write_image(folder / "plate.png", plate)
    cutout = np.concatenate([composite, mask], 2)[60:240, 90:270]
    write_image(folder / "cutout.png", np.ascontiguousarray(cutout))
    weights_with_a_map(folder / "mapped")
    weights_with_stages(folder / "staged")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    arguments = ["--no-browser", "--port", "0"]
    arguments += [f"--checkpoint={folder / name}" for name in ("mapped", "staged")]
    with served(arguments) as found:
        yield found


@contextlib.contextmanager
def served(arguments):
    """The address of a studio that runs meanwhile."""
    command = [sys.executable, "-m", "jaxharm", "studio", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        try:
            yield re.match(r"(http://\S+)", line)[1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def page(browser, request):
    width, height = SIZES[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if request.param == "narrow" else "light",
        accept_downloads=True,
    )
    page = context.new_page()
    page.size_name, page.faults = request.param, []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda r: page.faults.append(r.url) if outside(r.url) else None)
    yield page
    assert not page.faults
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0, "the page is wider than the window"
    context.close()


def outside(url):
    return not url.startswith(("http://127.0.0.1", "blob:", "data:"))


def shot(page, name):
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}_{page.size_name}.png"))


def opened(page, address):
    from playwright.sync_api import expect

    page.goto(address)
    expect(page.locator("body[data-ready=yes]")).to_be_attached(timeout=30000)


def load(page, role, file):
    from playwright.sync_api import expect

    page.set_input_files(f"#file-{role}", str(file))
    expect(page.locator(f"#name-{role}")).to_contain_text(file.name)


def load_all(page, folder):
    for role, name in (
        ("composite", "composite"),
        ("mask", "object_mask"),
        ("background", "plate"),
    ):
        load(page, role, folder / f"{name}.png")


def harmonized(page):
    from playwright.sync_api import expect

    expect(page.locator("#harmonize")).to_be_enabled(timeout=30000)
    page.click("#harmonize")
    expect(page.locator("#status")).to_contain_text("Done", timeout=120000)


def drawn(page):
    """The canvas as pixels, once every picture that was asked for is shown."""
    page.wait_for_timeout(400)
    page.wait_for_load_state("networkidle")
    data = page.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    content = base64.b64decode(data.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def difference(a, b):
    """The largest between two canvases."""
    return abs(a - b).max()


def saved(page, button, to):
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(to)
    return to


def test_a_picture_is_harmonized_changed_undone_and_saved(page, address, folder, tmp_path):
    opened(page, address)
    shot(page, "begin")
    load(page, "composite", folder / "composite.png")
    load(page, "mask", folder / "object_mask.png")
    harmonized(page)
    first = drawn(page)
    shot(page, "harmonized")
    plain = saved(page, "#save-picture", tmp_path / "plain.png")
    want = jaxharm.harmonize(folder / "composite.png", folder / "object_mask.png")
    np.testing.assert_array_equal(read_image(plain).pixels, want)

    # Not at the top, where the picture covers it on a narrow screen.
    page.evaluate("document.getElementById('graph').scrollIntoView({block: 'end'})")
    knots = page.locator("#graph circle")
    box = knots.nth(knots.count() * 2 // 5).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] - 60, steps=8)
    page.mouse.up()
    changed = drawn(page)
    shot(page, "dragged")
    assert difference(changed, first) > 20, "the picture did not change"
    milliseconds = float(page.get_attribute("#canvas", "data-milliseconds"))
    print(f"rendered anew in {milliseconds} ms")
    edited = saved(page, "#save-picture", tmp_path / "edited.png")
    parameters = saved(page, "[data-file='parameters.json']", tmp_path / "parameters.json")
    strength = float(page.input_value("#strength"))
    files = folder / "composite.png", folder / "object_mask.png"
    want = jaxharm.render(*files, parameters, strength=strength)
    np.testing.assert_array_equal(read_image(edited).pixels, want)
    cube = saved(page, "[data-file='curves.cube']", tmp_path / "curves.cube")
    assert "LUT_1D_SIZE" in cube.read_text()

    page.click("#undo")
    assert difference(drawn(page), first) < 8
    page.click("#redo")
    assert difference(drawn(page), changed) < 8
    page.click("#reset")
    assert difference(drawn(page), first) < 8
    page.locator("#graph").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+z")
    page.select_option("#depth", "16")
    page.select_option("#format", "tif")
    deep = read_image(saved(page, "#save-picture", tmp_path / "deep.tif")).pixels
    assert deep.dtype == np.uint16
    composite = read_image(folder / "composite.png").pixels.astype(np.uint16) * 257
    mask = read_image(folder / "object_mask.png").pixels[..., 0]
    # The network has looked at the picture as it is, in 8 bits.
    seen = jaxharm.Harmonizer().predict(*files)
    np.testing.assert_array_equal(deep, jaxharm.render(composite, mask, seen, strength=strength))


def test_a_cut_out_is_placed_by_hand(page, address, folder, tmp_path):
    opened(page, address)
    load(page, "composite", folder / "cutout.png")
    load(page, "background", folder / "plate.png")
    page.locator("#canvas").focus()
    before = page.input_value("#place-x"), page.input_value("#place-y")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 - 20, steps=5)
    page.mouse.up()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    shot(page, "placed")
    at = tuple(int(page.input_value(f"#place-{axis}")) for axis in "xy")
    assert tuple(map(str, at)) != before
    harmonized(page)
    shot(page, "placed_and_harmonized")
    found = read_image(saved(page, "#save-picture", tmp_path / "out.png")).pixels
    # The slider rounds; the picture was made with the size itself.
    scale = float(page.get_attribute("#place-scale", "data-factor"))
    made = jaxharm.harmonize(
        folder / "cutout.png", background=folder / "plate.png", at=at, scale=scale
    )
    plate = read_image(folder / "plate.png").pixels
    assert found.shape == plate.shape
    assert (found[:, 0] == plate[:, 0]).all()
    np.testing.assert_array_equal(found, made)


def test_the_map_is_painted_on(page, address, folder):
    opened(page, address)
    page.select_option("#model", "mapped")
    load_all(page, folder)
    harmonized(page)
    first = drawn(page)
    page.check("#brush")
    box = page.locator("#canvas").bounding_box()
    middle = box["x"] + box["width"] * 0.62, box["y"] + box["height"] * 0.5
    page.evaluate("document.getElementById('brush-amount').value = '-0.5'")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 30, middle[1] + 10, steps=10)
    page.mouse.up()
    painted = drawn(page)
    shot(page, "painted")
    assert difference(painted, first) > 20
    page.click("#undo")
    assert difference(drawn(page), first) < 8


def test_stages_and_a_second_model(page, address, folder, tmp_path):
    opened(page, address)
    page.select_option("#model", "staged")
    load_all(page, folder)
    harmonized(page)
    last = drawn(page)
    page.locator("#control-stage").evaluate(
        "e => { e.value = 1; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }"
    )
    one = drawn(page)
    assert difference(one, last) > 3
    found = read_image(saved(page, "#save-picture", tmp_path / "stage1.png")).pixels
    run = jaxharm.Harmonizer(checkpoint=folder / "staged")
    files = folder / "composite.png", folder / "object_mask.png"
    want = run(*files, background=folder / "plate.png", stage=1)
    np.testing.assert_array_equal(found, want)
    page.check("#control-auto")
    page.wait_for_timeout(500)
    page.uncheck("#control-auto")
    page.select_option("#compare", "shipped")
    drawn(page)
    assert page.inner_text("#tag-left") == "shipped"
    shot(page, "compared")


def test_what_goes_wrong_is_said_on_the_page(page, address, folder, tmp_path):
    from playwright.sync_api import expect

    opened(page, address)
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#file-composite", str(tmp_path / "text.png"))
    expect(page.locator("#message")).to_contain_text("cannot read image")
    load(page, "composite", folder / "composite.png")
    write_image(tmp_path / "other.png", np.zeros((20, 20, 1), np.uint8) + 255)
    load(page, "mask", tmp_path / "other.png")
    page.click("#harmonize")
    expect(page.locator("#message")).to_contain_text("same size")
    shot(page, "message")
    load(page, "mask", folder / "object_mask.png")
    harmonized(page)
    page.click("#zoom-full")
    page.click("#zoom-in")
    drawn(page)
    shot(page, "zoomed")


def test_raters_vote_and_the_votes_are_read(browser, tmp_path, capsys):
    from playwright.sync_api import expect

    from jaxharm.__main__ import main

    rng = np.random.default_rng(0)
    for method in ("ours", "theirs", "checks/good", "checks/bad"):
        (tmp_path / method).mkdir(parents=True)
        for name in ("a", "b", "c") if "/" not in method else ("clear",):
            pixels = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
            write_image(tmp_path / method / f"{name}.png", pixels)
    with served(["--no-browser", "--port", "0", "--study", tmp_path]) as address:
        context = browser.new_context(viewport={"width": 420, "height": 900})
        page = context.new_page()
        page.size_name = "narrow"
        page.goto(address)
        for number in range(4):
            expect(page.locator("#status")).to_have_text(f"{number} of 4")
            expect(page.locator("body")).to_have_attribute("data-pair", re.compile("."))
            if number == 0:
                shot(page, "raters")
            if number == 2:
                page.reload()  # it goes on where it was
                expect(page.locator("body")).to_have_attribute("data-pair", re.compile("."))
            page.keyboard.press(("ArrowLeft", "ArrowRight", "ArrowDown", "ArrowLeft")[number])
        expect(page.locator("#question")).to_contain_text("Thank you")
        context.close()
    lines = (tmp_path / "votes.csv").read_text().splitlines()
    assert len(lines) == 4
    assert len((tmp_path / "checks.csv").read_text().splitlines()) == 2
    assert main(["votes", str(tmp_path / "votes.csv")]) == 0
    assert "ours" in capsys.readouterr().out
