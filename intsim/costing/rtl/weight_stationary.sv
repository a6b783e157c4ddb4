// A weight stationary systolic array with its control: whole layers, from `start` until `busy` falls.
//
// A fold holds k rows and n columns of the weights and streams m pixels past them:
//
//     LOAD    R cycles. Weights enter at the bottom and move up, one row of the matrix per cycle; each brings its tap
//             along, which stays beside the row.
//     STREAM  T + R + C - 2 cycles. A step (one pixel) reaches row 0 in the cycle in which it enters, row i in the i-th
//             after it, and there meets the row's tap: together they are the address of an activation. Its sum leaves
//             column 0 below the last row, column j in the j-th cycle after that. In time, for R = 3, C = 2, T = 4:
//
//                 cycle            0  1  2  3  4  5  6
//                 row 0 takes      a  b  c  d
//                 row 1               a  b  c  d
//                 row 2                  a  b  c  d
//                 column 0 leaves        a  b  c  d
//                 column 1                  a  b  c  d
//
//             The fold ends when the last step has left the last column: nothing counts to the closed form of
//             intsim/costing/dataflows.py, but 2R + C + T - 2 cycles is what comes out.
//
// Where a step leaves, its sum is added to what the accumulators hold of it (the bias in the first fold of K); in the
// last fold of K it is requantized and written, in the same cycle. The buffer of accumulators has BUFFER_ROWS rows, so
// a longer M is streamed in chunks, with all folds of K for each.
//
// TIGHT: a ragged fold pays for the rows and columns that it uses, not for all. Steps go no further than the used
// columns, where the next fold would meet them.
//
// Memories answer in the cycle of the address. A synchronous memory wants it one cycle ahead, which is the state that
// the odometers are about to take.

module weight_stationary
    import systolic_pkg::*;
