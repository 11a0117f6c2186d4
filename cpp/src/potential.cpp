#include "mliuq/potential.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <utility>

#include "mliuq/error.hpp"
#include "threads.hpp"

namespace mliuq {
namespace {

/// Centres handed to a kernel at a time: several vector blocks, and B of a chunk stays in cache.
constexpr std::size_t kChunk = 64;

/// What one thread owns. Accumulators of the first thread are the caller's arrays; the others' are added afterwards in
/// thread order, so that a fixed thread count gives fixed sums.
struct ThreadState {
  std::unique_ptr<Workspace> workspace;
  std::vector<double> B, energies, repulsion, forces, atom_virials, features, row;
  std::vector<int> species;
  double energy = 0.0;
  double virial[6] = {};
  std::exception_ptr failure;
};

SnapParams validated(SnapParams params) {
  params.validate();
  return params;
}

/// A spread that no threshold could be compared with must not reach one: NaN is larger than nothing.
void require_spreads(const AtomSpreads& spreads, const Neighbourhood& atoms, int atom) {
  const auto value = [atom](const double* array, double absent) { return array ? array[atom] : absent; };
  const double min = value(spreads.min, value(spreads.max, 0.0));
  require_spread({value(spreads.std, 0.0), min, value(spreads.max, min)}, "the energy of atom " + atoms.name(atom));
  if (!std::isfinite(value(spreads.extrapolation, 0.0)))
    throw Error("the extrapolation of atom " + atoms.name(atom) + " is not a finite number");
}

}  // namespace

void require_spread(const Spread& spread, const std::string& of) {
  if (std::isfinite(spread.std) && spread.std >= 0.0 && std::isfinite(spread.min) && std::isfinite(spread.max) &&
      spread.min <= spread.max)
    return;
  char numbers[160];
  std::snprintf(numbers, sizeof numbers, "std %.6g, min %.6g, max %.6g", spread.std, spread.min, spread.max);
  throw Error("the spread of " + of + " over the members is " + numbers +
              ", expected finite numbers in order: a weight of a member is damaged or absurd");
}

struct Potential::State {
  State(ModelFile file, KernelChoice choice)
      : params(validated(std::move(file.params))),
        model(params.n_elements(), params.n_components(), params.quadraticflag, std::move(file.theta)),
        kernel(make_kernel(params, model, choice)),
        error_scale(file.error_scale) {
    if (!file.members.empty()) {
      ensemble.emplace(model, file.members, choice.instruction_set);
      if (!file.extrapolation_factor.empty()) ensemble->set_extrapolation_factor(file.extrapolation_factor);
    }
    if (file.zbl) zbl.emplace(params.elements, file.zbl->inner, file.zbl->outer);
  }

  void run_chunk(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                 const KernelOutput& sums, ThreadState& thread) const;
  void run_share(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out, bool first,
                 ThreadState& thread) const;

