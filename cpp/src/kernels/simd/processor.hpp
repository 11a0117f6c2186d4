#pragma once

#include "mliuq/kernel.hpp"

namespace mliuq {

/// Whether this build holds the vector kernel of that set and this machine runs it.
bool cpu_runs(InstructionSet set);

namespace simd {

/// Whether the code of a set is right where an SVE register has so many bytes (0: no SVE): it is compiled for vectors
/// of one length, neither longer nor shorter ones.
bool fits_sve(InstructionSet set, int register_bytes);

}  // namespace simd
}  // namespace mliuq
