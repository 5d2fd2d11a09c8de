// Computes a sum for every i below p.count. On a GPU a team of {{ team }} invocations adds up each sum, since a GPU
// runs far more invocations than there are sums: member m adds up every {{ team }}th term from m on, and the members'
// sums are joined by halves, always in the same order. The teams of a workgroup have neighbouring i, so that they read
// neighbouring memory. On a CPU adapter a team is one invocation.
//
// The file that includes this defines part(i, member), which returns a member's sum, and leave(i, sum), which stores
// the whole sum. With `own_sum` it also defines the type Sum, whose zero value is the sum of no terms, and join, which
// adds two of them.
#if own_sum is not defined
alias Sum = vec4<f32>;

fn join(a: Sum, b: Sum) -> Sum {
    return a + b;
}
#endif
#if team == 1
#include "shared/each.wgsl"

fn each(i: u32) {
    leave(i, part(i, 0u));
}
#else
#set teams = team_workgroup // team
var<workgroup> sums: array<Sum, {{ team_workgroup }}>; // [member][i]

@compute @workgroup_size({{ team_workgroup }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * {{ teams }}u + thread % {{ teams }}u;
    var sum: Sum;
    if (i < p.count) {
        sum = part(i, thread / {{ teams }}u);
    }
    // The lower half of the threads joins the upper half's sums to its own. A round does not write where the round
    // before it reads.
    for (var half = {{ team_workgroup // 2 }}u; half >= {{ teams }}u; half /= 2u) {
        if (thread >= half && thread < 2u * half) {
            sums[thread] = sum;
        }
        workgroupBarrier();
        if (thread < half) {
            sum = join(sum, sums[thread + half]);
        }
    }
    if (thread < {{ teams }}u && i < p.count) {
        leave(i, sum);
    }
}
#endif
