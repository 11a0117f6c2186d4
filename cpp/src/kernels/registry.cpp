#include <cstdlib>
#include <string>

#include "kernels/equal_components.hpp"
#include "kernels/reference_kernel.hpp"
#include "kernels/simd/processor.hpp"
#include "kernels/simd/simd_kernel.hpp"
#include "mliuq/error.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

std::string_view to_string(InstructionSet set) {
  switch (set) {
    case InstructionSet::reference:
      return "reference";
    case InstructionSet::baseline:
      return "baseline";
    case InstructionSet::avx2:
      return "avx2";
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::sve256:
      return "sve256";
    case InstructionSet::sve512:
      return "sve512";
  }
  return "unknown";
}

std::string_view to_string(KernelPlan plan) { return plan == KernelPlan::recursion ? "recursion" : "polynomial"; }

namespace {

constexpr std::string_view kMeasured = "measured";

void take_plan_of_environment(KernelChoice& choice) {
  const char* forced = std::getenv("MLIUQ_PLAN");
  if (!forced || !*forced) return;
  choice.measure_plan = forced == kMeasured;
  for (KernelPlan plan : {KernelPlan::recursion, KernelPlan::polynomial})
    if (forced == to_string(plan)) choice.plan = plan;
  if (!choice.plan && !choice.measure_plan)
    throw Error("environment variable MLIUQ_PLAN is '" + std::string(forced) +
                "', expected recursion, polynomial or measured");
}

}  // namespace

std::vector<InstructionSet> available_instruction_sets() {
  std::vector<InstructionSet> available;
  for (InstructionSet set : {InstructionSet::reference, InstructionSet::baseline, InstructionSet::avx2,
                             InstructionSet::avx512, InstructionSet::sve256, InstructionSet::sve512})
    if (cpu_runs(set)) available.push_back(set);
  return available;
}

KernelChoice KernelChoice::automatic(Precision precision) {
  const auto available = available_instruction_sets();
  const char* forced = std::getenv("MLIUQ_KERNEL");
  if (!forced || !*forced) return {available.back(), precision};
  std::string names;
  for (InstructionSet set : available) {
    if (forced == to_string(set)) return {set, precision};
    names += (names.empty() ? "" : ", ") + std::string(to_string(set));
  }
  throw Error("environment variable MLIUQ_KERNEL is '" + std::string(forced) +
              "', expected one that this machine runs: " + names);
}

std::unique_ptr<Kernel> make_kernel(const SnapParams& params, const EnergyModel& model, KernelChoice choice) {
  params.validate();
  if (model.n_elements() != params.n_elements() || model.n_components() != params.n_components())
    throw Error("kernel: weights for " + std::to_string(model.n_elements()) + " elements and " +
                std::to_string(model.n_components()) + " components, expected " + std::to_string(params.n_elements()) +
                " and " + std::to_string(params.n_components()));
  if (const auto equal = with_equal_weights(params, model)) return make_kernel(params, *equal, choice);
  if (!cpu_runs(choice.instruction_set))
    throw Error("kernel: this machine or build does not run " + std::string(to_string(choice.instruction_set)));
  if (!choice.plan) take_plan_of_environment(choice);
  if (choice.instruction_set == InstructionSet::reference) return make_reference_kernel(params, model);
  return make_simd_kernel(params, model, choice);
}

}  // namespace mliuq
