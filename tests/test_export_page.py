"""The exported page: one file that is what its source builds to, and draws what Python draws."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.avatar import Avatar, LinearField, PointAdapter, linear_field
from perse.avatar.adapters import AdapterShape
from perse.avatar.start import WEIGHTS
from perse.cli import main
from perse.dataset import ABSENTABLE, CATEGORIES, default_motion
from perse.errors import PerseError
from perse.export import PageOptions, write_page
from perse.export._bases import drivers, fewer_columns
from perse.export._container import MAGIC, Container
from perse.export._page_between import reduced
from perse.export._page_data import STEPS
from perse.export._page_looks import choices_of, reached, short_label
from perse.export._page_points import shown, worthiest
from perse.export._page_worth import SIDE as WORTH_SIDE
from perse.export._page_worth import _acted, worth
from perse.head import arkit_to_motion, open_head
from perse.splat import rasterize
from perse.training.interpolation import with_between
from synthetic import shared_dataset, small_avatar, small_model

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parent.parent
BUILT = ROOT / "src" / "perse" / "export" / "page.html"
SIZE = 64


def unpacked(page: str) -> tuple[dict[str, Any], bytes]:
    """Header and body of the avatar in a page, read without the page's own code."""
    parts = re.findall(r'<script type="application/octet-stream" class="part">([^<]*)</script>', page)
    content = gzip.decompress(b"".join(base64.b64decode(part) for part in parts))
    assert content.startswith(MAGIC)
    (length,) = struct.unpack_from("<I", content, len(MAGIC))
    start = len(MAGIC) + 4
    return json.loads(content[start : start + length]), content[start + length :]


@functools.cache
def rich_avatar() -> Avatar:
    """The small avatar with something to say between its looks, and hair from another photo. Do not change it."""
    small = small_avatar()
    model = with_between(small.model, 12, 0).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, module in model.field.between.items():
        module.directions.zero_()
        if name not in ("hair", "hat", "beard"):
            continue
        module.directions.normal_(std=0.5, generator=generator)
        module.absence.normal_(std=0.5, generator=generator)
        for tensor in (module.directions, module.absence):
            tensor[..., WEIGHTS] *= 0.1  # skinning weights stay such that their sum is one
        module.fade.fill_(-1.5)
    for module in model.field.yields.values():
        module.shift[0].sub_(4.0)  # hair under hats cannot be missed
    avatar = Avatar(model, small.subjects, small.camera, small.betas, small.rest, encoder=small.encoder)
    avatar.add(friends_hair(avatar, generator))
    return avatar


