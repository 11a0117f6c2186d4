#include "kernels/simd/plan_choice.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/simd/workspace.hpp"

namespace mliuq::simd {
namespace {

constexpr int kSlots = 26, kTrials = 5;
constexpr double kClearlyFaster = 0.9;

/// A block of rotations and a Y that belong to no atoms.
template <class Real>
void make_up(const Plan<Real>& plan, SimdWorkspace<Real>& w) {
  w.reserve_slots(kSlots);
  std::fill(w.first_slot.begin() + 1, w.first_slot.end(), kSlots);  // all of the first channel
  w.block.n_slots = kSlots;
  for (int slot = 0; slot < kSlots; ++slot)
    for (int lane = 0; lane < w.lanes; ++lane) {
      const double x = 1.0 + slot + 0.1 * lane;
      const double q[4] = {std::cos(x), std::sin(x) * std::cos(2 * x), std::sin(x) * std::sin(2 * x) * std::cos(3 * x),
                           std::sin(x) * std::sin(2 * x) * std::sin(3 * x)};
      Real* field = w.block.geometry + static_cast<std::size_t>(slot) * kGeometryFields * w.lanes + lane;
      for (int f = kAr; f <= kBi; ++f) field[f * w.lanes] = static_cast<Real>(q[f - kAr]);
      field[kS * w.lanes] = Real(0.5);
    }
  const std::size_t size = 2 * static_cast<std::size_t>(plan.n_half) * w.lanes;
  for (std::size_t i = 0; i < size; ++i) w.block.Y[i] = static_cast<Real>(std::sin(1.0 + static_cast<double>(i)));
}

template <class Real>
KernelPlan measure(const Plan<Real>& plan, InstructionSet set) {
  using Clock = std::chrono::steady_clock;
  SimdWorkspace<Real> w(plan, stage_table<Real>(set).lanes);
  make_up(plan, w);
  const auto seconds = [&](const SummationTable<Real>& stages) {
    const auto start = Clock::now();
    stages.density(plan, w.block);
    stages.ladder(plan, w.block);
    stages.force(plan, w.block);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double recursion = 1e30, polynomial = 1e30;
  for (int trial = 0; trial < kTrials; ++trial) {
    recursion = std::min(recursion, seconds(summation_table<Real>(set, KernelPlan::recursion)));
    polynomial = std::min(polynomial, seconds(summation_table<Real>(set, KernelPlan::polynomial)));
  }
  return recursion < kClearlyFaster * polynomial ? KernelPlan::recursion : KernelPlan::polynomial;
}

}  // namespace

KernelPlan usual_plan(int twojmax) {
  constexpr int kRecursionUpTo = 3;
  return twojmax <= kRecursionUpTo ? KernelPlan::recursion : KernelPlan::polynomial;
}

template <class Real>
KernelPlan fastest_plan(const Plan<Real>& plan, InstructionSet set) {
  static std::mutex mutex;
  static std::map<std::tuple<InstructionSet, std::size_t, int>, KernelPlan> measured;
  const std::lock_guard lock(mutex);
  const std::tuple key(set, sizeof(Real), plan.twojmax);
  const auto known = measured.find(key);
  return known != measured.end() ? known->second : measured[key] = measure(plan, set);
}

template KernelPlan fastest_plan(const Plan<double>&, InstructionSet);
template KernelPlan fastest_plan(const Plan<float>&, InstructionSet);

}  // namespace mliuq::simd
