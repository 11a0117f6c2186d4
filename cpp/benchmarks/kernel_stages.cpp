// Where the time of the vector kernel goes: microseconds, floating-point work and the fraction of the machine's peak,
// stage by stage.
//
//   kernel_stages [2J] [baseline|avx2|avx512] [double|single] [polynomial|recursion]   default: 8, the widest, double
//
// Tungsten-like bcc cell of 432 atoms rattled by 0.1 Å, 26 neighbours inside 4.73 Å, skin 1 Å. Each stage is timed on
// each block many times and the fastest kept, so that other programs on the machine do not count. "Peak" is what
// independent multiply-adds in registers reach just before; a stage is compared by vector instructions issued, because
// a lone product or sum takes a multiply-add's place. (Processors with adders of their own can therefore exceed 100 %.)

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/simd/pack.hpp"
#include "kernels/simd/projection.hpp"
#include "kernels/simd/simd_kernel.hpp"
#include "made_up_tungsten.hpp"

using namespace mliuq;
using namespace mliuq::simd;

namespace {

double now() {
  return 1e6 * std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A periodic bcc crystal with explicit images and full lists.
struct Crystal {
  explicit Crystal(double cutoff) {
    constexpr double a = 3.1803;
    constexpr int cells = 6;
    std::mt19937 random(1);
    std::uniform_real_distribution<double> rattle(-0.1, 0.1);
    for (int i = 0; i < 2 * cells * cells * cells; ++i)
      for (int x = 0; x < 3; ++x) {
        const int cell = i / 2 / (x == 0 ? 1 : x == 1 ? cells : cells * cells) % cells;
        positions.push_back(a * (cell + 0.5 * (i % 2)) + rattle(random));
      }
    n = static_cast<int>(positions.size() / 3);
    const double side = a * cells;
    for (int image = 0; image < 27; ++image) {
      if (image == 13) continue;
      const double shift[3] = {side * (image / 9 - 1), side * (image / 3 % 3 - 1), side * (image % 3 - 1)};
      for (int i = 0; i < n; ++i) {
        double p[3];
        bool near = true;
        for (int x = 0; x < 3; ++x) {
          p[x] = positions[3 * i + x] + shift[x];
          near = near && p[x] > -cutoff && p[x] < side + cutoff;
        }
        if (near) positions.insert(positions.end(), p, p + 3);
      }
    }
    const int n_atoms = static_cast<int>(positions.size() / 3);
    lists.resize(n);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n_atoms; ++j) {
        double r2 = 0.0;
        for (int x = 0; x < 3; ++x) r2 += std::pow(positions[3 * i + x] - positions[3 * j + x], 2);
        if (j != i && r2 < cutoff * cutoff) lists[i].push_back(j);
      }
      rows.push_back(lists[i].data());
      counts.push_back(static_cast<int>(lists[i].size()));
      centres.push_back(i);
    }
    types.assign(n_atoms, 0);
    view.positions = positions.data();
    view.types = types.data();
    view.species_of_type = &species;
    view.n_atoms = n_atoms;
    view.n_neighbours = counts.data();
    view.neighbours = rows.data();
  }

  int n = 0, species = 0;
  std::vector<double> positions;
  std::vector<int> types, counts, centres;
  std::vector<std::vector<int>> lists;
  std::vector<const int*> rows;
  Neighbourhood view;
};

/// Vector instructions and flops per lane of one run of a stage on a block.
struct Work {
  double instructions = 0, flops = 0;
  Work operator*(double n) const { return {instructions * n, flops * n}; }
  Work& operator+=(const Work& w) {
    instructions += w.instructions;
    flops += w.flops;
    return *this;
  }
};

