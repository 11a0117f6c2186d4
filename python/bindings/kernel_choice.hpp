#pragma once

#include <string>

#include "mliuq/kernel.hpp"

namespace mliuq::bindings {

/// From the names Python uses; an empty kernel name takes the machine's best (or MLIUQ_KERNEL).
KernelChoice kernel_choice(const std::string& kernel, const std::string& precision);

}  // namespace mliuq::bindings
