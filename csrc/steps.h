// The kinds of steps of a plan: operators with the values that they read and write, by id.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "conv.h"
#include "elementwise.h"
#include "plan.h"
#include "pool.h"

namespace intsim {

// Between the arrays of a call, [batch][channels][height][width], and values. `min` is the smallest code.
Step quantize_step(const std::string& name, int64_t input, float scale, int64_t low, int64_t high, int64_t out);
Step import_codes_step(const std::string& name, int64_t input, int64_t min, int64_t out);
Step import_accumulators_step(const std::string& name, int64_t input, int64_t out);
Step export_codes_step(const std::string& name, int64_t in, int64_t min, int64_t output);
Step export_accumulators_step(const std::string& name, int64_t in, int64_t output);

struct Padding {
    Halo sides;
    int byte;
};
Step conv_step(std::shared_ptr<const Conv> conv, const Padding& padding, int64_t in, int64_t out);
// The accumulators of `conv` are added to `stream` where they are made.
Step conv_add_step(std::shared_ptr<const Conv> conv, const Padding& padding, std::shared_ptr<const Add> add, int64_t in,
                   int64_t stream, int64_t out);
Step add_step(std::shared_ptr<const Add> add, int64_t a, int64_t b, int64_t out);
Step requantize_step(std::shared_ptr<const Requantize> requantize, int64_t in, int64_t out);
Step lookup_step(const std::string& name, std::vector<uint8_t> tables, int64_t in, int64_t out);
Step max_pool_step(const std::string& name, const MaxPoolSpec& spec, int64_t in, int64_t out);
Step average_pool_step(const std::string& name, AveragePoolSpec spec, int64_t in, int64_t out);
Step copy_step(const std::string& name, const Region& region, int64_t in, int64_t out);
// Every byte of `out` becomes its fill byte.
Step fill_step(const std::string& name, int64_t out);

}  // namespace intsim
