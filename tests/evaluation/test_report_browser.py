"""The page of a small real run, opened in headless Chromium: what moves, what is refused, what is read on a phone."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tercet
from browsers import NEEDS_BROWSER, launched
from pictures import CLASSES, write_folder
from tercet.config import Config
from tercet.pipeline import report

pytestmark = NEEDS_BROWSER
SMALL = Config(epochs=1, fewest_steps=8, batch_size=24, widths=(8, 16, 16), dimensions=16, precision="fp32")
EVIL = "</script><img src=x onerror=\"document.title='bad'\"><!--"
DESKTOP = {"viewport": {"width": 1200, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
PADDING = 16  # as in report.js


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("pictures"), 24)
    (root / "plain").rename(root / "<img src=x onerror=alert(1)>")
    return root


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    tercet.run(folder, out=out, config=SMALL)
    return out


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """A function that opens a run's page; the test fails on any complaint, dialog or request that leaves the page."""
    complaints, contexts = [], []

    def visit(run, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))  # a breach of the policy is told here too
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        address = (run / "report.html").as_uri()
        page.on(
            "request",
            lambda call: call.url != address and not call.url.startswith("data:") and complaints.append(call.url),
        )
        page.goto(address)
        page.locator("img").last.scroll_into_view_if_needed()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def predictions(run: Path):
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def places(run, page):
    """Where the points lie in the window, worked out from the run's own files."""
    page.locator("#map").scroll_into_view_if_needed()
    points = np.load(run / "tsne.npz")["points"]
    box = page.locator("#map").bounding_box()
    middle, span = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0)
    scale = min((box["width"] - 2 * PADDING) / span[0], (box["height"] - 2 * PADDING) / span[1])
    centre = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    return centre + (points - middle) * [scale, -scale]


def lonely(points):
    """The points at least 6 pixels from any other."""
    gaps = np.linalg.norm(points[:, None] - points, axis=2) + 1e6 * np.eye(len(points))
    return [index for index in range(len(points)) if gaps[index].min() > 6]


def drawn(page):
    """The map as it is after the next frame."""
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    return page.evaluate(f"async () => {{ await {frame}; return document.getElementById('map').toDataURL() }}")


def test_pointing_at_a_dot_shows_its_image_name_and_classes(finished, folder, visit):
    page = visit(finished, **DESKTOP)
    assert page.locator("#explorer").is_visible()
    assert not page.locator("#still").is_visible()
    points, rows = places(finished, page), predictions(finished)
    chosen = lonely(points)
    assert len(chosen) > 5
    for index in chosen:
        page.mouse.move(*points[index])
        row = rows[index]
        assert page.inner_text("#card-name") == row["path"]
        assert page.inner_text("#card-true") == row["label"]
        share = round(1000 * float(row["probability"]))
        assert page.inner_text("#card-probability") == ("> 99.9 %" if share == 1000 else f"{share / 10:.1f} %")
        mark = "✓" if row["label"] == row["predicted"] else "✗"
        assert page.inner_text("#card-predicted") == f"{mark} {row['predicted']}"
        picture = Image.open(io.BytesIO(page.locator("#card-picture").screenshot())).convert("RGB")
        pixels = np.asarray(picture)[8:-8, 8:-8].reshape(-1, 3)  # without the round corners
        original = np.asarray(Image.open(folder / row["path"])).reshape(-1, 3)
        assert np.abs(pixels.mean(0) - original.mean(0)).max() < 8
    page.mouse.move(5, 5)
    assert not page.locator("#card").is_visible()


def test_the_map_is_drawn_where_no_frame_follows(finished, visit):
    """As in a screenshot that is taken without a window."""
    page = visit(finished, **DESKTOP)
    page.evaluate("window.requestAnimationFrame = () => 0")
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function("document.getElementById('map').width < 400", polling=50)
    whole = "map.getContext('2d').getImageData(0, 0, map.width, map.height)"
    assert page.evaluate(f"() => {{ const map = document.getElementById('map'); return {whole}.data.some(Boolean) }}")


