// Walks the places of three nested loops, one per step, with adders only.
//
//     restart   to the first place, which is marked too
//     mark      remember this place
//     rewind    back to the marked place
//     step      to the next place
//
// At most one of restart, mark and rewind is up; each goes before step. The outermost loop has no end of its own:
// whoever walks knows how many places there are.

module odometer
    import systolic_pkg::*;
(
    input  logic   clk,
    input  walk_t  walk,
    input  logic   restart,
    input  logic   mark,
    input  logic   rewind,
    input  logic   step,
    output place_t place,
    output word_t  row     // address of this place's row in the matrix that is walked along
);

    typedef struct packed {
        word_t  index_x;
        word_t  index_y;
        word_t  line;   // address of the first place of this line
        word_t  row;
        place_t place;
    } state_t;

    state_t now, next, first, marked;

    assign place = now.place;
    assign row   = now.row;

    always_comb begin
        first = '0;
        first.line = walk.start_address;
        first.place.x = walk.start_x;
        first.place.y = walk.start_y;
        first.place.address = walk.start_address;
    end

    always_comb begin
        next = now;
        next.row = now.row + walk.stride_row;
        next.index_x = now.index_x + 1;
        next.place.x = now.place.x + walk.step_x;
        next.place.address = now.place.address + walk.stride_x;
        if (next.index_x == walk.count_x) begin  // a line is complete
            next.index_x = 0;
            next.index_y = now.index_y + 1;
            next.place.x = walk.start_x;
            next.place.y = now.place.y + walk.step_y;
            next.line = now.line + walk.stride_y;
            if (next.index_y == walk.count_y) begin  // and so is a plane
                next.index_y = 0;
                next.place.y = walk.start_y;
                next.place.plane = now.place.plane + walk.stride_z;
                next.line = next.place.plane + walk.start_address;
            end
            next.place.address = next.line;
        end
    end

    always_ff @(posedge clk) begin
        if (restart) now <= first;
        else if (rewind) now <= marked;
        else if (step) now <= next;

        if (restart) marked <= first;
        else if (mark) marked <= now;
    end

endmodule
