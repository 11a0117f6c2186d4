// Spreads from design rows: rows × factor, 32 rows and six columns at a time (projection.hpp).

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ensemble_factors.hpp"
#include "mliuq/error.hpp"
#include "row_group.hpp"
#include "threads.hpp"

namespace mliuq {

RowGroup::RowGroup(const Ensemble& ensemble, const MoveSpreads& out, std::size_t n)
    : ensemble_(ensemble),
      out_(out),
      n_(n),
      size_(ensemble.factors_->project.group),
      square_(ensemble.factors_->project.square),
      width_(static_cast<std::size_t>(ensemble.n_elements_) * ensemble.n_weights_),
      low_(size_),
      high_(size_) {
  ensemble.require_box(out.needs_box());
}

void RowGroup::add(const double* rows, std::span<const std::size_t> places) {
  ensemble_.factors_->project.pack_rows(rows, static_cast<int>(places.size()), static_cast<int>(width_),
                                        static_cast<int>(places_.size()), lanes_.of(width_ * size_));
  places_.insert(places_.end(), places.begin(), places.end());
  if (places_.size() == size_) end();
}

void RowGroup::end() {
  if (places_.empty()) return;
  const Ensemble::Factors& factors = *ensemble_.factors_;
  const int count = static_cast<int>(places_.size());
  const simd::ProjectionTable& project = factors.project;
  const double* const lanes = lanes_.of(width_ * size_);
  const auto count_of = [](std::span<const simd::Panel> panels) { return static_cast<int>(panels.size()); };
  const auto put = [&](double* to, const double* from) {
    for (int r = 0; to && r < count; ++r) to[places_[r]] = from[r];
  };
  if (out_.std) {
    const auto moment = factors.joint_moment(ensemble_.n_members_, static_cast<int>(width_)).panels();
    project.squared_norms(moment.data(), count_of(moment), lanes, count, low_.data());
    for (double& value : low_) value = std::sqrt(value);
    put(out_.std, low_.data());
  }
  const auto moves = factors.moves.panels();
  if (out_.least || out_.most) {
    project.extremes(moves.data(), count_of(moves), lanes, count, low_.data(), high_.data());
    put(out_.least, low_.data());
    put(out_.most, high_.data());
  }
  if (out_.committee) {
    double* const products = products_.of(moves.size() * simd::kPanelColumns * size_);
    project.products(moves.data(), count_of(moves), lanes, count, products);
    for (std::size_t m = 0; m < static_cast<std::size_t>(ensemble_.n_members_); ++m)
      put(out_.committee + m * n_, products + m * size_);
  }
  if (out_.needs_box()) {
    const auto axes = factors.half_axes.panels();
    project.absolute_sums(axes.data(), count_of(axes), lanes, count, high_.data());
    std::fill(low_.begin(), low_.end(), 0.0);
    for (std::size_t p = 0; p < width_; ++p)
      for (int r = 0; r < count; ++r) low_[r] += factors.box_centre[p] * lanes[p * size_ + r];
    for (int r = 0; r < count; ++r) {
      if (out_.box_least) out_.box_least[places_[r]] = low_[r] - high_[r];
      if (out_.box_most) out_.box_most[places_[r]] = low_[r] + high_[r];
    }
  }
  places_.clear();
}

void require_finite_spreads(const MoveSpreads& out, std::size_t n) {
  for (const double* values : {out.std, out.least, out.most})
    if (values && !std::all_of(values, values + n, [](double value) { return std::isfinite(value); }))
      throw Error("a spread over the members is not a finite number: a weight of a member is damaged or absurd");
}

void Ensemble::row_spreads(std::span<const double> rows, const MoveSpreads& out, int n_threads) const {
  require_box(out.needs_box());
  const std::size_t width = static_cast<std::size_t>(n_elements_) * n_weights_, n = rows.size() / width;
  const std::size_t size = factors_->project.group;
  [[maybe_unused]] const int threads = team_size(n_threads, static_cast<long>((n + size - 1) / size));
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    RowGroup group(*this, out, n);
    std::vector<std::size_t> places;
#pragma omp for schedule(static)
    for (std::size_t begin = 0; begin < n; begin += size) {
      for (std::size_t first = begin; first < std::min(begin + size, n); first += group.square()) {
        places.resize(std::min(group.square(), n - first));
        std::iota(places.begin(), places.end(), first);
        group.add(rows.data() + first * width, places);
      }
      group.end();
    }
  }
  require_finite_spreads(out, n);
}

}  // namespace mliuq
