// SPDX-License-Identifier: GPL-2.0-only

#include "fix_mliuq_guard.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>

#include "extended_xyz.hpp"

using LAMMPS_NS::bigint;
using LAMMPS_NS::LAMMPS;
namespace FixConst = LAMMPS_NS::FixConst;
namespace utils = LAMMPS_NS::utils;

namespace mliuq_lammps {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Frames above this many times the halting threshold are exploded, unless the input says otherwise.
constexpr double kLimitOfHalt = 10.0;

/// FNV-1a: tells configurations apart, on any machine alike.
std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037ull;
  for (const unsigned char c : text) hash = (hash ^ c) * 1099511628211ull;
  return hash;
}

/// To 36 bits: atoms that symmetry makes equal stay equal on any number of ranks, and the smallest ID is named.
double rounded(double value) {
  if (!std::isfinite(value)) return kInfinite;
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::round(std::ldexp(mantissa, 36)), exponent - 36);
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

/// Whether a text begins as a frame does, with a line that is a whole number.
bool begins_with_a_count(const std::string& path) {
  std::ifstream file(path);
  char line[64] = {};
  file.getline(line, sizeof line);
  const std::string words = utils::trim(line);
  return file && !words.empty() && words.find_first_not_of("0123456789") == std::string::npos;
}

/// Whether a file could be appended to, without leaving one behind; what speaks against it. Frames must not end up in
/// the model, the input or the log.
std::string cannot_write(const std::string& path) {
  struct stat found{};
  const bool exists = ::stat(path.c_str(), &found) == 0;
  if (exists && S_ISREG(found.st_mode) && found.st_size > 0 && !begins_with_a_count(path))
    return "holds something else than frames (extended XYZ), expected a file of them or a new one";
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0666);
  if (file < 0) return std::strerror(errno);
  ::close(file);
  if (!exists) ::unlink(path.c_str());
  return {};
}

}  // namespace

FixMliuqGuard::FixMliuqGuard(LAMMPS* lmp, int narg, char** arg)
    : Fix(lmp, narg, arg), who_(std::string("Fix mliuq/guard ") + arg[0]) {
  settings_ = GuardSettings::parse(lmp, who_, narg, arg);
  if (!settings_.pair.empty()) choose_pair(lmp, who_, settings_.pair);
  wanted_ = settings_.cell == CellQuantity::energy_per_atom ? kCell
            : settings_.cell == CellQuantity::pressure      ? kStrain
                                                            : bit(settings_.quantity);
  vector_flag = 1;
  size_vector = 4;
  extvector = 0;
  global_freq = 1;
  restart_global = 1;

  file_ = settings_.file.empty() ? std::string(id) + ".xyz" : settings_.file;
  if (universe->nworlds > 1) file_ += "." + std::to_string(universe->iworld);
  std::string problem;
  if (comm->me == 0 && settings_.max > 0) problem = cannot_write(file_);
  int failed = !problem.empty();
  MPI_Bcast(&failed, 1, MPI_INT, 0, world);
  if (failed) error->all(FLERR, "{}: file {}: cannot be written: {}", who_, file_, problem);
}

int FixMliuqGuard::setmask() {
  return FixConst::FINAL_INTEGRATE | FixConst::FINAL_INTEGRATE_RESPA | FixConst::MIN_POST_FORCE | FixConst::POST_RUN;
}

void FixMliuqGuard::init() {
  source_ = &pair(lmp, who_);
  source_->require(wanted_, who_);
  const auto number = [&](const std::optional<Threshold>& given, int which) -> std::optional<double> {
    if (!given) return std::nullopt;
    if (!given->automatic) return given->value;
    const auto own = source_->own_thresholds(settings_.quantity_name);
    if (!own) {
      const std::string names = source_->own_threshold_names();
      error->all(FLERR, "{}: {} auto: {} holds no threshold of {} ({}); expected a number in {}", who_,
                 which ? "halt" : "save", source_->file(), settings_.quantity_name,
                 names.empty() ? "nor any other: mliuq fit stores them" : "it holds those of " + names,
                 settings_.unit());
    }
    return (*own)[which];
  };
  save_ = number(settings_.save, 0);
  halt_ = number(settings_.halt, 1);
  if (save_ && halt_ && *save_ > *halt_) {
    error->all(FLERR, "{}: expected save at most halt, found save {} above halt {} {}", who_, *save_, *halt_,
               settings_.unit());
  }
  limit_ = settings_.limit.value_or(halt_ ? kLimitOfHalt * *halt_ : kInfinite);
  if (comm->me == 0 &&
      ((settings_.save && settings_.save->automatic) || (settings_.halt && settings_.halt->automatic))) {
    utils::logmesg(lmp, "{}: thresholds of {}: save {} halt {} {}\n", who_, settings_.quantity_name,
                   save_ ? short_number(*save_) : "none", halt_ ? short_number(*halt_) : "none", settings_.unit());
  }
  read_evaluation_ = -1;
}

