#define PERSE_ISA generic
#include "kernel.inl"
