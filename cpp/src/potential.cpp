#include "mliuq/potential.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <utility>

#include "mliuq/error.hpp"
#include "row_accumulator.hpp"
#include "row_group.hpp"
#include "threads.hpp"

namespace mliuq {
namespace {

/// Centres handed to a kernel at a time: several vector blocks, and B of a chunk stays in cache.
constexpr std::size_t kChunk = 64;

/// What one thread owns. Accumulators of the first thread are the caller's arrays; the others' are added afterwards in
/// thread order, so that a fixed thread count gives fixed sums.
struct ThreadState {
  std::unique_ptr<Workspace> workspace;
  std::vector<double> B, energies, repulsion, forces, atom_virials, features, row, beta;
  std::vector<int> species;
  double energy = 0.0;
  double virial[6] = {};
  std::exception_ptr failure;
};

bool is_sound(const Spread& spread) {
  return std::isfinite(spread.std) && spread.std >= 0.0 && std::isfinite(spread.min) && std::isfinite(spread.max) &&
         spread.min <= spread.max;
}

SnapParams validated(SnapParams params) {
  params.validate();
  return params;
}

/// A spread that no threshold could be compared with must not reach one: NaN is larger than nothing.
void require_spreads(const AtomSpreads& spreads, const Neighbourhood& atoms, int atom) {
  const auto value = [atom](const double* array, double absent) { return array ? array[atom] : absent; };
  const double min = value(spreads.min, value(spreads.max, 0.0));
  const Spread spread{value(spreads.std, 0.0), min, value(spreads.max, min)};
  if (!is_sound(spread)) require_spread(spread, "the energy of atom " + atoms.name(atom));
}

}  // namespace

void require_spread(const Spread& spread, const std::string& of) {
  if (is_sound(spread)) return;
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
        project(simd::projection_table(choice.instruction_set)),
        error_scale(file.error_scale),
        thresholds(std::move(file.thresholds)) {
    if (!file.members.empty()) {
      ensemble.emplace(model, file.members, choice.instruction_set);
      if (file.box) ensemble->set_box(file.box->axes, file.box->lo, file.box->hi);
      if (file.sharing) ensemble->set_sharing(file.sharing->moves, file.sharing->coefficients);
    }
    if (!file.extrapolation_factor.empty())
      extrapolation.emplace(model, file.extrapolation_factor, choice.instruction_set);
    if (file.zbl) zbl.emplace(params.elements, file.zbl->inner, file.zbl->outer);
  }

  void run_chunk(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                 const KernelOutput& sums, ThreadState& thread) const;
  void run_share(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out, bool first,
                 ThreadState& thread) const;

  /// Centres of one element side by side fill vector lanes that share their weights.
  void sort_centres(const Neighbourhood& atoms, std::span<const int> centres);

  /// Calls work(thread, whether it is the first, its share of the sorted centres) in parallel; the number of shares.
  template <class Work>
  int share_centres(int n_threads, Work&& work);

  /// The caller's array for the first share, a cleared one of its own for every other; `reduce` adds those.
  static double* accumulator(double* callers, std::vector<double>& own, std::size_t size, bool first) {
    if (!callers || first) return callers;
    own.assign(size, 0.0);
    return own.data();
  }
  void reduce(double* into, std::vector<double> ThreadState::* own, long size, int n_shares) const;

  /// Adds the forces of an energy whose ∂e/∂B `slopes(thread, chunk of centres)` puts into thread.beta.
  template <class Slopes>
  void add_gradient(const Neighbourhood& atoms, std::span<const int> centres, double* gradient, int n_threads,
                    Slopes&& slopes);

  void descriptors(const Neighbourhood& atoms, std::span<const int> chunk, ThreadState& thread) const {
    thread.B.resize(kChunk * model.n_components());
    kernel->evaluate(atoms, chunk, {.B = thread.B.data()}, *thread.workspace);
  }
  const Ensemble& members(const char* what) const {
    if (!ensemble)
      throw Error(std::string(what) + " of a model without members, expected a model fitted with a posterior");
    return *ensemble;
  }

  SnapParams params;
  EnergyModel model;
  std::unique_ptr<Kernel> kernel;
  const simd::ProjectionTable& project;
  std::optional<Ensemble> ensemble;
  std::optional<Extrapolation> extrapolation;
  std::optional<Zbl> zbl;
  ErrorScale error_scale;
  std::map<std::string, std::array<double, 2>> thresholds;
  std::vector<ThreadState> threads;
  std::vector<int> sorted_centres;
  std::vector<RowChunk> row_chunks;
  std::mutex busy;
};

void Potential::State::run_chunk(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                                 const KernelOutput& sums, ThreadState& thread) const {
  const std::size_t K = model.n_components(), P = model.n_weights();
  const bool wants_B = out.B || out.features || out.extrapolation || out.spreads.any();
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
    if (out.features)
      model.add_features(std::span(thread.B).subspan(c * K, K),
                         std::span(thread.features).subspan(atoms.species(centres[c]) * P, P));
  }
  if (out.extrapolation || out.spreads.any()) {
    thread.species.resize(centres.size());
    for (std::size_t c = 0; c < centres.size(); ++c) thread.species[c] = atoms.species(centres[c]);
  }
  if (out.extrapolation) {
    extrapolation->distances(model, centres, thread.species, thread.B.data(), out.extrapolation);
    for (int i : centres)
      if (!std::isfinite(out.extrapolation[i]))
        throw Error("the extrapolation of atom " + atoms.name(i) + " is not a finite number");
  }
  if (out.spreads.any()) {
    ensemble->atom_spreads(model, centres, thread.species, thread.B.data(), out.spreads);
    for (double* extreme : {out.spreads.min, out.spreads.max, out.spreads.box_min, out.spreads.box_max})
      if (extreme)
        for (std::size_t c = 0; c < centres.size(); ++c)
          extreme[centres[c]] += thread.energies[c] + thread.repulsion[c];
    if (out.spreads.committee)
      for (int m = 0; m < ensemble->n_members(); ++m)
        for (std::size_t c = 0; c < centres.size(); ++c) {
          double& energy = out.spreads.committee[m * out.spreads.n_atoms + centres[c]];
          energy += thread.energies[c] + thread.repulsion[c];
          if (!std::isfinite(energy))
            throw Error("the energy of atom " + atoms.name(centres[c]) + " by member " + std::to_string(m) +
                        " is not a finite number: a weight of that member is damaged or absurd");
        }
    for (int i : centres) require_spreads(out.spreads, atoms, i);
  }
}

