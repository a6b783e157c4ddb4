#include "plan.h"

#include <algorithm>
#include <chrono>

#include "check.h"
#include "threads.h"

namespace intsim {
namespace {

constexpr int64_t kGroupBytes = 1 << 19;  // of the largest value: with its neighbours it stays within the last cache
constexpr int64_t kMostImages = 64;
constexpr size_t kKeptWorkspaces = 8;  // free ones

int64_t bytes_in_memory(const ValueSpec& value, int64_t batch) {
    Extents extents = value.image;
    extents.batch = batch;
    const int64_t bytes = value.bits > 8 ? 4 * Int32Images::strides(extents, value.halo).total
                                         : ByteImages::strides(extents, value.halo).total;
    return bytes + kReadableSlack;
}

int64_t bytes_of_codes(const ValueSpec& value) {
    return value.image.height * value.image.width * value.image.channels * (value.bits > 8 ? 4 : 1);
}

// function(), where a refusal that does not name the layer is given its name.
template <class Function>
auto named(const Step& step, const Function& function) {
    try {
        return function();
    } catch (const std::invalid_argument& refusal) {
        const std::string message = refusal.what(), name = "'" + step.name + "'";
        throw std::invalid_argument(message.find(name) == std::string::npos ? name + ": " + message : message);
    }
}

}  // namespace

// The arena for so many images, and every step bound to its place in it.
class Workspace {
public:
    Workspace(const Plan& plan, int64_t images) : images_(images), first_step_(plan.steps_.data()) {
        const Arena arena =
            place_in_arena(plan.lifetimes([=](const ValueSpec& value) { return bytes_in_memory(value, images); }));
        memory_ = allocate_aligned<uint8_t>(arena.bytes);
        values_.values_.reserve(plan.values_.size());
        for (size_t i = 0; i < plan.values_.size(); ++i) add_value(plan.values_[i], memory_.get() + arena.offsets[i]);
        std::vector<bool> begun(values_.values_.size());
        for (const Step& step : plan.steps_) {
            if (const int64_t value = plan.whole_of(step.writes); value != kNothing && !begun[value]) {
                begun[value] = true;
                fill_halo(step, value);
            }
            work_.emplace_back(&step, named(step, [&] { return step.bind(values_); }));
        }
    }

    void run(const Call& call) const {
        for (const auto& [step, work] : work_) {
            if (call.step_ns == nullptr) {
                named(*step, [&call, &run = work] { run(call); });
                continue;
            }
            const auto start = std::chrono::steady_clock::now();
            named(*step, [&call, &run = work] { run(call); });
            const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
            (*call.step_ns)[static_cast<size_t>(step - first_step_)] += elapsed.count();
        }
    }
    int64_t images() const { return images_; }

private:
    // Other values may have used this memory since the last run, so the halo is filled before each first write.
    void fill_halo(const Step& step, int64_t value) {
        if (!values_.are_bytes(value)) return;
        const ByteImages& images = values_.bytes(value);
        const Halo& halo = images.halo;
        if (halo.top + halo.bottom + halo.left + halo.right == 0) return;
        work_.emplace_back(&step, [&images](const Call&) { images.fill_halo(); });
    }

    void add_value(const ValueSpec& value, uint8_t* memory) {
        Extents extents = value.image;
        extents.batch = images_;
        if (value.whole != kNothing)
            values_.values_.emplace_back(values_.bytes(value.whole).part(value.part, extents));
        else if (value.bits > 8)
            values_.values_.emplace_back(Int32Images(extents, reinterpret_cast<int32_t*>(memory)));
        else
            values_.values_.emplace_back(ByteImages(extents, value.bits, value.halo, value.fill, memory));
    }

    const int64_t images_;
    const Step* const first_step_;
    AlignedArray<uint8_t> memory_;
    Values values_;
    std::vector<std::pair<const Step*, Work>> work_;
};

// Workspaces that no run is using.
struct Plan::Pool {
    std::mutex mutex;
    std::vector<std::unique_ptr<Workspace>> free;

    std::unique_ptr<Workspace> take(const Plan& plan, int64_t images) {
        {
            std::lock_guard<std::mutex> lock(mutex);
            for (auto& workspace : free)
                if (workspace->images() == images) {
                    std::swap(workspace, free.back());
                    std::unique_ptr<Workspace> taken = std::move(free.back());
                    free.pop_back();
                    return taken;
                }
        }
        return std::make_unique<Workspace>(plan, images);
    }

