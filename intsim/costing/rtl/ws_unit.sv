// One unit of the weight stationary array: it holds a weight, passes the activation to the right in the next cycle, and
// adds their product to the sum that comes from above.

module ws_unit
    import systolic_pkg::*;
#(
    parameter int ACTIVATION_BITS = 9,
    parameter int WEIGHT_BITS     = 9
) (
    input  logic                              clk,
    input  logic                              load,
    input  logic signed [WEIGHT_BITS-1:0]     weight_in,
    output logic signed [WEIGHT_BITS-1:0]     weight,
    input  logic signed [ACTIVATION_BITS-1:0] activation_in,
    output logic signed [ACTIVATION_BITS-1:0] activation,
    input  word_t                             sum_in,
    output word_t                             sum             // in the same cycle; the array has the register
);

    assign sum = sum_in + 32'(activation_in) * 32'(weight);

    always_ff @(posedge clk) begin
        if (load) weight <= weight_in;
        activation <= activation_in;
    end

endmodule
