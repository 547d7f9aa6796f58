"""The open head: what its data must be for faces to look and move right."""

import numpy as np
import pytest
import torch

from perse.errors import PerseError
from perse.head import PARTS, closest_point, open_head, skin, vertex_normals
from perse.head.storage import OPEN_HEAD_FILE
from perse.head.surface import closest_on_triangles


@pytest.fixture(scope="module")
def head():
    return open_head()


def pose_of(**degrees):
    entries = {"root": 0, "neck": 3, "jaw": 6, "left_eye": 9, "right_eye": 12}
    pose = torch.zeros(15)
    for name, value in degrees.items():
        pose[entries[name]] = np.radians(value)
    return pose


def part(head, name):
    return head.vertex_part == PARTS.index(name)


def test_shapes_and_types(head):
    """Every other room relies on these."""
    v, f = len(head), len(head.faces)
    assert head.shapedirs.shape == (v, 3, 100)
    assert head.expdirs.shape == (v, 3, 50)
    assert head.posedirs.shape == (36, v * 3)
    assert head.J_regressor.shape == (5, v)
    assert head.landmark_faces.shape == (478,)
    assert head.landmark_bary.shape == (478, 3)
    assert head.faces_uv.shape == (f, 3)
    assert head.faces.dtype == head.landmark_faces.dtype == head.face_part.dtype == torch.int64
    assert head.faces.max() == v - 1
    assert head.faces_uv.max() < len(head.uv)
    assert len(head.unit_names) == 50
    assert head.unit_to_expr.shape == (50, 50)
    torch.testing.assert_close(head.lbs_weights.sum(1), torch.ones(v))
    torch.testing.assert_close(head.landmark_bary.sum(1), torch.ones(478))
    assert OPEN_HEAD_FILE.stat().st_size < 5e6


def test_units_and_axes(head):
    """Metres, y up, z out of the face, +x the person's left, origin at the skull base."""
    landmarks = head.landmarks(head.v_template)
    nose_tip, left_iris, right_iris, chin = landmarks[4], landmarks[473], landmarks[468], landmarks[152]
    assert nose_tip[2] > left_iris[2]
    assert left_iris[1] > nose_tip[1] > chin[1]
    assert left_iris[0] > 0.025
    assert right_iris[0] < -0.025
    assert 0.05 < float(left_iris[0] - right_iris[0]) < 0.07  # a human pupil distance
    assert head.joints()[1].norm() < 5e-4
    assert head.v_template[:, 1].min() < -0.25  # a bust for clothes to sit on


def test_mean_head_is_mirror_symmetric(head):
    """An asymmetric mean would give every fitted face the same crooked look."""
    mirrored = head.v_template * torch.tensor([-1.0, 1, 1])
    _, _, distance = closest_point(mirrored, head.v_template, head.faces)
    assert distance.mean() < 2e-5
    assert distance.max() < 1.5e-3  # a few quads that the cut divided differently
    left = head.landmarks(head.v_template)[263] * torch.tensor([-1.0, 1, 1])
    assert (left - head.landmarks(head.v_template)[33]).norm() < 5e-4


def test_edges_are_short_and_surface_points_outwards(head):
    """Long edges show as corners on the silhouette; flipped triangles as holes in anything that culls."""
    corners = head.v_template[head.faces[head.part_faces("skin")]]
    edges = (corners - corners.roll(1, 1)).norm(dim=-1)
    high = corners.mean(1)[:, 1] > -0.09
    assert edges[high].max() < 0.0115
    assert edges.max() < 0.0185
    normals = vertex_normals(head.v_template, head.faces)
    skull = head.v_template[:, 1] > 0.1
    outward = torch.nn.functional.normalize(head.v_template[skull] - torch.tensor([0.0, 0.05, 0.0]), dim=-1)
    assert ((normals[skull] * outward).sum(-1) > 0.5).all()


def test_rigid_parts_hang_on_one_joint(head):
    """Eye weight on lids or lashes smears them over the eyeball when the gaze moves."""
    eyes = part(head, "left_eye") | part(head, "right_eye")
    assert head.lbs_weights[~eyes][:, 3:].abs().max() == 0
    for name, joint in (
        ("left_eye", 3),
        ("right_eye", 4),
        ("upper_teeth", 1),
        ("lower_teeth", 2),
        ("tongue", 2),
    ):
        assert (head.lbs_weights[part(head, name), joint] == 1).all()


def lid_gap(head, expr, pose):
    """Vertical distance of the upper and the lower lid's middle, left and right, in metres."""
    landmarks = head.landmarks(head.vertices(expr=expr, pose=pose))
    return (landmarks[386] - landmarks[374])[1], (landmarks[159] - landmarks[145])[1]


