// Runs layers on a Verilated array: plays its memories, counts the cycles while it is busy, writes what it wrote.
//
//     bench LAYER RESULTS [LAYER RESULTS ..]
//
// LAYER is a folder of `export --to vectors`. RESULTS gets sums.hex, codes.hex and cycles. The bench knows nothing of
// dataflows: it answers addresses, and fails on one that is outside a memory, and on a result that is written twice or
// never.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "Vsystolic.h"
#include "verilated.h"

namespace {

using Words = std::vector<int32_t>;

constexpr int kChannelWords = 7;
constexpr int64_t kMostCycles = 50'000'000;

template <typename T, size_t N>
constexpr size_t extent(const T (&)[N]) {
    return N;
}

[[noreturn]] void fail(const std::string& message) {
    std::fprintf(stderr, "bench: %s\n", message.c_str());
    std::exit(1);
}

// One two's complement word per line; the number of digits is its width.
Words read_hex(const std::string& path) {
    std::ifstream file(path);
    if (!file) fail("cannot read " + path);
    Words words;
    for (std::string line; file >> line;) {
        const auto word = static_cast<uint32_t>(std::stoul(line, nullptr, 16));
        words.push_back(line.size() == 4 ? static_cast<int16_t>(word) : static_cast<int32_t>(word));
    }
    return words;
}

void write_hex(const std::string& path, const Words& words) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (!file) fail("cannot write " + path);
    for (const int32_t word : words) std::fprintf(file, "%08x\n", static_cast<uint32_t>(word));
    std::fclose(file);
}

int32_t at(const Words& memory, uint32_t address, const char* name) {
    if (address >= memory.size()) fail(std::string(name) + ": no address " + std::to_string(int32_t(address)));
    return memory[address];
}

struct Layer {
    Words registers, activations, weights, channels, thresholds;
    size_t outputs, levels;

    explicit Layer(const std::string& folder)
        : registers(read_hex(folder + "/registers.hex")),
          activations(read_hex(folder + "/activations.hex")),
          weights(read_hex(folder + "/weights.hex")),
          channels(read_hex(folder + "/channels.hex")),
          outputs(channels.size() / kChannelWords),
          levels(0) {
        if (std::ifstream(folder + "/thresholds.hex")) thresholds = read_hex(folder + "/thresholds.hex");
        levels = thresholds.size() / outputs;
    }
};

class Bench {
public:
    void run(const Layer& layer, const std::string& results) {
        set_up(layer);
        array_.start = 1;
        clock();
        array_.start = 0;

        const size_t size = static_cast<size_t>(layer.registers[1]) * layer.outputs;  // m * channels
        sums_.assign(size, std::nullopt);
        codes_.assign(size, 0);
        shown_channel_ = -1;
        int64_t cycles = 0;
        for (; array_.busy; ++cycles) {
            if (cycles == kMostCycles) fail("still busy after " + std::to_string(cycles) + " cycles");
            answer(layer);
            array_.eval();
            take_results();
            clock();
        }
        Words sums;
        for (const auto& sum : sums_) {
            if (!sum) fail("a result was never written");
            sums.push_back(*sum);
        }
        write_hex(results + "/sums.hex", sums);
        write_hex(results + "/codes.hex", codes_);
        std::ofstream(results + "/cycles") << cycles << '\n';
    }

    void reset() {
        array_.reset = 1;
        clock();
        array_.reset = 0;
    }

private:
    void clock() {
        array_.clk = 0;
        array_.eval();
        array_.clk = 1;
        array_.eval();
        array_.clk = 0;
        array_.eval();
    }

    // The first word of a packed struct is its most significant.
    void set_up(const Layer& layer) {
        const size_t words = sizeof(array_.layer.m_storage) / sizeof(array_.layer.m_storage[0]);
        if (layer.registers.size() != words) fail("registers.hex does not have " + std::to_string(words) + " words");
        for (size_t i = 0; i < words; ++i) array_.layer[words - 1 - i] = layer.registers[i];
    }

    // What is not asked for is answered with nonsense, which the array must not use.
    void answer(const Layer& layer) {
        constexpr int32_t kNonsense = 0x155;
        for (size_t i = 0; i < extent(array_.activation); ++i) {
            const bool read = array_.activation_read[i];
            array_.activation[i] =
                (read ? at(layer.activations, array_.activation_address[i], "activations") : kNonsense) &
                ((1 << ACTIVATION_BITS) - 1);
        }
        for (size_t j = 0; j < extent(array_.weight); ++j) {
            const bool read = array_.weight_read[j];
            array_.weight[j] =
                (read ? at(layer.weights, array_.weight_address[j], "weights") : kNonsense) & ((1 << WEIGHT_BITS) - 1);
        }
        if (static_cast<int64_t>(array_.channel) == shown_channel_) return;
        shown_channel_ = array_.channel;
        for (size_t j = 0; j < extent(array_.parameters); ++j) {
            const size_t channel = array_.channel + j;
            if (channel >= layer.outputs) continue;
            for (int w = 0; w < kChannelWords; ++w)
                array_.parameters[j][kChannelWords - 1 - w] = layer.channels[channel * kChannelWords + w];
            for (size_t l = 0; l < layer.levels; ++l)
                array_.threshold[j][l] = layer.thresholds[channel * layer.levels + l];
        }
    }

    void take_results() {
        for (size_t j = 0; j < extent(array_.result_valid); ++j) {
            if (!array_.result_valid[j]) continue;
            const uint32_t address = array_.result_address[j];
            if (address >= sums_.size()) fail("results: no address " + std::to_string(address));
            if (sums_[address]) fail("result " + std::to_string(address) + " is written twice");
            sums_[address] = static_cast<int32_t>(array_.result_sum[j]);
            codes_[address] = array_.result_code[j];
        }
    }

    Vsystolic array_;
    std::vector<std::optional<int32_t>> sums_;
    Words codes_;
    int64_t shown_channel_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3 || argc % 2 == 0) fail("expected LAYER RESULTS [LAYER RESULTS ..]");
    Bench bench;
    bench.reset();
    for (int i = 1; i < argc; i += 2) bench.run(Layer(argv[i]), argv[i + 1]);
}
