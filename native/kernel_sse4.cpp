#define PERSE_ISA sse4
#define PERSE_USE_SSE4
#include "kernel.inl"
