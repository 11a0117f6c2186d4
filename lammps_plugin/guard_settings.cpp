// SPDX-License-Identifier: GPL-2.0-only

#include "guard_settings.hpp"

#include <cmath>
#include <cstring>
#include <set>
#include <string>

using LAMMPS_NS::LAMMPS;
namespace utils = LAMMPS_NS::utils;

namespace mliuq_lammps {

namespace {

constexpr const char *kCellEnergy = "cell_energy_err", *kPressure = "pressure_err";

bool watchable(AtomQuantity quantity) { return quantity != kNumQuantities && quantity != kMin && quantity != kMax; }

std::string watchable_names() {
  std::string names;
  for (int q = 0; q < kNumQuantities; ++q) {
    if (watchable(static_cast<AtomQuantity>(q))) names += std::string(kQuantityNames[q]) + " ";
  }
  return names + kCellEnergy + " " + kPressure;
}

}  // namespace

const char* GuardSettings::unit() const {
  if (cell == CellQuantity::pressure) return "bar";
  return of_cell() ? "eV/atom" : unit_of(quantity);
}

GuardSettings GuardSettings::parse(LAMMPS* lmp, const std::string& who, int narg, char** arg) {
  auto* const error = lmp->error;
  if (narg < 5) error->all(FLERR, "{}: expected N QUANTITY and a threshold, found {} words", who, narg - 3);
  GuardSettings s;
  s.every = utils::inumeric(FLERR, arg[3], false, lmp);
  if (s.every < 1) error->all(FLERR, "{}: N: expected a number of steps of at least 1, found {}", who, arg[3]);
  s.quantity_name = arg[4];
  if (s.quantity_name == kCellEnergy) s.cell = CellQuantity::energy_per_atom;
  if (s.quantity_name == kPressure) s.cell = CellQuantity::pressure;
  s.quantity = quantity_of(s.quantity_name);
  if (!s.of_cell() && !watchable(s.quantity)) {
    error->all(FLERR, "{}: expected one of {}, found {}", who, watchable_names(), arg[4]);
  }
  if (s.of_cell() && std::strcmp(arg[1], "all") != 0) {
    error->all(FLERR, "{}: {} is of all atoms: expected group all, found {}", who, arg[4], arg[1]);
  }

  std::set<std::string> given;
  for (int i = 5; i < narg; i += 2) {
    const std::string key = arg[i];
    const std::string value = i + 1 < narg ? arg[i + 1] : "";
    if (key != "also" && !given.insert(key).second) error->all(FLERR, "{}: {} is given twice", who, key);
    if (value.empty()) error->all(FLERR, "{}: {}: expected a value, found the end of the line", who, key);
    const auto number = [&] {
      const double found = utils::numeric(FLERR, value, false, lmp);
      if (!(found > 0.0) || !std::isfinite(found)) {
        error->all(FLERR, "{}: {}: expected a number above 0, found {}", who, key, value);
      }
      return found;
    };
    const auto count = [&](int least) {
      const int found = utils::inumeric(FLERR, value, false, lmp);
      if (found < least) error->all(FLERR, "{}: {}: expected at least {}, found {}", who, key, least, value);
      return found;
    };
    if (key == "save" || key == "halt") {
      const Threshold threshold = value == "auto" ? Threshold{true, 0.0} : Threshold{false, number()};
      (key == "save" ? s.save : s.halt) = threshold;
    } else if (key == "limit") {
      s.limit = number();
    } else if (key == "file") {
      s.file = value;
    } else if (key == "max") {
      s.max = count(0);
    } else if (key == "worst") {
      s.worst = count(1);
    } else if (key == "pair") {
      s.pair = value;
    } else if (key == "also") {
      s.also.push_back(quantity_of(value));
      if (s.also.back() == kNumQuantities) error->all(FLERR, "{}: also: no quantity of an atom: {}", who, value);
    } else if (key == "action") {
      if (value != "soft" && value != "hard" && value != "continue") {
        error->all(FLERR, "{}: action: expected soft, hard or continue, found {}", who, value);
      }
      s.action = value == "hard" ? GuardAction::hard : value == "soft" ? GuardAction::soft : GuardAction::go_on;
    } else {
      error->all(FLERR, "{}: expected save, halt, limit, file, max, worst, action, also or pair, found {}", who, key);
    }
  }
  if (!s.save && !s.halt) error->all(FLERR, "{}: expected a threshold (save, halt or both), found none", who);
  return s;
}

}  // namespace mliuq_lammps
