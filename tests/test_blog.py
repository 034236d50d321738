"""The posts as a reader gets them: built from small invented results, with warnings as errors, and looked at in Chromium."""

import html.parser
import http.server
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trimesh
from PIL import Image

from heads import idr, plots, runs

ROOT = Path(__file__).parents[1]
SUBJECTS = ("ada", "ben", "cleo")
ERRORS = {"idr": (5.0, 7.0, 6.0), "baseh3d": (2.25, 3.25, 2.75)}  # mm on the face, rigid; the others are multiples

# What a page must show, asked in the browser once a head is drawn, and sent to the test.
PROBE = """
<script>
addEventListener("error", (event) => (window.failure = event.message), true);
addEventListener("load", async () => {
  const viewer = document.querySelector(".head-viewer");
  viewer?.scrollIntoView({ behavior: "instant" });
  const late = performance.now() + 30000;
  while (viewer && !viewer.querySelector("canvas") && performance.now() < late) await new Promise(requestAnimationFrame);
  viewer?.querySelectorAll("button")[1].click();
  const scrolls = ".table-wrapper, div.math, pre, .head-canvas, mjx-container, svg";
  const wide = [...document.querySelectorAll("article *")].filter(
    (one) => !one.closest(scrolls) && one.getBoundingClientRect().right > innerWidth + 1);
  const found = {
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    wide: wide.map((one) => one.outerHTML.slice(0, 80)),
    broken: [...document.images].filter((one) => one.complete && !one.naturalWidth).map((one) => one.src),
    formulas: document.querySelectorAll("mjx-container").length,
    canvases: document.querySelectorAll(".head-canvas canvas").length,
    pressed: [...(viewer?.querySelectorAll("button") ?? [])].map((one) => one.getAttribute("aria-pressed")),
    failure: window.failure ?? null,
  };
  navigator.sendBeacon("http://127.0.0.1:PORT/", JSON.stringify(found));
});
</script>
"""
# Chromium makes no window narrower than 500 pixels, a frame can be: so a phone is a frame in a page.
FRAME = '<!doctype html><iframe src="{page}" style="border: 0; width: {width}px; height: 900px"></iframe>'


def write_results(root: Path, errors: dict[str, tuple[float, ...]], failed: tuple[tuple[str, str], ...] = ()) -> None:
    """The tables of a small invented study; `failed` are pairs of subject and method."""
    rows = []
    for i, subject in enumerate(SUBJECTS):
        for method, prior in (("idr", "sphere"), ("baseh3d", "single")):
            well = (subject, method) not in failed
            face = errors[method][i] if well else np.nan
            scores = dict(zip(runs.METRICS, (1.1 * face, 2.2 * face, face, 2 * face), strict=True))
            row = {"subject": subject, "method": method, "prior": prior, "views": 3, "seed": 0}
            row |= {"status": "ok" if well else "failed", "reason": "" if well else "mask | of view 2 is <empty>"} | scores
            rows.append(row | {"seconds": 31.0, "peak_mb": 640.0, "device": "cpu", "commit": "0123abcd", "preset": "SMOKE"})
    folder = root / "results"
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "quick.csv", index=False)
    stages = pd.DataFrame({"stage": ["01_data", "03_reconstruct"], "runs": [4, 6], "seconds": [12.0, 187.0]})
    stages.to_csv(folder / "quick_stages.csv", index=False)
    (folder / "quick.json").write_text(json.dumps({"data": {"kind": "invented"}, "fit": asdict(replace(idr.SMOKE, cell_mm=3.0))}))


def write_figures(folder: Path) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=100)
    grey = np.full((30, 90, 3), 120, np.uint8)
    names = [f"photographs_{subject}.png" for subject in SUBJECTS] + [f"comparison_{subject}.png" for subject in SUBJECTS]
    folder.mkdir(parents=True)
    for name in [*names, "contact_sheet.png", "losses.png"]:
        plots.save(grey, folder / name)
    for subject in SUBJECTS:
        for name in ("truth", "idr", "baseh3d"):
            plots.save(plots.interactive(sphere, title=name), folder / f"head_{subject}_{name}.json")


