// An output stationary systolic array with its control: whole layers, from `start` until `busy` falls.
//
// A fold makes the results of m pixels (rows) and n channels (columns) from all k products at once:
//
//     STREAM  K + R + C - 2 cycles. A step (one tap) reaches row 0 in the cycle in which it enters, row i in the i-th
//             after it; the row takes the activation of its pixel at that tap. Likewise column j takes the weight of
//             its channel at that tap in the j-th cycle, so both meet in unit (i, j) in cycle i + j. A row takes its
//             pixel from the odometer when the first step arrives: one row per cycle. In time, for R = 3, C = 2, K = 4:
//
//                 cycle              0  1  2  3  4  5  6
//                 row 0 takes        a  b  c  d
//                 row 1                 a  b  c  d
//                 row 2                    a  b  c  d
//                 unit (2, 1) adds            a  b  c  d
//
//             It ends when the last step has reached the far corner.
//     DRAIN   R cycles. Sums move up and leave at the top, with their pixels; each is requantized and written in the
//             cycle in which it leaves.
//
// Nothing counts to the closed form of intsim/costing/dataflows.py, but 2R + C + K - 2 cycles is what comes out.
//
// TIGHT: a ragged fold pays for the rows and columns that it uses, not for all. Steps go no further than these, where
// the next fold would meet them.
//
// Memories answer in the cycle of the address, as in weight_stationary.sv, which has the same ports.

module output_stationary
    import systolic_pkg::*;
