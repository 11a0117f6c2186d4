// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "atom_quantity.hpp"
#include "force_spreads.hpp"
#include "lammps_headers.hpp"
#include "mliuq/potential.hpp"
#include "snapshot.hpp"

namespace mliuq_lammps {

/// `pair_style mliuq [precision single|double]`, `pair_coeff * * FILE ELEMENT ...`.
///
/// Hands LAMMPS's own full neighbour list to the core and takes forces, energies and virials back in place. Spreads are
/// evaluated only for who asks: together with the forces on steps for which LAMMPS knows that a compute will be read
/// (or `fix pair` set its flags), afterwards and without forces otherwise.
class PairMliuq : public LAMMPS_NS::Pair {
 public:
  explicit PairMliuq(LAMMPS_NS::LAMMPS* lmp);
  ~PairMliuq() override;

  void settings(int narg, char** arg) override;
  void coeff(int narg, char** arg) override;
  void init_style() override;
  void init_list(int id, LAMMPS_NS::NeighList* list) override;
  void setup() override;
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  void* extract(const char* name, int& dim) override;
  void* extract_peratom(const char* name, int& columns) override;
  double memory_usage() override;
  int pack_forward_comm(int n, int* list, double* buffer, int pbc_flag, int* pbc) override;
  void unpack_forward_comm(int n, int first, double* buffer) override;
  int pack_reverse_comm(int n, int first, double* buffer) override;
  void unpack_reverse_comm(int n, int* list, double* buffer) override;

  /// Throws LAMMPS's error unless the model has what is wanted; `who` begins the message.
  void require(unsigned wanted, const std::string& who) const;

  /// Evaluates what is wanted at the present positions and not known yet, all of it at once. Throws LAMMPS's error when
  /// the neighbour list does not describe the present atoms. Called by all ranks together.
  void prepare(unsigned wanted);

  /// The same, and throws LAMMPS's error where a spread is no number.
  void ensure(unsigned wanted);

  /// Spreads of forces wherever this rank's results belong to the present positions, without asking the other ranks
  /// whether theirs do: who reads them has to. Called by all ranks together.
  void try_force_spreads();

  /// Values of this rank's atoms where they are known already for the present positions, null elsewhere: asks no other
  /// rank.
  const double* peek(AtomQuantity quantity);

  /// Whether the spreads of the present positions are no numbers on this rank, of which atom, and (told to all ranks
  /// together) why.
  bool spread_problem() const { return !spread_problem_.empty(); }
  LAMMPS_NS::bigint spread_culprit() const { return spread_culprit_; }
  std::string told_problem() const { return told(spread_problem_, spread_culprit_); }

  /// Tells all ranks the message of the smallest `order` among those that have one (empty: none).
  std::string told(const std::string& message, LAMMPS_NS::bigint order) const;

  /// Values of this rank's atoms at the present positions, [nlocal]; zero for atoms the pair style does not cover.
  const double* atom_values(AtomQuantity quantity);

  /// Energy (eV) of the cell at the present positions, its summed features [n_elements][P] and its atoms. Called by all
  /// ranks together; holds until the next call.
  struct Cell {
    double energy;
    std::span<const double> features;
    double n_atoms;
  };
  Cell cell();

  /// Standard deviations of the stress components xx yy zz yz xz xy at the present positions, and of the pressure, in
  /// the unit of pressure; infinite where they are no numbers. Called by all ranks together.
  std::array<double, 7> stress_std();

  /// Predicted error of the pressure from its standard deviation, both in the unit of pressure.
  double pressure_error(double std) const;

  /// energy_err of the cell per atom, eV, at the present positions; infinite where the members overflow. Called by all
  /// ranks together.
  double cell_energy_error_per_atom();

  /// Best-fit energies of this rank's atoms at the present positions, eV, [nlocal]. Called by all ranks together.
  const std::vector<double>& atom_energies();

  /// Thresholds (save, halt) of a quantity that calibration left in the model.
  std::optional<std::array<double, 2>> own_thresholds(const std::string& quantity) const;
  std::string own_threshold_names() const;

  const std::string& file() const { return file_; }

