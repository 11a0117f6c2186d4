// SPDX-License-Identifier: GPL-2.0-only

#include "extended_xyz.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>

namespace mliuq_lammps {

namespace {

constexpr int kFixedColumns = 8;  // ID, type, position, force

/// Å, coarse enough to survive the wrapping of a restart.
constexpr const char* kCoarse = "%.7f";

std::string number(double value, const char* format = "%.15g") {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

void ExtendedXyz::add_column(const std::string& name, const double* values) {
  properties_ += ":" + name + ":R:1";
  columns_.push_back(values);
}

void ExtendedXyz::add(const std::string& key, const std::string& value) { info_ += " " + key + "=\"" + value + "\""; }
void ExtendedXyz::add(const std::string& key, double value) { info_ += " " + key + "=" + number(value); }

std::vector<double> ExtendedXyz::gathered_rows() const {
  const std::size_t width = kFixedColumns + columns_.size();
  std::vector<double> mine;
  mine.reserve(width * atom->nlocal);
  for (int i = 0; i < atom->nlocal; ++i) {
    double x[3] = {atom->x[i][0], atom->x[i][1], atom->x[i][2]};
    domain->unmap(x, atom->image[i]);
    mine.insert(mine.end(), {static_cast<double>(atom->tag[i]), static_cast<double>(atom->type[i])});
    mine.insert(mine.end(), x, x + 3);
    mine.insert(mine.end(), atom->f[i], atom->f[i] + 3);
    for (const double* const column : columns_) mine.push_back(column[i]);
  }
  const int n_mine = static_cast<int>(mine.size());
  std::vector<int> counts(comm->nprocs), offsets(comm->nprocs);
  MPI_Gather(&n_mine, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, world);
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  std::vector<double> all(comm->me == 0 ? offsets.back() + counts.back() : 0);
  MPI_Gatherv(mine.data(), n_mine, MPI_DOUBLE, all.data(), counts.data(), offsets.data(), MPI_DOUBLE, 0, world);
  return all;
}

std::string ExtendedXyz::text(const std::vector<std::string>& elements, std::string& identity) const {
  const std::vector<double> rows = gathered_rows();
  if (comm->me != 0) return {};
  const std::size_t width = kFixedColumns + columns_.size(), n = rows.size() / width;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return rows[a * width] < rows[b * width]; });

  const LAMMPS_NS::Domain& d = *domain;
  const double cell[9] = {d.xprd, 0.0, 0.0, d.xy, d.yprd, 0.0, d.xz, d.yz, d.zprd};
  const auto numbers = [](const double* values, std::size_t n, const char* format) {
    std::string line;
    for (std::size_t k = 0; k < n; ++k) line += (k ? " " : "") + number(values[k], format);
    return line;
  };
  // An open side of the box says nothing of the atoms, and LAMMPS may wrap it about them anew.
  for (int v = 0; v < 3; ++v)
    if (d.periodicity[v]) identity += numbers(cell + 3 * v, 3, kCoarse) + "\n";
  std::string atoms;
  for (const std::size_t a : order) {
    const double* const row = rows.data() + a * width;
    const std::string element = elements[static_cast<std::size_t>(row[1]) - 1], id = number(row[0], "%.0f");
    identity += element + " " + numbers(row + 2, 3, kCoarse) + " " + id + "\n";
    atoms +=
        element + " " + numbers(row + 2, 3, "%.15g") + " " + id + " " + numbers(row + 5, width - 5, "%.12g") + "\n";
  }
  const auto flag = [](int periodic) { return periodic ? "T" : "F"; };
  std::string header = "Lattice=\"" + numbers(cell, 9, "%.15g") +
                       "\" Properties=species:S:1:pos:R:3:id:I:1:forces:R:3" + properties_ + " pbc=\"" +
                       flag(d.xperiodic) + " " + flag(d.yperiodic) + " " + flag(d.zperiodic) + "\"" + info_;
  return std::to_string(n) + "\n" + header + "\n" + atoms;
}

std::string append_to_file(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0666);
  if (file < 0) return std::strerror(errno);
  struct stat before{};
  const bool regular = ::fstat(file, &before) == 0 && S_ISREG(before.st_mode);
  std::string problem;
  std::size_t written = 0;
  while (written < text.size() && problem.empty()) {
    const ssize_t n = ::write(file, text.data() + written, text.size() - written);
    if (n >= 0) {
      written += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      problem = std::strerror(errno);
    }
  }
  if (problem.empty() && regular && ::fsync(file) != 0) problem = std::strerror(errno);
  if (!problem.empty() && regular && ::ftruncate(file, before.st_size) != 0) problem += " (and half a frame is left)";
  if (::close(file) != 0 && problem.empty()) problem = std::strerror(errno);
  return problem;
}

}  // namespace mliuq_lammps
