#include "arena.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "check.h"

namespace intsim {
namespace {

struct Span {
    int64_t begin, end;
};

// Start of the smallest gap of at least `bytes` between the spans (sorted by begin), or behind them all.
int64_t best_gap(const std::vector<Span>& spans, int64_t bytes) {
    int64_t best = -1, smallest = 0, end = 0;
    for (const Span& span : spans) {
        const int64_t gap = span.begin - end;
        if (gap >= bytes && (best < 0 || gap < smallest)) best = end, smallest = gap;
        end = std::max(end, span.end);
    }
    return best < 0 ? end : best;
}

Arena place(const std::vector<Lifetime>& blocks, const std::vector<size_t>& order) {
    Arena arena;
    arena.offsets.assign(blocks.size(), -1);
    for (size_t i : order) {
        std::vector<Span> spans;
        for (size_t other = 0; other < blocks.size(); ++other)
            if (arena.offsets[other] >= 0 && blocks[other].first <= blocks[i].last &&
                blocks[i].first <= blocks[other].last)
                spans.push_back(
                    {arena.offsets[other], arena.offsets[other] + round_up(blocks[other].bytes, kArenaAlignment)});
        std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
        arena.offsets[i] = best_gap(spans, blocks[i].bytes);
        int64_t end = 0;
        if (__builtin_add_overflow(arena.offsets[i], round_up(blocks[i].bytes, kArenaAlignment), &end))
            throw std::bad_alloc();
        arena.bytes = std::max(arena.bytes, end);
    }
    return arena;
}

}  // namespace

Arena place_in_arena(const std::vector<Lifetime>& blocks) {
    std::vector<size_t> order(blocks.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].first < blocks[b].first; });
    const Arena by_time = place(blocks, order);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
    const Arena by_size = place(blocks, order);
    return by_size.bytes <= by_time.bytes ? by_size : by_time;
}

int64_t most_alive(const std::vector<Lifetime>& blocks) {
    int64_t most = 0;
    for (const Lifetime& start : blocks) {  // what is alive only grows where a block begins
        int64_t alive = 0;
        for (const Lifetime& block : blocks)
            if (block.first <= start.first && start.first <= block.last) alive += block.bytes;
        most = std::max(most, alive);
    }
    return most;
}

}  // namespace intsim
