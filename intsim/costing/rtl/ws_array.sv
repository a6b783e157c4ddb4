// Weight stationary units, ROWS x COLUMNS.
//
//                    0     0     0            partial sums move down, one row per cycle
//                    |     |     |
//     activation --> w --> w --> w -->        activations move right, one column per cycle
//                    |     |     |
//     activation --> w --> w --> w -->
//                    |     |     |
//                    sums  leave here;  weights enter here and move up while `load` is up
//
// Weights enter where sums leave, so that a fold with r rows occupies the lowest r after r cycles, and its sums pass no
// further rows. The last row has no register behind it: its sums go to the accumulators in the same cycle.

module ws_array
    import systolic_pkg::*;
#(
    parameter int ROWS            = 32,
    parameter int COLUMNS         = 32,
    parameter int ACTIVATION_BITS = 9,
    parameter int WEIGHT_BITS     = 9
) (
    input  logic                              clk,
    input  logic                              load,
    input  logic signed [WEIGHT_BITS-1:0]     weight     [COLUMNS],
    input  logic signed [ACTIVATION_BITS-1:0] activation [ROWS],
    output word_t                             sum        [COLUMNS]
);

    // [row][column]: what stands at the inputs of a unit; one row and one column more for what leaves.
    logic signed [WEIGHT_BITS-1:0] weights [ROWS+1][COLUMNS];
    logic signed [ACTIVATION_BITS-1:0] activations [ROWS][COLUMNS+1];
    word_t above [ROWS][COLUMNS];

    for (genvar i = 0; i < ROWS; i++) begin : g_row
        assign activations[i][0] = activation[i];

        for (genvar j = 0; j < COLUMNS; j++) begin : g_column
            word_t below;

            ws_unit #(.ACTIVATION_BITS(ACTIVATION_BITS), .WEIGHT_BITS(WEIGHT_BITS)) unit (
                .clk, .load,
                .weight_in(weights[i+1][j]), .weight(weights[i][j]),
                .activation_in(activations[i][j]), .activation(activations[i][j+1]),
                .sum_in(above[i][j]), .sum(below)
            );

            if (i == 0) assign above[i][j] = 0;
            if (i == ROWS - 1) begin : g_edge
                assign weights[ROWS][j] = weight[j];
                assign sum[j] = below;
            end else begin : g_inside
                always_ff @(posedge clk) above[i+1][j] <= below;
            end
        end
    end

endmodule
