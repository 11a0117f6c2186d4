#include "mliuq/design_rows.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <string>

#include "mliuq/error.hpp"
#include "row_accumulator.hpp"
#include "scaled_sums.hpp"
#include "threads.hpp"

namespace mliuq {

/// Scratch of threads that are done: taking it again spares some 2 MB of new pages for every structure.
struct RowBuilder::Idle {
  static constexpr std::size_t kMostKept = std::size_t{1}
                                           << 21;  ///< derivatives; 256 centres of 26 neighbours have 1.1 million

  std::mutex mutex;
  std::vector<std::unique_ptr<RowChunk>> chunks;

  std::unique_ptr<RowChunk> take() {
    const std::lock_guard lock(mutex);
    if (chunks.empty()) return std::make_unique<RowChunk>();
    auto chunk = std::move(chunks.back());
    chunks.pop_back();
    return chunk;
  }
  void give_back(std::unique_ptr<RowChunk> chunk) {
    if (chunk->block.dB.size() > kMostKept) return;
    const std::lock_guard lock(mutex);
    chunks.push_back(std::move(chunk));
  }
};

RowBuilder::~RowBuilder() = default;

RowBuilder::RowBuilder(const SnapParams& params, KernelChoice choice)
    : params_(params),
      model_(EnergyModel::zero(params.n_elements(), params.n_components(), params.quadraticflag)),
      kernel_(make_kernel(params, model_, choice)),
      instruction_set_(choice.instruction_set),
      idle_(std::make_unique<Idle>()) {}

void RowBuilder::build(const PackedStructure& structure, const RowRequest& request, std::span<double> rows) const {
  const Neighbourhood& atoms = structure.neighbourhood();
  const int n_owned = structure.n_owned();
  const std::size_t width = n_columns();
  if (n_owned == 0) throw Error("design rows: the structure has no atoms");
  require_species(atoms, params_.n_elements());
  if (request.stress && !(structure.volume() > 0.0))
    throw Error("design rows: stress rows need a cell with a volume, found none");
  for (int i : structure.centres())
    if (atoms.species(i) < 0) throw Error("design rows: atom " + atoms.name(i) + " is of no element of the descriptor");

  double* const energy_row = rows.data();
  double* const force_rows = energy_row + (request.energy ? width : 0);
  double* const stress_rows = force_rows + (request.forces ? 3 * width * n_owned : 0);
  std::fill(energy_row, force_rows, 0.0);
  std::fill(stress_rows, rows.data() + rows.size(), 0.0);
  RowTargets targets{.row_of_atom = structure.owners().data(), .n_rows = n_owned};
  if (request.forces) targets.forces = force_rows;
  if (request.stress) targets.strain = stress_rows;
  if (request.energy) targets.features = energy_row;
  auto chunk = idle_->take();  // an exception leaves it half done, and it is not given back
  RowAccumulator(*kernel_, model_, simd::projection_table(instruction_set_))
      .run(atoms, structure.centres(), targets, {chunk.get(), 1});
  idle_->give_back(std::move(chunk));
  if (request.energy)
    for (std::size_t p = 0; p < width; ++p) energy_row[p] /= n_owned;
  if (request.stress)
    for (std::size_t p = 0; p < 6 * width; ++p) stress_rows[p] /= structure.volume();
}

void RowBuilder::build_all(std::span<const PackedStructure* const> structures, const RowRequest& request,
                           std::span<double* const> rows, int n_threads) const {
  std::exception_ptr failure;
  const int n = static_cast<int>(structures.size());
  [[maybe_unused]] const int team = team_size(n_threads, n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (int s = 0; s < n; ++s) try {
      const std::size_t size = static_cast<std::size_t>(request.n_rows(structures[s]->n_owned())) * n_columns();
      build(*structures[s], request, {rows[s], size});
    } catch (...) {
#pragma omp critical(mliuq_design_rows)
      failure = std::current_exception();
    }
  if (failure) std::rethrow_exception(failure);
}

namespace {

/// ∂B of centres by atom: neighbours that are images of one atom move together.
class GatheredGradients {
 public:
  GatheredGradients(const PackedStructure& structure, std::size_t K)
      : owners_(structure.owners()), K_(K), place_of_atom_(structure.n_owned(), -1) {}

  /// Adds the c-th centre of a block, atom i, to the end of `out`: its own derivatives first.
  void add(const GradientBlock& block, std::size_t c, int i, DescriptorDerivatives& out) {
    const std::size_t first = out.atom.size();
    put(owners_[i], -1.0, block.total.data() + c * 3 * padded_row(K_), out);
    for (int n = block.first[c]; n < block.first[c + 1]; ++n)
      put(owners_[block.neighbour[n]], 1.0, block.dB.data() + n * 3 * padded_row(K_), out);
    for (std::size_t place = first; place < out.atom.size(); ++place) place_of_atom_[out.atom[place]] = -1;
    out.centre.insert(out.centre.end(), out.atom.size() - first, i);
  }

 private:
  void put(int atom, double sign, const double* dB, DescriptorDerivatives& out) {
    std::ptrdiff_t& place = place_of_atom_[atom];
    if (place < 0) {
      place = static_cast<std::ptrdiff_t>(out.atom.size());
      out.atom.push_back(atom);
      out.dB.resize(out.dB.size() + 3 * K_, 0.0);
    }
    double* const sums = out.dB.data() + place * static_cast<std::ptrdiff_t>(3 * K_);
    add_rows(3, static_cast<int>(K_), sign, dB + 1, padded_row(K_), sums, K_);
  }

  std::span<const int> owners_;
  std::size_t K_;
  std::vector<std::ptrdiff_t> place_of_atom_;  ///< among the pairs of `out`, −1 between centres
};

}  // namespace

void compute_descriptors(const Kernel& kernel, const SnapParams& params, const PackedStructure& structure,
                         std::span<double> B, DescriptorDerivatives* derivatives) {
  const auto workspace = kernel.make_workspace();
  const Neighbourhood& atoms = structure.neighbourhood();
  const std::size_t K = params.n_components();
  require_species(atoms, params.n_elements());
  for (int i : structure.centres())
    if (atoms.species(i) < 0) throw Error("descriptors: atom " + atoms.name(i) + " is of no element of the descriptor");
  if (!derivatives) {
    kernel.evaluate(atoms, structure.centres(), {.B = B.data()}, *workspace);
    return;
  }
  GradientBlock block;
  GatheredGradients gathered(structure, K);
  for (std::size_t begin = 0; begin < structure.centres().size(); begin += kRowChunk) {
    const auto part = structure.centres().subspan(begin, std::min(kRowChunk, structure.centres().size() - begin));
    kernel.gradients(atoms, part, block, *workspace);
    std::ranges::copy(block.B, B.begin() + static_cast<std::ptrdiff_t>(begin * K));
    for (std::size_t c = 0; c < part.size(); ++c) gathered.add(block, c, part[c], *derivatives);
  }
}

}  // namespace mliuq
