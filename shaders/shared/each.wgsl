// Runs each(i) for every i below p.count, one invocation each, {{ each_workgroup }} to a workgroup. Counts past 65,535
// workgroups, the limit of one dispatch dimension, are folded into a second dimension by the host, so the last row of
// workgroups may overshoot.
@compute @workgroup_size({{ each_workgroup }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * {{ each_workgroup }}u + lane;
    if (i < p.count) {
        each(i);
    }
}
