// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "lammps_headers.hpp"

namespace mliuq_lammps {

class PairMliuq;

/// A compute or fix that reads uncertainties of a pair style: which, and of which pair style, it says before the forces
/// of a step are computed, so that both are evaluated together.
class SpreadReader {
 public:
  virtual ~SpreadReader() noexcept(false) = default;  // as that of LAMMPS_NS::Pointers, their other base

  /// The set of quantities that a reading needs.
  virtual unsigned wanted() const = 0;

  /// Whether this step's forces should come with them.
  virtual bool expects(LAMMPS_NS::bigint step) = 0;

  /// The pair style it reads. Throws LAMMPS's error when the input has none, or several to choose from.
  PairMliuq& pair(LAMMPS_NS::LAMMPS* lmp, const std::string& who) const;
  bool reads(LAMMPS_NS::LAMMPS* lmp, const PairMliuq& pair) const;

 protected:
  /// Takes the keyword `pair K` off the end of the arguments; returns how many are left.
  int take_pair_keyword(LAMMPS_NS::LAMMPS* lmp, const std::string& who, int narg, char** arg);

  /// The K of `pair K`.
  void choose_pair(LAMMPS_NS::LAMMPS* lmp, const std::string& who, const std::string& number);

 private:
  int number_ = 0;  // K of `pair K`, 0: the only one
};

/// Foresees whether a compute will be read. LAMMPS announces the steps of thermo output to every compute there is, read
/// or not: one that was read on the last announced step will be read on the next.
class ReadingHabit {
 public:
  bool expects(LAMMPS_NS::bigint step);
  void read(LAMMPS_NS::bigint step);

 private:
  bool reads_ = false;
  LAMMPS_NS::bigint prepared_ = -1;  // step on which values were made ahead, −1: none unread
};

}  // namespace mliuq_lammps
