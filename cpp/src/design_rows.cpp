#include "mliuq/design_rows.hpp"

#include <algorithm>
#include <exception>
#include <string>

#include "clones.hpp"
#include "mliuq/error.hpp"
#include "threads.hpp"

namespace mliuq {
namespace {

constexpr std::size_t kChunk = 16;  // centres whose gradients are held at a time

/// Gradients of one centre's B gathered by owned atom: images of an atom move together.
class OwnerGradients {
 public:
  OwnerGradients(int n_owned, int n_components) : slot_of_(n_owned, -1), K_(n_components) {}

  void gather(const GradientBlock& block, std::size_t c, int centre, std::span<const int> owners) {
    for (int atom : atoms_) slot_of_[atom] = -1;
    atoms_.clear();
    sums_.clear();
    const std::size_t width = 3 * static_cast<std::size_t>(K_);
    slot(centre);
    for (int n = block.first[c]; n < block.first[c + 1]; ++n) {
      const std::size_t to = slot(owners[block.neighbour[n]]) * width;
      const double* from = block.dB.data() + n * width;
      for (std::size_t i = 0; i < width; ++i) {
        sums_[to + i] += from[i];
        sums_[i] -= from[i];  // slot 0 is the centre
      }
    }
  }

  std::span<const int> atoms() const { return atoms_; }
  const double* gradient(std::size_t slot, int axis) const { return sums_.data() + (slot * 3 + axis) * K_; }

 private:
  std::size_t slot(int atom) {
    if (slot_of_[atom] < 0) {
      slot_of_[atom] = static_cast<int>(atoms_.size());
      atoms_.push_back(atom);
      sums_.resize(sums_.size() + 3 * static_cast<std::size_t>(K_), 0.0);
    }
    return slot_of_[atom];
  }

