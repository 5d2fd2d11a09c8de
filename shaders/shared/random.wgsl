// Random bits from a counter, with no state: the same (seed, step, stream, index) gives the same bits on every adapter,
// in every order of execution, in the forward pass and again in the backward pass.
//
//   bits = hash(index ^ hash(stream ^ hash(step ^ hash(seed))))
//
// seed: the run's; step: of the training; stream: which dropout of the network; index: logical position of the element
// (row * channels + channel, channels without padding) or of the sample. All arithmetic is modulo 2^32.
// Twin: src/reference/random.rs.

// "lowbias32", found by Chris Wellons' search for two-round multiply-xorshift hashes of low bias.
fn random_hash(value: u32) -> u32 {
    var x = value;
    x ^= x >> 16u;
    x *= 0x7feb352du;
    x ^= x >> 15u;
    x *= 0x846ca68bu;
    return x ^ (x >> 16u);
}

fn random_bits(seed: u32, step: u32, stream: u32, index: u32) -> u32 {
    return random_hash(index ^ random_hash(stream ^ random_hash(step ^ random_hash(seed))));
}
