#include "threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "mliuq/error.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace mliuq {
namespace {

std::atomic<bool> team_started = false;  // by this process or the one it was forked from
std::atomic<bool> lost_its_team = false;

extern "C" void after_fork_in_child() { lost_its_team = team_started.load(); }

void note_team() {
  static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
  static_cast<void>(registered);
  team_started = true;
}

int most_threads() { return std::max(64, 4 * static_cast<int>(std::thread::hardware_concurrency())); }

int default_threads() {
#ifdef _OPENMP
  return std::min(omp_get_max_threads(), most_threads());
#else
  return 1;
#endif
}

}  // namespace

int team_size(int wanted, long tasks) {
  if (wanted > most_threads())
    throw Error("threads is " + std::to_string(wanted) + ", expected at most " + std::to_string(most_threads()) +
                " on this machine");
  if (lost_its_team) return 1;
  const long threads = wanted > 0 ? wanted : default_threads();
  const int size = static_cast<int>(std::max(1L, std::min(threads, tasks)));
  if (size > 1) note_team();
  return size;
}

}  // namespace mliuq
