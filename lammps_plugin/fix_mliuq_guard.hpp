// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guard_settings.hpp"
#include "pair_mliuq.hpp"
#include "spread_reader.hpp"

namespace mliuq_lammps {

/// `fix ID group mliuq/guard N QUANTITY …`: writes configurations whose uncertainty is above one threshold, ends the
/// run above another. docs/reference/lammps.md says what every keyword does.
///
/// It reads where the forces were computed, before anything moves atoms or the box again.
/// A reading of the watched quantity costs one communication; more only above a threshold. In a minimisation the last
/// evaluation of a step is the one that counts: trial positions of a line search are forgotten.
class FixMliuqGuard : public LAMMPS_NS::Fix, public SpreadReader {
 public:
  FixMliuqGuard(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);

  int setmask() override;
  void init() override;
  void setup(int vflag) override;
  void final_integrate() override;
  void final_integrate_respa(int level, int loop) override;
  void min_setup(int vflag) override;
  void min_post_force(int vflag) override;
  void post_run() override;
  void write_restart(FILE* file) override;
  void restart(char* buffer) override;

  /// [1] largest value of the last reading, [2] its atom (0: the cell), [3] frames saved, [4] steps above `save`.
  double compute_vector(int index) override;
  double memory_usage() override;

  unsigned wanted() const override { return wanted_; }
  bool expects(LAMMPS_NS::bigint step) override { return step % settings_.every == 0; }

 private:
  struct Value {
    double value;  // infinite where a spread is no number
    double id;     // 0: of the cell
  };

  /// What a reading found; text only where it was above a threshold, on the first rank.
  struct Finding {
    LAMMPS_NS::bigint step = -1;
    Value largest{0.0, 0.0};
    std::string problem;  // why the value is no number
    std::string worst;    // IDs and values of the worst atoms
    std::string frame;    // in extended XYZ, empty: not to be saved
    std::uint64_t frame_hash = 0;
  };

  bool due() const;
  void check();
  std::optional<Finding> read();
  Value largest_atom();
  Value cell_value();
  std::string worst_atoms();
  void make_frame(Finding& finding, double threshold);
  void act(const Finding& finding);
  void save(const Finding& finding);
  void halt(const Finding& finding);
  std::string threshold_text(const char* name, double value) const;
  bool above_save(const Finding& finding) const { return save_ && finding.largest.value > *save_; }
  bool above_halt(const Finding& finding) const { return halt_ && !(finding.largest.value <= *halt_); }

  GuardSettings settings_;
  std::string who_;
  std::string file_;
  unsigned wanted_ = 0;
  std::optional<double> save_, halt_;  // numbers, once `auto` has been looked up in the model
  double limit_ = 0.0;
  PairMliuq* source_ = nullptr;

  long read_evaluation_ = -1, seen_evaluation_ = -1;
  std::optional<Finding> pending_;  // of the present step of a minimisation
  bool would_end_ = false;          // a minimisation, were its last trial position accepted
  bool ended_run_ = false;
  LAMMPS_NS::bigint halted_step_ = -1;
  bool warned_file_ = false;

  // What thermo shows and restart files keep.
  Value last_{0.0, 0.0};
  LAMMPS_NS::bigint frames_ = 0, steps_above_ = 0, counted_step_ = -1;
  std::vector<std::uint64_t> saved_;
};

}  // namespace mliuq_lammps
