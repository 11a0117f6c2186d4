// SPDX-License-Identifier: GPL-2.0-only

#include "lammps_version.hpp"

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "lmptype.h"
#include "mpi.h"

// What Python reads from the file without loading it (mliuq.lammps.plugin).
#define MLIUQ_TEXT_(x) #x
#define MLIUQ_TEXT(x) MLIUQ_TEXT_(x)
extern "C" __attribute__((used)) const char mliuq_built_for_lammps[] =
    "mliuq built for LAMMPS <" MLIUQ_LAMMPS_VERSION ">, update <" MLIUQ_TEXT(MLIUQ_LAMMPS_UPDATE) ">";

namespace mliuq_lammps {

namespace {

template <class Function>
Function* of_lammps(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

std::string named(const std::string& date, int update) {
  return update > 0 ? date + " update " + std::to_string(update) : date;
}

/// 20250722 -> "22 Jul 2025"
std::string date_of(int version) {
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const int month = version / 100 % 100;
  return std::to_string(version % 100) + " " + (month >= 1 && month <= 12 ? kMonths[month - 1] : "?") + " " +
         std::to_string(version / 10000);
}

/// The update of a stable release, from what its source tree called itself ("stable_22Jul2025_update4"); −1: not told.
int running_update() {
  auto* const descriptor = of_lammps<const char*()>("_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv");
  const char* const text = descriptor ? descriptor() : "";
  if (!text || std::strncmp(text, "stable_", 7) != 0) return -1;
  const char* const update = std::strstr(text, "_update");
  return update ? std::atoi(update + 7) : 0;
}

#ifdef OPEN_MPI
constexpr bool kOpenMpi = true;
#else
constexpr bool kOpenMpi = false;
#endif

const char* mpi_name(bool open) { return open ? "Open MPI" : "MPICH or a relative of it"; }

/// Communicators are numbers in one family of MPI libraries and pointers in the other.
bool runs_on_open_mpi() {
  auto* const describe = of_lammps<int(char*, int*)>("MPI_Get_library_version");
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  if (describe) describe(text, &length);
  return std::strstr(text, "Open MPI") != nullptr;
}

}  // namespace

std::string version_mismatch(void* lammps) {
  auto* const version = of_lammps<int(void*)>("lammps_version");
  auto* const setting = of_lammps<int(void*, const char*)>("lammps_extract_setting");
  const std::string mine = named(MLIUQ_LAMMPS_VERSION, MLIUQ_LAMMPS_UPDATE);
  const std::string advice = "; build the plugin against this LAMMPS (docs/how-to/lammps.md)";
  if (!version || !setting) {
    return "the mliuq plugin was built for LAMMPS " + mine + " and cannot tell which this one is" + advice;
  }
  const std::string date = date_of(version(lammps));
  const int update = running_update();
  const bool other_update = MLIUQ_LAMMPS_UPDATE >= 0 && update >= 0 && update != MLIUQ_LAMMPS_UPDATE;
  if (date != MLIUQ_LAMMPS_VERSION || other_update) {
    return "the mliuq plugin was built for LAMMPS " + mine + ", this is LAMMPS " + named(date, update) +
           ": not loaded" + advice;
  }
  const int tag = setting(lammps, "tagint"), big = setting(lammps, "bigint");
  if (tag != sizeof(LAMMPS_NS::tagint) || big != sizeof(LAMMPS_NS::bigint)) {
    return "the mliuq plugin was built for LAMMPS " + mine + " with atom IDs of " +
           std::to_string(sizeof(LAMMPS_NS::tagint)) + " bytes, this LAMMPS " + named(date, update) + " has IDs of " +
           std::to_string(tag) + ": not loaded; build it with -DLAMMPS_SIZES";
  }
  if (runs_on_open_mpi() != kOpenMpi) {
    return "the mliuq plugin was built for LAMMPS " + mine + " with " + mpi_name(kOpenMpi) + ", this LAMMPS runs on " +
           mpi_name(!kOpenMpi) + ": not loaded; build it with -DMPI_HEADER_DIR";
  }
  return {};
}

void warn_of_mismatch(void* lammps, const std::string& message) {
  if (auto* const warn = of_lammps<void(void*, int, const char*)>("lammps_error")) {
    warn(lammps, 0, message.c_str());
  } else {
    std::fprintf(stderr, "WARNING: %s\n", message.c_str());
  }
}

}  // namespace mliuq_lammps
