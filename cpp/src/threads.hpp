#pragma once

namespace mliuq {

/// Threads for `tasks` tasks where `wanted` were asked for (0 or less: what OpenMP would start), at least 1. Throws
/// Error for more than the machine could make use of. A process forked from one whose threads had started gets 1: they
/// exist in the parent only, and waiting for them would never end.
int team_size(int wanted, long tasks);

}  // namespace mliuq