void Potential::State::sort_centres(const Neighbourhood& atoms, std::span<const int> centres) {
  sorted_centres.clear();
  for (int element = 0; element < params.n_elements(); ++element)
    for (int i : centres)
      if (atoms.species(i) == element) sorted_centres.push_back(i);
}

template <class Work>
int Potential::State::share_centres(int n_threads, Work&& work) {
  const std::span<const int> order = sorted_centres;
  const std::size_t n_chunks = (order.size() + kChunk - 1) / kChunk;
  const int n = team_size(n_threads, static_cast<long>(n_chunks));
  if (static_cast<int>(threads.size()) < n) threads.resize(n);
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int t = 0; t < n; ++t) try {
      threads[t].failure = nullptr;
      if (!threads[t].workspace) threads[t].workspace = kernel->make_workspace();
      const std::size_t begin = std::min(order.size(), n_chunks * t / n * kChunk);
      const std::size_t end = std::min(order.size(), n_chunks * (t + 1) / n * kChunk);
      work(threads[t], t == 0, order.subspan(begin, end - begin));
    } catch (...) {
      threads[t].failure = std::current_exception();
    }
  for (int t = 0; t < n; ++t)
    if (threads[t].failure) std::rethrow_exception(threads[t].failure);
  return n;
}

void Potential::State::reduce(double* into, std::vector<double> ThreadState::* own, long size, int n_shares) const {
  if (!into || n_shares == 1) return;
#pragma omp parallel for num_threads(n_shares) schedule(static)
  for (long i = 0; i < size; ++i)
    for (int t = 1; t < n_shares; ++t) into[i] += (threads[t].*own)[i];
}

