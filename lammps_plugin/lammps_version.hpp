// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

namespace mliuq_lammps {

/// Why the LAMMPS that loads this plugin is not the one it was built for; empty where it is. Asks LAMMPS through its C
/// interface only, which keeps its shape between versions: nothing of another LAMMPS's classes is touched.
std::string version_mismatch(void* lammps);

/// Prints a warning by the LAMMPS that loads this plugin, whatever its version.
void warn_of_mismatch(void* lammps, const std::string& message);

}  // namespace mliuq_lammps