def friends_hair(avatar: Avatar, generator: torch.Generator) -> PointAdapter:
    """Hair that moves what is there, thins clothes, and brings points of its own."""
    field, z = avatar.model.field, avatar.look(hair="long curly red").codes.z
    hair, slot = field.layers["hair"], CATEGORIES.index("hair")
    n, clothes = len(hair.points), len(field.layers["clothes"].points)
    sizes = {"layer": n, "base": 300, "own": n // 2, "press": {"clothes": clothes}}
    shape = AdapterShape("a friend's curls", "hair", "points", dim=z.shape[1], **sizes)
    adapter = PointAdapter(shape, avatar.model.config.field).requires_grad_(False)
    adapter.z.copy_(z[slot])
    adapter.layer_shift.normal_(std=0.3, generator=generator)
    adapter.base_index.copy_(torch.randperm(len(field.base.points), generator=generator)[:300])
    adapter.base_shift.normal_(std=0.3, generator=generator)
    adapter.press["clothes"].normal_(-2.0, generator=generator)
    adapter.seat.copy_(torch.arange(n // 2) * 2)
    for name, values in adapter.own.named_parameters():
        values.copy_(getattr(hair, name)[::2][: n // 2])
    adapter.own.points.mul_(1.1)
    adapter.own.color.copy_(torch.tensor([-2.0, 2.0, -2.0]).expand(n // 2, 3))
    adapter.own.opacity.fill_(2.0)
    return adapter


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "small.html"
    options = PageOptions(title="Anna <b> & Co", wearing={"hat": None})
    return write_page(rich_avatar(), path, default_motion(), options)


# --- the packed numbers


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=40),
    st.floats(1e-3, 0.5),
)
def test_numbers_are_no_further_off_than_their_step(values, step):
    """Fails when a page rounds more than it says, or mixes up bytes of negative numbers."""
    table = np.array([values, values[::-1]]).T
    box = Container()
    box.add("table", table, step)
    content = gzip.decompress(box.pack({}))
    (length,) = struct.unpack_from("<I", content, len(MAGIC))
    start = len(MAGIC) + 4
    entry = json.loads(content[start : start + length])["arrays"]["table"]
    body = content[start + length :][entry["offset"] :]
    count = table.size
    planes = np.frombuffer(body, np.uint8, 2 * count).reshape(2, count).astype(int)
    words = planes[0] | planes[1] << 8
    numbers = np.where(words % 2, -(words + 1) // 2, words // 2)
    found = numbers.reshape(2, len(values)) * np.array(entry["steps"])[:, None]
    assert np.abs(found.T - table).max() <= max(step, 50 / 32767) * 0.51


@functools.cache
def linear() -> tuple[LinearField, dict[str, list]]:
    """The rich avatar's arrays, and what a page can show of every category."""
    field = linear_field(rich_avatar())
    plain = rich_avatar().reference
    return field, {c: reached(choices_of(rich_avatar(), field, c, plain), field, c) for c in CATEGORIES}


def test_broken_numbers_do_not_reach_a_page():
    """Fails when NaN of a broken avatar is exported, where a browser shows it as holes."""
    with pytest.raises(PerseError, match="not finite"):
        Container().add("x", np.array([1.0, np.nan]), 0.1)


def test_fewer_columns_move_points_as_all_do():
    """Fails when the page's expressions are not the avatar's."""
    head = open_head()
    binding = linear_field(small_avatar()).layers[0].binding
    bases = torch.cat([binding.E, binding.P], -1)
    samples = drivers(head, default_motion(), small_avatar().rest)
    columns, mix = fewer_columns(bases, samples, 3e-5)
    assert columns.shape[2] < 60
    assert columns.shape[2] == mix.shape[0]
    for sample in samples[::60]:
        error = bases @ sample - columns @ (mix @ sample)
        assert float(error.square().sum(-1).mean().sqrt()) < 1e-4
    assert float((samples @ mix.T).abs().max()) <= 1.001, "a column is asked for beyond its length"


def test_blends_are_the_same_in_fewer_directions():
    """Fails when the directions that a page leaves out could be seen, or when it leaves out none."""
    field, looks = linear()
    steps = torch.from_numpy(STEPS).float()
    fewer, axes = reduced(field, looks, steps)
    assert set(axes) == {"hair", "hat", "beard"}, (
        "what says nothing costs bytes, or what says something is lost"
    )
    for before, after in zip(field.layers, fewer.layers):
        if after.between is None:
            continue
        assert before.between is not None
        assert len(after.between.directions) < len(before.between.directions)
        for look in (look for look in looks[before.name] if look.presence > 0):
            told = replace(look, code=axes[before.name] @ look.code)
            gap = (before.values(look) - after.values(told)) / steps
            assert float(gap.square().mean().sqrt()) < 0.35
            assert float(after.between.coefficients(told).abs().max()) < 1.001


def test_points_that_show_only_between_looks_are_kept():
    """Fails when a page drops points that no learned look shows, though a blend does."""
    field, looks = linear()
    layers = {layer.name: layer for layer in field.layers}
    between = layers["hat"].between
    assert between is not None
    own, directions = layers["hat"].own.clone(), between.directions.clone()
    layers["hat"] = replace(layers["hat"], directions=torch.zeros_like(layers["hat"].directions))
    own[:20, 0] = -9.0
    directions[:, :20, 0] = 0.0
    half = next(look for look in looks["hat"] if look.presence > 0 and look.code.square().sum() < 0.9)
    directions[0, :10, 0] = 12.0 / between.coefficients(half)[0]
    layers["hat"] = replace(layers["hat"], own=own, between=replace(between, directions=directions))
    kept = shown(replace(field, layers=tuple(layers.values())), looks)
    places = next(layer.points for layer in kept.layers if layer.name == "hat")
    there = (layers["hat"].points[:20, None] == places).all(-1).any(1).tolist()
    assert there == [True] * 10 + [False] * 10


def test_worth_is_what_pictures_lose_without_a_point():
    """Fails when the points that a small page keeps are not those whose loss one would see most."""
    avatar = small_avatar()
    look, camera = avatar.reference, avatar.camera.resized(WORTH_SIDE, WORTH_SIDE)
    found = worth(avatar, [look], probes=48)
    canonical = avatar.canonical(look)
    values = torch.cat([found[name] for name in canonical.layers])
    turned = list(_acted(avatar))

    def lost(point: int) -> float:
        """Squared change of all pictures without one point."""
        total = 0.0
        for expr, pose in turned:
            gaussians = avatar.model.pose(canonical, expr, pose)
            opacities = gaussians.opacities.clone()
            opacities[..., point] = 0
            without = replace(gaussians, opacities=opacities)
            pictures = [rasterize(g, camera, torch.ones(3))[0] for g in (gaussians, without)]
            total += float((pictures[0] - pictures[1]).square().sum())
        return total

    ranked = values.argsort(descending=True)
    for point in ranked[[0, 5, 40, len(ranked) // 2]].tolist():
        assert float(values[point]) == pytest.approx(lost(point), rel=0.5, abs=1e-6)
    assert lost(int(ranked[-1])) < 1e-3 * lost(int(ranked[0]))


def test_fewer_points_are_the_worthiest():
    """Fails when a limit is not kept, or drops what counts, or loses a seat of a look from another photo."""
    field, _ = linear()
    generator = torch.Generator().manual_seed(0)
    values = {layer.name: torch.rand(len(layer.points), generator=generator) for layer in field.layers}
    fewer = worthiest(field, 300, lambda: values)
    assert sum(len(layer.points) for layer in fewer.layers) == 300
    seats = {t.category: len(t.seat.unique()) for t in field.transfers if len(t.layer)}
    every = torch.cat(tuple(values.values())).sort(descending=True).values
    for before, after in zip(field.layers, fewer.layers):
        surely = int((values[before.name] > every[300 - sum(seats.values())]).sum())
        assert surely <= len(after.points) <= surely + sum(seats.values())
    with pytest.raises(PerseError, match="at least 100"):
        worthiest(field, 99, lambda: values)


# --- the file


def test_the_page_needs_nothing_and_escapes_what_it_is_given(page):
    """Fails when a page reaches for the network, or a name can become code."""
    text = page.read_text(encoding="utf-8")
    assert "Anna &lt;b&gt; &amp; Co" in text
    assert "Anna <b>" not in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|fetch\(|XMLHttp|WebSocket""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    header, _ = unpacked(text)
    categories = header["looks"]["categories"]
    assert set(categories) == set(CATEGORIES)
    assert [o["label"] for o in categories["hat"]["options"]] == [
        "none",
        "blue knitted beanie",
        "black fedora",
    ]
    assert header["wears"] == {"hat": 0}
    assert len(header["face"]["names"]) == 50


def test_options_make_pages_smaller(tmp_path, page):
    """Fails when --quality, --points or --no-pose-detail do nothing."""
    avatar, motion = rich_avatar(), default_motion()
    coarse = PageOptions(quality="small", points=300, thumbnails=False)
    small = write_page(avatar, tmp_path / "s.html", motion, coarse)
    plain = write_page(avatar, tmp_path / "p.html", motion, PageOptions(pose_detail=False))
    assert small.stat().st_size < page.stat().st_size
    assert sum(layer["count"] for layer in unpacked(small.read_text())[0]["layers"]) <= 300
    assert "network" not in unpacked(plain.read_text())[0]


def test_what_a_page_cannot_hold_is_refused(tmp_path):
    """Fails when an avatar of networks, or hopeless options, give a page that shows something else."""
    model, _ = small_model("mlp")
    dataset = shared_dataset()
    networks = Avatar(model, small_avatar().subjects, dataset.camera, dataset.portrait.betas)
    with pytest.raises(PerseError, match="mlp field"):
        write_page(networks, tmp_path / "a.html", default_motion())
    with pytest.raises(PerseError, match="at least 100"):
        write_page(small_avatar(), tmp_path / "a.html", default_motion(), PageOptions(points=3))
    unknown = PageOptions(wearing={"hat": "red fez"})
    with pytest.raises(PerseError, match="learned"):
        write_page(small_avatar(), tmp_path / "a.html", default_motion(), unknown)
    assert list(tmp_path.iterdir()) == []


def test_a_page_can_open_with_a_look_from_another_photo(tmp_path):
    """Fails when a page lacks what `perse transfer` taught, or takes it for the learned look whose code it has."""
    options = PageOptions(wearing={"hair": "a friend's curls"}, thumbnails=False)
    header, _ = unpacked(
        write_page(rich_avatar(), tmp_path / "a.html", default_motion(), options).read_text()
    )
    labels = [option["label"] for option in header["looks"]["categories"]["hair"]["options"]]
    assert labels == ["as in the photo", "long curly red", "bald head", "a friend's curls"]
    assert header["wears"] == {"hair": 3}


def test_labels_are_what_differs():
    """Fails when chips repeat the category."""
    assert short_label("a person with long curly red hair", "hair") == "long curly red"
    assert short_label("a person wearing a blue knitted beanie", "hat") == "blue knitted beanie"
    assert short_label("a person with a bald head", "hair") == "bald head"


def test_the_command_writes_a_page_of_a_saved_avatar(tmp_path, monkeypatch, capsys):
    """Fails when `perse export` cannot read what was saved, or writes elsewhere."""
    small_avatar().save(tmp_path / "anna" / "avatar")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "anna", "--set", "hair=long curly red"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "anna.html"
    assert unpacked((tmp_path / "anna.html").read_text())[0]["wears"] == {"hair": 1}


# --- its source


def test_the_committed_page_is_what_the_source_builds_to():
    """Fails when somebody changes web/ and forgets tools/build_page.sh. Needs npm with web/node_modules."""
    if shutil.which("npm") is None or not (ROOT / "web" / "node_modules").is_dir():
        pytest.skip("npm, or what tools/build_page.sh installs, is not here")
    done = subprocess.run(["node", "build.mjs", "--check"], cwd=ROOT / "web", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- in a browser


STILL = """() => new Promise(done => { const before = perse.stats().frames;
  setTimeout(() => done(perse.stats().frames == before), 400); })"""
"""Nothing was drawn for a while."""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_draws_what_python_draws(page):
    """Fails when looks, blends, expressions, skinning, MLP_pose or drawing differ in the page, or it has errors."""
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]  # fmt: skip
    avatar = rich_avatar()
    errors: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=120_000)
        tab = browser.new_page(viewport={"width": 700, "height": 420})
        tab.set_default_timeout(120_000)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        tab.evaluate("perse.ready")
        assert tab.evaluate("perse.painter()") == "cpu", (
            "software draws slowly what the processor draws at once"
        )
        tab.evaluate("perse.idle(false)")

        def gap(look, expr, pose) -> float:
            """Mean difference in grey levels, of the worse of both painters."""
            camera, gaps = avatar.camera.resized(SIZE, SIZE), []
            drawn = avatar.render(look, expr[None], pose[None], camera)[0].numpy() * 255
            for who in ("gpu", "cpu"):
                tab.evaluate("who => perse.painter(who)", who)
                pixels = tab.evaluate(f"Array.from(perse.picture({SIZE}, {SIZE}).rgba)")
                found = np.array(pixels).reshape(SIZE, SIZE, 4)[..., :3]
                gaps.append(float(np.abs(found - drawn).mean()))
            return max(gaps)

        rest_expr, rest_pose = avatar.rest
        assert gap(avatar.reference, rest_expr, rest_pose) < 1
        units = {"jawOpen": 0.7, "mouthSmileLeft": 0.8, "eyeBlinkRight": 1.0, "eyeLookOutLeft": 0.5}
        expr, pose = arkit_to_motion(avatar.head, units)
        pose[4] += 0.4
        expr, pose = expr + rest_expr, pose + rest_pose
        tab.evaluate("units => perse.face(units, { yaw: 0.4 })", units)
        assert gap(avatar.reference, expr, pose) < 1
        plain = avatar.reference
        for weight in (0.4, 1.0):
            look = avatar.mix(plain, avatar.look(hair="long curly red"), weight, "hair")
            tab.evaluate("w => perse.wear('hair', 'as in the photo', 'long curly red', w)", weight)
            assert gap(look, expr, pose) < 1
        tab.evaluate("perse.wear('hat', 'black fedora', 'none', 0.3)")
        tab.evaluate("perse.wear('beard', 'none', 'full brown', 0.5)")
        tab.evaluate("perse.wear('nose', 'wide')")
        dressed = avatar.look(hair="long curly red", hat="black fedora", nose="wide")
        dressed = avatar.mix(dressed, avatar.look(hat=None), 0.3, "hat")
        dressed = avatar.mix(dressed, avatar.look(beard="full brown"), 0.5, "beard")
        assert gap(dressed, expr, pose) < 1
        assert gap(plain, expr, pose) > 2, "the comparison sees no difference at all"
        tab.evaluate("perse.wear('hat', 'blue knitted beanie', 'black fedora', 0.5)")
        between = avatar.mix(dressed, avatar.look(hat="blue knitted beanie"), 1.0, "hat")
        between = avatar.mix(between, avatar.look(hat="black fedora"), 0.5, "hat")
        assert gap(between, expr, pose) < 1
        frame = (between, expr[None], pose[None], avatar.camera.resized(SIZE, SIZE))
        added = (small_avatar().render(*frame) - avatar.render(*frame)).abs().mean() * 255
        assert float(added) > 2, "nothing is added between looks"
        tab.evaluate("perse.wear('hair', 'as in the photo', 'a friend\\'s curls', 0.6)")
        curls = avatar.mix(between, plain, 1.0, "hair")
        curls = avatar.mix(curls, avatar.look(hair="a friend's curls"), 0.6, "hair")
        assert gap(curls, expr, pose) < 1
        assert gap(between, expr, pose) > 2, "the look from another photo changes nothing"
        tab.evaluate("perse.wear('hat', 'none')")
        curls = avatar.mix(curls, avatar.look(hat=None), 1.0, "hat")
        assert gap(curls, expr, pose) < 1, "hair from another photo does not spring back without a hat"

        tab.evaluate("perse.face({})")
        slider = tab.locator("article[data-category=hair] input")
        slider.focus()
        slider.press("Home")
        assert tab.locator("article[data-category=hair] output").inner_text() == "as in the photo"
        tab.get_by_role("tab", name="Face").click()
        before = tab.evaluate(f"perse.picture({SIZE}, {SIZE}).rgba.reduce((a, b) => a + b)")
        jaw = tab.locator("input[data-unit=mouthPucker]")
        jaw.focus()
        jaw.press("End")
        assert tab.evaluate(f"perse.picture({SIZE}, {SIZE}).rgba.reduce((a, b) => a + b)") != before
        tab.wait_for_function(STILL)  # what stands still is drawn to the end, and no further
        tab.get_by_role("button", name="Surprise me").click()
        tab.mouse.move(150, 200)
        tab.mouse.down()
        tab.mouse.move(220, 210, steps=3)
        tab.mouse.up()
        browser.close()
    assert not errors
    assert not [url for url in asked if not url.startswith(("file:", "blob:", "data:"))]


def test_every_category_has_the_options_the_avatar_has(page):
    """Fails when a look is lost on the way into the page, or "none" is offered for a nose."""
    categories = unpacked(page.read_text())[0]["looks"]["categories"]
    for category in CATEGORIES:
        kinds = [option["kind"] for option in categories[category]["options"]]
        assert kinds.count("look") == len(rich_avatar().learned(category))
        assert ("none" in kinds) == (category in ABSENTABLE)