void Potential::State::run_share(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                                 bool first, ThreadState& thread) const {
  thread.energy = 0.0;
  std::fill_n(thread.virial, 6, 0.0);
  if (out.features) thread.features.assign(model.theta().size(), 0.0);
  KernelOutput sums;
  if (out.virial) sums.virial = thread.virial;
  const std::size_t n = atoms.n_atoms;
  sums.forces = accumulator(out.forces, thread.forces, 3 * n, first);
  sums.atom_virials = accumulator(out.atom_virials, thread.atom_virials, 6 * n, first);
  for (std::size_t begin = 0; begin < centres.size(); begin += kChunk)
    run_chunk(atoms, centres.subspan(begin, std::min(kChunk, centres.size() - begin)), out, sums, thread);
}

template <class Slopes>
void Potential::State::add_gradient(const Neighbourhood& atoms, std::span<const int> centres, double* gradient,
                                    int n_threads, Slopes&& slopes) {
  sort_centres(atoms, centres);
  const std::size_t K = params.n_components();
  const int n = share_centres(n_threads, [&](ThreadState& thread, bool first, std::span<const int> share) {
    double* const sums = accumulator(gradient, thread.forces, 3 * static_cast<std::size_t>(atoms.n_atoms), first);
    thread.beta.resize(kChunk * K);
    for (std::size_t begin = 0; begin < share.size(); begin += kChunk) {
      const auto chunk = share.subspan(begin, std::min(kChunk, share.size() - begin));
      slopes(thread, chunk);
      kernel->contract(atoms, chunk, thread.beta.data(), {.forces = sums}, *thread.workspace);
    }
  });
  reduce(gradient, &ThreadState::forces, 3L * atoms.n_atoms, n);
}

Potential::Potential(ModelFile file, KernelChoice choice) : state_(std::make_unique<State>(std::move(file), choice)) {}
Potential::~Potential() = default;
Potential::Potential(Potential&&) noexcept = default;
Potential& Potential::operator=(Potential&&) noexcept = default;

const SnapParams& Potential::params() const { return state_->params; }
const EnergyModel& Potential::model() const { return state_->model; }
const Ensemble* Potential::ensemble() const { return state_->ensemble ? &*state_->ensemble : nullptr; }
const Extrapolation* Potential::extrapolation() const {
  return state_->extrapolation ? &*state_->extrapolation : nullptr;
}
const ErrorScale& Potential::error_scale() const { return state_->error_scale; }
const std::map<std::string, std::array<double, 2>>& Potential::thresholds() const { return state_->thresholds; }
const Kernel& Potential::kernel() const { return *state_->kernel; }

double Potential::cutoff() const {
  const double snap = state_->params.max_cutoff();
  return state_->zbl ? std::max(snap, state_->zbl->outer()) : snap;
}

void Potential::evaluate(const Neighbourhood& atoms, std::span<const int> centres, const PotentialOutput& out,
                         int n_threads) {
  State& s = *state_;
  const std::lock_guard alone(s.busy);
  if (out.spreads.any()) s.members("spreads were asked");
  if (out.extrapolation && !s.extrapolation)
    throw Error("extrapolation: the model file has no extrapolation.factor, expected a model fitted by mliuq");
  require_species(atoms, s.params.n_elements());
  s.sort_centres(atoms, centres);
  const int n = s.share_centres(n_threads, [&](ThreadState& thread, bool first, std::span<const int> share) {
    s.run_share(atoms, share, out, first, thread);
  });
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
  s.reduce(out.forces, &ThreadState::forces, 3L * atoms.n_atoms, n);
  s.reduce(out.atom_virials, &ThreadState::atom_virials, 6L * atoms.n_atoms, n);
}

