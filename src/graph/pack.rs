//! Packing: places many pieces of memory in a few buffers, given the time at which each piece is in use.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::op::OFFSET_ALIGNMENT_BYTES;

/// A piece of memory that is in use from one position in the execution order to another, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) bytes: u64,
}

/// Where a span lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Number of the slot.
    pub slot: usize,
    /// Bytes from the slot's start: a multiple of [`OFFSET_ALIGNMENT_BYTES`].
    pub offset: u64,
}

/// A packing.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    /// Size of each slot in bytes.
    pub(super) slots: Vec<u64>,
    /// Where each span lies.
    pub(super) addresses: Vec<Address>,
    /// The spans for which a slot was added.
    first_tenants: Vec<usize>,
}

impl Packing {
    fn bytes(&self) -> u64 {
        self.slots.iter().sum()
    }
}

/// Finds addresses such that no two spans overlap in both time and memory, and no span shares a slot with the spans
/// that `apart` lists for it. No slot is larger than the largest span.
///
/// The order in which spans of equal size are placed matters. Each later attempt starts with those that needed a new
/// slot in the attempt before; the best of all attempts is returned.
pub(super) fn pack(spans: &[Span], apart: &[Vec<usize>]) -> Packing {
    /// The time of an attempt grows with the square of the number of spans: this many pairs take about 0.1 s.
    const PAIRS: usize = 40_000_000;
    let attempts = (PAIRS / spans.len().pow(2).max(1)).clamp(1, 8);
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| Reverse((spans[i].bytes, spans[i].last - spans[i].first)));
    let mut best = pack_in_order(spans, apart, &order);
    let mut latest = best.clone();
    for _ in 1..attempts {
        let first_tenants: HashSet<usize> = latest.first_tenants.iter().copied().collect();
        order.sort_by_key(|i| (Reverse(spans[*i].bytes), !first_tenants.contains(i)));
        latest = pack_in_order(spans, apart, &order);
        if latest.bytes() < best.bytes() {
            best = latest.clone();
        }
    }
    best
}

/// Puts each span into the tightest gap that is free during its whole life. If there is none, adds a slot of the span's
/// size.
fn pack_in_order(spans: &[Span], apart: &[Vec<usize>], order: &[usize]) -> Packing {
    let mut first_tenants = Vec::new();
    let mut slots: Vec<Slot> = Vec::new();
    let mut addresses: Vec<Option<Address>> = vec![None; spans.len()];
    let mut taken = Vec::new();
    for &i in order {
        let span = Span { bytes: spans[i].bytes.next_multiple_of(OFFSET_ALIGNMENT_BYTES), ..spans[i] };
        let barred: Vec<usize> = apart[i].iter().filter_map(|&j| addresses[j].map(|a| a.slot)).collect();
        let mut tightest: Option<(u64, Address)> = None;
        for (slot, contents) in slots.iter().enumerate() {
            let gap = contents.gap(&span, &mut taken).filter(|_| !barred.contains(&slot));
            let Some((spare, offset)) = gap else { continue };
            if tightest.is_none_or(|(least, _)| spare < least) {
                tightest = Some((spare, Address { slot, offset }));
            }
            if spare == 0 {
                break;
            }
        }
        let address = tightest.map(|(_, address)| address).unwrap_or_else(|| {
            first_tenants.push(i);
            slots.push(Slot { bytes: span.bytes, tenants: Vec::new() });
            Address { slot: slots.len() - 1, offset: 0 }
        });
        slots[address.slot].tenants.push((span, address.offset));
        addresses[i] = Some(address);
    }
    let (slots, addresses) = (slots.iter().map(|s| s.bytes).collect(), addresses.into_iter().flatten().collect());
    Packing { slots, addresses, first_tenants }
}

struct Slot {
    bytes: u64,
    /// The spans in the slot, each with its offset in bytes.
    tenants: Vec<(Span, u64)>,
}

impl Slot {
    /// The tightest gap that is free during the whole life of a span: by how many bytes it exceeds the span, and its
    /// offset in bytes. `taken` is scratch memory.
    fn gap(&self, span: &Span, taken: &mut Vec<(u64, u64)>) -> Option<(u64, u64)> {
        taken.clear();
        for (tenant, offset) in self.tenants.iter().filter(|(t, _)| t.first <= span.last && span.first <= t.last) {
            if tenant.bytes == self.bytes {
                return None; // the usual case, and so worth an early end
            }
            taken.push((*offset, offset + tenant.bytes));
        }
        taken.sort_unstable();
        taken.push((self.bytes, self.bytes));
        let mut start = 0;
        let mut tightest = None;
        for &(from, to) in taken.iter() {
            let gap = from.checked_sub(start + span.bytes).map(|spare| (spare, start));
            tightest = [tightest, gap].into_iter().flatten().min();
            // Tenants of different times may overlap.
            start = start.max(to);
        }
        tightest
    }
}

/// The largest sum of bytes in use at one position: the least that any packing takes.
pub(super) fn live_peak(spans: &[Span]) -> u64 {
    let length = spans.iter().map(|s| s.last + 1).max().unwrap_or(0);
    let (mut begun, mut ended) = (vec![0; length], vec![0; length + 1]);
    for span in spans {
        begun[span.first] += span.bytes;
        ended[span.last + 1] += span.bytes;
    }
    let live = begun.into_iter().zip(ended).scan(0, |live, (begun, ended)| {
        *live = *live + begun - ended;
        Some(*live)
    });
    live.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spans of a few sizes, so that some fit gaps exactly, and pairs that must lie apart.
    fn problem() -> impl Strategy<Value = (Vec<Span>, Vec<Vec<usize>>)> {
        let span = (0..40usize, 0..20usize, prop_oneof![1..20_000u64, Just(4096), Just(1024)]);
        let spans = prop::collection::vec(
            span.prop_map(|(first, length, bytes)| Span { first, last: first + length, bytes }),
            1..60,
        );
        (spans, prop::collection::vec((0..60usize, 0..60usize), 0..80)).prop_map(|(spans, pairs)| {
            let mut apart = vec![Vec::new(); spans.len()];
            for (a, b) in pairs.into_iter().map(|(a, b)| (a % spans.len(), b % spans.len())).filter(|(a, b)| a != b) {
                apart[a].push(b);
                apart[b].push(a);
            }
            (spans, apart)
        })
    }

    proptest! {
        #[test]
        fn no_two_live_spans_overlap((spans, apart) in problem()) {
            let Packing { slots, addresses, .. } = pack(&spans, &apart);
            prop_assert_eq!(addresses.len(), spans.len());
            for (i, (a, p)) in spans.iter().zip(&addresses).enumerate() {
                prop_assert!(p.offset.is_multiple_of(OFFSET_ALIGNMENT_BYTES) && p.offset + a.bytes <= slots[p.slot]);
                prop_assert!(apart[i].iter().all(|&j| addresses[j].slot != p.slot));
                for (b, q) in spans[..i].iter().zip(&addresses) {
                    let in_time = a.first <= b.last && b.first <= a.last;
                    let in_memory = p.slot == q.slot && p.offset < q.offset + b.bytes && q.offset < p.offset + a.bytes;
                    prop_assert!(!(in_time && in_memory), "{a:?} at {p:?}, {b:?} at {q:?}");
                }
            }
            let largest = spans.iter().map(|s| s.bytes).max().unwrap_or(0).next_multiple_of(OFFSET_ALIGNMENT_BYTES);
            prop_assert!(slots.iter().all(|&bytes| bytes <= largest));
            prop_assert!(live_peak(&spans) <= slots.iter().sum());
        }
    }
}
