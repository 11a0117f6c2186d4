// Instructions of every stage of the vector kernel as they are executed, address by address, for one block of atoms.
//
//   count_instructions [2J] [instruction set] [polynomial|recursion]
//
// On x86-64 (Linux) the processor steps through the compiled code one instruction at a time, and the program prints
// lines "stage address count". Elsewhere it is run by an emulator that logs every instruction. Both ways it prints
// "base" with where the program lies in memory, and "mark" with the function that is called between stages.
// benchmarks/instructions.py runs it, names the instructions, sorts them into kinds and says what they cost at least on
// several processors.

#ifdef __x86_64__
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "kernels/simd/pack.hpp"
#include "kernels/simd/simd_kernel.hpp"
#include "made_up_tungsten.hpp"

using namespace mliuq;
using namespace mliuq::simd;

extern char __executable_start;

namespace {

constexpr int kNeighbours = 26;
constexpr const char* kStages[] = {"geometry", "density", "expand", "couple", "ladder", "force", "store", "derive"};

/// Whoever counts does so between two of these.
[[gnu::noinline]] void mark() {
#ifdef __x86_64__
  raise(SIGUSR1);
#else
  asm volatile("");
#endif
}

void print_places() {
  const auto place = [](auto* p) { return static_cast<unsigned long long>(reinterpret_cast<std::size_t>(p)); };
  std::printf("base %llx\nmark %llx\n", place(&__executable_start), place(&mark));
}

void run_stages(int twojmax, InstructionSet set, KernelPlan kind) {
  const SnapParams params = tungsten(twojmax);
  const EnergyModel model = made_up_model(params);
  const PlanStorage<double> storage(params, model);
  const Plan<double>& plan = storage.view();
  const StageTable<double>& stages = stage_table<double>(set);
  const SummationTable<double> sums = summation_table<double>(set, kind);

  std::vector<double> positions;
  std::vector<std::vector<int>> lists(stages.lanes);
  std::vector<int> centres, counts;
  std::vector<const int*> rows;
  for (int i = 0; i < stages.lanes; ++i) {
    centres.push_back(i);
    for (int x = 0; x < 3; ++x) positions.push_back(20.0 * i);
  }
  for (int i = 0; i < stages.lanes; ++i)
    for (int n = 0; n < kNeighbours; ++n) {
      const double r = 2.6 + 2.0 * n / kNeighbours, u = std::cos(1.0 + 2.4 * n), phi = 1.7 * n + 0.3 * i;
      lists[i].push_back(static_cast<int>(positions.size() / 3));
      positions.push_back(20.0 * i + r * std::sqrt(1 - u * u) * std::cos(phi));
      positions.push_back(20.0 * i + r * std::sqrt(1 - u * u) * std::sin(phi));
      positions.push_back(20.0 * i + r * u);
    }
  const std::vector<int> types(positions.size() / 3, 0);
  for (const auto& list : lists) {
    counts.push_back(static_cast<int>(list.size()));
    rows.push_back(list.data());
  }
  const int species = 0;
  Neighbourhood view;
  view.positions = positions.data();
  view.types = types.data();
  view.species_of_type = &species;
  view.n_atoms = static_cast<int>(types.size());
  view.n_neighbours = counts.data();
  view.neighbours = rows.data();

  SimdWorkspace<double> w(plan, stages.lanes);
  w.reserve_products(true);
  pack(PairTable(params), view, centres.data(), stages.lanes, w);
  const auto all = [&](const auto& between) {
    stages.geometry(plan, w.block), between();
    sums.density(plan, w.block), between();
    stages.expand(plan, w.block), between();
    stages.couple(plan, w.block), between();
    sums.ladder(plan, w.block), between();
    sums.force(plan, w.block), between();
    stages.store(plan, w.block), between();
    for (int slot = 0, count = 0; slot < w.block.n_slots; slot += count) {
      count = slots_derived_together(w.block.n_slots - slot);
      stages.derive(plan, w.block, 0, slot, count, false);
    }
    between();
  };
#ifdef __x86_64__
  all([] {});  // the linker looks up what they call
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
#endif
  mark();
  all(mark);
}

#ifdef __x86_64__
int trace(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);  // the first mark
  if (!WIFSTOPPED(status)) return 1;
  for (const char* stage : kStages) {
    std::map<unsigned long long, long> counts;
    while (true) {
      user_regs_struct registers;
      ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
      if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status)) return 1;
      if (WSTOPSIG(status) == SIGUSR1) break;
      if (WSTOPSIG(status) != SIGTRAP) continue;  // stopped by somebody else
      ptrace(PTRACE_GETREGS, child, nullptr, &registers);
      ++counts[registers.rip];
    }
    for (const auto& [address, count] : counts) std::printf("%s %llx %ld\n", stage, address, count);
  }
  kill(child, SIGKILL);
  return 0;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const int twojmax = argc > 1 ? std::atoi(argv[1]) : 8;
  InstructionSet set = available_instruction_sets().back();
  for (InstructionSet available : available_instruction_sets())
    if (argc > 2 && argv[2] == to_string(available)) set = available;
  if (argc > 2 && argv[2] != to_string(set)) {
    std::fprintf(stderr, "count_instructions: %s is not run here\n", argv[2]);
    return 2;
  }
  const bool recursion = argc > 3 && argv[3] == to_string(KernelPlan::recursion);
  const KernelPlan kind = recursion ? KernelPlan::recursion : KernelPlan::polynomial;
  print_places();
  std::fflush(stdout);
#ifdef __x86_64__
  const pid_t child = fork();
  if (child != 0) return trace(child);
#endif
  run_stages(twojmax, set, kind);
  return 0;
}