    void give_back(std::unique_ptr<Workspace> workspace) {
        std::lock_guard<std::mutex> lock(mutex);
        if (free.size() >= kKeptWorkspaces) free.erase(free.begin());
        free.push_back(std::move(workspace));
    }
};

Plan::Plan() : pool_(std::make_unique<Pool>()) {}
Plan::~Plan() = default;

int64_t Plan::add_value(const ValueSpec& spec) {
    require(spec.bits >= 1 && (spec.bits <= 8 || spec.bits == 32), "plan: values of ", spec.bits, " bits");
    require(spec.image.batch == 1, "plan: a value is described by one image");
    bytes_in_memory(spec, 1);  // refuses extents out of range
    const int64_t id = static_cast<int64_t>(values_.size());
    require(spec.whole == kNothing || (spec.whole >= 0 && spec.whole < id && spec.bits <= 8), "plan: a part of value ",
            spec.whole, ", which is not there");
    values_.push_back(spec);
    return id;
}

void Plan::add_step(Step step) {
    const int64_t count = static_cast<int64_t>(values_.size());
    for (int64_t id : step.reads) require(id >= 0 && id < count, "'", step.name, "': reads value ", id, " of ", count);
    require(step.writes >= kNothing && step.writes < count, "'", step.name, "': writes value ", step.writes, " of ",
            count);
    std::lock_guard<std::mutex> lock(pool_->mutex);
    pool_->free.clear();
    steps_.push_back(std::move(step));
}

int64_t Plan::add_input(Element element, int64_t value) {
    inputs_.push_back({element, values_.at(static_cast<size_t>(value)).image});
    return static_cast<int64_t>(inputs_.size()) - 1;
}

int64_t Plan::add_output(Element element, int64_t value) {
    outputs_.push_back({element, values_.at(static_cast<size_t>(value)).image});
    return static_cast<int64_t>(outputs_.size()) - 1;
}

int64_t Plan::whole_of(int64_t value) const {
    while (value != kNothing && values_[static_cast<size_t>(value)].whole != kNothing)
        value = values_[static_cast<size_t>(value)].whole;
    return value;
}

// A value lives from the first step that writes it, or a part of it, to the last one that reads it. One that no step
// touches needs no memory.
std::vector<Lifetime> Plan::lifetimes(const std::function<int64_t(const ValueSpec&)>& bytes_of) const {
    std::vector<Lifetime> blocks(values_.size(), {0, static_cast<int64_t>(steps_.size()), -1});
    const auto touch = [&](int64_t id, int64_t step) {
        if ((id = whole_of(id)) == kNothing) return;
        Lifetime& block = blocks[static_cast<size_t>(id)];
        block.first = std::min(block.first, step), block.last = std::max(block.last, step);
    };
    for (size_t step = 0; step < steps_.size(); ++step) {
        for (int64_t id : steps_[step].reads) touch(id, static_cast<int64_t>(step));
        touch(steps_[step].writes, static_cast<int64_t>(step));
    }
    for (size_t i = 0; i < values_.size(); ++i)
        if (blocks[i].last >= 0) blocks[i].bytes = bytes_of(values_[i]);
    return blocks;
}

int64_t Plan::arena_bytes() const {
    return place_in_arena(lifetimes([](const ValueSpec& value) { return bytes_in_memory(value, 1); })).bytes;
}

int64_t Plan::live_bytes() const { return most_alive(lifetimes(bytes_of_codes)); }

int64_t Plan::images_at_once() const {
    int64_t largest = 1;
    for (const ValueSpec& value : values_) largest = std::max(largest, bytes_of_codes(value));
    return std::clamp<int64_t>(kGroupBytes / largest, 1, kMostImages);
}

void Plan::run_group(const Call& call, int64_t images) {
    std::unique_ptr<Workspace> workspace = pool_->take(*this, images);
    workspace->run(call);
    pool_->give_back(std::move(workspace));
}

void Plan::run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, int64_t batch, int threads) {
    const int64_t at_once = images_at_once();
    // Groups of equal size, a multiple of the threads in number; then what is left over, in rows.
    const int64_t shared = threads > 1 ? batch / threads * threads : 0;
    if (shared > 0) {
        const int64_t per_thread = shared / threads, rounds = ceil_divide(per_thread, at_once);
        const int64_t groups = rounds * threads;
        parallel_for(groups, threads, [&](int64_t group) {
            const int64_t first = group * shared / groups, last = (group + 1) * shared / groups;
            run_group({&inputs, &outputs, first, 1}, last - first);
        });
    }
    for (int64_t first = shared; first < batch; first += at_once)
        run_group({&inputs, &outputs, first, threads}, std::min(at_once, batch - first));
}

std::vector<int64_t> Plan::profile(const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                                   int64_t batch, int threads) {
    const int64_t at_once = images_at_once();
    std::vector<int64_t> step_ns(steps_.size());
    for (int64_t first = 0; first < batch; first += at_once)
        run_group({&inputs, &outputs, first, threads, &step_ns}, std::min(at_once, batch - first));
    return step_ns;
}

}  // namespace intsim