#(
    parameter int ROWS            = 32,
    parameter int COLUMNS         = 32,
    parameter int ACTIVATION_BITS = 9,    // levels are signed: 9 bits hold all of u8 and s8, whatever the zero point
    parameter int WEIGHT_BITS     = 9,
    parameter int CODE_BITS       = 8,
    parameter int LEVELS          = 255,  // thresholds per channel
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

    localparam word_t WHOLE = 32'h7fff_ffff;  // K is not cut

    // --- folds and phases ---
    typedef enum logic [1:0] {IDLE, STREAM, DRAIN} phase_t;
    typedef struct packed {
        logic   valid;
        logic   first;
        logic   last;
        place_t tap;
    } step_t;

    phase_t phase;
    // verilator lint_off UNUSEDSIGNAL
    fold_t fold;  // K is one fold here: first_k and last_k are always up
    // verilator lint_on UNUSEDSIGNAL
    step_t entering, at_row [ROWS];
    logic  last_at_column [COLUMNS];  // of the last used row
    word_t done;                      // steps that have entered, or cycles of DRAIN
    word_t used_rows, used_columns;
    logic  begins, enters, stream_ends, drains, fold_ends, last_fold;

    assign busy = phase != IDLE;
    assign begins = start && !busy;
    assign enters = phase == STREAM && done < fold.k;
    assign stream_ends = phase == STREAM && last_at_column[used_columns-1];
    assign drains = phase == DRAIN;
    assign fold_ends = drains && done == used_rows - 1;
    assign used_rows = TIGHT ? fold.m : ROWS;
    assign used_columns = TIGHT ? fold.n : COLUMNS;
    assign channel = fold.channel;

    fold_sequencer #(.M_TILE(ROWS), .K_TILE(WHOLE), .N_TILE(COLUMNS)) sequencer (
        .clk, .groups(layer.groups), .m(layer.m), .k(layer.k), .n(layer.n),
        .group_weights(layer.group_weights), .group_channels(layer.group_channels),
        .start(begins), .advance(fold_ends), .fold, .last(last_fold)
    );

    always_ff @(posedge clk) begin
        if (reset) phase <= IDLE;
        else if (begins || (fold_ends && !last_fold)) phase <= STREAM;
        else if (fold_ends) phase <= IDLE;
        else if (stream_ends) phase <= DRAIN;

        if (begins || stream_ends || fold_ends) done <= 0;
        else if (enters || drains) done <= done + 1;
    end

    // --- STREAM: a step goes down the rows with its activations, and along the columns with its weights ---
    place_t tap_place, pixel_place;
    word_t  tap_row, pixel_row;
    logic   takes_pixel;
    logic   first_at_row [ROWS];
    place_t pixel [ROWS];
    word_t  weight_row [COLUMNS];
    logic   weight_valid [COLUMNS];
    logic signed [ACTIVATION_BITS-1:0] entering_activation [ROWS];
    logic signed [WEIGHT_BITS-1:0] entering_weight [COLUMNS];

    odometer taps (
        .clk, .walk(layer.taps), .restart(begins || fold_ends), .mark(1'b0), .rewind(1'b0), .step(enters),
        .place(tap_place), .row(tap_row)
    );

    odometer pixels (
        .clk, .walk(layer.pixels), .restart(begins || (fold_ends && fold.last_m)), .mark(1'b0), .rewind(1'b0),
        .step(takes_pixel), .place(pixel_place), .row(pixel_row)
    );

    assign entering = '{valid: enters, first: enters && done == 0, last: enters && done == fold.k - 1, tap: tap_place};

    always_comb begin
        takes_pixel = 1'b0;
        for (int i = 0; i < ROWS; i++) takes_pixel |= first_at_row[i];  // past the last pixel the walk restarts
    end

    for (genvar i = 0; i < ROWS; i++) begin : g_row
        place_t held;

        if (i == 0) assign at_row[i] = entering;
        else always_ff @(posedge clk) at_row[i] <= i < used_rows ? at_row[i-1] : '0;

        assign first_at_row[i] = at_row[i].first;
        assign pixel[i] = at_row[i].first ? pixel_place : held;
        always_ff @(posedge clk) held <= pixel[i];

        assign activation_read[i] = at_row[i].valid && i < fold.m;
        assign activation_address[i] = fold.input_channels
            + activation_at(pixel[i], at_row[i].tap, layer.height, layer.width, layer.pad_offset);
        assign entering_activation[i] = activation_read[i] ? activation[i] : '0;
    end

    for (genvar j = 0; j < COLUMNS; j++) begin : g_weight
        if (j == 0) begin : g_first
            assign weight_valid[j] = enters;
            assign weight_row[j] = tap_row;
            assign last_at_column[j] = at_row[used_rows-1].last;
        end else begin : g_next
            always_ff @(posedge clk) begin
                weight_valid[j] <= j < used_columns && weight_valid[j-1];
                weight_row[j] <= weight_row[j-1];
                last_at_column[j] <= j < used_columns && last_at_column[j-1];
            end
        end
        assign weight_read[j] = weight_valid[j] && j < fold.n;
        assign weight_address[j] = fold.weights + weight_row[j] + j;
        assign entering_weight[j] = weight_read[j] ? weight[j] : '0;
    end

    // --- the array, and DRAIN ---
    word_t sum [COLUMNS];
    word_t row [ROWS];  // in the results, of each sum

    os_array #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .ACTIVATION_BITS(ACTIVATION_BITS), .WEIGHT_BITS(WEIGHT_BITS)
    ) array (
        .clk, .reset, .drain(drains), .weight(entering_weight), .activation(entering_activation), .sum
    );

    for (genvar i = 0; i < ROWS; i++) begin : g_result
        always_ff @(posedge clk) begin
            if (first_at_row[i]) row[i] <= pixel_row;
            else if (drains) row[i] <= i == ROWS - 1 ? 0 : row[(i + 1) % ROWS];
        end
    end

    for (genvar j = 0; j < COLUMNS; j++) begin : g_column
        assign result_valid[j] = drains && done < fold.m && j < fold.n;
        assign result_address[j] = fold.channel + row[0] + j;
        assign result_sum[j] = sum[j] + parameters[j].bias;

        requantize #(.CODE_BITS(CODE_BITS), .LEVELS(LEVELS)) edge_unit (
            .sum(result_sum[j]), .epilogue(layer.epilogue),
            .multiplier(parameters[j].multiplier), .shift(parameters[j].shift),
            .base(parameters[j].base), .levels(parameters[j].levels),
            .strict(parameters[j].strict), .descending(parameters[j].descending),
            .threshold(threshold[j]), .code(result_code[j])
        );
    end

endmodule
