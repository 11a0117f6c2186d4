// SPDX-License-Identifier: GPL-2.0-only

// What LAMMPS calls when it loads mliuqplugin.so. This file needs nothing of LAMMPS but its C interface, so that it
// loads into any LAMMPS and can say why the styles, which need the classes of one LAMMPS exactly, do not.

#include <dlfcn.h>
#include <stdlib.h>

#include <memory>
#include <string>

#include "lammps_version.hpp"
#include "lammpsplugin_api.hpp"

namespace {

/// mliuqstyles.so, in the folder of this file (or of what a link to it names). `own` is an address in this file:
/// functions of the same name in a second copy that LAMMPS has loaded would be found instead of ours.
std::string styles_file(const void* own) {
  Dl_info self{};
  if (!dladdr(own, &self) || !self.dli_fname) return {};
  const std::unique_ptr<char, decltype(&free)> real(realpath(self.dli_fname, nullptr), &free);
  const std::string path = real ? real.get() : self.dli_fname;
  return path.substr(0, path.find_last_of('/') + 1) + "mliuqstyles.so";
}

/// Goes when LAMMPS unloads the plugin.
class Library {
 public:
  ~Library() {
    if (handle_) dlclose(handle_);
  }

  /// Empty, or what went wrong.
  std::string open(const std::string& path) {
    if (!handle_) handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    return handle_ ? "" : dlerror();
  }

  void* function(const char* name) const { return dlsym(handle_, name); }

 private:
  void* handle_ = nullptr;
} styles;

}  // namespace

void lammpsplugin_init(void* lammps, void* handle, void* register_function) {
  std::string problem = mliuq_lammps::version_mismatch(lammps);
  if (problem.empty()) {
    problem = styles.open(styles_file(&styles));
    if (!problem.empty()) problem = "the mliuq plugin cannot load its styles: " + problem;
  }
  if (!problem.empty()) {
    mliuq_lammps::warn_of_mismatch(lammps, problem);
    return;
  }
  reinterpret_cast<decltype(&mliuq_register_styles)>(styles.function("mliuq_register_styles"))(lammps, handle,
                                                                                               register_function);
}
