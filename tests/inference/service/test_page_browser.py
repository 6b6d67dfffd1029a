"""The service's page in headless Chromium, over a real service: drop, choose, paste, keys, widths, light and dark."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from browsers import NEEDS_BROWSER, launched

pytestmark = NEEDS_BROWSER
DESKTOP = {"viewport": {"width": 1100, "height": 900}}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
EVIL = "<img src=x onerror=\"document.title='bad'\">.png"
# What a browser does when a file is dropped or pasted.
BRING = """([kind, name, type, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  if (name) transfer.items.add(new File([bytes], name, { type }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  return document.getElementById("drop").dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """A function that opens the page of a service; the test fails on any complaint or request that leaves it."""
    complaints, contexts, expected = [], [], []

    def visit(address=address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.expected = expected
        page.on("console", lambda message: complaints.append(message.text))  # a breach of the policy is told here too
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda call: call.url.startswith((address, "blob:")) or complaints.append(call.url))
        page.goto(address)
        page.wait_for_selector("#about:has-text('classes')")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in complaints if not any(part in text for part in expected)] == []


def bring(page, kind, content, name="new.png", kind_of_file="image/png"):
    return page.evaluate(BRING, [kind, name, kind_of_file, base64.b64encode(content).decode()])


def choose(page, content, name="new.png"):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})
    page.wait_for_selector("#answer:not([aria-busy])", state="attached")


def wait_for_answer(page):
    page.wait_for_selector("#answer:not([hidden]):not([aria-busy])")


def test_an_image_that_is_dropped_is_told_with_bars_neighbors_and_place(model, image, visit):
    page = visit(**DESKTOP)
    assert not page.locator("#answer").is_visible()
    assert page.title() == "tercet: patterns"
    bring(page, "dragover", b"")
    assert "over" in page.get_attribute("#drop", "class")
    assert bring(page, "drop", image) is False  # else the browser would open the file
    wait_for_answer(page)
    assert not page.get_attribute("#drop", "class")
    shares = np.sort(model.bundle.predict_proba([Image.open(io.BytesIO(image))])[0])[::-1]
    widths = page.eval_on_selector_all(".bar span", "bars => bars.map(bar => parseFloat(bar.style.width))")
    assert widths == pytest.approx(100 * shares, abs=0.01)
    assert page.inner_text(".share >> nth=0") == f"{100 * shares[0]:.1f} %"
    best = page.inner_text("#predicted")
    assert page.inner_text("#classes b >> nth=0") == best
    assert page.inner_text("#status") == f"Most likely {best}: {100 * shares[0]:.1f} %"
    assert page.get_attribute("#status", "role") == "status"
    assert page.locator("#neighbors li").count() == 8
    assert page.inner_text("#neighbors li >> nth=0").split("\n") == ["checks", "Bild ä 7.png", "0.000 away"]
    assert page.get_attribute("#neighbors li >> nth=0", "title") == "checks/Bild ä 7.png"
    assert page.inner_text("#searched") == "Nearest first by squared distance, of all 30 training images."
    assert page.inner_text("#place").startswith("The ring: the mean of the points of the 4 nearest test images")
    assert page.locator("#map").bounding_box()["height"] > 200
    assert page.inner_text("#missing") == ""


def test_the_tiles_are_those_of_the_neighbors(trained_on, image, visit):
    page = visit(**DESKTOP)
    choose(page, image)
    draw = "canvases => canvases.map(canvas => canvas.toDataURL())"
    names = page.eval_on_selector_all("#neighbors li", "rows => rows.map(row => row.title)")
    for name, address in zip(names, page.eval_on_selector_all("#neighbors canvas", draw), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))
        original = trained_on.images[trained_on.paths.index(name)].permute(1, 2, 0).numpy()
        assert np.abs(shown.mean((0, 1)) - original.mean((0, 1))).max() < 8


