// SPDX-License-Identifier: GPL-2.0-only

// PairMliuq, continued: what computes, fixes and `fix pair` read, evaluated when they ask for it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mliuq/error.hpp"
#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

namespace {

constexpr unsigned kOfForces =
    bit(kForceStd) | bit(kForceErr) | bit(kFxStd) | bit(kFyStd) | bit(kFzStd) | bit(kFxErr) | bit(kFyErr) | bit(kFzErr);
constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr unsigned kRows = kForceRows | kStrain;  // evaluated by themselves, when they are read

// What the core evaluates for it: errors are made of standard deviations, when they are read.
unsigned evaluated(unsigned wanted) {
  unsigned all = wanted & ~(bit(kErr) | kOfForces);
  if (wanted & bit(kErr)) all |= bit(kStd);
  if (wanted & kOfForces) all |= kForceRows;
  if (wanted & (bit(kMin) | bit(kMax))) all |= bit(kMin) | bit(kMax);  // a factor below 0 swaps them
  return all;
}

}  // namespace

void PairMliuq::require(unsigned wanted, const std::string& who) const {
  if (!potential_) error->all(FLERR, "{}: expected pair_style mliuq with a pair_coeff, found no model", who);
  if (const int v = hybrid_variable(); v >= 0 && !input->variable->equalstyle(v)) {
    error->all(FLERR, "{}: hybrid/scaled v_{}: expected a number or an equal-style variable for the uncertainties", who,
               hybrid_variable_);
  }
  const bool needs_members = (wanted & ~bit(kExtrapolation)) || !wanted;
  if (needs_members && !potential_->ensemble())
    error->all(FLERR, "{}: {}: expected a model with posterior members, found none", who, file_);
  if ((wanted & bit(kExtrapolation)) && !potential_->extrapolation()) {
    error->all(FLERR, "{}: {}: expected a model with extrapolation.factor, found none", who, file_);
  }
}

unsigned PairMliuq::wanted_now() const {
  unsigned wanted = 0;
  for (int q = 0; q < kNumQuantities; ++q) {
    if (flags_[q]) wanted |= bit(static_cast<AtomQuantity>(q));
  }
  // A minimiser evaluates the forces of a step several times; only the last positions are ever read.
  if (update->whichflag != 1) return evaluated(wanted) & ~kRows;
  const auto add = [&](SpreadReader* reader) {
    if (reader && reader->reads(lmp, *this) && reader->expects(update->ntimestep)) wanted |= reader->wanted();
  };
  // Not get_compute_list and get_fix_list, which make a new vector each time: this runs at every step.
  for (int i = 0; i < modify->ncompute; ++i) add(dynamic_cast<SpreadReader*>(modify->compute[i]));
  for (int i = 0; i < modify->nfix; ++i) add(dynamic_cast<SpreadReader*>(modify->fix[i]));
  return evaluated(wanted) & ~kRows;  // those share nothing with the forces
}

/// Whether this rank's results belong to the present positions.
bool PairMliuq::present() const {
  return list && listed_.same_atoms(*atom) && evaluated_at_.same_atoms(*atom) &&
         evaluated_at_.same_place(*atom, *domain);
}

void PairMliuq::prepare(unsigned wanted) {
  enum { kPresent, kMoved, kForeign };
  int state = kPresent;
  if (!list || !listed_.same_atoms(*atom)) {
    state = kForeign;
  } else if (!present()) {
    state = kMoved;
  }
  MPI_Allreduce(MPI_IN_PLACE, &state, 1, MPI_INT, MPI_MAX, world);
  if (state == kMoved) {
    comm->forward_comm();  // images follow their atoms
    // Within a run LAMMPS sees to it that the list is good, also where a fix moved atoms or the box after the forces.
    if (update->whichflag == 0 && !listed_covers()) state = kForeign;
    MPI_Allreduce(MPI_IN_PLACE, &state, 1, MPI_INT, MPI_MAX, world);
  }
  if (state == kForeign) {
    error->all(
        FLERR,
        "Pair style mliuq: uncertainties asked for atoms and positions that the neighbour list does not describe:"
        " atoms were added, deleted, changed or moved since the last run; use run 0 first");
  }
  if (state == kMoved) begin_evaluation();
  const unsigned missing = evaluated(wanted) & ~fresh_;
  if (missing & ~kRows) evaluate({}, missing & ~kRows);
  if (missing & kForceRows) evaluate_force_spreads(true);
  if (missing & kStrain) evaluate_strain();
}

void PairMliuq::try_force_spreads() {
  if (!(fresh_ & kForceRows)) evaluate_force_spreads(false);
}

void PairMliuq::ensure(unsigned wanted) {
  prepare(wanted);
  fail_together(at_step(spread_problem_), spread_culprit_);
}

const double* PairMliuq::peek(AtomQuantity quantity) {
  const bool known = present() && (evaluated(bit(quantity)) & ~fresh_) == 0;
  return known ? local_values(quantity) : nullptr;
}

const double* PairMliuq::atom_values(AtomQuantity quantity) {
  ensure(bit(quantity));
  return local_values(quantity);
}

const double* PairMliuq::local_values(AtomQuantity quantity) {
  if ((bit(quantity) & (bit(kErr) | kOfForces)) && !(fresh_ & bit(quantity))) {
    double* const values = cleared(quantity);
    for (const int i : centres()) values[i] = derived(quantity, i);
    fresh_ |= bit(quantity);
  }
  return atom_values_[quantity].data();
}

