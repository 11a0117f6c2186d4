// SPDX-License-Identifier: GPL-2.0-only

#include "spread_reader.hpp"

#include <algorithm>
#include <cstring>

#include "pair_mliuq.hpp"

using LAMMPS_NS::bigint;
using LAMMPS_NS::LAMMPS;
namespace utils = LAMMPS_NS::utils;

namespace mliuq_lammps {

namespace {

/// The pair style mliuq of that number in the order of `pair_style hybrid`, null beyond the last.
PairMliuq* pair_of_number(LAMMPS* lmp, int number) {
  const auto match = [lmp](int k) { return dynamic_cast<PairMliuq*>(lmp->force->pair_match("mliuq", 1, k)); };
  PairMliuq* const found = match(number);
  return number > 1 && found == match(1) ? nullptr : found;  // a pair style that is no hybrid has every number
}

int number_of_pairs(LAMMPS* lmp) {
  int n = 0;
  while (pair_of_number(lmp, n + 1)) ++n;
  return n;
}

}  // namespace

PairMliuq& SpreadReader::pair(LAMMPS* lmp, const std::string& who) const {
  const int n = number_of_pairs(lmp);
  if (number_ == 0 && n == 1) return *pair_of_number(lmp, 1);
  if (number_ > 0 && number_ <= n) return *pair_of_number(lmp, number_);
  if (number_ > 0) lmp->error->all(FLERR, "{}: pair {}: expected one of {} pair styles mliuq", who, number_, n);
  if (n == 0) lmp->error->all(FLERR, "{}: expected a pair_style mliuq in the input, found none", who);
  lmp->error->all(FLERR, "{}: expected the keyword pair with a number from 1 to {}, found {} pair styles mliuq", who, n,
                  n);
}

bool SpreadReader::reads(LAMMPS* lmp, const PairMliuq& pair) const {
  return pair_of_number(lmp, std::max(number_, 1)) == &pair;
}

int SpreadReader::take_pair_keyword(LAMMPS* lmp, const std::string& who, int narg, char** arg) {
  for (int i = 3; i < narg; ++i) {
    if (std::strcmp(arg[i], "pair") != 0) continue;
    if (i + 2 != narg) lmp->error->all(FLERR, "{}: expected the keyword pair and a number at the end of the line", who);
    choose_pair(lmp, who, arg[i + 1]);
    return i;
  }
  return narg;
}

void SpreadReader::choose_pair(LAMMPS* lmp, const std::string& who, const std::string& number) {
  number_ = utils::inumeric(FLERR, number, false, lmp);
  if (number_ < 1) lmp->error->all(FLERR, "{}: pair: expected a number of at least 1, found {}", who, number);
}

bool ReadingHabit::expects(bigint step) {
  if (prepared_ >= 0 && prepared_ != step) reads_ = false;
  if (reads_) prepared_ = step;
  return reads_;
}

void ReadingHabit::read(bigint step) {
  reads_ = true;
  if (prepared_ <= step) prepared_ = -1;
}

}  // namespace mliuq_lammps
