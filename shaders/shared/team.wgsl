// Leaves a sum for every i below p.count. On a GPU a team of {{ team }} invocations adds it up, since there are far
// more of them than
// sums: member m has every {{ team }}th term from m on, and what the members have is joined by halves, always in the
// same order. The teams of a workgroup have neighbouring i, so that they read neighbouring memory. On a CPU adapter a
// team is one invocation.
//
// The file that includes this says what part(i, member) a member has and where to leave(i, sum) the whole; with
// `own_sum` also what a Sum is, whose zero is that of no terms, and how to join two.
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
    // The upper half hands over to the lower one. Where one round reads, the next does not write.
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
