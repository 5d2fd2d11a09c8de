// What becomes of quad_of(place), a level's losses or their slopes: chunks of the losses are added, the slopes stored.
#if backward
fn each(i: u32) {
    let at = place(i);
    dz[at.at] = narrow(quad_of(at){{ " * scale[0]" if scaled else "" }});
}
#else
fn part(i: u32, member: u32) -> Sum {
    let end = min((i + 1u) * p.chunk_quads, p.run_quads);
    var sum = vec4<f32>(0.0);
    for (var quad = i * p.chunk_quads + member; quad < end; quad += {{ team }}u) {
        sum += quad_of(place(quad));
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    chunk_sums[p.first_sum + i] = sum;
}
#endif
