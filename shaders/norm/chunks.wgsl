// Two sums per channel over chunks of rows: the first step of batch norm, forward and backward, and of a bias's
// gradient.
//
// A workgroup takes one chunk of {{ column_quads }} quads, {{ 16 * column_quads }} contiguous bytes of a row. Thread t
// adds up quad t % {{ column_quads }} of the chunk's eighth number t / {{ column_quads }}; then the threads of the
// first eighth add the other threads' sums in order. So the chunks can be short enough to keep a whole GPU busy, and a
// workgroup still stores few partial results.
//
// The file that includes this defines `sum_rows`, which adds up rows, and `leave`, which stores a chunk's sums.
#set threads = 8 * column_quads
struct Params {
    quads: u32,         // C / 4
    column_blocks: u32, // of {{ column_quads }} quads
    rows: u32,          // of this dispatch
    chunk_rows: u32,    // a multiple of 8
    first_chunk: u32,   // where this dispatch's chunks start
    eps: f32,           // added to a variance
}

struct Sums {
    first: vec4<f32>,
    second: vec4<f32>,
}

@group(0) @binding(0) var<uniform> p: Params;

var<workgroup> first_sums: array<vec4<f32>, {{ threads }}>; // [8 eighths][{{ column_quads }} quads]
var<workgroup> second_sums: array<vec4<f32>, {{ threads }}>;

@compute @workgroup_size({{ threads }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    let column = block % p.column_blocks * {{ column_quads }}u + thread % {{ column_quads }}u;
    let chunk = block / p.column_blocks;
    let begin = chunk * p.chunk_rows;
    if (begin >= p.rows) {
        return;
    }
    let end = min(begin + p.chunk_rows, p.rows);
    // A thread past the last quad repeats that quad, and its sums are not used.
    let c = min(column, p.quads - 1u);
    let eighth = p.chunk_rows / 8u;
    let first = min(begin + thread / {{ column_quads }}u * eighth, end);
    var sums = sum_rows(c, begin, first, min(first + eighth, end));
    first_sums[thread] = sums.first;
    second_sums[thread] = sums.second;
    workgroupBarrier();
    if (thread < {{ column_quads }}u && column < p.quads) {
        for (var other = thread + {{ column_quads }}u; other < {{ threads }}u; other += {{ column_quads }}u) {
            sums.first += first_sums[other];
            sums.second += second_sums[other];
        }
        leave(sums, c, begin, end, p.first_chunk + chunk);
    }
}
