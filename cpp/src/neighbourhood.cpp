#include "mliuq/neighbourhood.hpp"

#include "mliuq/error.hpp"

namespace mliuq {

void require_species(const Neighbourhood& atoms, int n_elements) {
  for (int i = 0; i < atoms.n_atoms; ++i)
    if (const int species = atoms.species(i); species < -1 || species >= n_elements)
      throw Error("atom " + atoms.name(i) + " is of element number " + std::to_string(species + 1) +
                  ", the model has " + std::to_string(n_elements) + ": the structure was packed for another model");
}

}  // namespace mliuq