def build(root: Path) -> Path:
    """Build the posts of a repository with warnings as errors and no way out to the network."""
    closed = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    path = os.pathsep.join([str(ROOT / "lib"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-b", "html", "blog", "blog/_build/html"]
    environment = os.environ | closed | {"PYTHONPATH": path}
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return root / "blog" / "_build" / "html"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "blog", root / "blog", ignore=shutil.ignore_patterns("_build", "_generated"))
    write_figures(root / "figures" / "quick")
    write_results(root, ERRORS)
    return root


@pytest.fixture(scope="module")
def pages(repository: Path) -> Path:
    return build(repository)


def words(page: Path) -> str:
    """The visible text of a page's article, in one line."""
    body = page.read_text(encoding="utf-8")
    body = body[body.index("<article") : body.index("</article>")]
    body = re.sub(r"<script.*?</script>", " ", body, flags=re.DOTALL)
    found = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())
    assert "IPython" not in found and "head-viewer" not in found
    return found


class Resources(html.parser.HTMLParser):
    """Everything that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("next", "prev", "search", "index", "author", "canonical"):
            return
        names = {"script": ("src",), "link": ("href",), "iframe": ("src",), "object": ("data",)}
        self.found += [value for name in names.get(tag, ("src", "srcset", "poster")) if (value := given.get(name))]


def test_a_page_loads_nothing_from_the_network_and_all_that_it_loads_is_there(pages: Path) -> None:
    for page in pages.glob("*.html"):
        reader = Resources()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        for resource in reader.found:
            assert not re.match(r"(https?:)?//", resource), f"{page.name} loads {resource}"
            if not resource.startswith("data:"):
                assert (pages / re.split("[?#]", resource)[0]).is_file(), f"{page.name} loads {resource}, which is not there"
    for sheet in pages.rglob("*.css"):
        assert not re.search(r"(url\(\s*['\"]?|@import\s+['\"])(https?:)?//", sheet.read_text(encoding="utf-8")), sheet
    assert (pages / "_static" / "plotly.min.js").stat().st_size > 1e6


def test_the_post_says_what_the_results_say(pages: Path) -> None:
    said = words(pages / "baseh3d.html")
    assert "IDR rigid 6.00 ± 0.82 12.00 ± 1.63 measured here, 3 built-in heads" in said
    assert "BaseH3D-Net rigid 2.75 ± 0.41 5.50 ± 0.82 measured here, 3 built-in heads" in said
    assert "BaseH3D-Net is 2.75 mm from the scan on average, IDR 6.00 mm (rigid protocol): lower by 54%" in said
    assert "every one of the three heads" in said
    assert "The claim holds here:" in said and "The claim holds here:" in words(pages / "index.html")
    assert "with cells of 3 mm, as here, 1.11 mm" in said
    assert "All six reconstructions succeeded." in said
    assert "0123abcd" in said and "data kind invented" in said and "03_reconstruct 6 187" in said
    for part in ("1.33 10.52", "2.79 14.58", "3.52 17.04", "1.49 12.76", "1.48 ± 0.30 10.65 ± 3.42"):
        assert part in said
    assert (pages / "baseh3d.html").read_text().count('class="head-viewer"') == len(SUBJECTS)


def test_other_results_make_another_post(repository: Path, pages: Path, tmp_path: Path) -> None:
    other = tmp_path / "repository"
    shutil.copytree(repository, other, ignore=shutil.ignore_patterns("_build"))
    failed = (("ben", "idr"), ("cleo", "idr"), ("cleo", "baseh3d"))
    write_results(other, {"idr": ERRORS["baseh3d"], "baseh3d": ERRORS["idr"]}, failed)
    for gone in ("head_ben_idr.json", "head_cleo_truth.json", "comparison_cleo.png", "photographs_cleo.png"):
        (other / "figures" / "quick" / gone).unlink()
    said = words(build(other) / "baseh3d.html")
    assert "BaseH3D-Net rigid 6.00 ± 1.00 12.00 ± 2.00 measured here, 2 built-in heads" in said
    assert "IDR rigid 2.25 4.50 measured here, 1 built-in head" in said
    assert "BaseH3D-Net is 5.00 mm from the scan on average, IDR 2.25 mm (rigid protocol)" in said
    assert "higher by 122%; that is ada alone" in said
    assert "The claim does not hold here:" in said
    assert "three did not succeed and are in no mean: ben , IDR (failed): mask | of view 2 is <empty>" in said
    assert "The photographs of cleo are not shown" in said


def test_no_result_is_typed_into_the_text() -> None:
    for page in (ROOT / "blog").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
        text = re.sub(r"```\{code-cell\}.*?```|\$\$.*?\$\$|\$[^$]*\$|^:\w+:.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
        units = "mm|millimet|%|percent|seconds|minutes|heads|views|photographs|epochs|steps"
        typed = re.findall(rf"\d+[.,]\d+|\d+\s*(?:{units})", text)
        assert not typed, f"{page.name}: {typed} is typed by hand; take it from the results or from published.csv"


def chromium(profile: Path, *arguments: str) -> list[str]:
    """A command of headless Chromium; without it this file cannot do what it is for, so that is a failure."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.fail(f"the posts have to be looked at: none of {', '.join(names)} is installed (.ci/run installs chromium)")
    common = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]
    common += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", f"--user-data-dir={profile}"]
    common += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    return [program, *common, *arguments]


