"""Loading FLAME files: the released layout is read, and nothing in a file is ever run."""

import os
import pickle
import pickletools
import sys
import types

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from perse.errors import PerseError
from perse.head import load_flame, open_head
from perse.head.landmarks import transfer_embedding

V = 40


def flame_arrays(seed=0):
    """A tiny head of the released layout: two eyeballs of 4 vertices, 300 + 100 directions."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), V)
    weights = np.concatenate([weights, np.zeros((V, 2))], 1)
    weights[-8:-4], weights[-4:] = np.eye(5)[3], np.eye(5)[4]
    regressor = np.zeros((5, V))
    regressor[np.arange(5), [0, 3, 6, 33, 37]] = 1
    return {
        "v_template": rng.normal(0, 0.1, (V, 3)),
        "shapedirs": rng.normal(0, 1e-3, (V, 3, 400)),
        "posedirs": rng.normal(0, 1e-3, (V, 3, 36)),
        "J_regressor": regressor,
        "weights": weights,
        "f": rng.permutation(V)[: V // 3 * 3].reshape(-1, 3).astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


class Ch:
    """Looks to pickle like chumpy's variable, with the bookkeeping it stores."""

    def __init__(self, x):
        self.x = x
        self._dirty_vars = {"x"}
        self._itr = None


@pytest.fixture
def chumpy(monkeypatch):
    """Let pickle write our Ch under chumpy's name; the module is gone again when reading."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    monkeypatch.setattr(Ch, "__module__", "chumpy.ch")
    return Ch


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_released_pickle_is_read(tmp_path, chumpy, monkeypatch, protocol):
    """Arrays, sparse matrices and chumpy variables, in the protocols that Python 2 and 3 write."""
    arrays = flame_arrays()
    content = {
        **arrays,
        "J_regressor": sp.csc_matrix(arrays["J_regressor"]),
        "shapedirs": chumpy(arrays["shapedirs"]),
        "posedirs": np.asfortranarray(arrays["posedirs"]),
        "bs_type": "lrotmin",
    }
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    head = load_flame(path)
    assert "chumpy.ch" not in sys.modules
    check_head(head, arrays)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_plain_files_are_read(tmp_path, suffix):
    """Converted models, for those who keep no pickles."""
    arrays = flame_arrays()
    path = tmp_path / f"flame.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        from safetensors.numpy import save_file

        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path)
    check_head(load_flame(path), arrays)


def check_head(head, arrays):
    """The tensors mean what FLAME's mean, with the neck joint moved to the origin."""
    neck = (arrays["J_regressor"] @ arrays["v_template"])[1]
    np.testing.assert_allclose(head.v_template, arrays["v_template"] - neck, atol=1e-6)
    np.testing.assert_allclose(head.shapedirs, arrays["shapedirs"][..., :100], atol=1e-7)
    np.testing.assert_allclose(head.expdirs, arrays["shapedirs"][..., 300:350], atol=1e-7)
    feature = np.random.default_rng(1).normal(size=36)
    moved = (torch.from_numpy(feature).float() @ head.posedirs).reshape(-1, 3)
    np.testing.assert_allclose(moved, arrays["posedirs"] @ feature, atol=1e-5)
    assert head.joints()[1].abs().max() < 1e-6
    assert (head.vertex_part[-8:-4] == 2).all()
    assert (head.vertex_part[-4:] == 3).all()
    assert head.vertices(torch.zeros(100), torch.zeros(50), torch.full((15,), 0.1)).shape == (V, 3)
    with pytest.raises(PerseError, match="landmarks="):
        head.landmarks(head.v_template)
    with pytest.raises(PerseError, match="no named face units"):
        head.expr_from_units({"mouthSmileLeft": 1.0})


