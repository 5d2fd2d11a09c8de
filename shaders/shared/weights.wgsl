// Layout of weights: the output channels are cut into blocks of {{ weight_block }} quads, and a block's rows lie one
// after another. So a workgroup that multiplies by a block of columns reads contiguous memory, whatever the width of
// the layer.
//
// rows: taps * Ci (padded); columns: Co / 4. A row of a block is {{ weight_block }} vec4; in the last block it is the
// remaining columns.
#set block = weight_block ~ "u"
fn weight_row_stride(column: u32, columns: u32) -> u32 {
    return min({{ block }}, columns - column / {{ block }} * {{ block }});
}

fn weight_at(row: u32, column: u32, rows: u32, columns: u32) -> u32 {
    return column / {{ block }} * {{ block }} * rows + row * weight_row_stride(column, columns) + column % {{ block }};
}

// Column of the vec4 at a position.
fn weight_column(at: u32, rows: u32, columns: u32) -> u32 {
    let block = at / ({{ block }} * rows);
    return block * {{ block }} + (at - block * {{ block }} * rows) % weight_row_stride(block * {{ block }}, columns);
}

// Row of the vec4 at a position.
fn weight_row(at: u32, rows: u32, columns: u32) -> u32 {
    let block = at / ({{ block }} * rows);
    return (at - block * {{ block }} * rows) / weight_row_stride(block * {{ block }}, columns);
}
