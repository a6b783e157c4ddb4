#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "check.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace intsim {
namespace {

// The row that matches in the active table, else in the first of those it builds on.
template <class Row, class Matches>
const Row& find(const Rows<Row>* KernelTable::* kind, const Matches& matches) {
    for (const KernelTable* table = &active_table(); table != nullptr; table = table->base)
        for (int i = 0; table->*kind != nullptr && i < (table->*kind)->count; ++i)
            if (matches((table->*kind)->first[i])) return (table->*kind)->first[i];
    throw std::logic_error("no portable kernel of this kind");
}

#if defined(__aarch64__)
bool has_dot_product() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return true;  // all of Apple's processors have it
#endif
}
#endif

template <class Row>
void append(const Rows<Row>* rows, std::vector<KernelInfo>& all) {
    for (int i = 0; rows != nullptr && i < rows->count; ++i) all.push_back(rows->first[i].info);
}

// Calls visit with those of one table's rows that are wanted, which may be none.
template <class Row, class Wanted, class Visit>
void each(const Rows<Row>* rows, const Wanted& wanted, const Visit& visit) {
    for (int i = 0; rows != nullptr && i < rows->count; ++i)
        if (wanted(rows->first[i])) visit(rows->first[i]);
}

template <class Kernels, class Row, class PairRow, class Wanted>
Kernels by_rows(const Rows<Row>* rows, const Rows<PairRow>* pairs, const Wanted& wanted) {
    Kernels found;
    each(rows, wanted, [&](const Row& row) {
        found.run[row.info.mr] = row.run;
        if (row.info.mr > found.max_rows) found.max_rows = row.info.mr, found.info = &row.info;
    });
    each(pairs, wanted, [&](const PairRow& row) { found.pair[row.info.mr] = row.run; });
    return found;
}

}  // namespace

std::vector<const KernelTable*> runnable_tables() {
    std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vnni");
    if (avx512 && __builtin_cpu_supports("avx512vbmi")) tables.push_back(&kAvx512VbmiKernels);
    if (avx512) tables.push_back(&kAvx512Kernels);
    if (avx2) tables.push_back(&kAvx2Kernels);
#elif defined(__aarch64__)
    if (has_dot_product()) tables.push_back(&kNeonKernels);
#endif
    tables.push_back(&kPortableKernels);
    return tables;
}

const KernelTable& active_table() {
    const std::vector<const KernelTable*> tables = runnable_tables();
    const char* wanted = std::getenv("INTSIM_ISA");
    if (wanted == nullptr || *wanted == '\0') return *tables.front();
    std::string names;
    for (const KernelTable* table : tables) {
        if (std::string(wanted) == table->isa) return *table;
        names += (names.empty() ? "" : ", ") + std::string(table->isa);
    }
    require(false, "INTSIM_ISA=", wanted, ": this processor and build have ", names);
    return *tables.front();
}

TileKernels find_tiles(TileOp op, Scheme scheme) {
    const auto wanted = [=](const auto& row) { return row.scheme == scheme; };
    for (const KernelTable* table = &active_table(); table != nullptr; table = table->base) {
        const bool gemm = op == TileOp::kGemm;
        const TileKernels found =
            by_rows<TileKernels>(gemm ? table->gemm : table->depthwise, gemm ? table->tile_pairs : nullptr, wanted);
        if (found.max_rows > 0) return found;  // never rows of two tables
    }
    throw std::logic_error("no portable tile kernel of this scheme");
}

ByteTileKernels find_byte_tiles(Scheme scheme, EpilogueKind epilogue) {
    const auto wanted = [=](const auto& row) { return row.scheme == scheme && row.epilogue == epilogue; };
    for (const KernelTable* table = &active_table(); table != nullptr; table = table->base) {
        const ByteTileKernels found = by_rows<ByteTileKernels>(table->byte_tiles, table->byte_tile_pairs, wanted);
        if (found.max_rows > 0) return found;
    }
    return {};
}

std::vector<SchemeCost> scheme_costs() {
    const KernelTable* table = &active_table();
    while (table->costs == nullptr) table = table->base;
    return {table->costs->first, table->costs->first + table->costs->count};
}

const StripRow& find_strip(Scheme scheme) {
    return find(&KernelTable::strips, [=](const StripRow& row) { return row.scheme == scheme; });
}

std::vector<Scheme> strip_schemes() {
    std::vector<Scheme> schemes;
    for (const KernelTable* table = &active_table(); table != nullptr; table = table->base)
        for (int i = 0; table->strips != nullptr && i < table->strips->count; ++i)
            schemes.push_back(table->strips->first[i].scheme);
    return schemes;
}

const EpilogueRow& find_epilogue(EpilogueKind kind) {
    return find(&KernelTable::epilogues, [=](const EpilogueRow& row) { return row.kind == kind; });
}

const AddRow& find_add(AddKind kind) {
    return find(&KernelTable::adds, [=](const AddRow& row) { return row.kind == kind; });
}

const OperandRow& find_operands(Scheme scheme) {
    const Scheme form = scheme == Scheme::kW16X8 ? Scheme::kW16 : scheme;  // whose operands are the same
    return find(&KernelTable::operands, [=](const OperandRow& row) { return row.scheme == form; });
}

const LookupRow& find_lookup() {
    return find(&KernelTable::lookups, [](const LookupRow&) { return true; });
}

const QuantizeRow& find_quantizer() {
    return find(&KernelTable::quantizers, [](const QuantizeRow&) { return true; });
}

const WinogradRow& find_winograd() {
    return find(&KernelTable::winograd, [](const WinogradRow&) { return true; });
}

std::vector<KernelInfo> list_kernels() {
    std::vector<KernelInfo> all;
    for (const KernelTable* table : runnable_tables()) {
        append(table->gemm, all), append(table->tile_pairs, all);
        append(table->byte_tiles, all), append(table->byte_tile_pairs, all);
        append(table->depthwise, all), append(table->strips, all), append(table->roof, all);
        append(table->epilogues, all);
        append(table->adds, all), append(table->operands, all), append(table->lookups, all);
        append(table->quantizers, all), append(table->winograd, all);
    }
    return all;
}

}  // namespace intsim