  /// Chemical symbol of an atom type, "X" for a type of another pair style.
  std::string element_of_type(int type) const;

  /// Atoms of this rank that the pair style covers and that others may see: an atom of a group that `neigh_modify
  /// exclude` hides from all has no energy, not even that of an isolated atom (fix gcmc takes atoms out on trial by
  /// this).
  std::span<const int> centres();

  /// Calibration and noise of what is read here: those of the model, times the factors that `fix adapt` and
  /// `hybrid/scaled` set.
  mliuq::ErrorScale error_scale() const;

  /// Changes with every new set of positions and never repeats, not in another pair style either: who caches results
  /// compares it after `ensure`.
  long evaluation() const { return evaluation_; }

  const mliuq::Potential& potential() const { return *potential_; }

 private:
  /// Ends the run on every rank when any of them has a problem.
  void fail_together(const std::string& problem, LAMMPS_NS::bigint order) const;
  void allocate();
  void read_model(const std::string& path);
  std::string bytes_of(const std::string& path);
  void log_model() const;
  int species_of(const std::string& element) const;
  unsigned wanted_now() const;
  void note_hybrid_factor(char** arg);
  int hybrid_variable() const;
  double factor() const;
  double reading_factor() const { return factor() * hybrid_factor_; }
  bool listed_covers() const;
  const double* local_values(AtomQuantity quantity);
  void begin_evaluation();
  double evaluate(mliuq::PotentialOutput out, unsigned wanted);
  bool present() const;
  ForceSpreads::Atoms own_atoms();
  void evaluate_force_spreads(bool anew);
  bool evaluate_strain();
  void note_row_problem(const std::string& problem);
  mliuq::Neighbourhood neighbourhood() const;
  double derived(AtomQuantity quantity, int i) const;
  std::string find_culprit(mliuq::Neighbourhood atoms, const mliuq::AtomSpreads& spreads, LAMMPS_NS::bigint& id);
  std::string at_step(const std::string& problem) const;
  void check_fix_pair();
  void warn_fix_pair(const char* why);
  double* cleared(AtomQuantity quantity);

  mliuq::Precision precision_ = mliuq::Precision::double_precision;
  std::unique_ptr<mliuq::Potential> potential_;
  std::optional<double> zbl_outer_;
  std::string reference_;  // potential that the fit had beside the model
  std::string file_;
  std::vector<int> species_of_type_;  // [ntypes + 1]; -1: a type of another pair style

  double** scale_ = nullptr;        // [type][type], for `fix adapt`; one number for all types
  double hybrid_factor_ = 1.0;      // of `hybrid/scaled`, which multiplies energies and forces, but no readings
  std::string hybrid_variable_;     // or the variable that gives it
  std::vector<double> own_forces_;  // before they are scaled
  std::vector<int> visible_centres_;

  // `fix pair ... NAME 1` sets these before the steps on which it reads NAME.
  std::array<int, kNumQuantities> flags_{};

  // Results for the present positions; `fresh_` says which of them are.
  unsigned fresh_ = 0;
  std::array<std::vector<double>, kNumQuantities> atom_values_;
  std::vector<double> features_;
  std::vector<double> cell_sums_;  // features over all ranks, and what is counted beside them
  double local_energy_ = 0.0;
  ForceSpreads force_spreads_;
  bool strain_sound_ = true;  // on all ranks
  std::vector<double> energies_;
  std::string spread_problem_;  // why no spread of the present positions may be read
  LAMMPS_NS::bigint spread_culprit_ = 0;
  std::vector<double> forces_before_;  // of other styles, while spreads are evaluated

  // What the results were made for, whom the neighbour list describes, and what `fix pair` was given last.
  long evaluation_ = 0;
  Snapshot evaluated_at_;
  Snapshot listed_;
  std::pair<LAMMPS_NS::bigint, LAMMPS_NS::bigint> list_build_{-1, -1};  // step, and how many in its run
  LAMMPS_NS::bigint n_setups_ = 0;
  bool fix_pair_reads_ = false;
  Snapshot fix_pair_read_;
  LAMMPS_NS::bigint fix_pair_step_ = -1;
  bool fix_pair_warned_ = false;
};

}  // namespace mliuq_lammps