// --- when -----------------------------------------------------------------------------------------------------------

void FixMliuqGuard::setup(int) {
  if (due() || update->ntimestep == update->firststep) check();
  seen_evaluation_ = source_->evaluation();
}

/// Not post_force, which Monte Carlo moves call for every trial configuration, too.
void FixMliuqGuard::final_integrate() {
  if (due()) check();
}

/// Called on every level, and of use on the one where the pair style has just been evaluated.
void FixMliuqGuard::final_integrate_respa(int, int) {
  if (seen_evaluation_ == source_->evaluation()) return;
  if (due()) check();
  seen_evaluation_ = source_->evaluation();
}

void FixMliuqGuard::min_setup(int) { check(); }

/// Called for every evaluation of a step. Only the last of them is where the minimiser went.
void FixMliuqGuard::min_post_force(int) {
  if (pending_ && pending_->step != update->ntimestep) {
    act(*pending_);
    pending_.reset();
  }
  if (!due()) return;
  pending_ = read();
  // The minimiser looks at the time between two iterations: what its last trial position says then counts.
  const bool ends = pending_ && above_halt(*pending_);
  if (ends) timer->force_timeout();
  if (!ends && would_end_) timer->reset_timeout();
  would_end_ = ends;
}

void FixMliuqGuard::post_run() {
  if (pending_) act(*pending_);
  pending_.reset();
  would_end_ = false;
  if (ended_run_ && settings_.action == GuardAction::go_on) timer->reset_timeout();
  ended_run_ = false;
}

bool FixMliuqGuard::due() const { return update->ntimestep % settings_.every == 0; }

void FixMliuqGuard::check() {
  if (const std::optional<Finding> finding = read()) act(*finding);
}

// --- reading --------------------------------------------------------------------------------------------------------

/// Nothing where these positions were read before: run … every, rerun and repeated runs come here twice.
std::optional<FixMliuqGuard::Finding> FixMliuqGuard::read() {
  Finding finding;
  finding.step = update->ntimestep;
  finding.largest = settings_.of_cell() ? cell_value() : largest_atom();
  if (read_evaluation_ == source_->evaluation() && update->whichflag != 2) return std::nullopt;
  read_evaluation_ = source_->evaluation();
  if (!std::isfinite(finding.largest.value)) finding.problem = source_->told_problem();
  if (!above_save(finding) && !above_halt(finding)) return finding;
  if (!settings_.of_cell()) finding.worst = worst_atoms();
  const bool save = above_save(finding) || (!save_ && !settings_.file.empty());
  if (save && finding.largest.value <= limit_ && frames_ < settings_.max) {
    make_frame(finding, above_halt(finding) ? *halt_ : *save_);
  }
  return finding;
}

/// One communication where the values were made with the forces.
FixMliuqGuard::Value FixMliuqGuard::largest_atom() {
  const auto reduced = [&] {
    const double* const values = source_->peek(settings_.quantity);
    Value mine[2] = {{-1.0, 0.0}, {values ? 0.0 : 1.0, 0.0}};  // second: whether somebody has no values yet
    if (source_->spread_problem()) mine[0] = {kInfinite, static_cast<double>(source_->spread_culprit())};
    for (int i = 0; values && i < atom->nlocal && mine[0].value < kInfinite; ++i) {
      if (!(atom->mask[i] & groupbit)) continue;
      const Value one{rounded(values[i]), static_cast<double>(atom->tag[i])};
      if (one.value > mine[0].value || (one.value == mine[0].value && one.id < mine[0].id)) mine[0] = one;
    }
    MPI_Allreduce(MPI_IN_PLACE, mine, 2, MPI_2DOUBLE_PRECISION, MPI_MAXLOC, world);
    return std::pair(mine[0], mine[1].value > 0.0);
  };
  if (quantity_comes_after_forces(settings_.quantity)) source_->try_force_spreads();
  auto [largest, incomplete] = reduced();
  if (incomplete) {
    source_->prepare(wanted_);
    largest = reduced().first;
  }
  return largest.value < 0.0 ? Value{0.0, 0.0} : largest;
}

