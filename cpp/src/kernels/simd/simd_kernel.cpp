#include "kernels/simd/simd_kernel.hpp"

// The order of the stages, and the way out of the lanes. Ordinary code: everything here runs on any machine.

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/simd/instruction_sets.hpp"
#include "kernels/simd/pack.hpp"
#include "kernels/simd/plan_choice.hpp"
#include "neighbour_packing.hpp"

namespace mliuq {
namespace simd {

#define MLIUQ_TABLES(set)                                  \
  namespace set {                                          \
  const StageTable<double>& stages(double);                \
  const StageTable<float>& stages(float);                  \
  const SummationTable<double>& polynomial_stages(double); \
  const SummationTable<float>& polynomial_stages(float);   \
  }
MLIUQ_SIMD_SETS(MLIUQ_TABLES)
#undef MLIUQ_TABLES

namespace {

template <class Real>
class SimdKernel final : public Kernel {
 public:
  SimdKernel(const SnapParams& params, const EnergyModel& model, const KernelChoice& choice)
      : storage_(params, model),
        pairs_(params),
        stages_(stage_table<Real>(choice.instruction_set)),
        n_elements_(params.n_elements()) {
    const InstructionSet set = choice.instruction_set;
    sums_plan_ = choice.plan           ? *choice.plan
                 : choice.measure_plan ? fastest_plan(storage_.view(), set)
                                       : usual_plan(params.twojmax);
    sums_ = summation_table<Real>(set, sums_plan_);
    name_ = std::string(to_string(set)) + (sizeof(Real) == 8 ? " double " : " single ");
    name_ += to_string(sums_plan_);
  }

  std::string name() const override { return name_; }
  std::optional<KernelPlan> plan() const override { return sums_plan_; }
  std::unique_ptr<Workspace> make_workspace() const override {
    return std::make_unique<SimdWorkspace<Real>>(storage_.view(), stages_.lanes);
  }

  void evaluate(const Neighbourhood& atoms, std::span<const int> centres, const KernelOutput& out,
                Workspace& workspace) const override {
    auto& w = static_cast<SimdWorkspace<Real>&>(workspace);
    for_each_block(atoms, centres, w, [&](const Places& block) {
      run_energy(out, w);
      if (out.energies)
        for (int lane = 0; lane < block.n; ++lane) out.energies[block.place[lane]] = w.block.energies[lane];
      if (out.B) copy_rows(block, w, w.block.B, storage_.view().n_components, out.B);
      if (wants_gradient(out)) add_forces(block, out, w);
    });
  }

  void contract(const Neighbourhood& atoms, std::span<const int> centres, const double* beta, const KernelOutput& out,
                Workspace& workspace) const override {
    const Plan<Real>& plan = storage_.view();
    const std::size_t K = plan.n_components;
    auto& w = static_cast<SimdWorkspace<Real>&>(workspace);
    w.reserve_products(false);
    for_each_block(atoms, centres, w, [&](const Places& block) {
      stages_.store(plan, w.block);
      for (std::size_t k = 0; k < K; ++k)
        for (int lane = 0; lane < w.lanes; ++lane)
          w.block.beta[k * w.lanes + lane] =
              lane < block.n ? static_cast<Real>(beta[block.place[lane] * K + k]) : Real(0);
      stages_.fold_exactly(plan, w.block);
      add_forces(block, out, w);
    });
  }

  void gradients(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out,
                 Workspace& workspace) const override {
    const Plan<Real>& plan = storage_.view();
    const std::size_t K = plan.n_components, stride = padded_row(K);
    auto& w = static_cast<SimdWorkspace<Real>&>(workspace);
    w.reserve_products(true);
    const GradientRows& rows = out.subtracted_from;
    out.first.assign(1, 0);
    if (!rows.rows) count_pairs(atoms, centres, out);
    out.B.resize(out.with_B ? centres.size() * K : 0);
    out.neighbour.resize(out.first.back());
    out.dB.resize(static_cast<std::size_t>(out.first.back()) * 3 * stride);
    out.total.resize(centres.size() * 3 * stride);
    out.strain.resize(out.with_strain ? centres.size() * 6 * K : 0);
    for_each_block(atoms, centres, w, [&](const Places& block) {
      stages_.store(plan, w.block);
      if (out.with_B) {
        stages_.describe(plan, w.block);
        copy_rows(block, w, w.block.B, K, out.B.data());
      }
      std::fill_n(w.block.total, 3 * stride * w.lanes, Real(0));
      std::fill_n(w.block.strain, 6 * K * w.lanes, Real(0));
      std::vector<int>& next = w.pair_cursor;
      next.resize(block.n);
      if (!rows.rows)
        for (int lane = 0; lane < block.n; ++lane) next[lane] = out.first[block.place[lane]];
      for (int channel = 0; channel < plan.n_channels; ++channel)
        for (int slot = w.first_slot[channel], count = 0; slot < w.first_slot[channel + 1]; slot += count) {
          count = slots_derived_together(w.first_slot[channel + 1] - slot);
          stages_.derive(plan, w.block, channel, slot, count, out.with_strain);
          if (rows.rows)
            subtract_derivatives(slot, count, block.n, rows, w);
          else
            copy_derivatives(slot, count, block.n, next, w, out);
        }
      copy_rows(block, w, w.block.total, 3 * stride, out.total.data());
      if (out.with_strain) copy_rows(block, w, w.block.strain, 6 * K, out.strain.data());
    });
  }

