// Output stationary units, ROWS x COLUMNS.
//
//                    sums  leave here while `drain` is up
//                    weights enter here
//                    |     |     |
//     activation --> + --> + --> + -->     activations move right and weights move down, one unit per cycle
//                    |     |     |
//     activation --> + --> + --> + -->
//                    |     |     |
//                    0     0     0         draining moves sums up, and zeros in for the next fold
//
// Sums leave at the top so that a fold with r rows occupies the highest r and is drained after r cycles.

module os_array
    import systolic_pkg::*;
#(
    parameter int ROWS            = 32,
    parameter int COLUMNS         = 32,
    parameter int ACTIVATION_BITS = 9,
    parameter int WEIGHT_BITS     = 9
) (
    input  logic                              clk,
    input  logic                              reset,
    input  logic                              drain,
    input  logic signed [WEIGHT_BITS-1:0]     weight     [COLUMNS],
    input  logic signed [ACTIVATION_BITS-1:0] activation [ROWS],
    output word_t                             sum        [COLUMNS]
);

    // [row][column]: what stands at the inputs of a unit; one row and one column more for what leaves.
    logic signed [WEIGHT_BITS-1:0] weights [ROWS+1][COLUMNS];
    logic signed [ACTIVATION_BITS-1:0] activations [ROWS][COLUMNS+1];
    word_t sums [ROWS+1][COLUMNS];

    for (genvar j = 0; j < COLUMNS; j++) begin : g_edge
        assign weights[0][j] = weight[j];
        assign sum[j] = sums[0][j];
        assign sums[ROWS][j] = 0;
    end

    for (genvar i = 0; i < ROWS; i++) begin : g_row
        assign activations[i][0] = activation[i];

        for (genvar j = 0; j < COLUMNS; j++) begin : g_column
            os_unit #(.ACTIVATION_BITS(ACTIVATION_BITS), .WEIGHT_BITS(WEIGHT_BITS)) unit (
                .clk, .reset, .drain,
                .activation_in(activations[i][j]), .activation(activations[i][j+1]),
                .weight_in(weights[i][j]), .weight(weights[i+1][j]),
                .sum_in(sums[i+1][j]), .sum(sums[i][j])
            );
        end
    end

endmodule
