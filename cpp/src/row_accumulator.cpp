#include "row_accumulator.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "clones.hpp"
#include "scaled_sums.hpp"

namespace mliuq {
namespace {

/// Adds dD for a change dB of the descriptor at B, D the features of the energy model without the constant.
MLIUQ_CLONES void add_feature_change(int K, bool quadratic, const double* B, const double* dB, double* row) {
  for (int k = 0; k < K; ++k) row[k] += dB[k];
  if (!quadratic) return;
  double* next = row + K;
  for (int k = 0; k < K; ++k) {
    const double b = B[k], d = dB[k];
    next[0] += b * dB[k];
    for (int l = k + 1; l < K; ++l) next[l - k] += b * dB[l] + d * B[l];
    next += K - k;
  }
}

}  // namespace

void RowAccumulator::derive(const Neighbourhood& atoms, const RowTargets& targets, RowChunk& chunk) const {
  if (!chunk.workspace) chunk.workspace = kernel_.make_workspace();
  const std::size_t K = model_.n_components(), n = chunk.centres.size();
  const bool with_B = targets.features || model_.quadratic();
  const std::size_t stride = padded_row(K);
  chunk.B.resize(with_B ? n * stride : 0);
  const auto keep = [&](const std::vector<double>& B, std::size_t begin) {
    for (std::size_t c = 0; c < B.size() / K; ++c) {
      double* const to = chunk.B.data() + (begin + c) * stride;
      to[0] = 1.0;
      std::copy_n(B.data() + c * K, K, to + 1);
    }
  };
  if (!targets.forces && !targets.strain) {
    chunk.block.B.resize(chunk.B.empty() ? 0 : n * K);
    kernel_.evaluate(atoms, chunk.centres, {.B = chunk.block.B.data()}, *chunk.workspace);
    keep(chunk.block.B, 0);
    return;
  }
  chunk.block.with_B = with_B;
  chunk.block.with_strain = targets.strain != nullptr;
  chunk.strain.resize(targets.strain ? n * 6 * K : 0);
  // Pairs that nobody asks for are overwritten while they are near.
  const std::size_t length = targets.forces ? n : kDerivedCentres;
  for (std::size_t begin = 0; begin < n; begin += length) {
    kernel_.gradients(atoms, chunk.centres.subspan(begin, std::min(length, n - begin)), chunk.block, *chunk.workspace);
    keep(chunk.block.B, begin);
    std::ranges::copy(chunk.block.strain, chunk.strain.begin() + static_cast<std::ptrdiff_t>(begin * 6 * K));
  }
}

void RowAccumulator::add_sums(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                              int n_threads) const {
  const int K = model_.n_components();
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  for (std::size_t c = 0; c < chunk.centres.size(); ++c) {
    const double* B = chunk.B.empty() ? nullptr : chunk.B.data() + c * padded_row(K) + 1;
    const std::size_t column = atoms.species(chunk.centres[c]) * P;
    if (targets.features && thread == 0)
      model_.add_features({B, static_cast<std::size_t>(K)}, {targets.features + column, P});
    if (targets.strain)
      for (int v = thread; v < 6; v += n_threads)
        add_feature_change(K, model_.quadratic(), B, chunk.strain.data() + (c * 6 + v) * K,
                           targets.strain + v * width + column + 1);
  }
}

void RowAccumulator::add_pairs(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                               int n_threads) const {
  const int K = model_.n_components();
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  for (std::size_t c = 0; c < chunk.centres.size(); ++c) {
    const int i = chunk.centres[c], own_row = targets.row_of_atom[i];
    double* const of_element = targets.forces + atoms.species(i) * P + 1;
    const auto mine = [&](int row) { return row >= 0 && row % n_threads == thread; };
    const auto add = [&](int row, double sign, const double* dB) {
      add_rows(3, K, sign, dB + 1, padded_row(K), of_element + 3 * static_cast<std::size_t>(row) * width, width);
    };
    const bool kept = !chunk.block.subtracted_from.rows;
    for (int n = kept ? chunk.block.first[c] : 0; kept && n < chunk.block.first[c + 1]; ++n) {
      const double* const dB = chunk.block.dB.data() + 3 * static_cast<std::size_t>(n) * padded_row(K);
      const int row = targets.row_of_atom[chunk.block.neighbour[n]];
      if (mine(row)) add(row, -1.0, dB);
    }
    if (mine(own_row)) add(own_row, 1.0, chunk.block.total.data() + c * 3 * padded_row(K));
  }
}

void RowAccumulator::queue_entries(const RowTargets& targets, std::span<const RowChunk> chunks, int thread,
                                   RowQueue& queue) const {
  const int n_threads = static_cast<int>(chunks.size());
  const auto for_each_entry = [&](auto&& use) {
    const auto enter = [&](int atom, const RowQueue::Entry& entry) {
      const int row = targets.row_of_atom[atom];
      if (row >= 0 && row % n_threads == thread) use(row, entry);
    };
    for (int t = 0; t < n_threads; ++t)
      for (int c = 0; c < static_cast<int>(chunks[t].centres.size()); ++c) {
        enter(chunks[t].centres[c], {.chunk = t, .centre = c, .pair = -1});
        const GradientBlock& block = chunks[t].block;
        for (int n = block.first[c]; n < block.first[c + 1]; ++n)
          enter(block.neighbour[n], {.chunk = t, .centre = c, .pair = n});
      }
  };
  queue.rows.clear();
  queue.count.assign(targets.n_rows, 0);
  queue.next.resize(targets.n_rows);
  for_each_entry([&](int row, const RowQueue::Entry&) {
    if (queue.count[row]++ == 0) queue.rows.push_back(row);
  });
  int n = 0;
  for (const int row : queue.rows) {
    queue.next[row] = n;
    n += queue.count[row];
  }
  queue.entries.resize(n);
  for_each_entry([&](int row, const RowQueue::Entry& entry) { queue.entries[queue.next[row]++] = entry; });
}

const double* RowQueue::Entry::change(std::span<const RowChunk> chunks, std::size_t size) const {
  const GradientBlock& block = chunks[chunk].block;
  return pair < 0 ? block.total.data() + centre * size : block.dB.data() + pair * size;
}

// begun: of the row, by element
void RowAccumulator::add_products_of_row(const Neighbourhood& atoms, std::span<const RowChunk> chunks,
                                         std::size_t first, std::size_t end, char* begun, double* of_row,
                                         RowQueue& queue) const {
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  const std::size_t stride = padded_row(model_.n_components()), size = 3 * stride;
  queue.B.resize(end - first);
  queue.soon.resize(end - first);
  for (std::size_t e = first; e < end;) {
    // A run of centres of one element: their weights are the same columns. Images of one atom move together.
    const int element = atoms.species(chunks[queue.entries[e].chunk].centres[queue.entries[e].centre]);
    std::size_t n = 0;
    const RowQueue::Entry* last = nullptr;
    for (; e < end; ++e) {
      const RowQueue::Entry& entry = queue.entries[e];
      const RowChunk& chunk = chunks[entry.chunk];
      if (atoms.species(chunk.centres[entry.centre]) != element) break;
      const double* const change = entry.change(chunks, size);
      const double sign = entry.pair < 0 ? -1.0 : 1.0;
      if (last && last->chunk == entry.chunk && last->centre == entry.centre) {
        add_scaled(queue.dB.data() + (n - 1) * size, sign, change, static_cast<int>(size));
      } else {
        queue.make_room((n + 1) * size);
        queue.B[n] = chunk.B.data() + entry.centre * stride;
        set_scaled(queue.dB.data() + n * size, sign, change, static_cast<int>(size));
        ++n;
      }
      last = &entry;
    }
    for (std::size_t i = 0; i < n; ++i)
      queue.soon[i] = queue.entries[std::min(e + i, queue.entries.size() - 1)].change(chunks, size);
    project_.subtract_products(model_.n_components() + 1, static_cast<int>(n), queue.B.data(), queue.dB.data(),
                               static_cast<long>(stride), std::exchange(begun[element], true), of_row + element * P,
                               static_cast<long>(width), queue.soon.data());
  }
}

template <class Use>
void RowAccumulator::for_columns(const char* begun, bool wanted, Use&& use) const {
  const std::size_t P = model_.n_weights(), E = model_.n_elements();
  for (std::size_t element = 0; element < E; ++element)
    if (static_cast<bool>(begun[element]) == wanted)
      for (std::size_t x = 0; x < 3; ++x) use((x * E + element) * P);
}

void RowAccumulator::add_products(const Neighbourhood& atoms, const RowTargets& targets,
                                  std::span<const RowChunk> chunks, int thread, const Finishing& finishing,
                                  RowQueue& queue) const {
  queue_entries(targets, chunks, thread, queue);
  const int P = model_.n_weights();
  std::size_t first = 0;
  for (const int row : queue.rows) {
    const std::size_t end = first + queue.count[row];
    char* const begun = queue.begun.data() + static_cast<std::size_t>(row) * model_.n_elements();
    double* const kept = targets.forces + row * row_size();
    const bool finished = finishing(row);
    double* const of_row = finished ? targets.sink->room(thread) : kept;
    if (finished) for_columns(begun, true, [&](std::size_t at) { std::copy_n(kept + at, P, of_row + at); });
    add_products_of_row(atoms, chunks, first, end, begun, of_row, queue);
    first = end;
    if (!finished) continue;
    for_columns(begun, false, [&](std::size_t at) { std::fill_n(of_row + at, P, 0.0); });
    targets.sink->take(thread, row);
    queue.given[row] = true;
  }
}

/// What the batches have left: zeros where nobody added, and rows that no batch has given to the sink.
void RowAccumulator::finish_rows(const RowTargets& targets, int thread, int n_threads, const RowQueue& queue) const {
  for (int row = thread; row < targets.n_rows; row += n_threads) {
    if (queue.given[row]) continue;
    double* const kept = targets.forces + row * row_size();
    if (model_.quadratic())
      for_columns(queue.begun.data() + static_cast<std::size_t>(row) * model_.n_elements(), false,
                  [&](std::size_t first) { std::fill_n(kept + first, model_.n_weights(), 0.0); });
    if (!targets.sink) continue;
    std::copy_n(kept, row_size(), targets.sink->room(thread));
    targets.sink->take(thread, row);
  }
}

std::vector<RowAccumulator::Batch> RowAccumulator::batches(std::size_t n_centres, std::size_t n_threads) const {
  std::vector<Batch> found;
  for (std::size_t begin = 0; begin < n_centres; begin += n_threads * found.back().length) {
    const std::size_t blocks = (n_centres - begin + n_threads * kDerivedCentres - 1) / (n_threads * kDerivedCentres);
    found.push_back({begin, model_.quadratic() ? std::min(kKeptCentres, blocks * kDerivedCentres) : kDerivedCentres});
  }
  return found;
}

std::vector<int> RowAccumulator::last_batches(const Neighbourhood& atoms, std::span<const int> centres,
                                              const RowTargets& targets, std::span<const Batch> batches,
                                              std::size_t n_threads) const {
  std::vector<int> last(targets.n_rows, -1);
  for (int b = 0; b < static_cast<int>(batches.size()); ++b) {
    const auto see = [&](int atom) {
      if (const int row = targets.row_of_atom[atom]; row >= 0) last[row] = b;
    };
    const auto [begin, length] = batches[b];
    for (const int i : centres.subspan(begin, std::min(n_threads * length, centres.size() - begin))) {
      see(i);
      for (int n = 0; n < atoms.n_neighbours[i]; ++n) see(atoms.neighbours[i][n] & atoms.index_mask);
    }
  }
  return last;
}

void RowAccumulator::run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                         std::span<RowChunk> threads) const {
  const int n_threads = static_cast<int>(threads.size());
  const bool products = targets.forces && model_.quadratic();
  std::vector<std::size_t> of_element;
  GradientRows subtracted_from;
  if (targets.forces && !products && n_threads == 1) {  // nobody else writes to the rows
    for (int e = 0; e < model_.n_elements(); ++e) of_element.push_back(e * model_.n_weights() + 1);
    subtracted_from = {.row_of_atom = targets.row_of_atom,
                       .rows = targets.forces,
                       .stride = static_cast<std::size_t>(model_.n_elements()) * model_.n_weights(),
                       .of_element = of_element.data()};
  }
  if (targets.forces && !products) std::fill_n(targets.forces, row_size() * targets.n_rows, 0.0);
  for (RowChunk& chunk : threads) {
    chunk.queue.begun.assign(static_cast<std::size_t>(targets.n_rows) * model_.n_elements(), false);
    chunk.queue.given.assign(targets.n_rows, false);
  }
  const std::vector<Batch> all = batches(centres.size(), n_threads);
  Finishing finishing;
  if (targets.sink) targets.sink->expect(n_threads);
  if (targets.sink && products) finishing.last_batch = last_batches(atoms, centres, targets, all, n_threads);

  std::exception_ptr failure;
  const auto in_parallel = [&](auto&& work) {
    if (failure) return;
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) if (n_threads > 1)
    for (int t = 0; t < n_threads; ++t) try {
        work(t);
      } catch (...) {
#pragma omp critical(mliuq_row_accumulator)
        failure = std::current_exception();
      }
  };
  for (; finishing.batch < static_cast<int>(all.size()); ++finishing.batch) {
    const auto [begin, length] = all[finishing.batch];
    for (int t = 0; t < n_threads; ++t) {
      const std::size_t from = std::min(begin + t * length, centres.size());
      threads[t].centres = centres.subspan(from, std::min(length, centres.size() - from));
    }
    in_parallel([&](int t) {
      threads[t].block.subtracted_from = subtracted_from;
      derive(atoms, targets, threads[t]);
    });
    in_parallel([&](int t) {
      for (const RowChunk& chunk : threads) {
        add_sums(atoms, targets, chunk, t, n_threads);
        if (targets.forces && !products) add_pairs(atoms, targets, chunk, t, n_threads);
      }
      if (products) add_products(atoms, targets, threads, t, finishing, threads[t].queue);
    });
  }
  if (targets.forces) in_parallel([&](int t) { finish_rows(targets, t, n_threads, threads[t].queue); });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mliuq
