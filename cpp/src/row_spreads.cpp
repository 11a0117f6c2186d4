// Spreads from design rows: rows × factor, 32 rows and six columns at a time (projection.hpp).

#include <algorithm>
#include <cmath>

#include "ensemble_factors.hpp"
#include "mliuq/error.hpp"
#include "threads.hpp"

namespace mliuq {

void Ensemble::row_spreads(std::span<const double> rows, const MoveSpreads& out, int n_threads) const {
  require_box(out.needs_box());
  const std::size_t width = static_cast<std::size_t>(n_elements_) * n_weights_, n = rows.size() / width;
  const simd::ProjectionTable& project = factors_->project;
  const std::size_t group = project.group;
  const auto count_of = [](std::span<const simd::Panel> panels) { return static_cast<int>(panels.size()); };
  const auto moment =
      out.std ? factors_->joint_moment(n_members_, static_cast<int>(width)).panels() : std::span<const simd::Panel>{};
  const auto moves = factors_->moves.panels(), axes = factors_->half_axes.panels();
  [[maybe_unused]] const int threads = team_size(n_threads, static_cast<long>((n + group - 1) / group));

#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    AlignedVector<double> lanes(width * group), low(group), high(group);
    AlignedVector<double> products(out.committee ? moves.size() * simd::kPanelColumns * group : 0);
#pragma omp for schedule(static)
    for (std::size_t first = 0; first < n; first += group) {
      const std::size_t count = std::min(group, n - first);
      project.pack_rows(rows.data() + first * width, static_cast<int>(count), static_cast<int>(width), lanes.data());
      const auto put = [&](double* to, const AlignedVector<double>& from) {
        if (to) std::copy_n(from.begin(), count, to + first);
      };
      if (out.std) {
        project.squared_norms(moment.data(), count_of(moment), lanes.data(), low.data());
        for (double& value : low) value = std::sqrt(value);
        put(out.std, low);
      }
      if (out.least || out.most) {
        project.extremes(moves.data(), count_of(moves), lanes.data(), low.data(), high.data());
        put(out.least, low);
        put(out.most, high);
      }
      if (out.committee) {
        project.products(moves.data(), count_of(moves), lanes.data(), products.data());
        for (int m = 0; m < n_members_; ++m)
          std::copy_n(products.begin() + static_cast<std::ptrdiff_t>(m * group), count,
                      out.committee + static_cast<std::size_t>(m) * n + first);
      }
      if (out.needs_box()) {
        project.absolute_sums(axes.data(), count_of(axes), lanes.data(), high.data());
        std::fill(low.begin(), low.end(), 0.0);
        for (std::size_t p = 0; p < width; ++p)
          for (std::size_t r = 0; r < count; ++r) low[r] += factors_->box_centre[p] * lanes[p * group + r];
        for (std::size_t r = 0; r < count; ++r) {
          if (out.box_least) out.box_least[first + r] = low[r] - high[r];
          if (out.box_most) out.box_most[first + r] = low[r] + high[r];
        }
      }
    }
  }
  for (const double* values : {out.std, out.least, out.most})
    if (values && !std::all_of(values, values + n, [](double value) { return std::isfinite(value); }))
      throw Error("a spread over the members is not a finite number: a weight of a member is damaged or absurd");
}

}  // namespace mliuq
