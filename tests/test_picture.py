"""Photos: whatever they are stored as, they come out upright, in sRGB, with their transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dance import picture
from dance.types import InputError


def corners() -> np.ndarray:
    """A landscape picture whose four corners differ: red, green / blue, white."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30] = (200, 0, 0)
    image[:20, 30:] = (0, 200, 0)
    image[20:, :30] = (0, 0, 200)
    image[20:, 30:] = (200, 200, 200)
    return image


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# What undoes each orientation, by the EXIF standard: where the stored row 0 and column 0 are shown.
STORED_AS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_photo_is_shown_upright_for_every_orientation(orientation: int, tmp_path: Path) -> None:
    stored = np.ascontiguousarray(STORED_AS[orientation](corners()))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=oriented(orientation))
    assert np.array_equal(picture.read(tmp_path / "a.png").rgb, corners())


def test_transparency_becomes_alpha_and_hidden_colours_become_plain(tmp_path: Path) -> None:
    rgba = np.zeros((60, 60, 4), np.uint8)
    rgba[..., :3] = (255, 0, 255)  # what an editor may leave where nothing is seen
    rgba[20:40, 20:40] = (10, 120, 30, 255)
    rgba[40, 20:40] = (10, 120, 30, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    frame = picture.read(tmp_path / "a.png")
    assert frame.alpha is not None and frame.alpha.dtype == np.float32
    assert frame.alpha[30, 30] == 1 and frame.alpha[0, 0] == 0
    assert frame.alpha[40, 30] == pytest.approx(128 / 255)
    # Half transparent pixels keep their own colour; the colour next to the edge is that of the thing seen.
    assert tuple(frame.rgb[40, 30]) == (10, 120, 30)
    assert np.abs(frame.rgb[30, 41].astype(int) - (10, 120, 30)).max() < 60
    assert len(set(frame.rgb[2, 2].tolist())) == 1


def test_an_opaque_picture_with_an_alpha_channel_has_no_alpha(tmp_path: Path) -> None:
    Image.fromarray(corners()).convert("RGBA").save(tmp_path / "a.png")
    assert picture.read(tmp_path / "a.png").alpha is None


def test_a_palette_with_a_transparent_colour_has_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.array([[0, 1]], np.uint8), 5, 0), "P")
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.save(tmp_path / "a.png", transparency=0)
    frame = picture.read(tmp_path / "a.png")
    assert frame.alpha is not None and frame.alpha[0].tolist() == [0, 1]
    assert frame.rgb[0, 1].tolist() == [200, 100, 50]


def test_grey_and_sixteen_bits_become_rgb(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(tmp_path / "grey.png")
    deep, grey = picture.read(tmp_path / "deep.png"), picture.read(tmp_path / "grey.png")
    assert deep.rgb.shape == grey.rgb.shape == (8, 64, 3)
    assert np.abs(deep.rgb.astype(int) - grey.rgb).max() <= 1
    assert deep.rgb[0, -1].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(corners()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    rgb = picture.read(tmp_path / "a.jpg").rgb
    assert np.abs(rgb[5, 5].astype(int) - (200, 0, 0)).max() < 12


def test_an_embedded_profile_is_applied(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(corners()).save(tmp_path / "same.png", icc_profile=srgb)
    assert np.abs(picture.read(tmp_path / "same.png").rgb.astype(int) - corners()).max() <= 1
    swapped = profile_with_red_and_blue_swapped(srgb)
    Image.fromarray(corners()).save(tmp_path / "swapped.png", icc_profile=swapped)
    rgb = picture.read(tmp_path / "swapped.png").rgb
    assert np.abs(rgb[5, 5].astype(int) - (0, 0, 200)).max() < 6


def profile_with_red_and_blue_swapped(profile: bytes) -> bytes:
    """An ICC profile in which the tags of the red and blue primaries have changed places."""
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def test_a_broken_profile_does_not_stop_the_photo(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "a.png", icc_profile=b"nonsense")
    assert np.array_equal(picture.read(tmp_path / "a.png").rgb, corners())


def test_webp_is_read_and_an_animated_one_gives_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.fromarray(corners()), Image.fromarray(255 - corners())
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(picture.read(tmp_path / "a.webp").rgb, corners())


def test_a_very_large_photo_is_made_smaller(tmp_path: Path) -> None:
    Image.new("L", (9000, 6000), 77).save(tmp_path / "large.png")
    frame = picture.read(tmp_path / "large.png")
    height, width = frame.size
    assert height * width <= 50_100_000 and width / height == pytest.approx(1.5, abs=0.01)
    assert frame.rgb[100, 100].tolist() == [77, 77, 77]


def test_an_absurdly_large_photo_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 12_000)).save(tmp_path / "absurd.png")
    assert picture.is_picture(tmp_path / "absurd.png")
    with pytest.raises(InputError, match=r"absurd\.png: has more than .* pixels; make it smaller"):
        picture.read(tmp_path / "absurd.png")


def test_what_is_a_picture_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "photo.mp4", format="PNG")
    (tmp_path / "text.png").write_text("not a picture")
    Image.fromarray(corners()).save(tmp_path / "still.gif")
    moving = [Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)) for i in range(3)]
    moving[0].save(tmp_path / "moving.gif", save_all=True, append_images=moving[1:])
    assert picture.is_picture(tmp_path / "photo.mp4")
    assert picture.is_picture(tmp_path / "still.gif")
    assert not picture.is_picture(tmp_path / "text.png")
    assert not picture.is_picture(tmp_path / "moving.gif")
    assert not picture.is_picture(tmp_path / "absent.png")
    assert not picture.is_picture(tmp_path)


def test_every_unusable_file_gives_one_line_that_names_it(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)).save(
        tmp_path / "whole.png"
    )
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    said = {
        "absent.jpg": "no such file",
        "empty.jpg": "empty",
        "text.jpg": "not a photo",
        "cut.png": "damaged or cut off",
        "phone.heic": "save it as jpg",
        "": "is a folder",
    }
    for name, why in said.items():
        with pytest.raises(InputError) as caught:
            picture.read(tmp_path / name)
        message = str(caught.value)
        assert why in message and str(tmp_path / name) in message and "\n" not in message


def test_a_written_picture_reads_back(tmp_path: Path) -> None:
    picture.write(tmp_path / "a.png", corners())
    assert np.array_equal(picture.read(tmp_path / "a.png").rgb, corners())
    with pytest.raises(InputError, match=r"\.xyz"):
        picture.write(tmp_path / "a.xyz", corners())


@pytest.mark.slow
def test_real_photos_in_odd_formats_are_read_upright(shared: Path) -> None:
    nasty = shared / "footage" / "nasty"
    turned = picture.read(nasty / "photo_exif_orientation6.jpg")
    cmyk = picture.read(nasty / "photo_cmyk.jpg")
    plain = picture.read(shared / "footage" / "photos" / "ph_woman_white_bg.png")
    assert turned.size == cmyk.size == plain.size == (960, 720)
    for other in (turned, cmyk):
        assert np.abs(other.rgb.astype(int) - plain.rgb).mean() < 4
    alpha = picture.read(nasty / "photo_alpha.png").alpha
    assert alpha is not None and 0.1 < alpha.mean() < 0.4
    assert picture.read(nasty / "photo_grey_odd.png").size == (441, 331)
