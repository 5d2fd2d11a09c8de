// Pillow's filters along one axis, stretched when shrinking so that they do not alias. They are numbered in the order
// of data::Interpolation.
const NEAREST = 0u;
const BOX = 1u;
const BILINEAR = 2u;
const HAMMING = 3u;
const BICUBIC = 4u; // a = -0.5
const LANCZOS = 5u;

const PI = 3.14159265;

// Pixel `at` of the result is the weighted mean of the picture's pixels first .. end. The part of the picture that is
// resized begins at `start`, and a pixel of the result covers `scale` pixels of that part. Taps reach beyond the part,
// but not beyond the picture.
struct Taps {
    filter_number: u32,
    first: i32,
    end: i32,
    centre: f32,
    stretch: f32,
}

// How far a filter reaches to either side.
fn support(filter_number: u32) -> f32 {
    switch filter_number {
        case BILINEAR, HAMMING: { return 1.0; }
        case BICUBIC: { return 2.0; }
        case LANCZOS: { return 3.0; }
        default: { return 0.5; }
    }
}

fn taps(filter_number: u32, at: u32, start: f32, scale: f32, length: i32) -> Taps {
    let stretch = select(max(scale, 1.0), 1.0, filter_number == NEAREST);
    let reach = support(filter_number) * stretch;
    let centre = start + (f32(at) + 0.5) * scale;
    let first = clamp(i32(floor(centre - reach + 0.5)), 0, length - 1);
    let end = clamp(i32(floor(centre + reach + 0.5)), first + 1, length);
    return Taps(filter_number, first, end, centre, stretch);
}

fn sinc(x: f32) -> f32 {
    return select(sin(PI * x) / (PI * x), 1.0, x == 0.0);
}

fn weight(t: Taps, tap: i32) -> f32 {
    let x = abs((f32(tap) + 0.5 - t.centre) / t.stretch);
    switch t.filter_number {
        case BILINEAR: { return max(1.0 - x, 0.0); }
        case HAMMING: { return select(0.0, sinc(x) * (0.54 + 0.46 * cos(PI * x)), x < 1.0); }
        case BICUBIC: {
            let near = (1.5 * x - 2.5) * x * x + 1.0;
            let far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
            return select(select(0.0, far, x < 2.0), near, x < 1.0);
        }
        case LANCZOS: { return select(0.0, sinc(x) * sinc(x / 3.0), x < 3.0); }
        // These filters have the same weight at every tap in range.
        default: { return 1.0; }
    }
}

// Both axes round to 8 bits, as Pillow does. Red is the lowest byte.
fn pack_rgb(colour: vec3<f32>) -> u32 {
    let bytes = vec3<u32>(clamp(floor(colour + 0.5), vec3<f32>(0.0), vec3<f32>(255.0)));
    return bytes.r | (bytes.g << 8u) | (bytes.b << 16u);
}

fn unpack_rgb(rgba: u32) -> vec3<f32> {
    return vec3<f32>(f32(rgba & 255u), f32((rgba >> 8u) & 255u), f32((rgba >> 16u) & 255u));
}