def test_the_legend_hides_and_shows_a_class(finished, visit):
    page = visit(finished, **DESKTOP)
    points, rows = places(finished, page), predictions(finished)
    index = next(index for index in lonely(points) if rows[index]["label"] == "checks")
    button = page.get_by_role("button", name="checks")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    page.fill("#search", "checks/")
    assert page.inner_text("#found") == "0 found"
    page.fill("#search", "")
    page.mouse.move(*places(finished, page)[index])
    assert not page.locator("#card").is_visible() or page.inner_text("#card-true") != "checks"
    page.click("#none")
    assert page.locator("#legend [aria-pressed=true]").count() == 0
    page.click("#all")
    assert page.locator("#legend [aria-pressed=true]").count() == len(CLASSES)
    page.mouse.move(*places(finished, page)[index])
    assert page.inner_text("#card-name") == rows[index]["path"]


def test_search_finds_files_and_enter_goes_from_one_to_the_next(finished, visit):
    page = visit(finished, **DESKTOP)
    rows = predictions(finished)
    matching = [row["path"] for row in rows if "stripes/" in row["path"]]
    page.fill("#search", "STRIPES/")
    assert page.inner_text("#found") == f"{len(matching)} found"
    seen = []
    for _ in matching:
        page.press("#search", "Enter")
        seen.append(page.inner_text("#card-name"))
    assert seen == matching


def test_keys_go_from_image_to_image_and_buttons_mark_and_zoom(finished, visit):
    page = visit(finished, **DESKTOP)
    page.focus("#map")
    page.keyboard.press("ArrowRight")  # the first key takes the image in the middle
    position = {row["path"]: point for row, point in zip(predictions(finished), places(finished, page), strict=True)}
    for keys, axis in ((("ArrowLeft", "ArrowRight"), 0), (("ArrowUp", "ArrowDown"), 1)):
        for key, sign in zip(keys, (-1, 1), strict=True):
            seen = [page.inner_text("#card-name")]
            for _ in range(4):
                page.keyboard.press(key)
                seen.append(page.inner_text("#card-name"))
            steps = np.diff([position[name][axis] for name in seen]) * sign
            assert (steps >= 0).all()
        assert (steps > 0).any()  # the way there may have been at its end, the way back is not
    page.keyboard.press("Escape")
    assert not page.locator("#card").is_visible()
    before = drawn(page)
    page.click("#nearer")
    assert drawn(page) != before
    page.click("#whole")
    page.mouse.move(5, 5)
    assert drawn(page) == before
    page.click("#mistakes")
    assert page.get_attribute("#mistakes", "aria-pressed") == "true"
    assert drawn(page) != before


def test_a_tap_shows_the_image_on_a_phone(finished, visit):
    page = visit(finished, **PHONE)
    points = places(finished, page)
    index = lonely(points)[0]
    page.touchscreen.tap(*points[index])
    assert page.inner_text("#card-name") == predictions(finished)[index]["path"]


@pytest.mark.parametrize(
    "look", [DESKTOP, PHONE, {**PHONE, "color_scheme": "dark"}, {"viewport": {"width": 320, "height": 600}}]
)
def test_nothing_is_wider_than_the_window_and_the_dark_is_dark(finished, visit, look):
    page = visit(finished, **look)
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == ("rgb(22, 23, 24)" if "color_scheme" in look else "rgb(255, 255, 255)")


def test_hostile_names_do_nothing(finished, visit, tmp_path):
    run = shutil.copytree(finished, tmp_path / "hostile")
    rows = predictions(run)
    with (run / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "path": EVIL} for row in rows)
    with np.load(run / "examples.npz") as saved:
        arrays = dict(saved)
    np.savez(run / "examples.npz", **{**arrays, "neighbor_paths": np.full_like(arrays["neighbors"], EVIL, dtype="U99")})
    report(run)
    page = visit(run, **DESKTOP)
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#card-name") == EVIL
    assert page.title() == "tercet report: " + page.title().removeprefix("tercet report: ") != "bad"
    assert page.locator("img[onerror]").count() == page.locator("img[src=x]").count() == 0


def test_the_policy_refuses_a_script_that_is_not_ours(finished, browser, tmp_path):
    run = shutil.copytree(finished, tmp_path / "tampered")
    text = (run / "report.html").read_text().replace("</main>", "<script>document.title = 'bad'</script></main>")
    (run / "report.html").write_text(text)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((run / "report.html").as_uri())
        assert page.title() != "bad"


def test_without_scripts_the_still_picture_stands_in(finished, visit):
    page = visit(finished, java_script_enabled=False, **DESKTOP)
    assert page.locator("#still img").is_visible()
    assert not page.locator("#explorer").is_visible()
