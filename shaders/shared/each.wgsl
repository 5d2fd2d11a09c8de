// Runs each(i) for every i below p.count, one invocation each, 64 to a workgroup. Counts past 65,535 workgroups, the limit
// of one dispatch dimension, are folded into a second dimension by the host, so the last row of workgroups may overshoot.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if (i < p.count) {
        each(i);
    }
}
