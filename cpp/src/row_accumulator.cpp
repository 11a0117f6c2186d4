#include "row_accumulator.hpp"

#include <algorithm>
#include <exception>
#include <functional>

#include "clones.hpp"

namespace mliuq {
namespace {

/// Eight numbers at an address that need not be aligned.
constexpr int kTile = 8;
typedef double Tile __attribute__((vector_size(kTile * sizeof(double)), aligned(8), may_alias));

/// y [n_rows][y_stride] += s x [n_rows][n]. In tiles; the last of a row overlaps the one before, so it is formed first.
MLIUQ_CLONES void add_rows(int n_rows, int n, double s, const double* x, double* y, std::size_t y_stride) {
  for (int row = 0; row < n_rows; ++row, x += n, y += y_stride) {
    if (n < kTile) {
      for (int i = 0; i < n; ++i) y[i] += s * x[i];
      continue;
    }
    Tile& last_of_y = *reinterpret_cast<Tile*>(y + n - kTile);
    const Tile last = last_of_y + s * *reinterpret_cast<const Tile*>(x + n - kTile);
    for (int i = 0; i + kTile < n; i += kTile)
      *reinterpret_cast<Tile*>(y + i) += s * *reinterpret_cast<const Tile*>(x + i);
    last_of_y = last;
  }
}

void add_scaled(double* y, double s, const double* x, int n) { add_rows(1, n, s, x, y, n); }

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

/// Gathers the c-th centre of the derived block, the chunk's centre i.
void gather(const int* row_of_atom, int K, std::size_t c, int i, RowChunk& chunk) {
  const std::size_t width = 3 * static_cast<std::size_t>(K);
  const auto add = [&](int row, double sign, const double* from) {
    if (row < 0) return;
    int& slot = chunk.slot_of_row[row];
    if (slot >= 0) {
      add_scaled(chunk.dB.data() + slot * width, sign, from, static_cast<int>(width));
      return;
    }
    slot = static_cast<int>(chunk.row.size());
    chunk.row.push_back(row);
    chunk.dB.insert(chunk.dB.end(), from, from + width);
    if (sign < 0.0)
      std::ranges::transform(chunk.dB.end() - width, chunk.dB.end(), chunk.dB.end() - width, std::negate());
  };
  add(row_of_atom[i], -1.0, chunk.block.total.data() + c * width);
  for (int n = chunk.block.first[c]; n < chunk.block.first[c + 1]; ++n)
    add(row_of_atom[chunk.block.neighbour[n]], 1.0, chunk.block.dB.data() + n * width);
  for (std::size_t g = chunk.first.back(); g < chunk.row.size(); ++g) chunk.slot_of_row[chunk.row[g]] = -1;
  chunk.first.push_back(static_cast<int>(chunk.row.size()));
}

}  // namespace

void derive(const Kernel& kernel, int n_components, const Neighbourhood& atoms, const RowRequestOfChunk& request,
            RowChunk& chunk) {
  if (!chunk.workspace) chunk.workspace = kernel.make_workspace();
  const std::size_t K = n_components, n = chunk.centres.size();
  chunk.B.resize(request.B ? n * K : 0);
  if (!request.row_of_atom && !request.strain) {
    kernel.evaluate(atoms, chunk.centres, {.B = chunk.B.data()}, *chunk.workspace);
    return;
  }
  chunk.first.assign(1, 0);
  chunk.row.clear();
  chunk.dB.clear();
  chunk.slot_of_row.resize(std::max<std::size_t>(chunk.slot_of_row.size(), request.n_rows), -1);
  chunk.block.with_B = request.B;
  chunk.block.with_strain = request.strain;
  chunk.block.subtracted_from = request.subtracted_from;
  chunk.strain.resize(request.strain ? n * 6 * K : 0);
  for (std::size_t begin = 0; begin < n; begin += kDerivedCentres) {
    const auto part = chunk.centres.subspan(begin, std::min(kDerivedCentres, n - begin));
    kernel.gradients(atoms, part, chunk.block, *chunk.workspace);
    std::ranges::copy(chunk.block.B, chunk.B.begin() + static_cast<std::ptrdiff_t>(begin * K));
    std::ranges::copy(chunk.block.strain, chunk.strain.begin() + static_cast<std::ptrdiff_t>(begin * 6 * K));
    if (request.row_of_atom && request.gathered)
      for (std::size_t c = 0; c < part.size(); ++c) gather(request.row_of_atom, n_components, c, part[c], chunk);
  }
}

void RowAccumulator::add_sums(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                              int n_threads) const {
  const int K = model_.n_components();
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  for (std::size_t c = 0; c < chunk.centres.size(); ++c) {
    const double* B = chunk.B.empty() ? nullptr : chunk.B.data() + c * K;
    const std::size_t column = atoms.species(chunk.centres[c]) * P;
    if (targets.features && thread == 0) {
      targets.features[column] += 1.0;
      double* sums = targets.features + column + 1;
      add_scaled(sums, 1.0, B, K);
      if (model_.quadratic()) {
        sums += K;
        for (int k = 0; k < K; sums += K - k, ++k) {
          sums[0] += 0.5 * B[k] * B[k];
          add_scaled(sums + 1, B[k], B + k + 1, K - k - 1);
        }
      }
    }
    if (targets.strain)
      for (int v = thread; v < 6; v += n_threads)
        add_feature_change(K, model_.quadratic(), 1.0, B, chunk.strain.data() + (c * 6 + v) * K,
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
      add_rows(3, K, sign, dB, of_element + 3 * static_cast<std::size_t>(row) * width, width);
    };
    const bool kept = !chunk.block.subtracted_from.rows;
    for (int n = kept ? chunk.block.first[c] : 0; kept && n < chunk.block.first[c + 1]; ++n) {
      const double* const dB = chunk.block.dB.data() + 3 * static_cast<std::size_t>(n) * K;
      const int row = targets.row_of_atom[chunk.block.neighbour[n]];
      if (mine(row)) add(row, -1.0, dB);
    }
    if (mine(own_row)) add(own_row, 1.0, chunk.block.total.data() + c * 3 * K);
  }
}

void RowAccumulator::add_gathered(const Neighbourhood& atoms, const RowTargets& targets,
                                  std::span<const RowChunk> chunks, int thread, RowQueue& queue) const {
  const int n_threads = static_cast<int>(chunks.size()), K = model_.n_components();
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  queue.entries.clear();
  queue.rows.clear();
  queue.head.resize(std::max<std::size_t>(queue.head.size(), targets.n_rows), -1);
  queue.tail.resize(queue.head.size(), -1);
  for (int t = 0; t < n_threads; ++t)
    for (std::size_t c = 0; c < chunks[t].centres.size(); ++c)
      for (int g = chunks[t].first[c]; g < chunks[t].first[c + 1]; ++g) {
        const int row = chunks[t].row[g], entry = static_cast<int>(queue.entries.size());
        if (row % n_threads != thread) continue;
        queue.entries.push_back({.chunk = t, .centre = static_cast<int>(c), .gathered = g, .next = -1});
        if (queue.head[row] < 0) {
          queue.head[row] = entry;
          queue.rows.push_back(row);
        } else {
          queue.entries[queue.tail[row]].next = entry;
        }
        queue.tail[row] = entry;
      }
  const std::size_t stride = (K + simd::kProductStride - 1) / simd::kProductStride * simd::kProductStride;
  for (const int row : queue.rows) {
    for (int e = queue.head[row], next = -1; e >= 0; e = next) {
      // A run of centres of one element: their weights are the same columns.
      const std::size_t column = atoms.species(chunks[queue.entries[e].chunk].centres[queue.entries[e].centre]) * P;
      std::size_t n = 0;
      for (next = e; next >= 0; next = queue.entries[next].next, ++n) {
        const auto& [t, c, g, after] = queue.entries[next];
        if (atoms.species(chunks[t].centres[c]) * P != column) break;
        queue.make_room(n + 1, stride);
        std::copy_n(chunks[t].B.data() + static_cast<std::size_t>(c) * K, K, queue.B.data() + n * stride);
        for (int x = 0; x < 3; ++x)
          std::copy_n(chunks[t].dB.data() + (3 * static_cast<std::size_t>(g) + x) * K, K,
                      queue.dB[x].data() + n * stride);
      }
      for (int x = 0; x < 3; ++x) {
        double* const of_row = targets.forces + (3 * static_cast<std::size_t>(row) + x) * width + column + 1;
        for (std::size_t i = 0; i < n; ++i) add_scaled(of_row, -1.0, queue.dB[x].data() + i * stride, K);
        project_.subtract_products(K, static_cast<int>(n), queue.B.data(), queue.dB[x].data(), static_cast<int>(stride),
                                   of_row + K);
      }
    }
    queue.head[row] = -1;
  }
}

void RowAccumulator::run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                         std::span<RowChunk> threads) const {
  const int n_threads = static_cast<int>(threads.size());
  RowRequestOfChunk request{.row_of_atom = targets.forces ? targets.row_of_atom : nullptr,
                            .n_rows = targets.n_rows,
                            .B = targets.features || model_.quadratic(),
                            .strain = targets.strain != nullptr,
                            .gathered = model_.quadratic()};
  std::vector<std::size_t> of_element;
  if (targets.forces && !model_.quadratic() && n_threads == 1) {  // nobody else writes to the rows
    for (int e = 0; e < model_.n_elements(); ++e) of_element.push_back(e * model_.n_weights() + 1);
    request.subtracted_from = {.row_of_atom = targets.row_of_atom,
                               .rows = targets.forces,
                               .stride = static_cast<std::size_t>(model_.n_elements()) * model_.n_weights(),
                               .of_element = of_element.data()};
  }
  std::exception_ptr failure;
  const auto guarded = [&](auto&& work) {
    try {
      work();
    } catch (...) {
#pragma omp critical(mliuq_row_accumulator)
      failure = std::current_exception();
    }
  };
  for (std::size_t begin = 0, length = 0; begin < centres.size() && !failure; begin += n_threads * length) {
    const std::size_t blocks =
        (centres.size() - begin + n_threads * kDerivedCentres - 1) / (n_threads * kDerivedCentres);
    length = model_.quadratic() ? std::min(kGatheredCentres, blocks * kDerivedCentres) : kDerivedCentres;
    for (int t = 0; t < n_threads; ++t) {
      const std::size_t from = std::min(begin + t * length, centres.size());
      threads[t].centres = centres.subspan(from, std::min(length, centres.size() - from));
    }
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) if (n_threads > 1)
    for (int t = 0; t < n_threads; ++t)
      guarded([&] { derive(kernel_, model_.n_components(), atoms, request, threads[t]); });
    if (failure) break;
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) if (n_threads > 1)
    for (int t = 0; t < n_threads; ++t)
      guarded([&] {
        for (const RowChunk& chunk : threads) {
          add_sums(atoms, targets, chunk, t, n_threads);
          if (targets.forces && !model_.quadratic()) add_pairs(atoms, targets, chunk, t, n_threads);
        }
        if (targets.forces && model_.quadratic()) add_gathered(atoms, targets, threads, t, threads[t].queue);
      });
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mliuq
