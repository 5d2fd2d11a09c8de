// Line {{ v }} of the patch under a tile, for one quad: pixels v{{ v }}_0 and on of {{ map }}, zeros outside. n: the image; c: the quad;
// ({{ first_y }}, {{ first_x }}): the patch's first pixel, which may lie before the map's.
    let y{{ v }} = {{ first_y }} + {{ v }};
    let line{{ v }} = (n * {{ height }} + u32(clamp(y{{ v }}, 0, i32({{ height }}) - 1))) * {{ width }};
#for u in range(patch_w)
    let x{{ v }}_{{ u }} = {{ first_x }} + {{ u }};
    let inside{{ v }}_{{ u }} = u32(y{{ v }}) < {{ height }} && u32(x{{ v }}_{{ u }}) < {{ width }};
    let at{{ v }}_{{ u }} = (line{{ v }} + u32(clamp(x{{ v }}_{{ u }}, 0, i32({{ width }}) - 1))) * p.quads + c;
    let v{{ v }}_{{ u }} = select(vec4<f32>(0.0), widen({{ map }}[at{{ v }}_{{ u }}]), inside{{ v }}_{{ u }});
#endfor
