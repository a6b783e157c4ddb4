#include "dispatch.h"

#include <cstdlib>

#include "check.h"

namespace intsim {
namespace {

// The active table first, then the portable one, which has a row of every kind.
template <class Found>
auto& first_of(const Found& found) {
    if (const auto* row = found(active_table())) return *row;
    const auto* row = found(kPortableKernels);
    require(row != nullptr, "no portable kernel of this kind");
    return *row;
}

}  // namespace

std::vector<const KernelTable*> runnable_tables() {
    std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        tables.push_back(&kAvx2Kernels);
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
    TileKernels found;
    for (const KernelTable* table : {&active_table(), &kPortableKernels}) {
        for (int i = 0; i < table->tile_count; ++i) {
            const TileRow& row = table->tiles[i];
            if (row.op != op || row.scheme != scheme) continue;
            found.run[row.info.mr] = row.run;
            if (row.info.mr > found.max_rows) found.max_rows = row.info.mr, found.info = &row.info;
        }
        if (found.max_rows > 0) break;
    }
    return found;
}

const EpilogueRow& find_epilogue(EpilogueKind kind) {
    return first_of([kind](const KernelTable& table) -> const EpilogueRow* {
        for (int i = 0; i < table.epilogue_count; ++i)
            if (table.epilogues[i].kind == kind) return &table.epilogues[i];
        return nullptr;
    });
}

const AddRow& find_add(AddKind kind) {
    return first_of([kind](const KernelTable& table) -> const AddRow* {
        for (int i = 0; i < table.add_count; ++i)
            if (table.adds[i].kind == kind) return &table.adds[i];
        return nullptr;
    });
}

const WidenRow& find_widen() {
    return first_of([](const KernelTable& table) { return table.widen; });
}

const LookupRow& find_lookup() {
    return first_of([](const KernelTable& table) { return table.lookup; });
}

std::vector<KernelInfo> list_kernels() {
    std::vector<KernelInfo> all;
    for (const KernelTable* table : runnable_tables()) {
        for (int i = 0; i < table->tile_count; ++i) all.push_back(table->tiles[i].info);
        for (int i = 0; i < table->epilogue_count; ++i) all.push_back(table->epilogues[i].info);
        for (int i = 0; i < table->add_count; ++i) all.push_back(table->adds[i].info);
        if (table->widen != nullptr) all.push_back(table->widen->info);
        if (table->lookup != nullptr) all.push_back(table->lookup->info);
    }
    return all;
}

}  // namespace intsim