/// The recursion of one slot, with so much work for each element a visitor uses.
Work recursion(int twojmax, Work per_element = {}) {
  Work work;
  for (int mb = 0; 2 * mb <= twojmax; ++mb)
    for (int j = 2 * mb; j <= twojmax; ++j) {
      work += per_element * (2 * mb == j ? mb + 1 : j + 1);
      if (j > 2 * mb) work += {8.0 * j, 14.0 * j - 2};
      if (j == 2 * mb + 1 && j < twojmax) work += {8.0 * (j + 1), 14.0 * j + 12};
    }
  return work;
}

/// Powers of the two pairs of numbers of a slot.
Work powers(int twojmax) {
  const double products = 2.0 * (first_column(twojmax + 1) + 2 * twojmax);
  return {products, products};
}

/// Moments of one slot; and the gradient of the polynomials there, their sums over one pair first.
Work moments(int twojmax) {
  const double count = n_moments(twojmax) + n_moments(twojmax - 1);
  return powers(twojmax) += {count, 2 * count};
}
Work polynomial_gradient(int twojmax) {
  Work work = powers(twojmax);
  for (int n = std::max(0, twojmax - 1); n <= twojmax; ++n)
    for (int p = 1; p <= n; ++p) {  // the same for either pair
      const double rows = p + 1.0, products = rows * (n - p + 1);
      work += {2 * (products + 2 * rows), 2 * (2 * products - rows + 4 * rows)};
    }
  return work += {45, 65};
}

template <class Real>
Work maps(const SparseMap<Real> (&steps)[kMapSteps]) {
  double terms = 0.0, rows = 0.0;
  for (const SparseMap<Real>& step : steps)
    for (const SparseGroup* group = step.groups; group != step.groups + step.n_groups; ++group) {
      terms += static_cast<double>(group->n_terms) * group->n_rows;
      rows += group->n_rows;
    }
  return {terms, 2 * terms - rows};
}

template <class Real>
Work coupling(const Plan<Real>& plan) {
  Work work;
  for (const CouplingGroup* group = plan.groups; group != plan.groups + plan.n_groups; ++group) {
    const double levels = group->n_levels, free = group->n_free, shares = free * (free - 1) / 2;
    const double products_alone = levels == 1 && free == 1 ? 2 : 0;  // their sum takes no instructions of its own
    for (int i = group->first; i < group->last; ++i) {
      const double rows = plan.ops[i].n_rows, products = rows * plan.ops[i].n_columns;
      work += {products * (4 + 2 * levels - products_alone) + rows * 2 * (levels + shares) + 4 * levels,
               products * (6 + 4 * levels - 2 * free) + rows * 4 * (levels + shares) + 6 * levels};
    }
  }
  return work;
}

/// Vector instructions per microsecond that independent multiply-adds in registers reach.
template <class Real>
double measured_peak(const StageTable<Real>& stages) {
  double peak = 0.0;
  for (int trial = 0; trial < 50; ++trial) {
    constexpr long rounds = 20000;
    const double start = now();
    const volatile Real sink = stages.multiply_adds(rounds);
    (void)sink;
    peak = std::max(peak, rounds * stages.multiply_adds_per_round / (now() - start));
  }
  return peak;
}

/// What an energy_std costs beyond B: |Fᵀd|² of every atom with a triangular F, in double whatever the kernel.
void report_projection(int n_components, bool quadratic, InstructionSet set, double peak) {
  const ProjectionTable& project = projection_table(set);
  const int P = 1 + n_components + (quadratic ? n_components * (n_components + 1) / 2 : 0);
  std::vector<double> F(static_cast<std::size_t>(P) * P, 0.0);
  for (int p = 0; p < P; ++p)
    for (int c = 0; c <= p; ++c) F[static_cast<std::size_t>(p) * P + c] = std::sin(1.0 + p + c);
  const PanelledFactor factor(F, P, P, PanelledFactor::Padding::zeros);
  AlignedVector<double> features(static_cast<std::size_t>(P) * project.group, 0.5), norms(project.group);
  double best = 1e30;
  for (int repeat = 0; repeat < 200; ++repeat) {
    const double start = now();
    project.complete_features(n_components, quadratic, features.data());
    project.squared_norms(factor.panels().data(), static_cast<int>(factor.panels().size()), features.data(),
                          project.group, norms.data());
    best = std::min(best, now() - start);
  }
  const double us = best / project.group, flops = static_cast<double>(P) * (P + 1);
  const int lanes = stage_table<double>(set).lanes;
  std::printf("std, P = %-5d%8.3f %12.1f %9.1f %8.0f\n", P, us, 1e-3 * flops, 1e-3 * flops / us,
              100.0 * 0.5 * flops / lanes / us / peak);
}

