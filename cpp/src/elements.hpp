#pragma once

#include <string>

namespace mliuq {

/// Atomic number of a chemical symbol. Throws Error when there is no such element.
int atomic_number(const std::string& symbol);

}  // namespace mliuq