  SnapParams params;
  EnergyModel model;
  std::unique_ptr<Kernel> kernel;
  std::optional<Ensemble> ensemble;
  std::optional<Zbl> zbl;
  ErrorScale error_scale;
  std::vector<ThreadState> threads;
  std::vector<int> sorted_centres;
  std::mutex busy;
};

void Potential::State::run_chunk(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                                 const KernelOutput& sums, ThreadState& thread) const {
  const std::size_t K = params.n_components(), P = model.n_weights();
  const bool wants_B = out.B || out.features || out.spreads.any();
  for (int i : centres) {
    const double* r = atoms.positions + 3 * static_cast<std::size_t>(i);
    if (!std::isfinite(r[0] + r[1] + r[2])) throw Error("the position of atom " + atoms.name(i) + " is not finite");
  }
  KernelOutput k = sums;
  thread.energies.assign(centres.size(), 0.0);
  k.energies = thread.energies.data();
  if (wants_B) {
    thread.B.resize(kChunk * K);
    k.B = thread.B.data();
  }
  kernel->evaluate(atoms, centres, k, *thread.workspace);
  thread.repulsion.assign(centres.size(), 0.0);
  if (zbl) {
    k.energies = thread.repulsion.data();
    zbl->evaluate(atoms, centres, k);
  }
  for (std::size_t c = 0; c < centres.size(); ++c) {
    const double energy = thread.energies[c] + thread.repulsion[c];
    if (!std::isfinite(energy))
      throw Error("the energy of atom " + atoms.name(centres[c]) +
                  " is not a finite number: a position is not finite, or atoms sit on top of each other");
    thread.energy += energy;
    if (out.atom_energies) out.atom_energies[centres[c]] = energy;
    if (out.B) std::copy_n(thread.B.data() + c * K, K, out.B + static_cast<std::size_t>(centres[c]) * K);
    if (out.features) {
      model.features(std::span(thread.B).subspan(c * K, K), thread.row);
      double* sum = thread.features.data() + atoms.species(centres[c]) * P;
      for (std::size_t p = 0; p < P; ++p) sum[p] += thread.row[p];
    }
  }
  if (out.spreads.any()) {
    thread.species.resize(centres.size());
    for (std::size_t c = 0; c < centres.size(); ++c) thread.species[c] = atoms.species(centres[c]);
    ensemble->atom_spreads(model, centres, thread.species, thread.B.data(), out.spreads);
    for (std::size_t c = 0; c < centres.size(); ++c) {
      if (out.spreads.min) out.spreads.min[centres[c]] += thread.repulsion[c];
      if (out.spreads.max) out.spreads.max[centres[c]] += thread.repulsion[c];
      require_spreads(out.spreads, atoms, centres[c]);
    }
  }
}

void Potential::State::run_share(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                                 bool first, ThreadState& thread) const {
  try {
    if (!thread.workspace) thread.workspace = kernel->make_workspace();
    thread.energy = 0.0;
    std::fill_n(thread.virial, 6, 0.0);
    if (out.features) {
      thread.features.assign(model.theta().size(), 0.0);
      thread.row.resize(model.n_weights());
    }
    KernelOutput sums;
    if (out.virial) sums.virial = thread.virial;
    const auto accumulator = [&](double* callers, std::vector<double>& own, std::size_t size) {
      if (!callers || first) return callers;
      own.assign(size, 0.0);
      return own.data();
    };
    const std::size_t n = atoms.n_atoms;
    sums.forces = accumulator(out.forces, thread.forces, 3 * n);
    sums.atom_virials = accumulator(out.atom_virials, thread.atom_virials, 6 * n);
    for (std::size_t begin = 0; begin < centres.size(); begin += kChunk)
      run_chunk(atoms, centres.subspan(begin, std::min(kChunk, centres.size() - begin)), out, sums, thread);
  } catch (...) {
    thread.failure = std::current_exception();
  }
}

Potential::Potential(ModelFile file, KernelChoice choice) : state_(std::make_unique<State>(std::move(file), choice)) {}
Potential::~Potential() = default;
Potential::Potential(Potential&&) noexcept = default;
Potential& Potential::operator=(Potential&&) noexcept = default;

const SnapParams& Potential::params() const { return state_->params; }
const EnergyModel& Potential::model() const { return state_->model; }
const Ensemble* Potential::ensemble() const { return state_->ensemble ? &*state_->ensemble : nullptr; }
const ErrorScale& Potential::error_scale() const { return state_->error_scale; }
const Kernel& Potential::kernel() const { return *state_->kernel; }

double Potential::cutoff() const {
  const double snap = state_->params.max_cutoff();
  return state_->zbl ? std::max(snap, state_->zbl->outer()) : snap;
}

void Potential::evaluate(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                         int n_threads) {
  State& s = *state_;
  const std::lock_guard alone(s.busy);
  if (out.spreads.any() && !s.ensemble)
    throw Error("spreads were asked of a model without members, expected a model fitted with a posterior");
  require_species(atoms, s.params.n_elements());

  // Centres of one element side by side fill vector lanes that share their weights.
  auto& order = s.sorted_centres;
  order.clear();
  for (int element = 0; element < s.params.n_elements(); ++element)
    for (int i : centres)
      if (atoms.species(i) == element) order.push_back(i);

  const std::size_t n_chunks = (order.size() + kChunk - 1) / kChunk;
  const int n = team_size(n_threads, static_cast<long>(n_chunks));
  if (static_cast<int>(s.threads.size()) < n) s.threads.resize(n);
  for (ThreadState& thread : s.threads) thread.failure = nullptr;

#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int t = 0; t < n; ++t) {
    const std::size_t begin = std::min(order.size(), n_chunks * t / n * kChunk);
    const std::size_t end = std::min(order.size(), n_chunks * (t + 1) / n * kChunk);
    s.run_share(atoms, std::span(order).subspan(begin, end - begin), out, t == 0, s.threads[t]);
  }
  for (int t = 0; t < n; ++t)
    if (s.threads[t].failure) std::rethrow_exception(s.threads[t].failure);

  if (out.energy) *out.energy = 0.0;
  if (out.features) std::fill_n(out.features, s.model.theta().size(), 0.0);
  for (int t = 0; t < n; ++t) {
    const ThreadState& thread = s.threads[t];
    if (out.energy) *out.energy += thread.energy;
    if (out.virial)
      for (int v = 0; v < 6; ++v) out.virial[v] += thread.virial[v];
    if (out.features)
      for (std::size_t p = 0; p < s.model.theta().size(); ++p) out.features[p] += thread.features[p];
  }
  if (n == 1) return;
  const auto reduce = [&](double* into, std::vector<double> ThreadState::* own, long size) {
    if (!into) return;
#pragma omp parallel for num_threads(n) schedule(static)
    for (long i = 0; i < size; ++i)
      for (int t = 1; t < n; ++t) into[i] += (s.threads[t].*own)[i];
  };
  reduce(out.forces, &ThreadState::forces, 3L * atoms.n_atoms);
  reduce(out.atom_virials, &ThreadState::atom_virials, 6L * atoms.n_atoms);
}

Spread Potential::cell_spread(std::span<const double> features, double energy) const {
  std::vector<double> committee(state_->ensemble ? state_->ensemble->n_members() : 0);
  this->committee(features, energy, committee);
  double sum = 0.0;
  for (double e : committee) sum += (e - energy) * (e - energy);
  const auto [least, most] = std::minmax_element(committee.begin(), committee.end());
  const Spread spread{std::sqrt(sum / static_cast<double>(committee.size())), *least, *most};
  require_spread(spread, "the energy of the cell");
  return spread;
}

void Potential::committee(std::span<const double> features, double energy, std::span<double> energies) const {
  if (!state_->ensemble)
    throw Error("a committee was asked of a model without members, expected a model fitted with a posterior");
  state_->ensemble->committee_moves(features, energies);
  for (std::size_t m = 0; m < energies.size(); ++m) {
    energies[m] += energy;
    if (!std::isfinite(energies[m]))
      throw Error("the energy of the cell by member " + std::to_string(m) +
                  " is not a finite number: a weight of that member is damaged or absurd");
  }
}

double energy_error(const ErrorScale& scale, double std, double n_atoms) {
  return std::hypot(scale.alpha_energy * std, n_atoms * scale.noise_energy);
}

}  // namespace mliuq
