// From a sum to a code, for one column: multiply, shift, round, add the zero point and clamp; or count thresholds.
//
//     clamp(round(sum * multiplier / 2**shift) + zero_point, low, high)    a plain shift has the multiplier 1
//     base + #{level < levels : sum >= threshold[level]}
//
// Combinational: a code leaves in the cycle in which its sum is complete. A pipelined unit would add its depth once per
// layer, behind the last fold, and nothing in between.

module requantize
    import systolic_pkg::*;
#(
    parameter int CODE_BITS = 8,
    parameter int LEVELS    = 255
) (
    input  word_t                sum,
    input  epilogue_t            epilogue,
    input  word_t                multiplier,
    input  word_t                shift,
    input  word_t                base,
    input  word_t                levels,
    input  word_t                strict,
    input  word_t                descending,
    input  word_t                threshold [LEVELS],
    output logic [CODE_BITS-1:0] code
);

    // --- multiply, shift, clamp ---
    // Two steps round twice: half up at bit 31 of the product (at `shift` where that is less), then the rest.
    logic signed [63:0] product, high_part, scaled;
    logic signed [64:0] level;
    word_t first_shift, zero_point_before, zero_point_after;

    assign product = 64'(sum) * 64'(multiplier);
    assign first_shift = epilogue.two_step == 0 ? 0 : shift < 31 ? shift : 31;
    assign zero_point_before = epilogue.zero_point_first != 0 ? epilogue.zero_point : 0;
    assign zero_point_after = epilogue.zero_point_first != 0 ? 0 : epilogue.zero_point;
    assign level = 65'(scaled) + 65'(zero_point_after);

    round_shift first_step (
        .value(product), .shift(first_shift), .offset(0), .rounding(HALF_UP), .result(high_part)
    );
    round_shift second_step (
        .value(high_part), .shift(shift - first_shift), .offset(zero_point_before),
        .rounding(epilogue.rounding), .result(scaled)
    );

    // --- thresholds ---
    word_t reached;

    always_comb begin
        reached = 0;
        for (word_t level_index = 0; level_index < LEVELS; level_index++)
            if (level_index < levels && (
                sum == threshold[level_index] ? strict == 0 : (sum > threshold[level_index]) == (descending == 0)
            )) reached = reached + 1;
    end

    always_comb begin
        if (epilogue.threshold != 0) code = CODE_BITS'(base + reached);
        else if (level < 65'(epilogue.low)) code = CODE_BITS'(epilogue.low);
        else if (level > 65'(epilogue.high)) code = CODE_BITS'(epilogue.high);
        else code = CODE_BITS'(level);
    end

endmodule