#(
    parameter int ROWS            = 32,
    parameter int COLUMNS         = 32,
    parameter int ACTIVATION_BITS = 9,    // levels are signed: 9 bits hold all of u8 and s8, whatever the zero point
    parameter int WEIGHT_BITS     = 9,
    parameter int CODE_BITS       = 8,
    parameter int LEVELS          = 255,  // thresholds per channel
    parameter int BUFFER_ROWS     = 4096,
    parameter bit TIGHT           = 0
) (
    input  logic                              clk,
    input  logic                              reset,
    input  logic                              start,                          // taken while not busy
    input  layer_t                            layer,                          // steady from `start` on
    output logic                              busy,
    output logic                              activation_read    [ROWS],
    output word_t                             activation_address [ROWS],
    input  logic signed [ACTIVATION_BITS-1:0] activation         [ROWS],
    output logic                              weight_read        [COLUMNS],
    output word_t                             weight_address     [COLUMNS],
    input  logic signed [WEIGHT_BITS-1:0]     weight             [COLUMNS],
    output word_t                             channel,                        // column j works on channel + j
    input  channel_t                          parameters         [COLUMNS],
    input  word_t                             threshold          [COLUMNS][LEVELS],
    output logic                              result_valid       [COLUMNS],
    output word_t                             result_address     [COLUMNS],
    output word_t                             result_sum         [COLUMNS],
    output logic [CODE_BITS-1:0]              result_code        [COLUMNS]
);

    // --- folds and phases ---
    typedef enum logic [1:0] {IDLE, LOAD, STREAM} phase_t;
    typedef struct packed {
        logic   valid;
        logic   last;
        word_t  index;  // in the chunk: the row of the accumulators
        word_t  row;    // in the results
        place_t pixel;
    } step_t;

    phase_t phase;
    fold_t fold;
    step_t entering, at_row [ROWS], leaving [COLUMNS];
    word_t done;  // cycles of LOAD, or steps that have entered
    word_t used_rows, used_columns;
    logic  begins, loads, enters, fold_ends, last_fold;

    assign busy = phase != IDLE;
    assign begins = start && !busy;
    assign loads = phase == LOAD;
    assign enters = phase == STREAM && done < fold.m;
    assign fold_ends = phase == STREAM && leaving[used_columns-1].last;
    assign used_rows = TIGHT ? fold.k : ROWS;
    assign used_columns = TIGHT ? fold.n : COLUMNS;
    assign channel = fold.channel;

    fold_sequencer #(.M_TILE(BUFFER_ROWS), .K_TILE(ROWS), .N_TILE(COLUMNS)) sequencer (
        .clk, .groups(layer.groups), .m(layer.m), .k(layer.k), .n(layer.n),
        .group_weights(layer.group_weights), .group_channels(layer.group_channels),
        .start(begins), .advance(fold_ends), .fold, .last(last_fold)
    );

    always_ff @(posedge clk) begin
        if (reset) phase <= IDLE;
        else if (begins || (fold_ends && !last_fold)) phase <= LOAD;
        else if (fold_ends) phase <= IDLE;
        else if (loads && done == used_rows - 1) phase <= STREAM;

        if (begins || fold_ends || (loads && done == used_rows - 1)) done <= 0;
        else if (loads || enters) done <= done + 1;
    end

    // --- LOAD: taps move up along with their weights ---
    place_t tap_place;
    word_t  tap_row;
    logic   loads_tap;
    place_t tap [ROWS];
    logic   tap_valid [ROWS];
    logic signed [WEIGHT_BITS-1:0] entering_weight [COLUMNS];

    assign loads_tap = loads && done < fold.k;

    odometer taps (
        .clk, .walk(layer.taps), .restart(begins || (fold_ends && fold.last_k)), .mark(1'b0), .rewind(1'b0),
        .step(loads_tap), .place(tap_place), .row(tap_row)
    );

    always_ff @(posedge clk) begin
        if (loads) begin
            for (int i = 0; i < ROWS - 1; i++) begin
                tap[i] <= tap[i+1];
                tap_valid[i] <= tap_valid[i+1];
            end
            tap[ROWS-1] <= tap_place;
            tap_valid[ROWS-1] <= loads_tap;
        end
    end

    for (genvar j = 0; j < COLUMNS; j++) begin : g_weight
        assign weight_read[j] = loads_tap && j < fold.n;
        assign weight_address[j] = fold.weights + tap_row + j;
        assign entering_weight[j] = weight_read[j] ? weight[j] : '0;
    end

    // --- STREAM: a step goes down the rows, then along the columns, with its activations and its sums ---
    place_t pixel_place;
    word_t  pixel_row;
    logic signed [ACTIVATION_BITS-1:0] entering_activation [ROWS];

    odometer pixels (
        .clk, .walk(layer.pixels), .restart(begins || (fold_ends && fold.last_k && fold.last_m)),
        .mark(fold_ends && fold.last_k && !fold.last_m), .rewind(fold_ends && !fold.last_k),
        .step(enters), .place(pixel_place), .row(pixel_row)
    );

    assign entering = '{
        valid: enters, last: enters && done == fold.m - 1, index: done, row: pixel_row, pixel: pixel_place
    };

    for (genvar i = 0; i < ROWS; i++) begin : g_row
        if (i == 0) assign at_row[i] = used_rows == ROWS ? entering : '0;
        else begin : g_below
            step_t from_above;
            always_ff @(posedge clk) from_above <= at_row[i-1];
            assign at_row[i] = used_rows == ROWS - i ? entering : from_above;
        end
        assign activation_read[i] = at_row[i].valid && tap_valid[i];
        assign activation_address[i] = fold.input_channels
            + activation_at(at_row[i].pixel, tap[i], layer.height, layer.width, layer.pad_offset);
        assign entering_activation[i] = activation_read[i] ? activation[i] : '0;
    end

    // --- the array, and below it the accumulators ---
    word_t sum [COLUMNS];

    ws_array #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .ACTIVATION_BITS(ACTIVATION_BITS), .WEIGHT_BITS(WEIGHT_BITS)
    ) array (
        .clk, .load(loads), .weight(entering_weight), .activation(entering_activation), .sum
    );

    for (genvar j = 0; j < COLUMNS; j++) begin : g_column
        localparam int INDEX_BITS = BUFFER_ROWS > 1 ? $clog2(BUFFER_ROWS) : 1;
        word_t accumulators [BUFFER_ROWS];
        logic [INDEX_BITS-1:0] index;

        if (j == 0) assign leaving[j] = at_row[ROWS-1];
        else always_ff @(posedge clk) leaving[j] <= j < used_columns ? leaving[j-1] : '0;

        assign index = INDEX_BITS'(leaving[j].index);
        assign result_valid[j] = leaving[j].valid && fold.last_k && j < fold.n;
        assign result_address[j] = fold.channel + leaving[j].row + j;
        assign result_sum[j] = sum[j] + (fold.first_k ? parameters[j].bias : accumulators[index]);

        always_ff @(posedge clk) if (leaving[j].valid) accumulators[index] <= result_sum[j];

        requantize #(.CODE_BITS(CODE_BITS), .LEVELS(LEVELS)) edge_unit (
            .sum(result_sum[j]), .epilogue(layer.epilogue),
            .multiplier(parameters[j].multiplier), .shift(parameters[j].shift),
            .base(parameters[j].base), .levels(parameters[j].levels),
            .strict(parameters[j].strict), .descending(parameters[j].descending),
            .threshold(threshold[j]), .code(result_code[j])
        );
    end

endmodule
