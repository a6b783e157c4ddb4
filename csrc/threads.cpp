#include "threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

namespace intsim {
namespace {

constexpr int64_t kMaxHelpers = 1023;
constexpr auto kSpinTime = std::chrono::microseconds(50);

class ThreadPool {
public:
    // Workers live as long as the process. A child made by fork has none of them, so it gets a pool of its own.
    static ThreadPool& of_this_process() {
        static std::mutex creation;
        static ThreadPool* pool = nullptr;
        std::lock_guard<std::mutex> lock(creation);
        if (pool == nullptr || pool->process_ != getpid()) pool = new ThreadPool;
        return *pool;
    }

    void run(int64_t count, int threads, const std::function<void(int64_t)>& task) {
        const int helpers = static_cast<int>(std::min<int64_t>({threads, count, kMaxHelpers + 1})) - 1;
        if (helpers < 1 || busy_.exchange(true, std::memory_order_acquire)) {
            for (int64_t i = 0; i < count; ++i) task(i);
            return;
        }
        while (workers_ < helpers) std::thread([this, index = workers_] { work(index); }).detach(), ++workers_;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            task_ = &task;
            count_ = count;
            next_.store(0, std::memory_order_relaxed);
            failure_ = nullptr;
            running_.store(helpers, std::memory_order_relaxed);
            const uint64_t calls = call_.load(std::memory_order_relaxed) / (kMaxHelpers + 1);
            call_.store((calls + 1) * (kMaxHelpers + 1) + static_cast<uint64_t>(helpers), std::memory_order_release);
        }
        wake_.notify_all();
        take_tasks();
        // The helpers still in a task end within one task's time; sleeping would cost more than that.
        while (running_.load(std::memory_order_acquire) > 0) std::this_thread::yield();
        const std::exception_ptr failure = failure_;
        busy_.store(false, std::memory_order_release);
        if (failure) std::rethrow_exception(failure);
    }

private:
    void work(int index) {
        uint64_t seen = 0;
        for (;;) {
            seen = wait_for_call(seen);
            if (index >= static_cast<int>(seen % (kMaxHelpers + 1))) continue;
            take_tasks();
            running_.fetch_sub(1, std::memory_order_release);
        }
    }

    uint64_t wait_for_call(uint64_t seen) {
        const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
        while (std::chrono::steady_clock::now() < deadline)
            if (const uint64_t call = call_.load(std::memory_order_acquire); call != seen) return call;
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return call_.load(std::memory_order_relaxed) != seen; });
        return call_.load(std::memory_order_relaxed);
    }

    void take_tasks() {
        try {
            for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) (*task_)(i);
        } catch (...) {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
            next_.store(count_, std::memory_order_relaxed);
        }
    }

    const pid_t process_ = getpid();
    std::mutex mutex_;
    std::condition_variable wake_;
    int workers_ = 0;
    const std::function<void(int64_t)>* task_ = nullptr;
    int64_t count_ = 0;
    std::exception_ptr failure_;
    std::atomic<bool> busy_{false};
    std::atomic<int> running_{0};
    std::atomic<int64_t> next_{0};
    // The number of the call and, in the low digit, its helpers. One word, so that a worker that wakes late never takes
    // the helpers of the next call for those of the one it saw; its own call cannot end before it has taken part.
    std::atomic<uint64_t> call_{0};
};

}  // namespace

int available_threads() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    int threads = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
    if (const char* limit = std::getenv("INTSIM_THREADS")) threads = std::min(threads, std::atoi(limit));
    return std::max(threads, 1);
}

void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& task) {
    ThreadPool::of_this_process().run(count, threads, task);
}

}  // namespace intsim
