// Two sums per channel over chunks of rows: the first step of batch norm, forward and backward.
//
// A workgroup takes one chunk of 8 quads, 128 contiguous bytes of a row. Thread t adds up quad t % 8 of the
// chunk's eighth number t / 8; then the first eight threads add up in order what the others have. So few partial results leave
// the workgroup while a whole GPU is busy.
//
// The file that includes this says what is added up, `sum_rows`, and where it goes, `leave`.
struct Params {
    quads: u32,         // C / 4
    column_blocks: u32, // of 8 quads
    rows: u32,          // of this dispatch
    chunk_rows: u32,    // a multiple of 8
    first_chunk: u32,   // where this dispatch's chunks start
}

struct Sums {
    first: vec4<f32>,
    second: vec4<f32>,
}

@group(0) @binding(0) var<uniform> p: Params;

var<workgroup> first_sums: array<vec4<f32>, 64>; // [8 eighths][8 quads]
var<workgroup> second_sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    let column = block % p.column_blocks * 8u + thread % 8u;
    let chunk = block / p.column_blocks;
    let begin = chunk * p.chunk_rows;
    if (begin >= p.rows) {
        return;
    }
    let end = min(begin + p.chunk_rows, p.rows);
    // A thread past the last quad repeats that one, for nothing.
    let c = min(column, p.quads - 1u);
    let eighth = p.chunk_rows / 8u;
    let first = min(begin + thread / 8u * eighth, end);
    var sums = sum_rows(c, begin, first, min(first + eighth, end));
    first_sums[thread] = sums.first;
    second_sums[thread] = sums.second;
    workgroupBarrier();
    if (thread < 8u && column < p.quads) {
        for (var other = thread + 8u; other < 64u; other += 8u) {
            sums.first += first_sums[other];
            sums.second += second_sums[other];
        }
        leave(sums, c, begin, end, (p.first_chunk + chunk) * 2u * p.quads + c);
    }
}
