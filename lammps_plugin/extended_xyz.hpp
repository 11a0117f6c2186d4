// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <vector>

#include "lammps_headers.hpp"

namespace mliuq_lammps {

/// One configuration in extended XYZ, gathered from all ranks on the first: cell, periodicity, element names, IDs,
/// positions (unwrapped), forces and further columns, atoms in order of their IDs.
class ExtendedXyz : protected LAMMPS_NS::Pointers {
 public:
  explicit ExtendedXyz(LAMMPS_NS::LAMMPS* lmp) : Pointers(lmp) {}

  /// A column of this rank's atoms [nlocal]; the array must live until `text` is called.
  void add_column(const std::string& name, const double* values);

  /// A `key=value` of the comment line; text is quoted where needed.
  void add(const std::string& key, const std::string& value);
  void add(const std::string& key, double value);

  /// The whole frame on the first rank, empty elsewhere; `elements` are the names of the atom types from 1 on.
  /// `identity` becomes the same text for equal configurations. Called by all ranks together.
  std::string text(const std::vector<std::string>& elements, std::string& identity) const;

 private:
  std::vector<double> gathered_rows() const;

  std::string info_, properties_;
  std::vector<const double*> columns_;
};

/// Appends to a file, all of it or nothing: what was there before is never touched. Returns what went wrong.
std::string append_to_file(const std::string& path, const std::string& text);

}  // namespace mliuq_lammps
