// A graph compiled once: values with their layouts, and steps in order. A run is one call, without Python.
//
//     arrays in --> [ quantize | import ] --> steps on images in the arena --> [ export ] --> arrays out
//
// A *workspace* is what one run needs for some number of images: an arena in which every value has its place, and every
// step bound to these places, which is when shapes, widths and halos are checked. Workspaces are kept, so a run only
// calls the bound steps one after the other; each run has its own, so any number of threads may run one plan.
//
// Many images go through in groups of a few, whose largest value stays in cache from the step that writes it to the
// one that reads it. With several threads the groups are computed side by side, each by one thread from the first step
// to the last; images that are left over, and single ones, are split into rows, step by step.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "arena.h"
#include "images.h"

namespace intsim {

// What the arrays of one call are, and how far it has come.
struct Call {
    const std::vector<const void*>* inputs;
    const std::vector<void*>* outputs;
    int64_t first_image;  // of this group, in the arrays
    int threads;
    std::vector<int64_t>* step_ns = nullptr;  // if not null, every step adds the time that it took
};
using Work = std::function<void(const Call&)>;

// The images of every value of a plan, in one arena.
using Value = std::variant<ByteImages, Int32Images>;
class Values {
public:
    const ByteImages& bytes(int64_t id) const { return std::get<ByteImages>(values_[static_cast<size_t>(id)]); }
    const Int32Images& accumulators(int64_t id) const {
        return std::get<Int32Images>(values_[static_cast<size_t>(id)]);
    }
    bool are_bytes(int64_t id) const { return std::holds_alternative<ByteImages>(values_[static_cast<size_t>(id)]); }

private:
    friend class Workspace;
    std::vector<Value> values_;
};

struct Step {
    std::string name;            // of the layer, for messages
    std::vector<int64_t> reads;  // values
    int64_t writes;              // a value, or kNothing
    std::function<Work(const Values&)> bind;
};
constexpr int64_t kNothing = -1;

struct ValueSpec {
    Extents image;  // batch is 1
    int bits;       // 1..8 in bytes, or 32
    Halo halo;
    int fill = 0;
    int64_t whole = kNothing;  // the value that this one is a part of
    Part part = {};
};

// An array outside: [batch][channels][height][width], contiguous.
enum class Element { kFloat32, kByte, kInt32 };
struct ArraySpec {
    Element element;
    Extents image;
};

class Workspace;

class Plan {
public:
    Plan();
    ~Plan();
    Plan(const Plan&) = delete;

    // Returns the value's id. Throws std::invalid_argument for a layout that cannot be.
    int64_t add_value(const ValueSpec& spec);
    void add_step(Step step);

    // An array of the extents of a value, to be read by a step that writes it, or written by one that reads it; returns
    // its index.
    int64_t add_input(Element element, int64_t value);
    int64_t add_output(Element element, int64_t value);
    const std::vector<ArraySpec>& inputs() const { return inputs_; }
    const std::vector<ArraySpec>& outputs() const { return outputs_; }

    // Computes the outputs of `batch` images; the arrays are as inputs() and outputs() say.
    void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, int64_t batch, int threads);

    // The same, one group after the other; returns the nanoseconds that each step took.
    std::vector<int64_t> profile(const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                                 int64_t batch, int threads);
    const std::vector<Step>& steps() const { return steps_; }

    // Bytes for one image: of the arena, and the least that any arena would need for the same values and steps, if
    // codes took one byte, accumulators four, and there were neither halos nor padding.
    int64_t arena_bytes() const;
    int64_t live_bytes() const;

private:
    friend class Workspace;
    struct Pool;
    int64_t images_at_once() const;
    int64_t whole_of(int64_t value) const;
    void run_group(const Call& call, int64_t images);
    std::vector<Lifetime> lifetimes(const std::function<int64_t(const ValueSpec&)>& bytes_of) const;

    std::vector<ValueSpec> values_;
    std::vector<Step> steps_;
    std::vector<ArraySpec> inputs_, outputs_;
    std::unique_ptr<Pool> pool_;
};

}  // namespace intsim
