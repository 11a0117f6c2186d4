// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lammps_headers.hpp"
#include "mliuq/potential.hpp"

namespace mliuq_lammps {

/// Per-atom quantities of a model's posterior, under the names of input scripts.
enum AtomQuantity { kStd, kMin, kMax, kErr, kExtrapolation, kNumQuantities };
inline constexpr std::array<const char*, kNumQuantities> kQuantityNames = {"energy_std", "energy_min", "energy_max",
                                                                           "energy_err", "extrapolation"};

/// The quantity of a name, kNumQuantities when there is none.
AtomQuantity quantity_of(const std::string& name);

/// Sets of wanted quantities.
constexpr unsigned bit(AtomQuantity quantity) { return 1u << quantity; }
inline constexpr unsigned kCell = 1u << kNumQuantities;  ///< energy and summed features of this rank's atoms

/// Reads uncertainties of the pair style: what for, it says before the forces of a step are computed.
class SpreadReader {
 public:
  virtual ~SpreadReader() noexcept(false) = default;  // as that of LAMMPS_NS::Pointers, their other base
  virtual unsigned wanted() const = 0;
};

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
  double init_one(int i, int j) override;
  void compute(int eflag, int vflag) override;
  void* extract(const char* name, int& dim) override;
  void* extract_peratom(const char* name, int& columns) override;
  double memory_usage() override;

  /// Throws LAMMPS's error unless the model has what is wanted; `who` begins the message.
  void require(unsigned wanted, const std::string& who) const;

  /// Evaluates what is wanted at the present positions and not known yet, all of it at once.
  void ensure(unsigned wanted);

  /// Values of this rank's atoms at the present positions, [nlocal]; zero for atoms the pair style does not cover.
  const double* atom_values(AtomQuantity quantity);

  /// Energy (eV) of this rank's atoms at the present positions, and their summed features [n_elements][P].
  double local_energy();
  const std::vector<double>& local_features();

  /// Atoms of this rank that the pair style covers.
  int n_centres() const { return list ? list->inum : 0; }

  /// Changes with every new set of positions: who caches results compares it.
  long evaluation() const { return evaluation_; }

  const mliuq::Potential& potential() const { return *potential_; }

 private:
  /// Ends the run with an error of this rank alone. LAMMPS prints it and aborts at once, and the launcher may be gone
  /// before it has passed the message on (seen in one of fifteen runs): it gets a moment.
  [[noreturn]] void fail_here(const std::string& message) const;
  void allocate();
  void read_model(const std::string& path);
  void log_model() const;
  int species_of(const std::string& element) const;
  unsigned wanted_now() const;
  double evaluate(mliuq::PotentialOutput out, unsigned wanted);
  double* cleared(AtomQuantity quantity);

  mliuq::Precision precision_ = mliuq::Precision::double_precision;
  std::unique_ptr<mliuq::Potential> potential_;
  std::optional<double> zbl_outer_;
  std::string file_;
  std::vector<int> species_of_type_;  // [ntypes + 1]; -1: a type of another pair style

  // `fix pair ... NAME 1` sets these before the steps on which it reads NAME.
  std::array<int, kNumQuantities> flags_{};

  // Results for the present positions; `fresh_` says which of them are.
  unsigned fresh_ = 0;
  std::array<std::vector<double>, kNumQuantities> atom_values_;
  std::vector<double> features_;
  double local_energy_ = 0.0;

  // Where and when the present positions were seen.
  long evaluation_ = 0;
  LAMMPS_NS::bigint step_ = -1;
  int n_atoms_ = -1;
};

/// The pair style of an input, alone or within hybrid. Throws LAMMPS's error when there is none, or more than one.
PairMliuq* find_pair(LAMMPS_NS::LAMMPS* lmp, const std::string& who);

}  // namespace mliuq_lammps
