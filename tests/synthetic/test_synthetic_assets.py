"""Assets: what is found in a folder, how MakeHuman's files are read, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_pack import CLIP_FRAMES, CLIP_RATE, bvh, write_picture

from dance.synthetic import assets as packs
from dance.synthetic.assets import Pack
from dance.types import InputError


@pytest.fixture
def copied(assets: Path, tmp_path: Path) -> Path:
    return shutil.copytree(assets, tmp_path / "copy")


def test_a_folder_says_what_it_offers(pack: Pack, assets: Path) -> None:
    assert [item.name for item in pack.items["hair"]] == ["air", "hair"]
    assert pack.find("clothes", "suit").texture == assets / "clothes" / "suit" / "suit.png"
    assert [path.name for path in pack.photos] == ["wild.png"]
    assert [path.name for path in pack.clips] == ["wave.bvh"]
    assert pack.licences == {"skins/plain.png": "CC0-1.0; nobody"}
    used = [path.name for path in packs.used_files(pack)]
    assert len(used) == len(set(used)) and {"suit.obj", "suit.mhclo", "wave.bvh"} <= set(used)


@pytest.mark.parametrize("kind", ["clothes", "shoes", "hair", "skins"])
def test_a_folder_without_what_everybody_needs_is_refused(copied: Path, kind: str) -> None:
    shutil.rmtree(copied / kind)
    with pytest.raises(InputError, match=f"{kind}/"):
        packs.open_pack(copied)


def test_what_nobody_needs_may_be_missing(copied: Path) -> None:
    shutil.rmtree(copied / "motion")
    shutil.rmtree(copied / "backgrounds")
    assert packs.open_pack(copied).clips == packs.open_pack(copied).photos == ()


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of assets"):
        packs.open_pack(tmp_path / "nothing")


def test_whom_a_garment_is_for_is_told_by_its_tags_or_its_name(copied: Path) -> None:
    folder = copied / "hair" / "hair"
    text = (folder / "hair.mhclo").read_text()
    (folder / "hair.mhclo").write_text(f"tag Long\ntag Female\n{text}")
    shutil.copytree(copied / "hair" / "air", copied / "hair" / "male_air")
    (copied / "hair" / "male_air" / "air.mhclo").rename(
        copied / "hair" / "male_air" / "male_air.mhclo"
    )
    found = {item.name: item.gender for item in packs.open_pack(copied).items["hair"]}
    assert found == {"air": None, "hair": "female", "male_air": "male"}


def test_the_texture_is_what_the_material_names(copied: Path) -> None:
    folder = copied / "clothes" / "suit"
    write_picture(folder / "other.png", (1, 2, 3))
    with pytest.raises(InputError, match="texture is not found"):
        packs.open_pack(copied)
    (folder / "suit.mhmat").write_text("diffuseColor 1 1 1\ndiffuseTexture other.png\n")
    assert packs.open_pack(copied).find("clothes", "suit").texture.name == "other.png"


def test_a_mesh_comes_in_triangles_metres_and_camera_axes(tmp_path: Path) -> None:
    path = tmp_path / "square.obj"
    path.write_text(
        "# one\nv 1 2 3\nv 2 2 3\nv 2 3 3\nv 1 3 3\nvt 0 0\nvt 1 0\ng front\nf 1/1 2/2 3/2 4/1\n"
    )
    mesh = packs.read_obj(path)
    assert np.allclose(mesh.vertices[0], [0.1, -0.2, -0.3])
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv_faces.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert mesh.groups.tolist() == ["front", "front"]


@pytest.mark.parametrize("text", ["", "v 1 2\nf 1 1 1\n", "v 1 2 3\nf 1 2 3\n", "v 1 2 x\n"])
def test_a_broken_mesh_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.obj"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.obj"):
        packs.read_obj(path)


def test_a_garment_knows_its_binding_scales_and_what_it_hides(tmp_path: Path) -> None:
    (tmp_path / "g.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "g.mhclo").write_text(
        "obj_file g.obj\nx_scale 5 7 2.0\nverts 0\nmaterial g.mhmat\n3\n"
        "1 2 3 0.5 0.25 0.25 1 2 3\n4\ndelete_verts\n2 5 - 7 9\n11 -12\n"
    )
    garment = packs.read_garment(tmp_path / "g.mhclo")
    assert garment.rows.tolist() == [[3, 3, 3], [1, 2, 3], [4, 4, 4]]
    assert garment.shares[0].tolist() == [1, 0, 0] and garment.shares[1].tolist() == [
        0.5,
        0.25,
        0.25,
    ]
    assert np.allclose(garment.offsets[1], [0.1, -0.2, -0.3])
    assert garment.scales == ((5, 7, 0.2), None, None)
    assert garment.hidden.tolist() == [2, 5, 6, 7, 9, 11, 12]


@pytest.mark.parametrize(
    ("rows", "said"), [("3\n4\n", "2 of its mesh's 3"), ("3\n1 2\n4\n", "line 4")]
)
def test_a_garment_that_does_not_fit_its_mesh_is_refused(
    tmp_path: Path, rows: str, said: str
) -> None:
    (tmp_path / "g.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "g.mhclo").write_text(f"obj_file g.obj\nverts 0\n{rows}")
    with pytest.raises(InputError, match=said):
        packs.read_garment(tmp_path / "g.mhclo")


def test_motion_leaves_out_the_t_pose_and_is_in_camera_axes(tmp_path: Path) -> None:
    path = tmp_path / "wave.bvh"
    path.write_text(bvh())
    clip = packs.read_bvh(path)
    assert clip.turns.shape == (CLIP_FRAMES, len(clip.names), 3, 3)
    assert clip.rate == pytest.approx(CLIP_RATE)
    assert np.allclose(clip.root[0], [0, -9, 0]) and clip.root[1, 0] > 0
    shoulder = clip.names.index("LeftShoulder")
    # Lifted by 60 degrees, what points to the left (x) points upwards (-y).
    lifted = clip.turns[-1, shoulder] @ [1.0, 0, 0]
    assert np.allclose(lifted, [0.5, -(3**0.5) / 2, 0], atol=1e-4)


@pytest.mark.parametrize("text", ["", "HIERARCHY\n", bvh(frames=5).rsplit(" ", 3)[0]])
def test_broken_motion_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.bvh"
    path.write_text(text)
    with pytest.raises(InputError, match="no motion in BVH"):
        packs.read_bvh(path)
