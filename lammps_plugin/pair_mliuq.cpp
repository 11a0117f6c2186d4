// SPDX-License-Identifier: GPL-2.0-only

#include "pair_mliuq.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <fstream>
#include <limits>
#include <new>
#include <span>
#include <sstream>
#include <utility>

#include "mliuq/error.hpp"
#include "mliuq/model_file.hpp"

using LAMMPS_NS::bigint;
using LAMMPS_NS::LAMMPS;
using LAMMPS_NS::Pair;
namespace NeighConst = LAMMPS_NS::NeighConst;
namespace utils = LAMMPS_NS::utils;

namespace mliuq_lammps {

namespace {

constexpr const char* kUsage = "expected: pair_coeff * * FILE ELEMENT ... (one element, or NULL, per atom type)";

// LAMMPS keeps virials as xx yy zz xy xz yz, the core as xx yy zz yz xz xy.
void swap_voigt(double* virial) { std::swap(virial[3], virial[5]); }

std::string joined(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

}  // namespace

PairMliuq::PairMliuq(LAMMPS* lmp)
    : Pair(lmp),
      force_spreads_([this] { comm->forward_comm(this); },
                     [this](int size) {
                       comm_reverse = size;  // reverse_comm takes no size before 2025
                       comm->reverse_comm(this);
                       comm_reverse = kRowBlock;
                     }) {
  comm_forward = 1;
  comm_reverse = kRowBlock;
  single_enable = 0;
  restartinfo = 0;  // weights come from the model file, as for every many-body style
  one_coeff = 1;
  manybody_flag = 1;
  centroidstressflag = LAMMPS_NS::CENTROID_NOTAVAIL;
}

PairMliuq::~PairMliuq() {
  if (copymode || !allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
  memory->destroy(scale_);
}

// --- input script ---------------------------------------------------------------------------------------------------

void PairMliuq::settings(int narg, char** arg) {
  if (std::strcmp(update->unit_style, "metal") != 0) {
    error->all(FLERR, "Pair style mliuq: expected units metal (eV, Angstrom, ps), found units {}", update->unit_style);
  }
  precision_ = mliuq::Precision::double_precision;
  note_hybrid_factor(arg);
  for (int i = 0; i < narg; i += 2) {
    if (std::strcmp(arg[i], "precision") != 0) {
      error->all(FLERR, "Pair style mliuq: expected keyword precision, found {}", arg[i]);
    }
    const std::string value = i + 1 < narg ? arg[i + 1] : "nothing";
    if (value != "single" && value != "double") {
      error->all(FLERR, "Pair style mliuq: precision: expected single or double, found {}", value);
    }
    if (value == "single") precision_ = mliuq::Precision::single_precision;
  }
}

/// `pair_style hybrid/scaled FACTOR mliuq …` hands its styles their own words, which lie in the input line behind the
/// factor and the name. It scales energies and forces itself, and tells nobody by how much.
void PairMliuq::note_hybrid_factor(char** arg) {
  hybrid_factor_ = 1.0;
  hybrid_variable_.clear();
  char** const line = input->arg;
  if (!line || input->narg < 3 || std::strcmp(line[0], "hybrid/scaled") != 0) return;
  if (arg < line + 3 || arg > line + input->narg) return;
  const std::string word = arg[-2];
  if (word.starts_with("v_"))
    hybrid_variable_ = word.substr(2);
  else
    hybrid_factor_ = utils::numeric(FLERR, word, false, lmp);
}

void PairMliuq::coeff(int narg, char** arg) {
  if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0) {
    error->all(FLERR, "Pair style mliuq: {}, found {}", kUsage, joined({arg, arg + narg}));
  }
  if (narg - 3 != atom->ntypes) {
    error->all(FLERR, "Pair style mliuq: {}, found {} elements for {} atom types", kUsage, narg - 3, atom->ntypes);
  }
  if (!allocated) allocate();
  read_model(arg[2]);

  species_of_type_.assign(atom->ntypes + 1, -1);
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string element = arg[2 + type];
    if (element != "NULL") species_of_type_[type] = species_of(element);
  }
  bool any = false;
  for (int i = 1; i <= atom->ntypes; ++i) {
    for (int j = i; j <= atom->ntypes; ++j) {
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;
      any = any || setflag[i][j];
    }
  }
  if (!any) error->all(FLERR, "Pair style mliuq: {}, found NULL for every atom type", kUsage);
}

void PairMliuq::allocate() {
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  memory->create(scale_, n, n, "pair:scale");
  for (int i = 0; i < n; ++i) {
    std::fill_n(setflag[i], n, 0);
    std::fill_n(scale_[i], n, 1.0);
  }
  allocated = 1;
}

/// One rank reads the file: thousands of ranks would stand in line for it on a cluster's file system.
std::string PairMliuq::bytes_of(const std::string& path) {
  std::string bytes, problem;
  if (comm->me == 0) {
    try {
      mliuq::require_model_file(path);  // before LAMMPS opens it: a pipe waits
      const std::string found = utils::get_potential_file_path(path);
      if (!found.empty() && found != path) mliuq::require_model_file(found);
      std::ifstream stream(found.empty() ? path : found, std::ios::binary);
      if (!stream) problem = path + ": cannot be opened for reading, expected a .mliuq model file";
      std::ostringstream whole;
      if (stream && !(whole << stream.rdbuf()))
        problem = path + ": empty, or cannot be read; expected a .mliuq model file";
      bytes = std::move(whole).str();
    } catch (const mliuq::Error& e) {
      problem = e.what();
    } catch (const std::bad_alloc&) {
      problem = path + ": not enough memory to read it";
    }
  }
  fail_together(problem, comm->me);
  bigint size = static_cast<bigint>(bytes.size());
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  try {
    bytes.resize(static_cast<std::size_t>(size));
  } catch (const std::bad_alloc&) {
    problem = path + ": not enough memory to read it";
  }
  fail_together(problem, comm->me);
  constexpr bigint kLargest = 1 << 30;  // MPI counts in int
  for (bigint at = 0; at < size; at += kLargest)
    MPI_Bcast(bytes.data() + at, static_cast<int>(std::min(kLargest, size - at)), MPI_CHAR, 0, world);
  return bytes;
}

/// A rank that cannot use the model must not leave the others waiting, and one message is enough.
void PairMliuq::read_model(const std::string& path) {
  std::istringstream stream(bytes_of(path));
  std::string problem;
  try {
    mliuq::ModelFile file = mliuq::read_model_file(stream, path);
    zbl_outer_.reset();
    if (file.zbl) zbl_outer_ = file.zbl->outer;
    reference_ = file.reference;
    potential_ = std::make_unique<mliuq::Potential>(std::move(file), mliuq::KernelChoice::automatic(precision_));
  } catch (const mliuq::Error& e) {
    problem = e.what();
  } catch (const std::bad_alloc&) {
    problem = path + ": not enough memory to read it";
  }
  fail_together(problem, comm->me);
  file_ = path;
  evaluated_at_.forget();
  listed_.forget();
  ++n_setups_;
  log_model();
}

void PairMliuq::log_model() const {
  if (comm->me != 0) return;
  const mliuq::SnapParams& params = potential_->params();
  const mliuq::Ensemble* const ensemble = potential_->ensemble();
  utils::logmesg(lmp, "mliuq model {}: elements {}, twojmax {}, cutoff {:.4f} A, {} members; {} kernel, {} thread(s)\n",
                 file_, joined(params.elements), params.twojmax, potential_->cutoff(),
                 ensemble ? ensemble->n_members() : 0, potential_->kernel().name(), comm->nthreads);
}

int PairMliuq::species_of(const std::string& element) const {
  const int species = potential_->params().index_of(element);
  if (species < 0) {
    error->all(FLERR, "Pair style mliuq: {}: expected an element of the model ({}) or NULL, found {}", file_,
               joined(potential_->params().elements), element);
  }
  return species;
}

void PairMliuq::init_style() {
  if (!potential_) error->all(FLERR, "Pair style mliuq: {}, found no pair_coeff", kUsage);
  if (!reference_.empty() && force->pair == this && comm->me == 0) {
    error->warning(FLERR,
                   "Pair style mliuq: the fit of {} had the reference potential '{}', which is not part of the model: "
                   "add it by pair_style hybrid/overlay (mliuq export writes the lines)",
                   file_, reference_);
  }
  if (!force->newton_pair) error->all(FLERR, "Pair style mliuq: expected newton pair on, found off");
  if (!atom->tag_enable) error->all(FLERR, "Pair style mliuq: expected atom IDs, found atom_modify id no");
  neighbor->add_request(this, NeighConst::REQ_FULL);
  if (update->whichflag == 2 && fix_pair_reads_ && !modify->get_fix_by_style("^pair$").empty()) {
    warn_fix_pair("fix pair does not follow a minimisation: its uncertainties are those of the last run");
  }
  flags_.fill(0);
}

double PairMliuq::init_one(int i, int j) {
  const int a = species_of_type_[i];
  const int b = species_of_type_[j];
  if (a < 0 || b < 0) {
    error->all(FLERR, "Pair style mliuq: atom types {} and {}: expected elements of the model, found NULL", i, j);
  }
  return std::max(potential_->params().cutoff(a, b), zbl_outer_.value_or(0.0));
}

// --- evaluation -----------------------------------------------------------------------------------------------------

void PairMliuq::init_list(int id, LAMMPS_NS::NeighList* list) {
  Pair::init_list(id, list);
  listed_.forget();
  ++n_setups_;
}

/// Between the lists and the forces of a new run; the forces may be switched off by `pair_modify compute no`.
void PairMliuq::setup() {
  ++n_setups_;
  listed_.take(*atom, *domain);
  list_build_ = {neighbor->lastcall, neighbor->ncalls};
  evaluated_at_.forget();
}

/// Whether this rank's neighbour list, as far as is known, describes the present atoms at the present positions.
bool PairMliuq::listed_covers() const {
  return listed_.same_atoms(*atom) && listed_.largest_approach(*atom) <= neighbor->skin;
}

/// The present positions are what results belong to from here on.
void PairMliuq::begin_evaluation() {
  static std::atomic<long> last{0};
  evaluation_ = ++last;
  evaluated_at_.take(*atom, *domain);
  fresh_ = 0;
  spread_problem_.clear();
  if (const int v = hybrid_variable(); v >= 0 && input->variable->equalstyle(v))
    hybrid_factor_ = input->variable->compute_equal(v);
}

void PairMliuq::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  begin_evaluation();
  // Forces are only ever asked where the list is good: it was built here unless it already described these atoms.
  if (neighbor->ago == 0 && (list_build_ != std::pair(neighbor->lastcall, neighbor->ncalls) || !listed_covers())) {
    listed_ = evaluated_at_;
    list_build_ = {neighbor->lastcall, neighbor->ncalls};
  }
  check_fix_pair();

