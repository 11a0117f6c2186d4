// SPDX-License-Identifier: BSD-3-Clause
// Preloaded into a program: counts what it asks of the allocator and how often its ranks reduce, and appends a line
// with both to the file that COUNTING_FILE names.
#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace {

std::atomic<long> allocations{0}, reductions{0};

struct Report {
  ~Report() {
    const char* const name = std::getenv("COUNTING_FILE");
    if (std::FILE* const file = name && reductions > 0 ? std::fopen(name, "a") : nullptr) {
      std::fprintf(file, "%ld %ld\n", allocations.load(), reductions.load());
      std::fclose(file);
    }
  }
} report;

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) { return ++allocations, __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return ++allocations, __libc_calloc(count, size); }
void* realloc(void* old, std::size_t size) { return ++allocations, __libc_realloc(old, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return ++allocations, __libc_memalign(alignment, size); }

int MPI_Allreduce(const void* from, void* to, int count, int type, int operation, int communicator) {
  ++reductions;
  using Function = int(const void*, void*, int, int, int, int);
  static auto* const next = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "MPI_Allreduce"));
  return next(from, to, count, type, operation, communicator);
}
}
