"""Pictures and videos: what is written can be looked at, and a failed write leaves nothing behind."""

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from perse.viewer import save_image, write_video
from perse.viewer._report_page import Cell, Section, Step, write_report_page
from perse.viewer.media import to_uint8
from perse.viewer.sheet import Caption, captioned, flow, hstack, resize, short, vstack


@given(st.floats(-2, 3))
def test_colours_are_rounded_and_clipped(value):
    """If this fails, pictures are half a step too dark or wrap around where they are too bright."""
    got = int(to_uint8(torch.full((1, 1, 3), value))[0, 0, 0])
    assert got == round(min(max(value, 0.0), 1.0) * 255) or abs(value * 255 % 1 - 0.5) < 1e-3


def test_video_has_its_frames_in_order_and_even_sides(tmp_path):
    """If this fails, avatar.mp4 is refused by players or plays something else."""
    path = tmp_path / "ramp.mp4"
    frames = [np.full((33, 47, 3), shade, np.uint8) for shade in (10, 90, 170, 250)]
    write_video(path, frames, fps=24)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in decoded] == [(32, 46, 3)] * 4
    assert [frame.mean() for frame in decoded] == pytest.approx([10, 90, 170, 250], abs=4)


def test_failed_video_leaves_the_earlier_one_and_no_rubbish(tmp_path):
    """If this fails, an interrupted render destroys a finished video."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")

    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, frames(), fps=24)
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_picture_round_trip(tmp_path):
    image = torch.rand(20, 30, 3, generator=torch.Generator().manual_seed(0))
    save_image(tmp_path / "a.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), to_uint8(image))


def test_sheets_lose_no_picture():
    """If this fails, a report hides subjects: every cell's colour must be found on the sheet."""
    cells = [captioned(np.full((40, 40, 3), shade, np.uint8), "x" * 50) for shade in range(20, 240, 20)]
    sheet = flow(cells, width=200, gap=4)
    assert sheet.shape[1] <= 200
    assert {20 * k for k in range(1, 12)} <= set(np.unique(sheet[..., 0]).tolist())
    assert hstack(cells[:2]).shape[1] == 80
    assert vstack(cells[:2]).shape[1] == 40


@given(st.text(max_size=80), st.integers(20, 200))
def test_any_caption_fits_its_width(text, width):
    picture = Caption(text.replace("\n", " ").replace("\r", " ")).draw(width)
    assert picture.shape[1:] == (width, 3)


def test_short_prompts_and_sizes():
    assert short("a person with long curly red hair") == "long curly red hair"
    assert short("a person wearing a blue knitted beanie") == "blue knitted beanie"
    assert resize(np.zeros((64, 64, 3), np.uint8), 16).shape == (16, 16, 3)


def test_the_report_shows_what_lies_beside_it_and_no_more(tmp_path):
    """If this fails, the page has dead frames, a caption breaks out of it, or it reaches for the network."""
    picture = np.zeros((8, 12, 3), np.uint8)
    sections = [Section("A <b>", "note", [Cell(picture, "<script>alert(1)</script>")], 100)]
    story = [Step("One", "words", picture, 95.0)]
    write_report_page(tmp_path, "a & b", story, sections, [["what", "here"], ["PSNR", "1"]])
    bare = (tmp_path / "report.html").read_text()
    assert "<iframe" not in bare
    assert "<video" not in bare
    assert "<script" not in bare
    assert "http" not in bare
    assert "2 min" in bare
    for name in ("avatar.html", "avatar.mp4"):
        (tmp_path / name).touch()
    write_report_page(tmp_path, "a", story, sections, [["what", "here"]])
    whole = (tmp_path / "report.html").read_text()
    assert '<iframe src="avatar.html"' in whole
    assert '<video src="avatar.mp4"' in whole