  std::vector<int> slot_of_;
  std::vector<int> atoms_;
  std::vector<double> sums_;  // [slot][3][K]
  int K_;
};

/// Adds scale · dD for a change dB of the descriptor at B, D the features of the energy model without the constant.
MLIUQ_CLONES void add_feature_change(int K, bool quadratic, double scale, const double* B, const double* dB,
                                     double* row) {
  for (int k = 0; k < K; ++k) row[k] += scale * dB[k];
  if (!quadratic) return;
  double* next = row + K;
  for (int k = 0; k < K; ++k) {
    const double b = scale * B[k], d = scale * dB[k];
    next[0] += b * dB[k];
    for (int l = k + 1; l < K; ++l) next[l - k] += b * dB[l] + d * B[l];
    next += K - k;
  }
}

}  // namespace

RowBuilder::RowBuilder(const SnapParams& params, KernelChoice choice)
    : params_(params),
      model_(EnergyModel::zero(params.n_elements(), params.n_components(), params.quadraticflag)),
      kernel_(make_kernel(params, model_, choice)) {}

void RowBuilder::build(const PackedStructure& structure, const RowRequest& request, std::span<double> rows) const {
  const Neighbourhood& atoms = structure.neighbourhood();
  const int n_owned = structure.n_owned(), K = params_.n_components(), P = model_.n_weights();
  const std::size_t width = n_columns();
  if (n_owned == 0) throw Error("design rows: the structure has no atoms");
  require_species(atoms, params_.n_elements());
  if (request.stress && !(structure.volume() > 0.0))
    throw Error("design rows: stress rows need a cell with a volume, found none");
  for (int i : structure.centres())
    if (atoms.species(i) < 0)
      throw Error("design rows: atom " + std::to_string(i + 1) + " is of no element of the descriptor");

  std::fill(rows.begin(), rows.end(), 0.0);
  double* const energy_row = rows.data();
  double* const force_rows = energy_row + (request.energy ? width : 0);
  double* const stress_rows = force_rows + (request.forces ? 3 * width * n_owned : 0);
  const auto workspace = kernel_->make_workspace();
  const bool wants_gradients = request.forces || request.stress;
  GradientBlock block;
  OwnerGradients by_owner(n_owned, K);
  std::vector<double> features(P), strain;
  for (int begin = 0; begin < n_owned; begin += kChunk) {
    const auto chunk = structure.centres().subspan(begin, std::min<std::size_t>(kChunk, n_owned - begin));
    if (wants_gradients) {
      kernel_->gradients(atoms, chunk, block, *workspace);
    } else {
      block.B.resize(chunk.size() * K);
      kernel_->evaluate(atoms, chunk, {.B = block.B.data()}, *workspace);
    }
    for (std::size_t c = 0; c < chunk.size(); ++c) {
      const int i = chunk[c];
      const double* B = block.B.data() + c * K;
      const std::size_t column = static_cast<std::size_t>(atoms.species(i)) * P;
      if (request.energy) {
        model_.features({B, static_cast<std::size_t>(K)}, features);
        for (int p = 0; p < P; ++p) energy_row[column + p] += features[p] / n_owned;
      }
      if (request.forces) {
        by_owner.gather(block, c, i, structure.owners());
        for (std::size_t s = 0; s < by_owner.atoms().size(); ++s)
          for (int x = 0; x < 3; ++x)
            add_feature_change(
                K, params_.quadraticflag, -1.0, B, by_owner.gradient(s, x),
                force_rows + (3 * static_cast<std::size_t>(by_owner.atoms()[s]) + x) * width + column + 1);
      }
      if (request.stress) {
        strain.assign(6 * static_cast<std::size_t>(K), 0.0);  // dB/dstrain
        constexpr int first[6] = {0, 1, 2, 1, 0, 0}, second[6] = {0, 1, 2, 2, 2, 1};
        for (int n = block.first[c]; n < block.first[c + 1]; ++n)
          for (int v = 0; v < 6; ++v) {
            const double reach = atoms.positions[3 * static_cast<std::size_t>(block.neighbour[n]) + first[v]] -
                                 atoms.positions[3 * static_cast<std::size_t>(i) + first[v]];
            const double* dB = block.dB.data() + (3 * static_cast<std::size_t>(n) + second[v]) * K;
            for (int k = 0; k < K; ++k) strain[v * K + k] += reach * dB[k];
          }
        for (int v = 0; v < 6; ++v)
          add_feature_change(K, params_.quadraticflag, 1.0 / structure.volume(), B, strain.data() + v * K,
                             stress_rows + v * width + column + 1);
      }
    }
  }
}

void RowBuilder::build_all(std::span<const PackedStructure* const> structures, const RowRequest& request,
                           std::span<double* const> rows, int n_threads) const {
  std::exception_ptr failure;
  const int n = static_cast<int>(structures.size());
  const int team = team_size(n_threads, n);
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

void compute_descriptors(const Kernel& kernel, const SnapParams& params, const PackedStructure& structure,
                         std::span<double> B, DescriptorDerivatives* derivatives) {
  const auto workspace = kernel.make_workspace();
  const Neighbourhood& atoms = structure.neighbourhood();
  const std::size_t K = params.n_components();
  require_species(atoms, params.n_elements());
  for (int i : structure.centres())
    if (atoms.species(i) < 0)
      throw Error("descriptors: atom " + std::to_string(i + 1) + " is of no element of the descriptor");
  if (!derivatives) {
    kernel.evaluate(atoms, structure.centres(), {.B = B.data()}, *workspace);
    return;
  }
  OwnerGradients by_owner(structure.n_owned(), params.n_components());
  GradientBlock block;
  for (int begin = 0; begin < structure.n_owned(); begin += kChunk) {
    const auto chunk = structure.centres().subspan(begin, std::min<std::size_t>(kChunk, structure.n_owned() - begin));
    kernel.gradients(atoms, chunk, block, *workspace);
    std::copy_n(block.B.begin(), chunk.size() * K, B.begin() + begin * K);
    for (std::size_t c = 0; c < chunk.size(); ++c) {
      by_owner.gather(block, c, chunk[c], structure.owners());
      for (std::size_t s = 0; s < by_owner.atoms().size(); ++s) {
        derivatives->centre.push_back(chunk[c]);
        derivatives->atom.push_back(by_owner.atoms()[s]);
        const double* first = by_owner.gradient(s, 0);
        derivatives->dB.insert(derivatives->dB.end(), first, first + 3 * K);
      }
    }
  }
}

}  // namespace mliuq