def test_an_image_that_is_pasted_is_told_and_text_is_not(image, visit):
    page = visit(**DESKTOP)
    bring(page, "paste", b"", name="")
    assert page.inner_text("#status") == "What was pasted is no image."
    bring(page, "paste", image)
    wait_for_answer(page)
    assert page.locator("#predicted").is_visible()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_by_keys_alone_a_file_is_chosen(image, visit, tmp_path, key):
    page, file = visit(**DESKTOP), tmp_path / "mein Bild ü.png"
    file.write_bytes(image)
    # Asked for only as the key is pressed, the chooser may open before the browser is told to hand it over.
    page.on("filechooser", lambda chooser: chooser.set_files(file))
    page.wait_for_timeout(500)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
    label = page.get_by_label("Choose an image")
    assert label.evaluate("input => input.id") == "file"
    page.keyboard.press(key)
    wait_for_answer(page)
    assert page.inner_text("#name") == "mein Bild ü.png"
    assert page.evaluate("document.activeElement.id") == "file"  # the focus stays, the live region tells
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_what_cannot_be_read_is_said_and_takes_the_old_answer_away(image, visit):
    page = visit(**DESKTOP)
    page.expected += ["415 (Unsupported Media Type)", "400 (Bad Request)"]
    choose(page, image)
    choose(page, b"Dear all")
    assert page.inner_text("#status").startswith("Found no image; expected a JPEG")
    assert page.get_attribute("#status", "class") == "fault"
    assert not page.locator("#answer").is_visible()
    choose(page, image[:700])
    assert "cannot be read" in page.inner_text("#status")
    bring(page, "drop", b"Dear all", "letter.txt", "text/plain")
    assert page.inner_text("#status") == "This is no image; choose an image file."
    choose(page, image)
    assert page.locator("#answer").is_visible()


def test_a_large_photograph_is_made_smaller_first(visit, as_image_file):
    page = visit(**DESKTOP)
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    content = as_image_file(Image.fromarray(noise))
    assert len(content) > 5_000_000
    choose(page, content)
    wait_for_answer(page)
    assert page.inner_text("#name") == "new.png. Made smaller before it was sent."


def test_hostile_names_do_nothing(run, image, visit, start, tmp_path):
    hostile = shutil.copytree(run, tmp_path / "hostile")
    text = (hostile / "train_images.csv").read_text().replace("Bild ä", EVIL.replace('"', "'"))
    (hostile / "train_images.csv").write_text(text)
    page = visit(start("--model", str(hostile), "--port", "0")[1], **DESKTOP)
    choose(page, image, name=EVIL)
    assert page.inner_text("#name") == EVIL
    assert page.title() == "tercet: patterns"
    assert page.locator("img[onerror]").count() == 0


def test_a_bare_bundle_tells_classes_and_what_is_missing(run, image, visit, start, tmp_path):
    bare = shutil.copytree(run / "model", tmp_path / "bare bundle")
    page = visit(start("--model", str(bare), "--port", "0")[1], **DESKTOP)
    assert "outside of a run folder" in page.inner_text("#missing")
    choose(page, image)
    assert page.locator("#predicted").is_visible()
    assert not page.locator("#gallery").is_visible()
    assert not page.locator("#mapped").is_visible()


@pytest.mark.parametrize("look", [DESKTOP, PHONE, {**PHONE, "color_scheme": "dark"}])
def test_nothing_is_wider_than_the_window_and_the_writing_stands_out(image, visit, look):
    page = visit(**look)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
        choose(page, image, name="a_very_long_name_without_a_single_space_in_it_" * 3 + ".png")
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == ("rgb(22, 23, 24)" if "color_scheme" in look else "rgb(255, 255, 255)")
    for place in ("body", ".soft", ".button", "#drop small", "#neighbors span"):
        assert contrast(page, place) >= 4.5, place  # WCAG 2.2, level AA


def contrast(page, place: str) -> float:
    """Of the writing to what is behind it, as WCAG 2.2 defines it."""
    colors = page.eval_on_selector(
        place,
        """element => {
          const ink = getComputedStyle(element).color;
          let behind = element;
          while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
          return [ink, getComputedStyle(behind).backgroundColor];
        }""",
    )
    light, dark = sorted((luminance(color) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    levels = np.array([float(part) for part in color[4:-1].split(",")]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
