// Line {{ v }} of the patch under a tile, for one quad: pixels v{{ v }}_0 and on of {{ map }}, zeros outside. n: the
// image; c: the quad; ({{ first_y }}, {{ first_x }}): the patch's first pixel, which may lie before the map's.
//
// A dilated window has no stride, so a tile's windows see only what lies less than the tile's length after a tap.
#if v - [v // dilation_h, kernel_h - 1] | min * dilation_h <= (tile_h - 1) * stride_h
    let y{{ v }} = {{ first_y }} + {{ v }};
    let line{{ v }} = (n * {{ height }} + u32(clamp(y{{ v }}, 0, i32({{ height }}) - 1))) * {{ width }};
#for u in range(patch_w)
#if u - [u // dilation_w, kernel_w - 1] | min * dilation_w <= (tile_w - 1) * stride_w
    let x{{ v }}_{{ u }} = {{ first_x }} + {{ u }};
    let inside{{ v }}_{{ u }} = u32(y{{ v }}) < {{ height }} && u32(x{{ v }}_{{ u }}) < {{ width }};
    let at{{ v }}_{{ u }} = (line{{ v }} + u32(clamp(x{{ v }}_{{ u }}, 0, i32({{ width }}) - 1))) * p.quads + c;
    let v{{ v }}_{{ u }} = select(vec4<f32>(0.0), widen({{ map }}[at{{ v }}_{{ u }}]), inside{{ v }}_{{ u }});
#endif
#endfor
#endif
