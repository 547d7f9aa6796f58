#define PERSE_ISA avx512
#define PERSE_USE_AVX512
#include "kernel.inl"
