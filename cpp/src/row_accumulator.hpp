#pragma once

// Design rows of forces and strain, centre by centre. A batch of centres is derived in parallel, each thread its own
// chunk; then every thread adds the whole batch to the rows that are its own. So no row is ever written by two threads,
// and each is a sum in the order of the centres; only how quadratic features are bracketed goes by the batch.

#include <memory>
#include <span>
#include <vector>

#include "aligned.hpp"
#include "kernels/simd/projection.hpp"
#include "mliuq/energy_model.hpp"
#include "mliuq/force_rows.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

/// Contributions of a batch to the rows of one thread of a quadratic model, row after row: a row is larger than the
/// nearest cache, and is read and written once for all centres of the batch that see its atom.
struct RowQueue {
  struct Entry {
    int chunk, centre, gathered;
    int next;  ///< entry of the same row, in the order of the centres; −1: the last
  };
  std::vector<Entry> entries;
  std::vector<int> rows;           ///< that have entries
  std::vector<int> head, tail;     ///< [n_rows] entries, −1 between batches
  AlignedVector<double> B, dB[3];  ///< [entry of a row][stride], side by side, zero beyond the components

  void make_room(std::size_t n, std::size_t stride) {
    if (n * stride <= B.size()) return;
    for (AlignedVector<double>* array : {&B, &dB[0], &dB[1], &dB[2]}) array->resize(2 * n * stride, 0.0);
  }
};

/// ∂B of one chunk of centres, gathered by row: neighbours that share a row (images of one atom) move together, so that
/// products of quadratic features are formed once for them. Linear models take the pairs as they are. Reused from chunk
/// to chunk.
struct RowChunk {
  std::unique_ptr<Workspace> workspace;
  GradientBlock block;
  std::span<const int> centres;
  std::vector<int> slot_of_row;  ///< [n_rows], −1 between centres
  std::vector<int> first;        ///< [n_centres + 1], range of gathered rows of each centre
  std::vector<int> row;          ///< [n_gathered]
  std::vector<double> dB;        ///< [n_gathered][3][K], ∂B_k(centre)/∂r of the row's atom
  std::vector<double> strain;    ///< [n_centres][6][K], ∂B_k(centre)/∂strain
  std::vector<double> B;         ///< [n_centres][K]
  RowQueue queue;                ///< of the thread that this chunk belongs to
};

/// Centres whose gradients are derived at a time (some 275 KiB at 2J = 8), and that a thread gathers to be added
/// together (some 9 MiB): as many of a quadratic model, because its rows are long and read and written every time.
inline constexpr std::size_t kDerivedCentres = 8;
inline constexpr std::size_t kGatheredCentres = 256;

/// Centres that are worth a thread of their own.
inline constexpr std::size_t kRowChunk = 64;

/// What to derive of a chunk beside B.
struct RowRequestOfChunk {
  const int* row_of_atom = nullptr;  ///< as in RowTargets; null: no gradients by row
  int n_rows = 0;
  bool B = true, strain = false;
  bool gathered = true;  ///< by row; otherwise gradients stay in the block, pair by pair, of kDerivedCentres at most
  GradientRows subtracted_from = {};  ///< where they go instead, with rows
};

void derive(const Kernel& kernel, int n_components, const Neighbourhood& atoms, const RowRequestOfChunk& request,
            RowChunk& chunk);

class RowAccumulator {
 public:
  /// `model` only says what the features are; both must outlive the accumulator.
  RowAccumulator(const Kernel& kernel, const EnergyModel& model, const simd::ProjectionTable& project)
      : kernel_(kernel), model_(model), project_(project) {}

  /// Adds the rows of `centres` (all of an element of the model) to the targets. One chunk of scratch per thread.
  void run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
           std::span<RowChunk> threads) const;

 private:
  void add_sums(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                int n_threads) const;
  void add_pairs(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                 int n_threads) const;
  void add_gathered(const Neighbourhood& atoms, const RowTargets& targets, std::span<const RowChunk> chunks, int thread,
                    RowQueue& queue) const;

  const Kernel& kernel_;
  const EnergyModel& model_;
  const simd::ProjectionTable& project_;
};

}  // namespace mliuq