/// Errors, and the size of the three components together.
double PairMliuq::derived(AtomQuantity quantity, int i) const {
  const mliuq::ErrorScale scale = error_scale();
  if (quantity == kErr) return mliuq::energy_error(scale, atom_values_[kStd][i], 1.0);
  const double* const raw = force_spreads_.force_std(i);
  const double k = std::abs(reading_factor()), std[3] = {k * raw[0], k * raw[1], k * raw[2]};
  const auto error = [&](int x) { return std::hypot(scale.alpha_force * std[x], scale.noise_force); };
  if (quantity == kForceStd) return std::hypot(std[0], std[1], std[2]);
  if (quantity == kForceErr) return std::hypot(error(0), error(1), error(2));
  return quantity < kFxErr ? std[quantity - kFxStd] : error(quantity - kFxErr);
}

const std::vector<double>& PairMliuq::atom_energies() {
  prepare(0);
  energies_.assign(static_cast<std::size_t>(std::max(atom->nmax, 1)), 0.0);
  mliuq::PotentialOutput out;
  out.atom_energies = energies_.data();
  evaluate(out, 0);
  const double k = reading_factor();
  for (double& energy : energies_) energy *= k;
  return energies_;
}

std::string PairMliuq::own_threshold_names() const {
  std::string names;
  for (const auto& [name, values] : potential_->thresholds()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

std::optional<std::array<double, 2>> PairMliuq::own_thresholds(const std::string& quantity) const {
  const auto found = potential_->thresholds().find(quantity);
  if (found == potential_->thresholds().end()) return std::nullopt;
  return found->second;
}

std::string PairMliuq::element_of_type(int type) const {
  const int species = species_of_type_[type];
  return species < 0 ? "X" : potential_->params().elements[species];
}

/// One reduction where the values were made with the forces.
PairMliuq::Cell PairMliuq::cell() {
  const std::size_t n = potential_->model().theta().size();
  const auto summed = [&] {
    const bool known = present() && (fresh_ & kCell);
    cell_sums_.assign(n + 3, 0.0);
    if (known) {
      std::copy(features_.begin(), features_.end(), cell_sums_.begin());
      cell_sums_[n] = local_energy_;
      cell_sums_[n + 1] = static_cast<double>(centres().size());
    }
    cell_sums_[n + 2] = known ? 0.0 : 1.0;
    MPI_Allreduce(MPI_IN_PLACE, cell_sums_.data(), static_cast<int>(n + 3), MPI_DOUBLE, MPI_SUM, world);
    return cell_sums_[n + 2] == 0.0;
  };
  if (!summed()) {
    prepare(kCell);
    summed();
  }
  return {cell_sums_[n], std::span(cell_sums_).first(n), cell_sums_[n + 1]};
}

double PairMliuq::cell_energy_error_per_atom() {
  const Cell sum = cell();
  if (sum.n_atoms == 0.0) return 0.0;
  try {
    const mliuq::Spread spread = potential_->cell_spread(sum.features, sum.energy);
    return mliuq::energy_error(error_scale(), spread.std, sum.n_atoms) / sum.n_atoms;
  } catch (const mliuq::Error& e) {  // on every rank alike
    spread_problem_ = e.what();
    return std::numeric_limits<double>::infinity();
  }
}

std::array<double, 7> PairMliuq::stress_std() {
  if ((fresh_ & kStrain) || !evaluate_strain()) prepare(kStrain);
  const double volume = domain->xprd * domain->yprd * (domain->dimension == 3 ? domain->zprd : 1.0);
  std::array<double, 7> std = force_spreads_.strain_std();
  for (double& value : std)
    value = strain_sound_ ? value * std::abs(reading_factor()) * force->nktv2p / volume : kInfinite;
  return std;
}

/// Noise of the components is independent: of their mean it is smaller by √3.
double PairMliuq::pressure_error(double std) const {
  const mliuq::ErrorScale scale = error_scale();
  return std::hypot(scale.alpha_stress * std, scale.noise_stress * force->nktv2p / std::sqrt(3.0));
}

void* PairMliuq::extract_peratom(const char* name, int& columns) {
  columns = 0;
  const AtomQuantity quantity = quantity_of(name);
  if (quantity == kNumQuantities) return nullptr;
  require(bit(quantity), "Pair style mliuq");
  // `fix pair` asks once while the input is read: there may be nothing to evaluate yet.
  fix_pair_reads_ = true;
  if (update->whichflag == 0) return cleared(quantity);
  const double* const values = atom_values(quantity);
  fix_pair_read_ = evaluated_at_;
  fix_pair_step_ = update->ntimestep;
  return const_cast<double*>(values);
}

/// `fix pair` keeps what it was given first on a step, however often the forces of that step are computed.
void PairMliuq::check_fix_pair() {
  if (fix_pair_warned_ || fix_pair_step_ != update->ntimestep) return;
  int changed = !fix_pair_read_.same_atoms(*atom) || !fix_pair_read_.same_place(*atom, *domain);
  MPI_Allreduce(MPI_IN_PLACE, &changed, 1, MPI_INT, MPI_MAX, world);
  if (changed)
    warn_fix_pair("this step is evaluated again at other positions: fix pair keeps the uncertainties of the first");
}

void PairMliuq::warn_fix_pair(const char* why) {
  if (comm->me == 0 && !fix_pair_warned_) {
    error->warning(FLERR, "Pair style mliuq: step {}: {}. Read them by compute mliuq/atom instead", update->ntimestep,
                   why);
  }
  fix_pair_warned_ = true;
}

}  // namespace mliuq_lammps
