// Arrays as the Python module takes them: contiguous, on the CPU. For the bindings, which are compiled for any processor.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

namespace nb = nanobind;

template <typename T, typename Shape>
using Array = nb::ndarray<T, Shape, nb::c_contig, nb::device::cpu>;
template <typename Shape>
using In = Array<const float, Shape>;
template <typename Shape>
using Out = Array<float, Shape>;
using Rows = In<nb::ndim<2>>;

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}
