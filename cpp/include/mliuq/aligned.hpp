#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace mliuq {

/// Memory whose start is that of a cache line, as vector loads want it; of a huge page where it fills some, which
/// spares a walk through the page tables for every 4 KiB of what is larger than their cache.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) {
    const std::size_t size = n * sizeof(T);
    void* const p = ::operator new(size, alignment(size));
#ifdef __linux__
    if (size >= kHugeFrom) madvise(p, size, MADV_HUGEPAGE);  // a wish: pages of the usual size serve as well
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) { ::operator delete(p, alignment(n * sizeof(T))); }
  bool operator==(const AlignedAllocator&) const { return true; }

 private:
  static constexpr std::size_t kLine = 64, kHugePage = std::size_t{2} << 20, kHugeFrom = 2 * kHugePage;
  static std::align_val_t alignment(std::size_t size) { return std::align_val_t{size < kHugeFrom ? kLine : kHugePage}; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Room for numbers that others set: growing it writes nothing, and what it held is lost.
template <class T>
class AlignedRoom {
 public:
  T* of(std::size_t n) {
    if (n > room_.get_deleter().size) {
      room_.reset();
      room_ = {AlignedAllocator<T>().allocate(n), Free{n}};
    }
    return room_.get();
  }

 private:
  struct Free {
    std::size_t size = 0;
    void operator()(T* p) const { AlignedAllocator<T>().deallocate(p, size); }
  };
  std::unique_ptr<T[], Free> room_{nullptr, Free{}};
};

}  // namespace mliuq
