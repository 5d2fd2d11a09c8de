// 1 - GIoU of a decoded box and its target, or its slopes by the deltas. Edges are (left, top, right, bottom) from the
// anchor's centre, so that boxes far from the origin lose no bits.
fn compare(delta: vec4<f32>, goal: vec4<f32>, anchor: vec4<f32>) -> vec4<f32> {
    let most = vec2<f32>({{ largest_growth }});
    let size = anchor.zw - anchor.xy;
    let half = 0.5 * size * exp(min(delta.zw, most));
    let middle = delta.xy * size;
    let box = vec4<f32>(middle - half, middle + half);
    let truth = goal - (anchor.xy + 0.5 * size).xyxy;
    let side = truth.zw - truth.xy;
    let gap = min(box.zw, truth.zw) - max(box.xy, truth.xy);
    let meet = all(gap > vec2<f32>(0.0));
    let overlap = select(vec2<f32>(0.0), gap, meet);
    let around = max(box.zw, truth.zw) - min(box.xy, truth.xy);

    let shared_area = overlap.x * overlap.y;
    let union_area = 4.0 * half.x * half.y + side.x * side.y - shared_area;
    let outer_area = around.x * around.y;
    let iou = shared_area / (union_area + {{ epsilon }});
    let empty = (outer_area - union_area) / (outer_area + {{ epsilon }});
#if backward
    // The slopes of the areas by each edge: a change of an edge changes an area by the other side's length. Above: 1
    // where the box's edge is above the target's, a half where they coincide, else 0.
    let above = 0.5 + 0.5 * sign(box - truth);
    let by_box = vec4<f32>(-2.0 * half.yx, 2.0 * half.yx);
    let by_shared = vec4<f32>(-above.xy * overlap.yx, (1.0 - above.zw) * overlap.yx);
    let by_outer = vec4<f32>((above.xy - 1.0) * around.yx, above.zw * around.yx);
    let by_union = by_box - by_shared;
    let by_edge = (iou * by_union - by_shared) / (union_area + {{ epsilon }})
        + ((1.0 - empty) * by_outer - by_union) / (outer_area + {{ epsilon }});
    let grows = select(vec2<f32>(0.0), half, delta.zw <= most);
    return vec4<f32>(size * (by_edge.xy + by_edge.zw), grows * (by_edge.zw - by_edge.xy));
#else
    return vec4<f32>(1.0 - iou + empty, 0.0, 0.0, 0.0);
#endif
}
