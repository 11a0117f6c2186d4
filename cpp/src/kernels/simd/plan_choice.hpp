#pragma once

#include "kernels/simd/stages.hpp"

namespace mliuq::simd {

/// The plan that is faster where it was measured (docs/explanations/kernel.md): the same in every run.
KernelPlan usual_plan(int twojmax);

/// The plan that is faster here: each sums the same made-up block a few times, and the fastest run counts. Measured
/// once in a process for every instruction set, precision and twojmax (0.5 ms at 2J = 8). Polynomials are taken unless
/// the recursion is clearly faster, so that noise does not decide.
template <class Real>
KernelPlan fastest_plan(const Plan<Real>& plan, InstructionSet set);

extern template KernelPlan fastest_plan(const Plan<double>&, InstructionSet);
extern template KernelPlan fastest_plan(const Plan<float>&, InstructionSet);

}  // namespace mliuq::simd
