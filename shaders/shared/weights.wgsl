// Where weights lie: the output channels in blocks of 8 quads, a block's rows one after another. So a workgroup that
// multiplies by a block of columns reads memory straight through, whatever the width of the layer.
//
// rows: taps * Ci (padded); columns: Co / 4. A row of a block is 8 vec4, in the last block what is left.
fn weight_row_stride(column: u32, columns: u32) -> u32 {
    return min(8u, columns - column / 8u * 8u);
}

fn weight_at(row: u32, column: u32, rows: u32, columns: u32) -> u32 {
    return column / 8u * 8u * rows + row * weight_row_stride(column, columns) + column % 8u;
}

// Column of the vec4 at a position.
fn weight_column(at: u32, rows: u32, columns: u32) -> u32 {
    let block = at / (8u * rows);
    return block * 8u + (at - block * 8u * rows) % weight_row_stride(block * 8u, columns);
}

// Row of the vec4 at a position.
fn weight_row(at: u32, rows: u32, columns: u32) -> u32 {
    let block = at / (8u * rows);
    return (at - block * 8u * rows) / weight_row_stride(block * 8u, columns);
}