FixMliuqGuard::Value FixMliuqGuard::cell_value() {
  if (settings_.cell == CellQuantity::energy_per_atom) return {rounded(source_->cell_energy_error_per_atom()), 0.0};
  return {rounded(source_->pressure_error(source_->stress_std()[6])), 0.0};
}

/// "17 (2.31) 4 (2.1) …" on the first rank.
std::string FixMliuqGuard::worst_atoms() {
  const double* const values = source_->peek(settings_.quantity);
  std::vector<std::pair<double, double>> mine;  // −value, ID: in this order the worst come first
  for (int i = 0; values && i < atom->nlocal; ++i) {
    if (atom->mask[i] & groupbit) mine.emplace_back(-rounded(values[i]), static_cast<double>(atom->tag[i]));
  }
  const auto k = static_cast<std::size_t>(std::min<bigint>(settings_.worst, atom->natoms));
  std::partial_sort(mine.begin(), mine.begin() + std::min(k, mine.size()), mine.end());
  mine.resize(k, {1.0, 0.0});
  std::vector<std::pair<double, double>> all(comm->me == 0 ? k * comm->nprocs : 0);
  MPI_Gather(mine.data(), 2 * static_cast<int>(k), MPI_DOUBLE, all.data(), 2 * static_cast<int>(k), MPI_DOUBLE, 0,
             world);
  std::sort(all.begin(), all.end());
  std::string text;
  for (std::size_t a = 0; a < std::min(k, all.size()) && all[a].first <= 0.0; ++a) {
    text += (text.empty() ? "" : ", ") + short_number(all[a].second) + " (" + short_number(-all[a].first) + ")";
  }
  return text;
}

void FixMliuqGuard::make_frame(Finding& finding, double threshold) {
  ExtendedXyz frame(lmp);
  const std::vector<double>& energies = source_->atom_energies();
  double energy = 0.0;
  for (int i = 0; i < atom->nlocal; ++i) energy += energies[i];
  MPI_Allreduce(MPI_IN_PLACE, &energy, 1, MPI_DOUBLE, MPI_SUM, world);
  if (force->pair == source_) {  // of a hybrid it is not the energy that belongs to these forces
    frame.add("energy", energy);
    frame.add_column("energies", energies.data());
  }
  std::vector<AtomQuantity> columns = settings_.also;
  if (!settings_.of_cell()) columns.insert(columns.begin(), settings_.quantity);
  unsigned all = 0;
  for (const AtomQuantity quantity : columns) all |= bit(quantity);
  if (all) source_->ensure(all);
  unsigned written = 0;
  for (const AtomQuantity quantity : columns) {
    if (!(written & bit(quantity))) frame.add_column(kQuantityNames[quantity], source_->peek(quantity));
    written |= bit(quantity);
  }
  frame.add("step", static_cast<double>(finding.step));
  frame.add("guard", std::string(id));
  frame.add("quantity", settings_.quantity_name);
  frame.add("value", finding.largest.value);
  frame.add("unit", std::string(settings_.unit()));
  frame.add("threshold", threshold);
  frame.add("atom", finding.largest.id);

  std::vector<std::string> elements;
  for (int type = 1; type <= atom->ntypes; ++type) elements.push_back(source_->element_of_type(type));
  std::string identity;
  finding.frame = frame.text(elements, identity);
  finding.frame_hash = hash_of(identity);
}

// --- acting ---------------------------------------------------------------------------------------------------------