  mliuq::PotentialOutput out;
  double energy = 0.0;
  if (atom->nlocal + atom->nghost > 0) out.forces = atom->f[0];
  if (eflag_global) out.energy = &energy;
  if (eflag_atom) out.atom_energies = eatom;
  if (vflag_global && !vflag_fdotr) out.virial = virial;
  if (vflag_atom && out.forces) out.atom_virials = vatom[0];
  const double k = factor();
  double* const forces = out.forces;
  const std::size_t n_numbers = 3 * static_cast<std::size_t>(atom->nlocal + atom->nghost);
  if (k != 1.0 && forces) {
    own_forces_.assign(n_numbers, 0.0);
    out.forces = own_forces_.data();
  }
  energy = k * evaluate(out, wanted_now());
  if (k != 1.0) {
    for (std::size_t i = 0; forces && i < n_numbers; ++i) forces[i] += k * own_forces_[i];
    if (out.virial) std::for_each(virial, virial + 6, [k](double& v) { v *= k; });
    for (int i = 0; i < atom->nlocal + atom->nghost; ++i) {
      if (out.atom_energies) eatom[i] *= k;
      if (out.atom_virials) std::for_each(vatom[i], vatom[i] + 6, [k](double& v) { v *= k; });
    }
  }

  if (eflag_global) eng_vdwl += energy;
  if (out.virial) swap_voigt(virial);
  if (out.atom_virials) {
    for (int i = 0; i < atom->nlocal + atom->nghost; ++i) swap_voigt(vatom[i]);
  }
  if (vflag_fdotr) virial_fdotr_compute();
}

