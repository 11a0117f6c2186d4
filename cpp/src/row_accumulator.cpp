#include "row_accumulator.hpp"

#include <algorithm>
#include <exception>

#include "clones.hpp"

namespace mliuq {
namespace {

constexpr int kFirst[6] = {0, 1, 2, 1, 0, 0}, kSecond[6] = {0, 1, 2, 2, 2, 1};  // Voigt

/// y += s x.
MLIUQ_CLONES void add_scaled(double* y, double s, const double* x, int n) {
  for (int i = 0; i < n; ++i) y[i] += s * x[i];
}

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

void gather(const int* row_of_atom, int K, std::size_t c, RowChunk& chunk) {
  const int i = chunk.centres[c];
  const std::size_t width = 3 * static_cast<std::size_t>(K);
  const auto slot = [&](int row) {
    int& known = chunk.slot_of_row[row];
    if (known < 0) {
      known = static_cast<int>(chunk.row.size());
      chunk.row.push_back(row);
      chunk.dB.resize(chunk.dB.size() + width, 0.0);
    }
    return known * width;
  };
  const int own_row = row_of_atom[i];
  const std::size_t own = own_row >= 0 ? slot(own_row) : 0;
  for (int n = chunk.block.first[c]; n < chunk.block.first[c + 1]; ++n) {
    const int row = row_of_atom[chunk.block.neighbour[n]];
    const double* from = chunk.block.dB.data() + n * width;
    if (row >= 0) {
      const std::size_t to = slot(row);  // may move the array
      add_scaled(chunk.dB.data() + to, 1.0, from, static_cast<int>(width));
    }
    if (own_row >= 0) add_scaled(chunk.dB.data() + own, -1.0, from, static_cast<int>(width));
  }
  for (std::size_t g = chunk.first.back(); g < chunk.row.size(); ++g) chunk.slot_of_row[chunk.row[g]] = -1;
  chunk.first.push_back(static_cast<int>(chunk.row.size()));
}

}  // namespace

void derive(const Kernel& kernel, int n_components, const Neighbourhood& atoms, const RowRequestOfChunk& request,
            RowChunk& chunk) {
  if (!chunk.workspace) chunk.workspace = kernel.make_workspace();
  const std::size_t K = n_components;
  GradientBlock& block = chunk.block;
  if (!request.row_of_atom && !request.strain) {
    block.B.resize(chunk.centres.size() * K);
    kernel.evaluate(atoms, chunk.centres, {.B = block.B.data()}, *chunk.workspace);
    return;
  }
  kernel.gradients(atoms, chunk.centres, block, *chunk.workspace);
  chunk.first.assign(1, 0);
  chunk.row.clear();
  chunk.dB.clear();
  chunk.slot_of_row.resize(std::max<std::size_t>(chunk.slot_of_row.size(), request.n_rows), -1);
  if (request.row_of_atom)
    for (std::size_t c = 0; c < chunk.centres.size(); ++c) gather(request.row_of_atom, n_components, c, chunk);
  if (!request.strain) return;
  chunk.strain.assign(chunk.centres.size() * 6 * K, 0.0);
  for (std::size_t c = 0; c < chunk.centres.size(); ++c)
    for (int n = block.first[c]; n < block.first[c + 1]; ++n) {
      const double* rj = atoms.positions + 3 * static_cast<std::size_t>(block.neighbour[n]);
      const double* ri = atoms.positions + 3 * static_cast<std::size_t>(chunk.centres[c]);
      for (int v = 0; v < 6; ++v)
        add_scaled(chunk.strain.data() + (c * 6 + v) * K, rj[kFirst[v]] - ri[kFirst[v]],
                   block.dB.data() + (3 * static_cast<std::size_t>(n) + kSecond[v]) * K, static_cast<int>(K));
    }
}

void RowAccumulator::add(const Neighbourhood& atoms, const RowTargets& targets, const RowChunk& chunk, int thread,
                         int n_threads) const {
  const int K = model_.n_components();
  const std::size_t P = model_.n_weights(), width = model_.n_elements() * P;
  for (std::size_t c = 0; c < chunk.centres.size(); ++c) {
    const double* B = chunk.block.B.data() + c * K;
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
    if (targets.forces)
      for (int g = chunk.first[c]; g < chunk.first[c + 1]; ++g) {
        const std::size_t row = chunk.row[g];
        if (static_cast<int>(row) % n_threads != thread) continue;
        for (int x = 0; x < 3; ++x)
          add_feature_change(K, model_.quadratic(), -1.0, B,
                             chunk.dB.data() + (3 * static_cast<std::size_t>(g) + x) * K,
                             targets.forces + (3 * row + x) * width + column + 1);
      }
    if (targets.strain)
      for (int v = thread; v < 6; v += n_threads)
        add_feature_change(K, model_.quadratic(), 1.0, B, chunk.strain.data() + (c * 6 + v) * K,
                           targets.strain + v * width + column + 1);
  }
}

void RowAccumulator::run(const Neighbourhood& atoms, std::span<const int> centres, const RowTargets& targets,
                         std::span<RowChunk> threads) const {
  const int n_threads = static_cast<int>(threads.size());
  const RowRequestOfChunk request{.row_of_atom = targets.forces ? targets.row_of_atom : nullptr,
                                  .n_rows = targets.n_rows,
                                  .strain = targets.strain != nullptr};
  std::exception_ptr failure;
  const auto guarded = [&](auto&& work) {
    try {
      work();
    } catch (...) {
#pragma omp critical(mliuq_row_accumulator)
      failure = std::current_exception();
    }
  };
  for (std::size_t begin = 0; begin < centres.size() && !failure; begin += n_threads * kRowChunk) {
    for (int t = 0; t < n_threads; ++t) {
      const std::size_t from = std::min(begin + t * kRowChunk, centres.size());
      threads[t].centres = centres.subspan(from, std::min(kRowChunk, centres.size() - from));
    }
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) if (n_threads > 1)
    for (int t = 0; t < n_threads; ++t)
      guarded([&] { derive(kernel_, model_.n_components(), atoms, request, threads[t]); });
    if (failure) break;
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) if (n_threads > 1)
    for (int t = 0; t < n_threads; ++t)
      for (const RowChunk& chunk : threads) add(atoms, targets, chunk, t, n_threads);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mliuq
