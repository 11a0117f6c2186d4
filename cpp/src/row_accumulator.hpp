#pragma once

// Design rows of forces and strain, centre by centre. A batch of centres is derived in parallel, each thread its own
// chunk; then every thread adds the whole batch to the rows that are its own. So no row is ever written by two threads,
// and each is a sum in the order of the centres; only how quadratic features are bracketed goes by the batch.

#include <memory>
#include <span>
#include <vector>

#include "kernels/simd/projection.hpp"
#include "mliuq/aligned.hpp"
#include "mliuq/energy_model.hpp"
#include "mliuq/force_rows.hpp"
#include "mliuq/kernel.hpp"

namespace mliuq {

struct RowChunk;

/// Contributions of a batch to the rows of one thread of a quadratic model, row after row: a row is larger than the
/// nearest cache, and is read and written once for all centres of the batch that see its atom.
struct RowQueue {
  struct Entry {
    int chunk, centre;
    int pair;  ///< of the block; −1: the centre itself

    /// What moving the row's atom does to the centre, [3][padded_row(K)] of `size` numbers; minus that for the centre.
    const double* change(std::span<const RowChunk> chunks, std::size_t size) const;
  };
  std::vector<int> rows;            ///< that have entries
  std::vector<int> count;           ///< [n_rows] of entries, 0 of rows that have none
  std::vector<Entry> entries;       ///< of one row after the other as in `rows`, each in the order of the centres
  std::vector<int> next;            ///< [n_rows], where the next entry of a row goes
  std::vector<char> begun;          ///< [n_rows][n_elements], holds sums already: the first are put there, not added
  std::vector<char> given;          ///< [n_rows], to the sink
  std::vector<const double*> B;     ///< of the centres of a row
  AlignedVector<double> dB;         ///< [centre of a row][3][padded_row(K)]
  std::vector<const double*> soon;  ///< changes that follow those of a row

  void make_room(std::size_t n) {
    if (n > dB.size()) dB.resize(2 * n);
  }
};

/// ∂B of one chunk of centres. Reused from chunk to chunk.
struct RowChunk {
  std::unique_ptr<Workspace> workspace;
  GradientBlock block;
  std::span<const int> centres;
  std::vector<double> strain;  ///< [n_centres][6][K], ∂B_k(centre)/∂strain
  AlignedVector<double> B;     ///< [n_centres][padded_row(K)]: with the constant, components are products, too
  RowQueue queue;              ///< of the thread that this chunk belongs to
};

/// Centres whose gradients are derived at a time (some 275 KiB at 2J = 8), and of which a thread keeps all pairs of a
/// quadratic model (some 18 MiB) to add them together: its rows are long and read and written every time.
inline constexpr std::size_t kDerivedCentres = 8;
inline constexpr std::size_t kKeptCentres = 512;

/// Centres of a linear model that are worth a thread of their own; of a quadratic one kDerivedCentres are.
inline constexpr std::size_t kRowChunk = 64;

class RowAccumulator {
 public:
  /// `model` only says what the features are; both must outlive the accumulator.
  RowAccumulator(const Kernel& kernel, const EnergyModel& model, const simd::ProjectionTable& project)
      : kernel_(kernel), model_(model), project_(project) {}

  /// The rows of `centres` (all of an element of the model), as RowTargets says. One chunk of scratch per thread.
  void run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
           std::span<RowChunk> threads) const;

 private:
  /// Centres from `begin` on, `length` for each thread.
  struct Batch {
    std::size_t begin, length;
  };
  /// Rows that go to a sink in this batch, for nobody adds to them in a later one. Without a sink there are none.
  struct Finishing {
    int batch = 0;
    std::vector<int> last_batch;  ///< [n_rows], that may add to a row
    bool operator()(int row) const { return !last_batch.empty() && last_batch[row] == batch; }
  };

  std::vector<Batch> batches(std::size_t n_centres, std::size_t n_threads) const;
  std::vector<int> last_batches(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                                std::span<const Batch> batches, std::size_t n_threads) const;
  void derive(const Neighbourhood& atoms, const RowTargets& targets, RowChunk& chunk) const;
  void add_sums(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                int n_threads) const;
  void add_pairs(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                 int n_threads) const;
  void queue_entries(const RowTargets& targets, std::span<const RowChunk> chunks, int thread, RowQueue& queue) const;
  void add_products(const Neighbourhood& atoms, const RowTargets& targets, std::span<const RowChunk> chunks, int thread,
                    const Finishing& finishing, RowQueue& queue) const;
  /// Of the entries of the row, first … end − 1.
  void add_products_of_row(const Neighbourhood& atoms, std::span<const RowChunk> chunks, std::size_t first,
                           std::size_t end, char* begun, double* of_row, RowQueue& queue) const;
  void finish_rows(const RowTargets& targets, int thread, int n_threads, const RowQueue& queue) const;

  std::size_t row_size() const { return 3 * static_cast<std::size_t>(model_.n_elements()) * model_.n_weights(); }
  /// use(first column of an element in each of an atom's rows) of what is begun, or of what is not.
  template <class Use>
  void for_columns(const char* begun, bool wanted, Use&& use) const;

  const Kernel& kernel_;
  const EnergyModel& model_;
  const simd::ProjectionTable& project_;
};

}  // namespace mliuq