 private:
  /// The centres in the lanes of a block: where they stand in the caller's list, and which atoms they are.
  struct Places {
    const int* place;
    const int* atom;
    int n;
  };

  static bool wants_gradient(const KernelOutput& out) { return out.forces || out.virial || out.atom_virials; }

  /// From the density to energies, B and Y. Weights of a linear model fold in on the way; those of a quadratic one
  /// depend on B, so that Z is stored for them.
  void run_energy(const KernelOutput& out, SimdWorkspace<Real>& w) const {
    const Plan<Real>& plan = storage_.view();
    if (plan.quadratic) {
      w.reserve_products(false);
      stages_.store(plan, w.block);
      stages_.describe(plan, w.block);
      stages_.respond(plan, w.block);
      if (wants_gradient(out)) stages_.fold(plan, w.block);
    } else if (plan.n_channels == 1) {
      (out.B ? stages_.couple_and_describe : stages_.couple)(plan, w.block);
      if (out.energies) stages_.energy(plan, w.block);
    } else {
      stages_.couple_and_describe(plan, w.block);
      stages_.respond(plan, w.block);
    }
  }

  /// Calls visit(block) for runs of centres of one element, with their density in the workspace.
  template <class Visit>
  void for_each_block(const Neighbourhood& atoms, std::span<const int> centres, SimdWorkspace<Real>& w,
                      Visit&& visit) const {
    const Plan<Real>& plan = storage_.view();
    const int L = stages_.lanes;
    w.order.resize(L);
    w.lane_atoms.resize(L);
    for (int element = 0; element < n_elements_; ++element) {
      int n = 0;
      const auto flush = [&] {
        if (n == 0) return;
        pack(pairs_, atoms, w.lane_atoms.data(), n, w);
        stages_.geometry(plan, w.block);
        sums_.density(plan, w.block);
        stages_.expand(plan, w.block);
        visit(Places{w.order.data(), w.lane_atoms.data(), n});
        n = 0;
      };
      for (std::size_t c = 0; c < centres.size(); ++c) {
        if (atoms.species(centres[c]) != element) continue;
        w.order[n] = static_cast<int>(c);
        w.lane_atoms[n] = centres[c];
        if (++n == L) flush();
      }
      flush();
    }
  }

  void count_pairs(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out) const {
    for (int i : centres) {
      int n = 0;
      for_each_neighbour(atoms, i, pairs_.squared_cutoffs(atoms.species(i)),
                         [&](int, int, const double*, double) { ++n; });
      out.first.push_back(out.first.back() + n);
    }
  }

  /// from [size][lanes] → to [centre][size].
  void copy_rows(const Places& block, SimdWorkspace<Real>& w, const Real* from, std::size_t size, double* to) const {
    w.lane_target.assign(w.lanes, nullptr);
    for (int lane = 0; lane < block.n; ++lane) w.lane_target[lane] = to + block.place[lane] * size;
    stages_.unpack(from, static_cast<int>(size), w.lane_target.data());
  }

  /// Sets lane_target to where the neighbours in a slot go, to(lane, atom).
  template <class To>
  void aim(int slot, int n, SimdWorkspace<Real>& w, To&& to) const {
    w.lane_target.assign(w.lanes, nullptr);
    for (int lane = 0; lane < n; ++lane)
      if (const int atom = w.slot_atom[static_cast<std::size_t>(slot) * w.lanes + lane]; atom >= 0)
        w.lane_target[lane] = to(lane, atom);
  }

  void copy_derivatives(int slot, int count, int n, std::vector<int>& next, SimdWorkspace<Real>& w,
                        GradientBlock& out) const {
    const std::size_t size = 3 * padded_row(storage_.view().n_components);
    for (int s = 0; s < count; ++s) {
      aim(slot + s, n, w, [&](int lane, int atom) {
        const std::size_t pair = next[lane]++;
        out.neighbour[pair] = atom;
        return out.dB.data() + pair * size;
      });
      stages_.unpack(w.block.dB + s * size * w.lanes, static_cast<int>(size), w.lane_target.data());
    }
  }

