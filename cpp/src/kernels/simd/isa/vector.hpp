#pragma once

// Vectors of lanes (GCC vector extensions) in a namespace per instruction set: MLIUQ_SIMD_ISA names it and
// MLIUQ_SIMD_BYTES is the width. Nothing of the standard library is instantiated in these objects.

#include "kernels/simd/stages.hpp"

#if !defined(MLIUQ_SIMD_ISA) || !defined(MLIUQ_SIMD_BYTES)
#error "compiled per instruction set, see kernels/simd/CMakeLists.txt"
#endif

#define MLIUQ_INLINE [[gnu::always_inline]] inline
#ifdef MLIUQ_SANITIZE
#define MLIUQ_UNROLL
#else
#define MLIUQ_UNROLL _Pragma("GCC unroll 32")
#endif

namespace mliuq::simd::MLIUQ_SIMD_ISA {

template <class Real>
struct VectorOf {
  typedef Real type __attribute__((vector_size(MLIUQ_SIMD_BYTES)));
};
template <class Real>
using Vector = typename VectorOf<Real>::type;

/// Vector registers that sums may fill.
#if MLIUQ_SIMD_BYTES == 64 || defined(__aarch64__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

template <class Real>
inline constexpr int kLanes = MLIUQ_SIMD_BYTES / static_cast<int>(sizeof(Real));

/// As many lanes in double precision: what energies are summed in.
template <class Real>
struct WideOf {
  typedef double type __attribute__((vector_size(kLanes<Real> * sizeof(double))));
};
template <class Real>
using Wide = typename WideOf<Real>::type;

template <class Real>
MLIUQ_INLINE Wide<Real> widen(Vector<Real> x) {
  return __builtin_convertvector(x, Wide<Real>);
}

template <class Real>
MLIUQ_INLINE void store_wide(double* to, const Wide<Real>& x) {
  __builtin_memcpy(to, &x, sizeof x);
}

/// An array of lanes, as vectors.
template <class Real>
MLIUQ_INLINE Vector<Real>* vectors(Real* p) {
  return reinterpret_cast<Vector<Real>*>(p);
}

template <class Real>
MLIUQ_INLINE Vector<Real> broadcast(Real x) {
  return Vector<Real>{} + x;
}

/// The value, in a register from here on: keeps the compiler from reading memory again at each use, where the load
/// units and not the arithmetic would set the pace.
template <class V>
MLIUQ_INLINE V in_register(V x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

/// One number of an array in all lanes. Straight from memory: by way of a register compilers spread it with a shuffle,
/// which takes an arithmetic unit's place.
template <class Real>
MLIUQ_INLINE Vector<Real> broadcast_from(const Real* x) {
#if defined(__AVX__)
  Vector<Real> all;
  if constexpr (sizeof(Real) == 8)
    asm("vbroadcastsd %1, %0" : "=v"(all) : "m"(*x));
  else
    asm("vbroadcastss %1, %0" : "=v"(all) : "m"(*x));
  return all;
#else
  return in_register(broadcast(*x));
#endif
}

template <class Real>
MLIUQ_INLINE Vector<Real> square_root(Vector<Real> x) {
  Vector<Real> y;
  MLIUQ_UNROLL
  for (int l = 0; l < kLanes<Real>; ++l) y[l] = sizeof(Real) == 8 ? __builtin_sqrt(x[l]) : __builtin_sqrtf(x[l]);
  return y;
}

}  // namespace mliuq::simd::MLIUQ_SIMD_ISA
