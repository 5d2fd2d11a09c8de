// The quads of a run of a level's map, and the anchors that they belong to. A run is a part of the map [N, H, W, A * C]
// in quads, over whole pictures or within one.
struct Params {
    count: u32,         // {{ "quads of the run" if backward else "chunks" }}
#if not backward
    first_sum: u32,     // index of the first chunk's sum
    run_quads: u32,
    chunk_quads: u32,   // in every chunk but perhaps the last
#endif
    begin: u32,         // the run's first quad in the map
    seen: u32,          // the map's first quad in the binding
    quads: u32,         // of a pixel, A * C / 4
    picture_quads: u32, // H * W * quads
    pixel_anchors: u32, // A
    anchors: u32,       // T, of a picture in all levels
    first: u32,         // number of the level's first anchor
    first_row: u32,     // the anchor, counted over all pictures, at which the bindings of labels and targets begin
    classes: u32,       // K
    factor: f32,        // of all losses: 1 / N, and the weight
{{ settings }}
}

struct Place {
    at: u32,      // of the quad in the binding
    picture: u32,
    anchor: u32,  // the pixel's first one
    quad: u32,    // of the pixel
}

fn place(i: u32) -> Place {
    let quad = p.begin + i;
    let within = quad % p.picture_quads;
    return Place(
        quad - p.seen,
        quad / p.picture_quads,
        p.first + within / p.quads * p.pixel_anchors,
        within % p.quads,
    );
}

// Where the label or the target of an anchor is in its binding.
fn row(picture: u32, anchor: u32) -> u32 {
    return picture * p.anchors + anchor - p.first_row;
}