void Potential::accumulate_rows(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                                int n_threads) {
  State& s = *state_;
  const std::lock_guard alone(s.busy);
  require_species(atoms, s.params.n_elements());
  const auto sees_target = [&](int i) {
    if (targets.strain || targets.features || targets.row_of_atom[i] >= 0) return true;
    return std::any_of(atoms.neighbours[i], atoms.neighbours[i] + atoms.n_neighbours[i],
                       [&](int j) { return targets.row_of_atom[j & atoms.index_mask] >= 0; });
  };
  s.sort_centres(atoms, centres);
  std::erase_if(s.sorted_centres, [&](int i) { return !sees_target(i); });
  const std::size_t worth_a_thread = s.model.quadratic() ? kDerivedCentres : kRowChunk;
  s.row_chunks.resize(team_size(n_threads, static_cast<long>(s.sorted_centres.size() / worth_a_thread)));
  RowAccumulator(*s.kernel, s.model, s.project).run(atoms, s.sorted_centres, targets, s.row_chunks);
}

void Potential::energy_std_gradient(const Neighbourhood& atoms, std::span<const int> centres,
                                    std::span<const double> features, double scale, double* gradient, int n_threads) {
  State& s = *state_;
  const std::lock_guard alone(s.busy);
  std::vector<double> weights(features.size());
  s.members("the gradient of energy_std was asked").second_moment_times(features, weights);
  double variance = 0.0;
  for (std::size_t p = 0; p < features.size(); ++p) variance += features[p] * weights[p];
  if (!(variance > 0.0)) return;
  for (double& weight : weights) weight *= -scale / std::sqrt(variance);  // the kernel adds forces
  const EnergyModel slope(s.params.n_elements(), s.params.n_components(), s.params.quadraticflag, std::move(weights));
  const std::size_t K = s.params.n_components();
  s.add_gradient(atoms, centres, gradient, n_threads, [&](ThreadState& thread, std::span<const int> chunk) {
    if (slope.quadratic()) s.descriptors(atoms, chunk, thread);
    for (std::size_t c = 0; c < chunk.size(); ++c)
      slope.gradient(atoms.species(chunk[c]), std::span(thread.B).subspan(slope.quadratic() ? c * K : 0),
                     std::span(thread.beta).subspan(c * K, K));
  });
}

void Potential::atom_std_gradient(const Neighbourhood& atoms, std::span<const int> centres, const double* scales,
                                  double* gradient, int n_threads) {
  State& s = *state_;
  const std::lock_guard alone(s.busy);
  const Ensemble& ensemble = s.members("the gradient of energies_std was asked");
  s.add_gradient(atoms, centres, gradient, n_threads, [&](ThreadState& thread, std::span<const int> chunk) {
    s.descriptors(atoms, chunk, thread);
    thread.species.resize(chunk.size());
    thread.row.resize(chunk.size());
    for (std::size_t c = 0; c < chunk.size(); ++c) {
      thread.species[c] = atoms.species(chunk[c]);
      thread.row[c] = -scales[chunk[c]];
    }
    ensemble.atom_std_slopes(s.model, thread.species, thread.B.data(), thread.row.data(), thread.beta.data());
  });
}

Spread Potential::cell_spread(std::span<const double> features, double energy) const {
  Spread spread;
  const std::size_t place = 0;
  RowGroup cell(state_->members("a spread was asked"), {.std = &spread.std, .least = &spread.min, .most = &spread.max},
                1);
  cell.add(features.data(), {&place, 1});
  cell.end();
  spread.min += energy;
  spread.max += energy;
  require_spread(spread, "the energy of the cell");
  return spread;
}

void Potential::committee(std::span<const double> features, double energy, std::span<double> energies) const {
  state_->members("a committee was asked").row_spreads(features, {.committee = energies.data()}, 1);
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