  void subtract_derivatives(int slot, int count, int n, const GradientRows& rows, SimdWorkspace<Real>& w) const {
    const int K = storage_.view().n_components;
    double* const of_element = rows.rows + rows.of_element[w.block.species];
    for (int s = 0; s < count; ++s) {
      aim(slot + s, n, w, [&](int, int atom) -> double* {
        const int row = rows.row_of_atom[atom];
        return row < 0 ? nullptr : of_element + 3 * static_cast<std::size_t>(row) * rows.stride;
      });
      for (std::size_t x = 0; x < 3; ++x) {
        stages_.unpack_and_subtract(w.block.dB + ((3 * s + x) * padded_row(K) + 1) * w.lanes, K, w.lane_target.data());
        for (double*& target : w.lane_target)
          if (target) target += rows.stride;
      }
    }
  }

  /// Forces from Y, added pair by pair, lane after lane, in the order of the lists: the same sums on every run.
  void add_forces(const Places& block, const KernelOutput& out, SimdWorkspace<Real>& w) const {
    const int L = w.lanes, n = block.n;
    sums_.ladder(storage_.view(), w.block);
    sums_.force(storage_.view(), w.block);
    if (out.virial) {
      stages_.virial(storage_.view(), w.block);
      for (int v = 0; v < 6; ++v)
        for (int lane = 0; lane < n; ++lane) out.virial[v] += w.block.virial[v * L + lane];
    }
    for (int lane = 0; lane < n; ++lane) {
      double total[3] = {};
      double centre_virial[6] = {};
      for (int slot = 0; slot < w.block.n_slots; ++slot) {
        const int j = w.slot_atom[static_cast<std::size_t>(slot) * L + lane];
        if (j < 0) continue;
        const Real* field = w.block.forces + static_cast<std::size_t>(slot) * 3 * L + lane;
        const double g[3] = {field[0], field[L], field[2 * L]};
        if (out.forces) {
          double* force = out.forces + 3 * static_cast<std::size_t>(j);
          for (int x = 0; x < 3; ++x) {
            force[x] -= g[x];
            total[x] += g[x];
          }
        }
        if (out.atom_virials) {
          const Real* d = w.block.packed + static_cast<std::size_t>(slot) * kPackedFields * L + lane;
          const double dx = d[0], dy = d[L], dz = d[2 * L];
          const double half[6] = {-0.5 * dx * g[0], -0.5 * dy * g[1], -0.5 * dz * g[2],
                                  -0.5 * dy * g[2], -0.5 * dx * g[2], -0.5 * dx * g[1]};
          for (int v = 0; v < 6; ++v) {
            out.atom_virials[6 * static_cast<std::size_t>(j) + v] += half[v];
            centre_virial[v] += half[v];
          }
        }
      }
      const std::size_t i = block.atom[lane];
      if (out.forces)
        for (int x = 0; x < 3; ++x) out.forces[3 * i + x] += total[x];
      if (out.atom_virials)
        for (int v = 0; v < 6; ++v) out.atom_virials[6 * i + v] += centre_virial[v];
    }
  }

  PlanStorage<Real> storage_;
  PairTable pairs_;
  const StageTable<Real>& stages_;
  KernelPlan sums_plan_;
  SummationTable<Real> sums_;
  int n_elements_;
  std::string name_;
};

}  // namespace

template <class Real>
const StageTable<Real>& stage_table(InstructionSet set) {
#define MLIUQ_STAGES(known) \
  if (set == InstructionSet::known) return known::stages(Real());
  MLIUQ_SIMD_SETS(MLIUQ_STAGES)
#undef MLIUQ_STAGES
  return baseline::stages(Real());
}

template <class Real>
SummationTable<Real> summation_table(InstructionSet set, KernelPlan plan) {
  if (plan == KernelPlan::recursion) {
    const StageTable<Real>& stages = stage_table<Real>(set);
    return {.density = stages.density, .ladder = stages.ladder, .force = stages.force};
  }
#define MLIUQ_STAGES(known) \
  if (set == InstructionSet::known) return known::polynomial_stages(Real());
  MLIUQ_SIMD_SETS(MLIUQ_STAGES)
#undef MLIUQ_STAGES
  return baseline::polynomial_stages(Real());
}

template const StageTable<double>& stage_table(InstructionSet);
template const StageTable<float>& stage_table(InstructionSet);
template SummationTable<double> summation_table(InstructionSet, KernelPlan);
template SummationTable<float> summation_table(InstructionSet, KernelPlan);

}  // namespace simd

std::unique_ptr<Kernel> make_simd_kernel(const SnapParams& params, const EnergyModel& model, KernelChoice choice) {
  if (choice.precision == Precision::single_precision)
    return std::make_unique<simd::SimdKernel<float>>(params, model, choice);
  return std::make_unique<simd::SimdKernel<double>>(params, model, choice);
}

}  // namespace mliuq