def test_lids_follow_the_gaze(head):
    """Lids that stay put make a downward gaze stare."""
    zero = torch.zeros(50)
    neutral, _ = lid_gap(head, zero, pose_of())
    down, other = lid_gap(head, zero, pose_of(left_eye=20))
    up, _ = lid_gap(head, zero, pose_of(left_eye=-20))
    assert down < neutral - 0.001
    assert up > neutral + 0.0005
    assert abs(float(other - lid_gap(head, zero, pose_of())[1])) < 2e-4  # the other eye stays


def test_blink_closes_the_lids(head):
    """Half-closed blinks leave a white slit in every video."""
    neutral, _ = lid_gap(head, torch.zeros(50), pose_of())
    closed, other = lid_gap(head, head.expr_from_units({"eyeBlinkLeft": 1.0}), pose_of())
    assert neutral > 0.006
    assert closed < 0.0015
    assert other > 0.006


def test_jaw_opens_and_carries_the_lower_teeth(head):
    """A full jawOpen moves the chin some centimetres down and leaves the upper teeth."""
    pose = torch.zeros(15)
    pose[6] = head.jaw_open
    opened, rest = head.vertices(pose=pose), head.v_template
    chin = head.landmarks(opened)[152] - head.landmarks(rest)[152]
    assert -0.05 < float(chin[1]) < -0.02
    assert (opened - rest)[part(head, "lower_teeth")][:, 1].mean() < -0.01
    assert (opened - rest)[part(head, "upper_teeth")].abs().max() < 2e-3
    lips = head.landmarks(opened)
    assert (lips[13] - lips[14])[1] > 0.015


def test_units_do_what_their_names_say(head):
    """A smile must raise the mouth's corners, brows must go up, left must be the person's left."""
    rest = head.landmarks(head.v_template)
    smile = head.landmarks(head.vertices(expr=head.expr_from_units({"mouthSmileLeft": 1.0}))) - rest
    assert smile[291][1] > 0.003
    assert smile[61].norm() < 0.002
    brows = head.landmarks(head.vertices(expr=head.expr_from_units({"browInnerUp": 1.0}))) - rest
    assert brows[107][1] > 0.002
    assert brows[336][1] > 0.002


def test_shape_coefficients_are_natural(head):
    """N(0, 1) coefficients must give people, not caricatures: a skin deviation of a few millimetres."""
    generator = torch.Generator().manual_seed(0)
    shapes = head.rest_vertices(torch.randn(64, 100, generator=generator)) - head.v_template
    high = head.v_template[:, 1] > -0.08
    deviation = shapes[:, high].square().sum(-1).mean().sqrt()
    assert 0.003 < deviation < 0.012
    assert head.joints(torch.zeros(7, 100)).shape == (7, 5, 3)
    torch.testing.assert_close(
        head.rest_vertices(torch.ones(3)), head.rest_vertices(torch.eye(100)[:3].sum(0))
    )


def test_landmarks_lie_on_face_and_eyeballs(head):
    """Irises on skin or lips on teeth would drag fits."""
    parts = head.face_part[head.landmark_faces]
    assert (parts[:468] == PARTS.index("skin")).all()
    assert (parts[468:473] == PARTS.index("right_eye")).all()
    assert (parts[473:] == PARTS.index("left_eye")).all()


def test_regions(head):
    """Colouring relies on them: lips around the mouth's landmarks, the mouth behind the lips."""
    weight = (head.region("lips")[head.faces[head.landmark_faces]] * head.landmark_bary).sum(1)
    assert weight[[11, 12, 15, 16, 72, 302, 85, 315]].min() > 0.4
    assert weight[[1, 152, 10, 50, 280]].max() < 0.1
    inside = head.v_template[head.region("mouth") > 0.9]
    assert inside[:, 2].mean() < head.landmarks(head.v_template)[13][2]
    with pytest.raises(PerseError, match="no region 'hair'"):
        head.region("hair")


def test_bound_points_ride_on_the_surface(head):
    """Points a millimetre over the skin must stay there in every pose (Eqs. 21-22)."""
    generator = torch.Generator().manual_seed(3)
    betas = 0.7 * torch.randn(100, generator=generator)
    rest = head.rest_vertices(betas)
    skin_faces = head.part_faces("skin").nonzero()[:, 0]
    face = skin_faces[torch.randint(len(skin_faces), (400,), generator=generator)]
    bary = torch.rand(400, 3, generator=generator)
    bary /= bary.sum(1, keepdim=True)
    on_surface = (rest[head.faces[face]] * bary[..., None]).sum(1)
    bound, exact = head.bind(on_surface, rest), head.interpolate(face, bary)
    expr, pose = 0.5 * torch.randn(50, generator=generator), 0.2 * torch.randn(15, generator=generator)
    carried, _ = skin(on_surface, *exact, head.joints(betas), expr, pose)
    expected = (head.vertices(betas, expr, pose)[head.faces[face]] * bary[..., None]).sum(1)
    assert (carried - expected).norm(dim=-1).median() < 2e-5  # weights bend inside a triangle, a little
    found, _ = skin(on_surface, *bound, head.joints(betas), expr, pose)
    assert (found - carried).norm(dim=-1).quantile(0.99) < 1e-4
    assert bound.E.shape == (400, 3, 50)
    assert bound.P.shape == (400, 3, 36)
    assert bound.W.shape == (400, 5)


