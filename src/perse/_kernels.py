"""The compiled module behind the rooms `splat` and `head`: found once, with a clear error where it was not built."""

from __future__ import annotations

from typing import Any

from perse.errors import PerseError

INTERFACE = (
    2  # what the functions take; native/bindings.cpp says which it was built for, and both change together
)

try:
    from perse import _native  # type: ignore[attr-defined]

    if (built_for := getattr(_native, "interface", 1)) != INTERFACE:
        raise ImportError(f"what is built has interface {built_for}, and these sources need {INTERFACE}")
except ImportError as error:  # a source checkout that was never built, or not since the sources changed
    _native = None
    _import_error: ImportError | None = error
else:
    _import_error = None

SIMD_VARIABLE = "PERSE_SIMD"  # environment variable that forces one of instruction_sets()


def built() -> bool:
    """Whether there is a compiled module."""
    return _native is not None


def module() -> Any:
    """The compiled module.

    Raises:
        PerseError: it was not built.
    """
    if _native is None:
        raise PerseError(
            f"the native kernels are not built ({_import_error}); run `make native` in a source checkout, "
            "or `pip install .`; drawing with backend='torch' does without them (slow)"
        ) from _import_error
    return _native


def instruction_sets() -> tuple[str, ...]:
    """Names of the compiled kernels that this processor can run, the fastest first."""
    return tuple(module().instruction_sets())