struct Timing {
  const char* name;
  Work work;
  std::vector<double> best;  // of each block
};

template <class Real>
void report(int twojmax, InstructionSet set, KernelPlan kind) {
  const SnapParams params = tungsten(twojmax);
  const EnergyModel model = made_up_model(params);
  const PlanStorage<Real> storage(params, model);
  const Plan<Real>& plan = storage.view();
  const StageTable<Real>& stages = stage_table<Real>(set);
  const SummationTable<Real> sums = summation_table<Real>(set, kind);
  const bool polynomial = kind == KernelPlan::polynomial;
  const PairTable pairs(params);
  const Crystal crystal(params.max_cutoff() + 1.0);
  const int n_blocks = crystal.n / stages.lanes, n_atoms = n_blocks * stages.lanes;

  const double peak = measured_peak(stages);

  SimdWorkspace<Real> w(plan, stages.lanes);
  pack(pairs, crystal.view, crystal.centres.data(), stages.lanes, w);
  const std::size_t bytes = w.bytes();
  w.reserve_products(false);
  const std::size_t bytes_stored = w.bytes();
  w.reserve_products(true);
  double slots = 0.0;
  for (int b = 0; b < n_blocks; ++b) {
    pack(pairs, crystal.view, crystal.centres.data() + b * stages.lanes, stages.lanes, w);
    slots += static_cast<double>(w.block.n_slots) / n_blocks;
  }
  const double half = 2.0 * half_level(twojmax + 1);
  double used = 0.0, dotted = 0.0;
  for (int p = 0; p < plan.n_products; ++p) used += 2.0 * half_used(plan.products[p].j);
  for (int d = 0; d < plan.n_dots; ++d) dotted += 2.0 * half_used(plan.products[plan.dots[d].product].j);
  Work with_B = coupling(plan), stored_Z = coupling(plan);
  with_B += Work{1, 2} * dotted;
  // Gradients of the products as polynomials once; for every slot four sums over the level below, the value of a term,
  // and three directions of every component and their total.
  double lowered = 0.0;
  const double terms = plan.first_gradient_term[plan.n_components];
  for (int t = 0; t < terms; ++t)
    if (const int j = plan.products[plan.gradient_terms[t].product].j; j > 0) lowered += 8.0 * half_used(j - 1);
  Work derive = recursion(twojmax - 1) * slots;
  derive += Work{lowered, 2 * lowered} * slots;
  derive += Work{5 * terms + 18.0 * plan.n_components, 9 * terms + 26.0 * plan.n_components} * slots;
  derive += Work{2, 3} * lowered;
  Work density = (polynomial ? moments(twojmax) : recursion(twojmax, {2, 2})) * slots;
  if (polynomial) density += maps(plan.to_density);
  std::vector<Timing> timings = {
      {"pack", {}, {}},
      {"geometry", Work{75, 130} * slots, {}},
      {"density", density, {}},
      {"expand", Work{11, 11} * half, {}},
      {"couple", coupling(plan), {}},
      {"energy", Work{1, 2} * half, {}},
      {"ladder", polynomial ? maps(plan.from_Y) : Work{6, 6} * half, {}},
      {"force", (polynomial ? polynomial_gradient(twojmax) : recursion(twojmax, {8, 16})) * slots, {}},
      {"couple + B", with_B, {}},
      {"store", stored_Z, {}},
      {"describe", Work{1, 2} * dotted, {}},
      {"respond", Work{1, 2} * double(plan.n_components), {}},
      {"fold", Work{1, 2} * used, {}},
      {"derive", derive, {}},
  };
  using Stage = void (*)(const Plan<Real>&, const Block<Real>&);
  const Stage functions[] = {nullptr,       stages.geometry, sums.density,
                             stages.expand, stages.couple,   stages.energy,
                             sums.ladder,   sums.force,      stages.couple_and_describe,
                             stages.store,  stages.describe, stages.respond,
                             stages.fold};
  for (Timing& t : timings) t.best.assign(n_blocks, 1e30);
  for (int repeat = 0; repeat < 40; ++repeat)
    for (int b = 0; b < n_blocks; ++b)
      for (std::size_t s = 0; s < timings.size(); ++s) {
        const double start = now();
        if (s == 0)
          pack(pairs, crystal.view, crystal.centres.data() + b * stages.lanes, stages.lanes, w);
        else if (s + 1 < timings.size())
          functions[s](plan, w.block);
        else
          for (int slot = 0, count = 0; slot < w.block.n_slots; slot += count) {
            count = slots_derived_together(w.block.n_slots - slot);
            stages.derive(plan, w.block, 0, slot, count, false);
          }
        timings[s].best[b] = std::min(timings[s].best[b], now() - start);
      }

  std::printf("\n2J = %d, %s, %s, %s, %d lanes; %.1f slots for %d atoms; peak %.1f Gflop/s\n", twojmax,
              std::string(to_string(set)).c_str(), sizeof(Real) == 8 ? "double" : "single",
              std::string(to_string(kind)).c_str(), stages.lanes, slots, n_atoms, 2e-3 * peak * stages.lanes);
  std::printf("%-12s %9s %12s %9s %8s\n", "stage", "us/atom", "kflop/atom", "Gflop/s", "% peak");
  const auto line = [&](const char* name, double us, const Work& work) {
    std::printf("%-12s %9.3f %12.1f %9.1f %8.0f\n", name, us, 1e-3 * work.flops, 1e-3 * work.flops / us,
                100.0 * work.instructions / stages.lanes / us / peak);
  };
  double total = 0.0;
  Work total_work;
  for (std::size_t s = 0; s < timings.size(); ++s) {
    double us = 0.0;
    for (double t : timings[s].best) us += t / n_atoms;
    if (s == 8) {
      line("forces", total, total_work);
      std::printf("only where B, a quadratic model, chemflag or dB asks for it:\n");
    }
    if (s < 8 && s != 5) {  // energies are not part of a step that wants forces only
      total += us;
      total_work += timings[s].work;
    }
    line(timings[s].name, us, timings[s].work);
  }
  const double double_peak = measured_peak(stage_table<double>(set));
  report_projection(plan.n_components, false, set, double_peak);
  if (twojmax <= 8) report_projection(plan.n_components, true, set, double_peak);
  std::printf("scratch per thread: %.0f KiB, %.0f KiB with Z stored; lists of operations, shared: %.0f KiB\n",
              bytes / 1024.0, bytes_stored / 1024.0, plan.groups[plan.n_groups - 1].last * sizeof(CouplingOp) / 1024.0);
}

}  // namespace

int main(int argc, char** argv) try {
  const int twojmax = argc > 1 ? std::atoi(argv[1]) : 8;
  InstructionSet set = available_instruction_sets().back();
  for (InstructionSet available : available_instruction_sets())
    if (argc > 2 && argv[2] == to_string(available)) set = available;
  const bool recursion = argc > 4 && argv[4] == to_string(KernelPlan::recursion);
  const KernelPlan kind = recursion ? KernelPlan::recursion : KernelPlan::polynomial;
  if (argc > 3 && std::string(argv[3]) == "single")
    report<float>(twojmax, set, kind);
  else
    report<double>(twojmax, set, kind);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