/// Calls the core on LAMMPS's lists as they are. Returns the energy when `out` or `wanted` ask for it.
double PairMliuq::evaluate(mliuq::PotentialOutput out, unsigned wanted) {
  double energy = 0.0;
  if (out.energy || (wanted & kCell)) out.energy = &energy;
  if (wanted & bit(kStd)) out.spreads.std = cleared(kStd);
  if (wanted & bit(kMin)) out.spreads.min = cleared(kMin);
  if (wanted & bit(kMax)) out.spreads.max = cleared(kMax);
  if (wanted & bit(kExtrapolation)) out.extrapolation = cleared(kExtrapolation);
  if (wanted & kCell) {
    features_.assign(potential_->model().theta().size(), 0.0);
    out.features = features_.data();
  }
  std::string problem;
  bigint culprit = 0;
  if (list->inum > 0) {
    const mliuq::Neighbourhood atoms = neighbourhood();
    const auto fails = [&](const mliuq::PotentialOutput& into) {
      try {
        potential_->evaluate(atoms, centres(), into, comm->nthreads);
        return false;
      } catch (const std::exception& e) {
        problem = e.what();
        return true;
      }
    };
    const std::size_t n = atoms.n_atoms;
    const bool wants_spreads = out.spreads.any() || out.extrapolation;
    if (wants_spreads && out.forces) forces_before_.assign(out.forces, out.forces + 3 * n);
    if (fails(out) && wants_spreads) {
      // Energies and forces may still be sound: only who reads the spreads is refused, and a guard may halt softly.
      mliuq::PotentialOutput plain = out;
      plain.spreads = {};
      plain.extrapolation = nullptr;
      if (out.forces) std::copy(forces_before_.begin(), forces_before_.end(), out.forces);
      if (out.virial) std::fill_n(out.virial, 6, 0.0);
      if (out.atom_virials) std::fill_n(out.atom_virials, 6 * n, 0.0);
      if (!fails(plain)) {
        spread_problem_ = find_culprit(atoms, out.spreads, spread_culprit_);
        if (spread_problem_.empty()) spread_problem_ = problem;
        problem.clear();
      }
    }
    if (!problem.empty()) {
      if (const std::string found = find_culprit(atoms, {}, culprit); !found.empty()) problem = found;
    }
  }
  fail_together(at_step(problem), culprit);
  const double k = reading_factor();
  if (wanted & kCell) local_energy_ = k * energy;
  if (k != 1.0) {
    for (const AtomQuantity q : {kStd, kMin, kMax}) {
      const double by = q == kStd ? std::abs(k) : k;
      if (wanted & bit(q)) std::for_each(atom_values_[q].begin(), atom_values_[q].end(), [by](double& v) { v *= by; });
    }
    if (k < 0.0 && (wanted & bit(kMin)) && (wanted & bit(kMax))) std::swap(atom_values_[kMin], atom_values_[kMax]);
    if (wanted & kCell) std::for_each(features_.begin(), features_.end(), [k](double& v) { v *= k; });
  }
  fresh_ |= wanted;
  return energy;
}

