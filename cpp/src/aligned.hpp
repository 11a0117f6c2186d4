#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace mliuq {

/// Memory whose start is that of a cache line, as vector loads want it.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
  bool operator==(const AlignedAllocator&) const { return true; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Room for numbers that others set: growing it writes nothing, and what it held is lost.
template <class T>
class AlignedRoom {
 public:
  T* of(std::size_t n) {
    if (n > size_) {
      room_.reset();
      size_ = 0;
      room_.reset(AlignedAllocator<T>().allocate(n));
      size_ = n;
    }
    return room_.get();
  }

 private:
  struct Free {
    void operator()(T* p) const { AlignedAllocator<T>().deallocate(p, 0); }
  };
  std::unique_ptr<T[], Free> room_;
  std::size_t size_ = 0;
};

}  // namespace mliuq
