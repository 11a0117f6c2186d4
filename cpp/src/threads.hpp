#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

namespace mliuq {

/// Threads to use where `wanted` were asked for; 0 or less: as many as OpenMP would start.
inline int thread_count(int wanted) {
#ifdef _OPENMP
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  (void)wanted;
  return 1;
#endif
}

}  // namespace mliuq
