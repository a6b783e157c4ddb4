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

constexpr int64_t kMostThreads = 1024;
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
        const int helpers = static_cast<int>(std::min<int64_t>({threads, count, kMostThreads})) - 1;
        if (helpers < 1 || busy_.exchange(true, std::memory_order_acquire)) {
            for (int64_t i = 0; i < count; ++i) task(i);
            return;
        }
        while (workers_ < helpers) std::thread([this] { work(); }).detach(), ++workers_;
        task_ = &task;
        count_ = count;
        failure_ = nullptr;
        next_.store(0, std::memory_order_relaxed);
        finished_.store(0, std::memory_order_relaxed);
        places_.store(helpers, std::memory_order_release);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            call_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        take_tasks();
        // Nobody enters any more; a helper that the system has not woken yet is not waited for.
        const int entered = helpers - places_.exchange(0, std::memory_order_acq_rel);
        while (finished_.load(std::memory_order_acquire) < entered) std::this_thread::yield();
        const std::exception_ptr failure = failure_;
        busy_.store(false, std::memory_order_release);
        if (failure) std::rethrow_exception(failure);
    }

private:
    void work() {
        for (uint64_t seen = 0;;) {
            seen = wait_for_call(seen);
            // A late worker may enter the call after the one that woke it: whoever enters sees that call's task.
            int places = places_.load(std::memory_order_acquire);
            while (places > 0 && !places_.compare_exchange_weak(places, places - 1, std::memory_order_acq_rel)) {
            }
            if (places <= 0) continue;
            take_tasks();
            finished_.fetch_add(1, std::memory_order_release);
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
    std::atomic<int> places_{0}, finished_{0};  // helpers that may still enter the call, and that are through with it
    std::atomic<int64_t> next_{0};
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