def ask(pages: Path, page: str, width: int, profile: Path) -> dict[str, Any]:
    """What PROBE finds on a page in a frame of this width."""
    answers: queue.Queue[bytes] = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    probed, around = pages / "probed.html", pages / "around.html"
    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        probe = PROBE.replace("PORT", str(server.server_port))
        probed.write_text((pages / page).read_text(encoding="utf-8").replace("<head>", f"<head>{probe}", 1), encoding="utf-8")
        around.write_text(FRAME.format(page=probed.name, width=width), encoding="utf-8")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = chromium(profile, "--window-size=1500,1000", around.as_uri())
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            return dict(json.loads(answers.get(timeout=90)))
        except queue.Empty:
            pytest.fail(f"Chromium did not answer about {page} in 90 s")
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            server.shutdown()
            probed.unlink()
            around.unlink()


@pytest.mark.parametrize(("page", "width"), [("baseh3d.html", 390), ("baseh3d.html", 1400), ("index.html", 390)])
def test_a_page_fits_its_window_and_draws_its_formulas_and_heads(pages: Path, tmp_path: Path, page: str, width: int) -> None:
    found = ask(pages, page, width, tmp_path)
    assert found["width"] == width
    assert found["scroll"] <= width and not found["wide"]
    assert not found["broken"] and found["failure"] is None
    if page == "baseh3d.html":
        assert found["formulas"] > 5 and found["canvases"] > 0
        assert found["pressed"] == ["false", "true", "false"]


@pytest.mark.parametrize("width", [390, 1400])
def test_a_page_is_not_blank(pages: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    how = (f"--window-size={width},3000", "--virtual-time-budget=20000", f"--screenshot={picture}")
    subprocess.run(chromium(tmp_path, *how, (pages / "baseh3d.html").as_uri()), capture_output=True, timeout=120, check=True)
    grey = np.asarray(Image.open(picture).convert("L"))
    assert grey.shape == (3000, width)
    inked = (grey < 128).mean(axis=1)
    assert 0.005 < inked.mean() < 0.5  # text on a light ground
    assert all((band > 0).any() for band in np.array_split(inked, 10))  # from top to bottom
