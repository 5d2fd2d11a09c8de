// sum += tile_a * tile_b, 16 k. Thread (ty, tx) multiplies rows 4 (ty + {{ threads // 8 }} r) + {0..3} by column quads
// tx + 8 c: for each k, {{ a_reads }} + {{ b_reads }} reads of 16 bytes for {{ 16 * a_reads * b_reads }} multiply-adds.
// Threads of different ty (or tx) read neighbouring vec4; threads of equal ty (or tx) read the same vec4. In tile_a,
// row quad g of k stands at g ^ (2 * (k / 4)).
#for k in range(16)
#if k % 4 == 0
        let a{{ k }} = ty ^ {{ k // 2 }}u;
#endif
#for r in range(a_reads)
        let a{{ k }}_{{ r }} = tile_a[a{{ k // 4 * 4 }} + {{ k * rows // 4 + r * threads // 8 }}u];
#endfor
#for c in range(b_reads)
        let b{{ k }}_{{ c }} = tile_b[tx + {{ k * quads + 8 * c }}u];
#endfor
#for r in range(4 * a_reads)
#for c in range(b_reads)
        sum{{ r }}_{{ c }} += a{{ k }}_{{ r // 4 }}.{{ xyzw[r % 4] }} * b{{ k }}_{{ c }};
#endfor
#endfor
#endfor
