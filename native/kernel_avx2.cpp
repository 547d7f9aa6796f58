#define PERSE_ISA avx2
#define PERSE_USE_AVX2
#include "kernel.inl"
