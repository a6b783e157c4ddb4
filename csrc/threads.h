// A small pool of threads of our own.
//
// The caller takes part in the work, so a pool for n threads has n - 1 workers; tasks are handed out by one atomic
// counter. A worker spins for a short while after its last task, because the next layer usually follows within
// microseconds, then sleeps. OpenMP is avoided: a second runtime beside PyTorch's, and barriers that spin for as long
// as another process holds the core, cost up to a factor of 100 on a shared machine.
//
// Tasks write disjoint outputs and integers add up exactly in any order, so results never depend on the thread count.
#pragma once

#include <cstdint>
#include <functional>

namespace intsim {

// Processors that this process may use (its affinity mask), or INTSIM_THREADS where that is set and smaller.
int available_threads();

// Runs task(0) .. task(count - 1) on up to `threads` threads and returns when all are done; the first exception of a
// task is thrown here. A call from inside a task, or while another thread's call is running, works serially: two
// threads may run one loaded network at once.
void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& task);

}  // namespace intsim