def test_bind_respects_parts(head):
    """A moustache point inside the mouth must not follow the teeth unless told so."""
    tooth = head.v_template[part(head, "lower_teeth")][:5]
    assert (head.bind(tooth, head.v_template, parts="lower_teeth").W[:, 2] == 1).all()
    face, _, _ = closest_point(tooth, head.v_template, head.faces, head.part_faces("skin"))
    assert (head.face_part[face] == PARTS.index("skin")).all()
    with pytest.raises(PerseError, match="unknown head part 'hair'"):
        head.bind(tooth, head.v_template, parts="hair")


@pytest.mark.parametrize("away", [0.002, 0.02])
def test_closest_point_is_the_nearest(head, away):
    """Against every triangle: a wrong one binds a hair to the ear instead of the temple."""
    generator = torch.Generator().manual_seed(0)
    points = head.v_template[torch.randint(len(head), (60,), generator=generator)]
    points = points + away * torch.randn(60, 3, generator=generator)
    face, bary, distance = closest_point(points, head.v_template, head.faces)
    corners = head.v_template[head.faces]
    torch.testing.assert_close(((corners[face] * bary[..., None]).sum(1) - points).norm(dim=1), distance)
    triangles = corners.double().numpy()
    every = [
        closest_on_triangles(np.broadcast_to(p, triangles[:, 0].shape), triangles)[1].min()
        for p in points.numpy()
    ]
    excess = distance.double().numpy() - np.sqrt(every)
    assert (excess > 1e-6).sum() <= 1
    assert excess.max() < 1e-3


def test_closest_on_triangles_beats_samples():
    """The projection itself, against a dense sampling of random triangles: never further, hardly nearer."""
    rng = np.random.default_rng(0)
    triangles, points = rng.normal(size=(200, 3, 3)), rng.normal(size=(200, 3))
    bary, square = closest_on_triangles(points, triangles)
    np.testing.assert_allclose(((np.einsum("nc,ncd->nd", bary, triangles) - points) ** 2).sum(1), square)
    assert bary.min() >= 0
    steps = [(i / 40, j / 40) for i in range(41) for j in range(41 - i)]
    grid = np.array([[1 - a - b, a, b] for a, b in steps])
    samples = np.einsum("sc,ncd->nsd", grid, triangles)
    sampled = np.linalg.norm(samples - points[:, None], axis=-1).min(1)
    assert (np.sqrt(square) <= sampled + 1e-9).all()
    assert (np.sqrt(square) >= sampled - 0.1).all()


def test_unknown_unit_names_the_nearest(head):
    """The message must say what to write instead."""
    with pytest.raises(PerseError, match="mouthSmileLeft"):
        head.expr_from_units({"mouthSmileLeftt": 1.0})
    with pytest.raises(PerseError, match="joint rotations"):
        head.expr_from_units({"jawOpen": 1.0})


def test_moving_to_double_keeps_indices(head):
    """Fits run in double; triangle indices must stay integers."""
    double = head.to(torch.float64)
    assert double.v_template.dtype == torch.float64
    assert double.faces.dtype == torch.int64
    assert head.v_template.dtype == torch.float32
    betas = torch.ones(100, dtype=torch.float64)
    torch.testing.assert_close(
        double.vertices(betas).float(), head.vertices(betas.float()), atol=1e-5, rtol=0
    )


def test_refined_vertices_are_midpoints_in_motion(head):
    """The file stores directions of the first vertices only; the rest must follow their parents."""
    with np.load(OPEN_HEAD_FILE) as data:
        parents = torch.from_numpy(data["parents"].astype(np.int64))
    first = len(head) - len(parents)
    for tensor in (head.shapedirs, head.expdirs, head.lbs_weights):
        torch.testing.assert_close(tensor[first:], tensor[parents].mean(1), atol=1e-6, rtol=0)
    bulge = (head.v_template[first:] - head.v_template[parents].mean(1)).norm(dim=1)
    assert bulge[head.region("mouth")[first:] < 0.5].max() < 2e-3
