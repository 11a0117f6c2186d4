#pragma once

// MLIUQ_SIMD_SETS(X): X(set) for every instruction set this build holds objects of (CMakeLists.txt), by its name in
// InstructionSet, which is also the namespace of its tables.

#if defined(MLIUQ_SIMD_X86)
#define MLIUQ_SIMD_SETS(X) X(baseline) X(avx2) X(avx512)
#elif defined(MLIUQ_SIMD_SVE)
#define MLIUQ_SIMD_SETS(X) X(baseline) X(sve256) X(sve512)
#else
#define MLIUQ_SIMD_SETS(X) X(baseline)
#endif
