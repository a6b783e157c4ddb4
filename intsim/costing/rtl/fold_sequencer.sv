// The folds of a layer, one after the other: K innermost, then M, then N, then the groups.
//
// K is innermost so that sums are complete before the next ones begin, and partial sums never leave the chip. Each axis
// is cut into tiles; the last of an axis may be smaller. `fold` describes the present tile; `advance`, in the last
// cycle of a fold, goes on to the next without a cycle in between.

module fold_sequencer
    import systolic_pkg::*;
#(
    parameter word_t M_TILE = 32,
    parameter word_t K_TILE = 32,
    parameter word_t N_TILE = 32
) (
    input  logic   clk,
    input  word_t  groups,
    input  word_t  m,
    input  word_t  k,
    input  word_t  n,
    input  word_t  group_weights,
    input  word_t  group_channels,
    input  logic   start,
    input  logic   advance,
    output fold_t  fold,
    output logic   last            // no fold after this one
);

    word_t m_left, k_left, n_left, groups_left;  // this tile's and those after it
    word_t channel, weights, input_channels;
    word_t first_weights;                        // of the group
    logic  last_n;

    assign last_n = n_left <= N_TILE;
    assign last = fold.last_k && fold.last_m && last_n && groups_left == 1;
    assign fold = '{
        m: m_left < M_TILE ? m_left : M_TILE,
        k: k_left < K_TILE ? k_left : K_TILE,
        n: n_left < N_TILE ? n_left : N_TILE,
        first_k: k_left == k,
        last_k: k_left <= K_TILE,
        last_m: m_left <= M_TILE,
        channel: channel,
        weights: weights,
        input_channels: input_channels
    };

    always_ff @(posedge clk) begin
        if (start) begin
            m_left <= m;
            k_left <= k;
            n_left <= n;
            groups_left <= groups;
            channel <= 0;
            weights <= 0;
            input_channels <= 0;
            first_weights <= 0;
        end else if (advance) begin
            k_left <= fold.last_k ? k : k_left - K_TILE;
            if (fold.last_k) m_left <= fold.last_m ? m : m_left - M_TILE;
            if (fold.last_k && fold.last_m) begin
                n_left <= last_n ? n : n_left - N_TILE;
                channel <= channel + fold.n;
                weights <= last_n ? first_weights + group_weights : weights + N_TILE;
                if (last_n) begin
                    groups_left <= groups_left - 1;
                    input_channels <= input_channels + group_channels;
                    first_weights <= first_weights + group_weights;
                end
            end
        end
    end

endmodule
