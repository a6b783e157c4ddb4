// Shifts right and rounds, in all nine directions; a negative shift is an exact left shift.
//
//     result = round(value / 2**shift + offset)
//
// Rounding is floor plus at most one. Whether the one is added depends on the discarded bits (none, below, at or above
// one half), the sign and the parity: intsim/arithmetic/rounding.py, which this equals bit for bit. As there, a left
// shift or an offset must not leave 64 bits.

module round_shift
    import systolic_pkg::*;
(
    input  logic signed [63:0] value,
    input  word_t              shift,     // -31..62
    input  word_t              offset,
    input  rounding_t          rounding,
    output logic signed [63:0] result
);

    logic signed [63:0] shifted, quotient;
    logic [63:0] discarded;  // as a fraction of 2**64
    logic above, tie, inexact, negative, rounds_up;

    always_comb begin
        shifted   = shift < 0 ? value <<< -shift : value >>> shift;
        quotient  = shifted + 64'(offset);
        discarded = shift > 0 ? value << (64 - shift) : '0;
        inexact   = discarded != 0;
        tie       = discarded == 64'h8000_0000_0000_0000;
        above     = discarded > 64'h8000_0000_0000_0000;
        negative  = quotient < 0;

        case (rounding)
            CEIL:           rounds_up = inexact;
            TOWARD_ZERO:    rounds_up = inexact && negative;
            AWAY_FROM_ZERO: rounds_up = inexact && !negative;
            HALF_EVEN:      rounds_up = above || (tie && quotient[0]);
            HALF_UP:        rounds_up = above || tie;
            HALF_DOWN:      rounds_up = above;
            HALF_AWAY:      rounds_up = above || (tie && !negative);
            HALF_TO_ZERO:   rounds_up = above || (tie && negative);
            default:        rounds_up = 1'b0;  // FLOOR
        endcase
        result = quotient + 64'(rounds_up);
    end

endmodule
