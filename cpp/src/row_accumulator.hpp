#pragma once

// Design rows of forces and strain, centre by centre. A batch of centres is derived in parallel, each thread its own
// chunk; then every thread adds the whole batch to the rows that are its own. So no row is ever written by two threads,
// and each is a sum in the order of the centres, whatever their number.

#include <memory>
#include <span>
#include <vector>

#include "mliuq/energy_model.hpp"
#include "mliuq/force_rows.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

/// ∂B of one chunk of centres, gathered by row: neighbours that share a row (images of one atom) move together, so that
/// products of quadratic features are formed once for them. Reused from chunk to chunk.
struct RowChunk {
  std::unique_ptr<Workspace> workspace;
  GradientBlock block;
  std::span<const int> centres;
  std::vector<int> slot_of_row;  ///< [n_rows], −1 between centres
  std::vector<int> first;        ///< [n_centres + 1], range of gathered rows of each centre
  std::vector<int> row;          ///< [n_gathered]
  std::vector<double> dB;        ///< [n_gathered][3][K], ∂B_k(centre)/∂r of the row's atom
  std::vector<double> strain;    ///< [n_centres][6][K], ∂B_k(centre)/∂strain
};

/// Centres of a chunk: at 2J = 8 their gradients take some 550 KiB, twice that gathered.
inline constexpr std::size_t kRowChunk = 16;

/// What to derive of a chunk beside B.
struct RowRequestOfChunk {
  const int* row_of_atom = nullptr;  ///< as in RowTargets; null: no gradients by row
  int n_rows = 0;
  bool strain = false;
};

void derive(const Kernel& kernel, int n_components, const Neighbourhood& atoms, const RowRequestOfChunk& request,
            RowChunk& chunk);

class RowAccumulator {
 public:
  /// `model` only says what the features are; both must outlive the accumulator.
  RowAccumulator(const Kernel& kernel, const EnergyModel& model) : kernel_(kernel), model_(model) {}

  /// Adds the rows of `centres` (all of an element of the model) to the targets. One chunk of scratch per thread.
  void run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
           std::span<RowChunk> threads) const;

 private:
  void add(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
           int n_threads) const;

  const Kernel& kernel_;
  const EnergyModel& model_;
};

}  // namespace mliuq