mliuq::Neighbourhood PairMliuq::neighbourhood() const {
  mliuq::Neighbourhood atoms;
  atoms.positions = atom->x ? atom->x[0] : nullptr;
  atoms.types = atom->type;
  atoms.species_of_type = species_of_type_.data();
  atoms.n_atoms = atom->nlocal + atom->nghost;
  atoms.n_neighbours = list->numneigh;
  atoms.neighbours = list->firstneigh;
  atoms.index_mask = NEIGHMASK;
  return atoms;
}

ForceSpreads::Atoms PairMliuq::own_atoms() {
  if (present()) return {neighbourhood(), centres(), atom->tag, atom->nlocal, true};
  mliuq::Neighbourhood none;
  none.n_atoms = atom->nlocal + atom->nghost;
  return {none, {}, atom->tag, atom->nlocal, false};
}

void PairMliuq::evaluate_force_spreads(bool anew) {
  const ForceSpreads::ListNumber list_number{neighbor->lastcall, neighbor->ncalls, n_setups_};
  const auto [complete, problem] =
      force_spreads_.evaluate_forces(*potential_, own_atoms(), list_number, anew, comm->nthreads, world);
  note_row_problem(problem);
  if (complete) fresh_ |= kForceRows;
}

/// Whether the results of every rank belonged to the present positions.
bool PairMliuq::evaluate_strain() {
  const auto [complete, sound, problem] =
      force_spreads_.evaluate_strain(*potential_, own_atoms(), spread_problem_.empty(), comm->nthreads, world);
  note_row_problem(problem);
  strain_sound_ = sound;
  if (complete) fresh_ |= kStrain;
  return complete;
}

void PairMliuq::note_row_problem(const std::string& problem) {
  if (problem.empty() || !spread_problem_.empty()) return;
  spread_problem_ = problem;
  spread_culprit_ = 0;  // of no atom in particular
}

/// After a failed evaluation: the atom of the smallest ID that has no energy or no spread, and why. The same on any
/// number of ranks.
std::string PairMliuq::find_culprit(mliuq::Neighbourhood atoms, const mliuq::AtomSpreads& spreads, bigint& id) {
  const std::vector<long long> ids(atom->tag, atom->tag + atoms.n_atoms);
  atoms.ids = ids.data();
  mliuq::PotentialOutput out;
  out.spreads = spreads;
  std::string problem;
  for (const int i : centres()) {
    if (!problem.empty() && atom->tag[i] > id) continue;
    try {
      potential_->evaluate(atoms, {&i, 1}, out, 1);
    } catch (const std::exception& e) {
      problem = e.what();
      id = atom->tag[i];
    }
  }
  return problem;
}

