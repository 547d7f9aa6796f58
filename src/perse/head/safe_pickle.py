"""Reading the pickles that model releases come as, without running anything in them.

Only arrays, sparse matrices and chumpy variables are understood, and each is rebuilt by our own code from plain data:
no class or function that a file names is ever imported. Anything else is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from perse.errors import PerseError

MAX_BYTES = 1 << 30
"""Larger files are refused."""

_NUMBER_TYPE = re.compile(r"[<>=|]?[biuf][1248]")


class _Shell:
    """Stands in for an object of the file: keeps its state, does nothing."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any):
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Shell):
    """numpy.dtype"""


class _NumpyType(_Shell):
    """numpy.ndarray, only ever named"""


class _Array(_Shell):
    """What numpy's _reconstruct makes"""


class _Scalar(_Shell):
    """numpy's scalar(dtype, bytes)"""


class _Csc(_Shell):
    """scipy csc_matrix"""


class _Csr(_Shell):
    """scipy csr_matrix"""


class _Chumpy(_Shell):
    """Any chumpy variable"""


class _Object(_Shell):
    """object, set and the like: bookkeeping of chumpy that nothing reads"""


class _Rebuild:
    """copyreg._reconstructor(cls, base, state)"""

    def __new__(cls, kind: Any, *_: Any) -> Any:
        if not (isinstance(kind, type) and issubclass(kind, _Shell)):
            raise pickle.UnpicklingError("an object of unknown kind")
        return kind()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("unexpected state")


class _Encode:
    """codecs.encode(text, "latin1"), how Python 3 writes bytes in old pickle protocols"""

    def __new__(cls, text: Any, *_: Any) -> Any:
        return str(text).encode("latin1")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("unexpected state")


_KNOWN: dict[tuple[str, str], type] = {
    ("multiarray", "_reconstruct"): _Array,
    ("multiarray", "scalar"): _Scalar,
    ("numpy", "ndarray"): _NumpyType,
    ("numpy", "dtype"): _Dtype,
    ("csc", "csc_matrix"): _Csc,
    ("csc", "csc_array"): _Csc,
    ("csr", "csr_matrix"): _Csr,
    ("csr", "csr_array"): _Csr,
    ("copyreg", "_reconstructor"): _Rebuild,
    ("builtins", "object"): _Object,
    ("builtins", "set"): _Object,
    ("builtins", "frozenset"): _Object,
    ("collections", "OrderedDict"): _Object,
    ("codecs", "encode"): _Encode,
}
"""(simplified module, name) -> our stand-in."""

_MODULES = {
    "numpy.core.multiarray": "multiarray",
    "numpy._core.multiarray": "multiarray",
    "numpy": "numpy",
    "scipy.sparse.csc": "csc",
    "scipy.sparse._csc": "csc",
    "scipy.sparse.csr": "csr",
    "scipy.sparse._csr": "csr",
    "copy_reg": "copyreg",
    "copyreg": "copyreg",
    "__builtin__": "builtins",
    "builtins": "builtins",
    "_codecs": "codecs",
    "collections": "collections",
}


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "chumpy" or module.startswith("chumpy."):
            return _Chumpy
        found = _KNOWN.get((_MODULES.get(module, ""), name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found


def read_arrays(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, dense or sparse.

    Args:
        path: the file.

    Returns:
        name -> numpy array (sparse matrices made dense, chumpy variables their value); entries that are neither
        arrays nor numbers are kept if they are strings, lists or numbers, and left out otherwise.

    Raises:
        PerseError: the file is too large, damaged, or holds anything but data.
    """
    if path.stat().st_size > MAX_BYTES:
        raise PerseError(f"{path} is larger than {MAX_BYTES >> 20} MiB; that is not a head model.")
    try:
        content = _InertUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:
        raise PerseError(
            f"{path} was refused: {error}. Only pickles of plain arrays, scipy sparse matrices and chumpy variables "
            "are read. If you trust the file, convert it to .npz or .safetensors."
        ) from None
    if not isinstance(content, dict):
        raise PerseError(f"{path} holds no dictionary of arrays.")
    out: dict[str, Any] = {}
    for key, value in content.items():
        try:
            plain = _plain(value)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError) as error:
            raise PerseError(f"{path}: entry {key!r} is damaged ({error}).") from None
        if plain is not None:
            out[str(key)] = plain
    return out


def _plain(value: Any) -> Any:
    """A stand-in's value as numpy data; None for what is of no use."""
    if isinstance(value, _Array):
        return _array(value)
    if isinstance(value, _Scalar):
        kind, data = value.args
        return np.frombuffer(_bytes(data), _number_type(kind))[0]
    if isinstance(value, _Csc | _Csr):
        return _dense(value)
    if isinstance(value, _Chumpy):
        return _plain(value.state["x"]) if isinstance(value.state, dict) and "x" in value.state else None
    return value if isinstance(value, str | int | float | list) else None


def _array(shell: _Array) -> np.ndarray:
    _, shape, kind, fortran, data = shell.state
    dtype = _number_type(kind)
    flat = np.frombuffer(_bytes(data), dtype)
    return flat.reshape(tuple(int(n) for n in shape), order="F" if fortran else "C")


def _number_type(shell: _Dtype) -> np.dtype:
    code = str(shell.args[0])
    order = str(shell.state[1]) if shell.state is not None else "="
    text = (order if order in "<>" else "") + code
    if not _NUMBER_TYPE.fullmatch(text):
        raise ValueError(f"numbers of type {code!r} are not read")
    return np.dtype(text)


def _bytes(data: Any) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _dense(shell: _Csc | _Csr) -> np.ndarray:
    import scipy.sparse as sp

    state = shell.state
    data, indices, indptr = (_plain(state[name]) for name in ("data", "indices", "indptr"))
    shape = tuple(int(n) for n in state.get("_shape", state.get("shape")))
    if shape[0] * shape[1] * 8 > MAX_BYTES:
        raise ValueError(f"a sparse matrix of shape {shape} is too large")
    kind = sp.csc_matrix if isinstance(shell, _Csc) else sp.csr_matrix
    matrix = kind((data, indices, indptr), shape=shape)
    matrix.check_format(full_check=True)
    return matrix.toarray()
