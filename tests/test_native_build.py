"""How the native code is compiled: a build must run on other processors than the one it was made on."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER = shutil.which("c++")
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
UNPORTABLE = (
    "-march",
    "-mtune",
    "-mcpu",
    "-mavx",
    "-mfma",
    "-Ofast",
    "-ffast-math",
    "-funsafe-math-optimizations",
)

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler (c++)")
needs_cmake = pytest.mark.skipif(CMAKE is None, reason="no cmake")
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86 compilers")


def compile_commands(build: Path, **environment: str) -> dict[str, list[str]]:
    """The compiler's arguments for each file, as CMake would call it."""
    command = [CMAKE, "-S", ROOT, "-B", build, "-DPERSE_MODULE=OFF", "-DPERSE_TESTS=ON"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    commands = json.loads((build / "compile_commands.json").read_text())
    return {Path(entry["file"]).name: shlex.split(entry["command"])[1:] for entry in commands}


@needs_cmake
@needs_compiler
@on_x86
@pytest.mark.parametrize("way", ["CXXFLAGS", "CXX"])
def test_flags_of_the_building_machine_are_left_out(tmp_path, way):
    """Fails if a wheel built with the usual flags of a tuned machine would crash, or draw otherwise, elsewhere."""
    hostile = "-march=native -mtune=native -mavx2 -mavx512vl -mfma -ffast-math -Ofast -DHARMLESS=1"
    value = hostile if way == "CXXFLAGS" else f"{COMPILER} {hostile}"
    commands = compile_commands(tmp_path, **{way: value})
    own = {
        "kernel_avx512.cpp",
        "kernel_avx2.cpp",
    }  # these have flags of their own, and are chosen at run time
    assert own < set(commands)
    for file, arguments in commands.items():
        leaked = [a for a in arguments if a.startswith(UNPORTABLE)]
        assert file in own or not leaked, file
        assert not any(a.startswith(("-march", "-Ofast", "-ffast-math")) for a in arguments), file
        assert "-DHARMLESS=1" in arguments, "other flags are the builder's to choose"


@needs_compiler
@on_x86
@pytest.mark.parametrize("flag", ["-mavx2", "-march=haswell", "-ffast-math"])
def test_a_missed_flag_stops_the_build(flag):
    """The second guard: where CMake did not see such a flag (a wrapped compiler), compiling must fail, and say why."""
    command = [COMPILER, "-std=c++17", "-fsyntax-only", ROOT / "native" / "dispatch.cpp"]
    assert subprocess.run(command, check=False).returncode == 0
    refused = subprocess.run([*command, flag], check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "compiler flags from outside" in refused.stderr


@needs_compiler
@needs_cmake
@on_x86
def test_kernels_share_no_functions(tmp_path):
    """A function that two kernels both define (an inline one of the standard library) exists once in the module.

    If the linker kept the copy made for AVX-512, other processors would crash in it. So a kernel file may define
    nothing outside its own namespace.
    """
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    arguments = compile_commands(tmp_path)["kernel_avx512.cpp"]
    flags = [a for a in arguments if a.startswith(("-m", "-std", "-D", "-I"))]
    made = tmp_path / "kernel.o"
    source = ROOT / "native" / "kernel_avx512.cpp"
    subprocess.run(
        [COMPILER, *flags, "-O0", "-c", source, "-o", made], check=True
    )  # -O0 inlines nothing away
    symbols = subprocess.run([nm, "-C", made], check=True, capture_output=True, text=True).stdout
    entries = [line.split(maxsplit=2) for line in symbols.splitlines()]  # address, kind, name; or kind, name
    shared = [entry[2] for entry in entries if len(entry) == 3 and entry[1] in "WVu"]
    assert shared, "the kernel itself holds inline functions"
    names = [name for name in shared if "perse::avx512::" not in name and not name.startswith("DW.ref.")]
    assert names == []
