#pragma once

#include <nanobind/nanobind.h>

// Adds posing to the module perse._native.
void bind_posing(nanobind::module_& m);
