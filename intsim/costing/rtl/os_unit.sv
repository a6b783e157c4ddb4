// One unit of the output stationary array: it adds up the products of the operands that pass, each moving on in the
// next cycle; while draining it takes the sum from below instead.

module os_unit
    import systolic_pkg::*;
#(
    parameter int ACTIVATION_BITS = 9,
    parameter int WEIGHT_BITS     = 9
) (
    input  logic                              clk,
    input  logic                              reset,
    input  logic                              drain,
    input  logic signed [ACTIVATION_BITS-1:0] activation_in,
    output logic signed [ACTIVATION_BITS-1:0] activation,
    input  logic signed [WEIGHT_BITS-1:0]     weight_in,
    output logic signed [WEIGHT_BITS-1:0]     weight,
    input  word_t                             sum_in,
    output word_t                             sum
);

    always_ff @(posedge clk) begin
        activation <= activation_in;
        weight <= weight_in;
        if (reset) sum <= 0;
        else if (drain) sum <= sum_in;
        else sum <= sum + 32'(activation_in) * 32'(weight_in);
    end

endmodule
