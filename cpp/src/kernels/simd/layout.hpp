#pragma once

// Index conventions of the vector kernel, shared by its ordinary and its vector code.
//
// Angular momenta are doubled, as LAMMPS does it: j = 0, 1 … twojmax stands for J = j/2, and the indices of a row
// and a column of u^j_{mb,ma} run over mb, ma = 0 … j for M = mb − j/2. The density obeys
//     u_{j−mb,j−ma} = (−1)^{ma−mb} conj(u_{mb,ma}),
// so that rows 2mb ≤ j are enough: the "half plane". On its middle row 2mb = j only ma ≤ mb carries information.
//
//   half plane:  level after level, rows mb = 0 … j/2 of j + 1 elements
//   full plane:  level after level, rows mb = 0 … j   of j + 1 elements, in several images
//
// One element is a complex number of lanes: [real parts of all lanes][imaginary parts of all lanes].
// Every function here is static: each object of the build gets its own copy, so that none compiled for a wide
// instruction set can be picked by the linker for everybody.

namespace mliuq::simd {

/// Levels up to this twojmax are unrolled; beyond it rows live in memory and loops run.
/// Sanitizers watch every access of the unrolled code and would take hours to compile it: they see the loops.
#ifdef MLIUQ_SANITIZE
inline constexpr int kUnrolledTwojmax = -1;
#else
inline constexpr int kUnrolledTwojmax = 14;
#endif

/// Levels that one coupling operation serves at once: all there are up to 2J = 14, and what the vector registers hold.
inline constexpr int kMaxCoupledLevels = 8;

/// Levels of a coupling operation whose coefficients cost no multiplication: the three lowest (coupling.hpp).
inline constexpr int kFreeLevels = 3;

/// Products per row of a coupling operation with a loop of fixed length; longer ones count at run time.
inline constexpr int kMaxUnrolledColumns = kUnrolledTwojmax > 0 ? 9 : 0;

/// Offset of level j in the half plane, Σ_{k<j} (k/2 + 1)(k + 1): two levels 2p, 2p + 1 together have (p + 1)(4p + 3).
static constexpr int half_level(int j) {
  const int p = j / 2;
  const int pairs = 2 * p * (p - 1) * (2 * p - 1) / 3 + 7 * p * (p - 1) / 2 + 3 * p;
  return pairs + (j % 2 ? (p + 1) * (2 * p + 1) : 0);
}

static constexpr int full_level(int j) { return j * (j + 1) * (2 * j + 1) / 6; }

/// Offset of level j in a table by level and column.
static constexpr int first_column(int j) { return j * (j + 1) / 2; }

/// Elements of one level of the half plane: all stored, and those before the redundant end of the middle row.
static constexpr int half_size(int j) { return (j / 2 + 1) * (j + 1); }
static constexpr int half_used(int j) { return j % 2 ? half_size(j) : half_size(j) - j / 2; }

/// Elements before level j, j ≥ 1, of a table by the used elements of the level below.
static constexpr int first_lowered(int j) {
  int n = 0;
  for (int i = 1; i < j; ++i) n += half_used(i - 1);
  return n;
}

/// Copies of the full plane with factors of the coupling's coefficients (coupling.hpp) multiplied in.
enum Image {
  kRoot,            // √binom(j, ma)
  kInverseRoot,     // 1/√binom(j, ma)
  kFall,            // √((j − ma)!/ma!)
  kFallTransposed,  // √((j − mb)!/mb!), and element (mb, ma) is stored in row ma, column mb
  kImages
};

/// What precedes the coefficients of an inner sum: the scale of the free level of degree d and its negative, at 2d;
/// then how much of the running sum of degree e < d belongs to it.
static constexpr int running_share(int d, int e) { return 2 * kFreeLevels + d * (d - 1) / 2 + e; }
inline constexpr int kSumHeader = running_share(kFreeLevels, 0);

/// Fields of one neighbour of every lane, as packed and as the geometry stage leaves it.
enum PackedField {
  kDx,
  kDy,
  kDz,           // from the centre to the neighbour, Å
  kThetaScale,   // dθ/dr, 1/Å
  kSwitchScale,  // dφ/dr of the outer switching, 1/Å; 0 without switching
  kWeight,       // weight of the neighbour's element; 0 for padding
  kInnerCentre,  // centre of the inner switching, Å
  kInnerScale,   // its dφ/dr, 1/Å
  kPackedFields
};
enum GeometryField {
  kAr,
  kAi,
  kBr,
  kBi,  // Cayley-Klein parameters
  kS,
  kDs,  // weight times switching, and its derivative
  kNx,
  kNy,
  kNz,           // unit vector
  kSinCosOverR,  // sinθ cosθ / r
  kSinSinOverR,  // sin²θ / r
  kGeometryFields
};

}  // namespace mliuq::simd