std::string PairMliuq::at_step(const std::string& problem) const {
  return problem.empty() ? problem : "step " + std::to_string(update->ntimestep) + ": " + problem;
}

std::string PairMliuq::told(const std::string& message, bigint order) const {
  const double none = static_cast<double>(std::numeric_limits<bigint>::max());
  struct {
    double order;
    int rank;
  } mine = {message.empty() ? none : static_cast<double>(order), comm->me}, first = {};
  MPI_Allreduce(&mine, &first, 1, MPI_DOUBLE_INT, MPI_MINLOC, world);
  if (first.order == none) return {};
  std::string text = message;
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, first.rank, world);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, first.rank, world);
  return text;
}

void PairMliuq::fail_together(const std::string& problem, bigint order) const {
  if (const std::string found = told(problem, order); !found.empty()) error->all(FLERR, "Pair style mliuq: " + found);
}

std::span<const int> PairMliuq::centres() {
  if (!list) return {};
  const std::span<const int> all(list->ilist, static_cast<std::size_t>(list->inum));
  int hidden = 0;  // bits of groups that are excluded against all
  for (int m = 0; m < neighbor->nex_group; ++m) {
    if (neighbor->ex1_group[m] == 0) hidden |= neighbor->ex2_bit[m];
    if (neighbor->ex2_group[m] == 0) hidden |= neighbor->ex1_bit[m];
  }
  if (hidden == 0) return all;
  visible_centres_.clear();
  for (const int i : all) {
    if (!(atom->mask[i] & hidden)) visible_centres_.push_back(i);
  }
  return visible_centres_;
}

/// What `fix adapt` multiplies energies, forces and spreads by.
double PairMliuq::factor() const {
  const double factor = scale_[1][1];
  for (int i = 1; i <= atom->ntypes; ++i) {
    for (int j = 1; j <= atom->ntypes; ++j) {
      if (setflag[i][j] && scale_[i][j] != factor && scale_[j][i] != factor)
        error->all(FLERR, "Pair style mliuq: scale: expected one number for all atom types, found {} and {}", factor,
                   scale_[i][j]);
    }
  }
  if (!(factor >= 0.0)) error->all(FLERR, "Pair style mliuq: scale: expected at least 0, found {}", factor);
  return factor;
}

int PairMliuq::hybrid_variable() const {
  return hybrid_variable_.empty() ? -1 : input->variable->find(hybrid_variable_.c_str());
}

mliuq::ErrorScale PairMliuq::error_scale() const {
  mliuq::ErrorScale scale = potential_->error_scale();
  const double k = std::abs(reading_factor());
  scale.noise_energy *= k;
  scale.noise_force *= k;
  scale.noise_stress *= k;
  return scale;
}

double* PairMliuq::cleared(AtomQuantity quantity) {
  std::vector<double>& values = atom_values_[quantity];
  values.assign(static_cast<std::size_t>(std::max(atom->nmax, 1)), 0.0);
  return values.data();
}

int PairMliuq::pack_forward_comm(int n, int* list, double* buffer, int, int*) {
  return force_spreads_.pack_forward(n, list, buffer);
}

void PairMliuq::unpack_forward_comm(int n, int first, double* buffer) {
  force_spreads_.unpack_forward(n, first, buffer);
}

int PairMliuq::pack_reverse_comm(int n, int first, double* buffer) {
  return force_spreads_.pack_reverse(n, first, buffer);
}

void PairMliuq::unpack_reverse_comm(int n, int* list, double* buffer) {
  force_spreads_.unpack_reverse(n, list, buffer);
}

void* PairMliuq::extract(const char* name, int& dim) {
  if (std::strcmp(name, "scale") == 0) {
    dim = 2;
    return scale_;
  }
  dim = 0;
  for (int q = 0; q < kNumQuantities; ++q) {
    if (std::string(kQuantityNames[q]) + "_flag" == name) return &flags_[q];
  }
  return nullptr;
}

double PairMliuq::memory_usage() {
  std::size_t numbers = features_.capacity();
  for (const std::vector<double>& values : atom_values_) numbers += values.capacity();
  return Pair::memory_usage() + static_cast<double>(numbers * sizeof(double) + force_spreads_.bytes());
}

}  // namespace mliuq_lammps