class Evil:
    """Unpickling this the usual way would leave a file behind."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_code_in_a_pickle_is_refused(tmp_path):
    """The classic attack: a downloaded model that runs a command."""
    trace = tmp_path / "owned"
    attacks = [Evil(os.system, f"touch {trace}"), Evil(eval, f"open({str(trace)!r}, 'w')"), Evil(exec, "1")]
    attacks.append(Evil(getattr, "text", "upper"))
    for k, attack in enumerate(attacks):
        path = tmp_path / f"evil{k}.pkl"
        path.write_bytes(pickle.dumps({**flame_arrays(), "v_template": attack}))
        with pytest.raises(PerseError, match="refused"):
            load_flame(path)
    assert not trace.exists()


def test_allowed_names_cannot_be_turned_into_attacks(tmp_path):
    """Stand-ins are all a file can call; whatever it builds of them must be inert or an error of ours."""
    programs = [
        b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        b"cnumpy\ndtype\nc_codecs\nencode\n(Vabc\nVutf-8\ntRb.",  # state on a class
        b"(dVv_template\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntRs.",  # no state
        b"(dVv_template\ncnumpy.core.multiarray\n_reconstruct\n)R(I1\n(I9\ntcnumpy\ndtype\n(VO8\ntRI0\nVx\ntbs.",
        b"\x80\x02}X\x01\x00\x00\x00a\x82\x05s.",  # an extension code
        b"P123\n.",  # a persistent id
        b"not a pickle at all",
        b"",
    ]
    for k, program in enumerate(programs):
        path = tmp_path / f"{k}.pkl"
        path.write_bytes(program)
        with pytest.raises(PerseError):
            load_flame(path)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_truncated_pickle_is_refused(tmp_path, cut):
    """A broken download must say so, with its name."""
    data = pickle.dumps(flame_arrays(), protocol=2)
    path = tmp_path / "half.pkl"
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(PerseError, match=r"half\.pkl"):
        load_flame(path)


def test_python2_strings_are_read(tmp_path):
    """Python 2 wrote array bytes as text; they must survive byte for byte."""
    arrays = flame_arrays()
    data = pickle.dumps(arrays, protocol=2)
    names = {op.name for op, _, _ in pickletools.genops(data)}
    assert "BINUNICODE" in names  # Python 3 writes protocol-2 bytes through codecs.encode
    path = tmp_path / "two.pkl"
    path.write_bytes(data)
    check_head(load_flame(path), arrays)


def broken(**changes):
    return {**flame_arrays(), **changes}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"v_template": np.zeros((4, 3))}, "no shapedirs"),
        (broken(shapedirs=np.zeros((V, 3, 10))), "10 directions"),
        (broken(posedirs=np.zeros((V, 3, 9))), "posedirs has shape"),
        (broken(f=np.full((3, 3), V)), "triangles name vertices"),
        (broken(J_regressor=np.zeros((5, V))), "sum to 1"),
        (broken(J_regressor=np.zeros((24, V))), "J_regressor has shape"),
        (broken(kintree_table=np.zeros((2, 5), int)), "joint parents"),
        (broken(v_template=np.full((V, 3), np.nan)), "not finite"),
    ],
)
def test_what_is_not_flame_is_refused(tmp_path, arrays, message):
    """A body model or a half-converted file must fail here, with a reason, not in the middle of a fit."""
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)
    with pytest.raises(PerseError, match=message):
        load_flame(path)


def test_other_files_are_refused(tmp_path):
    """Missing files, other types, and arrays of Python objects."""
    with pytest.raises(PerseError, match="no head model at"):
        load_flame(tmp_path / "nothing.pkl")
    (tmp_path / "model.obj").write_text("v 0 0 0")
    with pytest.raises(PerseError, match="not a head model this program reads"):
        load_flame(tmp_path / "model.obj")
    np.savez(tmp_path / "objects.npz", v_template=np.array([{}], dtype=object))
    with pytest.raises(PerseError, match="plain arrays"):
        load_flame(tmp_path / "objects.npz")
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(PerseError, match="safetensors"):
        load_flame(tmp_path / "model.safetensors")


def test_masks_and_full_landmarks(tmp_path):
    """The release's vertex masks become regions; a full landmark file becomes the embedding."""
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    masks = {"lips": np.array([1, 2]), "left_ear": np.array([5]), "right_ear": np.array([6])}
    (tmp_path / "masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    np.savez(
        tmp_path / "lm.npz",
        landmark_faces=np.zeros(478, int),
        landmark_bary=np.tile([0.2, 0.3, 0.5], (478, 1)),
    )
    head = load_flame(tmp_path / "flame.npz", landmarks=tmp_path / "lm.npz", masks=tmp_path / "masks.pkl")
    assert head.region("lips").nonzero()[:, 0].tolist() == [1, 2]
    assert head.region("ears").nonzero()[:, 0].tolist() == [5, 6]
    assert head.landmarks(head.v_template).shape == (478, 3)
    np.savez(tmp_path / "bad.npz", landmark_faces=np.full(478, 999), landmark_bary=np.zeros((478, 3)))
    with pytest.raises(PerseError, match="does not fit"):
        load_flame(tmp_path / "flame.npz", landmarks=tmp_path / "bad.npz")


def test_landmarks_are_transferred_from_a_few(tmp_path):
    """From 105 known points the other 373 must land within millimetres of where they belong."""
    from dataclasses import replace

    head = open_head()
    betas = torch.randn(100, generator=torch.Generator().manual_seed(2))
    other = replace(
        head, v_template=head.rest_vertices(betas), landmark_faces=torch.zeros(0, dtype=torch.int64)
    )
    truth = head.landmarks(other.v_template)
    known = torch.arange(468)[torch.randperm(468, generator=torch.Generator().manual_seed(0))[:105]]
    moved = transfer_embedding(other, known, truth[known])
    error = (moved.landmarks(moved.v_template) - truth).norm(dim=1)
    assert error[known].max() < 5e-4
    assert error.mean() < 2e-3