void FixMliuqGuard::act(const Finding& finding) {
  last_ = finding.largest;
  if (above_save(finding) && counted_step_ != finding.step) {
    ++steps_above_;
    counted_step_ = finding.step;
  }
  if (!above_save(finding) && !above_halt(finding)) return;
  save(finding);
  if (above_halt(finding) && !(ended_run_ && halted_step_ == finding.step)) halt(finding);
}

/// The first rank writes; all of them count.
void FixMliuqGuard::save(const Finding& finding) {
  bigint outcome[2] = {0, 0};  // written, hash
  if (comm->me == 0 && !finding.frame.empty() &&
      std::find(saved_.begin(), saved_.end(), finding.frame_hash) == saved_.end()) {
    const std::string problem = append_to_file(file_, finding.frame);
    if (problem.empty()) {
      outcome[0] = 1;
      std::memcpy(&outcome[1], &finding.frame_hash, sizeof outcome[1]);
    } else if (!warned_file_) {
      error->warning(FLERR, "{}: file {}: {}: the frame of step {} is not saved, those before it are untouched", who_,
                     file_, problem, finding.step);
      warned_file_ = true;
    }
  }
  static_assert(sizeof(bigint) == sizeof(std::uint64_t));
  MPI_Bcast(outcome, 2, MPI_LMP_BIGINT, 0, world);
  if (!outcome[0]) return;
  ++frames_;
  std::uint64_t hash = 0;
  std::memcpy(&hash, &outcome[1], sizeof hash);
  saved_.push_back(hash);
}

void FixMliuqGuard::halt(const Finding& finding) {
  std::string message = who_ + ": step " + std::to_string(finding.step) + ": ";
  if (!std::isfinite(finding.largest.value)) {
    message += settings_.quantity_name + " is not a finite number: " + finding.problem;
  } else {
    message += settings_.quantity_name + " of " +
               (settings_.of_cell() ? "the cell" : "atom " + short_number(finding.largest.id)) + " is " +
               short_number(finding.largest.value) + " " + settings_.unit() + ", above halt " + short_number(*halt_);
  }
  if (!finding.worst.empty()) message += "; worst atoms: " + finding.worst;
  if (finding.largest.value > limit_ && std::isfinite(finding.largest.value)) {
    message += "; above the limit " + short_number(limit_) + ": not saved, an exploded frame is no training data";
  }
  ended_run_ = true;
  halted_step_ = finding.step;
  bool hard = settings_.action == GuardAction::hard;
  if (universe->nworlds > 1 && !modify->get_fix_by_style("^neb").empty()) {
    message += "; the other replicas of a NEB cannot go on without this one";
    hard = true;
  }
  if (hard) error->all(FLERR, source_->told(message, comm->me));
  if (comm->me == 0) utils::logmesg(lmp, message + "; the run ends\n");
  timer->force_timeout();
}

// --- state ----------------------------------------------------------------------------------------------------------

double FixMliuqGuard::compute_vector(int index) {
  const double values[] = {last_.value, last_.id, static_cast<double>(frames_), static_cast<double>(steps_above_)};
  return values[index];
}

double FixMliuqGuard::memory_usage() { return static_cast<double>(saved_.capacity() * sizeof saved_[0]); }

/// Numbers of 64 bits as they are, each in the place of a double.
void FixMliuqGuard::write_restart(FILE* file) {
  if (comm->me != 0) return;
  std::vector<std::uint64_t> state = {static_cast<std::uint64_t>(frames_), static_cast<std::uint64_t>(steps_above_),
                                      static_cast<std::uint64_t>(counted_step_), saved_.size()};
  state.insert(state.end(), saved_.begin(), saved_.end());
  const int size = static_cast<int>(state.size() * sizeof state[0]);
  std::fwrite(&size, sizeof size, 1, file);
  std::fwrite(state.data(), sizeof state[0], state.size(), file);
}

void FixMliuqGuard::restart(char* buffer) {
  std::uint64_t head[4];
  std::memcpy(head, buffer, sizeof head);
  frames_ = static_cast<bigint>(head[0]);
  steps_above_ = static_cast<bigint>(head[1]);
  counted_step_ = static_cast<bigint>(head[2]);
  saved_.resize(head[3]);
  if (!saved_.empty()) std::memcpy(saved_.data(), buffer + sizeof head, saved_.size() * sizeof saved_[0]);
}

}  // namespace mliuq_lammps
